"""Glue of the rule evaluate_density_model."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.density.evaluation import evaluate_density_model

evaluate_density_model(
    snakemake.input.model,
    snakemake.input.labels,
    snakemake.params.pyscf,
    snakemake.output.metrics,
    snakemake.output.table,
    snakemake.output.forces,
    snakemake.output.errors,
    snakemake.output.uncertainty,
)
