"""Glue of the rule label_densities."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.molecules.labels import label_batch
from dft2spectra.records import kept, read_json

with kept(snakemake.output.labels) as output:
    label_batch(
        read_json(snakemake.input.molecule),
        read_json(snakemake.input.geometries),
        snakemake.params.settings,
        output,
    )
