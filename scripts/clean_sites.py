"""Glue of the rule clean_sites."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.learning.cleaning import clean_sites

clean_sites(
    snakemake.input.records,
    snakemake.input.calibration,
    snakemake.params.rules,
    snakemake.output.sites,
    snakemake.output.training,
    snakemake.output.dropped,
    snakemake.params.external,
    snakemake.input.reference,
)
