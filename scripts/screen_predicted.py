"""Glue of the rule screen_predicted."""

from pathlib import Path

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.structures.sources import collect, fingerprint, write_structures

asked = snakemake.params.sources, snakemake.params.limits, snakemake.params.design
stamp = fingerprint(*asked)
folder = Path(snakemake.output.table).parent
write_structures(*collect(*asked), folder, fingerprint=stamp)
