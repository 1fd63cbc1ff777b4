"""Glue of the rule compare_measured."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.crystals.validation import compare_measured

compare_measured(
    snakemake.input.sites,
    snakemake.input.dropped,
    snakemake.input.calibration,
    snakemake.input.measured,
    snakemake.output.table,
    snakemake.output.statistics,
    snakemake.output.figure,
)
