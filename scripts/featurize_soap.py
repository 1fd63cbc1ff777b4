"""Glue of the rule featurize_soap."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.learning.soap import featurize

featurize(
    snakemake.input.sites,
    snakemake.input.crystals,
    snakemake.params.soap,
    snakemake.output.features,
)
