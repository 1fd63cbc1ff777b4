"""Glue of the rule sample_geometries."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.molecules.batches import write_batch

write_batch(
    snakemake.input.harmonic,
    snakemake.params.frames,
    snakemake.params.sampling,
    snakemake.output.batch,
)
