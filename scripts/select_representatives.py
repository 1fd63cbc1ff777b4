"""Glue of the rule select_representatives."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.learning.selection import select_representatives

select_representatives(snakemake.input.features, snakemake.params.number, snakemake.output.table)
