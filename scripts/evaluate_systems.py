"""Glue of the rule evaluate_systems."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.learning.systems import evaluate_systems

evaluate_systems(
    snakemake.input.features,
    snakemake.input.sites,
    snakemake.input.representatives,
    snakemake.wildcards.target,
    snakemake.params.learning,
    snakemake.output.table,
    snakemake.output.figure,
)
