"""Glue of the checkpoint retrieve_structures."""

import sys

terminal = sys.stderr

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.structures.retrieval import exit_quietly, retrieve, say_on

progress = say_on(terminal, snakemake.params.name)
with exit_quietly():
    retrieve(snakemake.params.source, snakemake.output.pinned, progress)
