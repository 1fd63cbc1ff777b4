"""Glue of the rule screen_candidates."""

from pathlib import Path

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.structures.sources import collect, write_structures

accepted, rejected = collect(snakemake.params.sources, snakemake.params.limits)
write_structures(accepted, rejected, Path(snakemake.output.table).parent)
job.write_provenance()
