"""Glue of the checkpoint retrieve_structures."""

import sys

terminal = sys.stderr
sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.structures.retrieval import exit_quietly, retrieve, say_on, source_named

source = source_named(snakemake.config, snakemake.params.source)
with exit_quietly():
    retrieve(source, snakemake.output.pinned, say_on(terminal, source["name"]))
