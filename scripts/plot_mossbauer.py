"""Glue of the rule plot_mossbauer."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.spectra.mossbauer import plot_structures

plot_structures(
    snakemake.input.sites,
    snakemake.input.structures,
    snakemake.params.settings,
    snakemake.output.folder,
    snakemake.output.lines,
    snakemake.output.components,
)
