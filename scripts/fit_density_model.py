"""Glue of the rule fit_density_model."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.density.training import fit_from_files

fit_from_files(
    snakemake.input.labels,
    snakemake.params.settings,
    snakemake.params.pyscf,
    snakemake.output.model,
    print,
)
