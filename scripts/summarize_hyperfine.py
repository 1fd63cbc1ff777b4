"""Glue of the rule summarize_hyperfine."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.crystals.table import summarize

summarize(snakemake.input.records, snakemake.output.table, snakemake.output.figure)
