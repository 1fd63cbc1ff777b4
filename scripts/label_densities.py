"""Glue of the rule label_densities."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.molecules.labels import label_batch
from dft2spectra.records import read_json

label_batch(
    read_json(snakemake.input.molecule),
    read_json(snakemake.input.geometries),
    snakemake.params.settings,
    snakemake.output.labels,
)
