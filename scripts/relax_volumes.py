"""Glue of the checkpoint relax_volumes."""

from functools import partial
from pathlib import Path

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.crystals.relaxation import fetch
from dft2spectra.structures.retrieval import exit_quietly, retrieve

scratch, limits = Path(snakemake.params.scratch), snakemake.params.limits
fetch = partial(fetch, limits=limits, scratch=scratch, processes=snakemake.threads)
with exit_quietly():
    retrieve(snakemake.params.source, snakemake.output.pinned, print, fetch, limits["xc"])
