"""Glue of the checkpoint relax_volumes."""

import sys
from functools import partial
from pathlib import Path

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.crystals.relaxation import fetch
from dft2spectra.structures.retrieval import retrieve

scratch = Path(snakemake.params.scratch)
fetch = partial(fetch, limits=snakemake.params.limits, scratch=scratch, processes=snakemake.threads)
retrieve(snakemake.params.source, snakemake.output.pinned, print, fetch)
