"""Glue of the rule screen_candidates."""

import sys
from pathlib import Path

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.structures.sources import collect, write_structures

accepted, rejected = collect(snakemake.params.sources, snakemake.params.limits)
write_structures(accepted, rejected, Path(snakemake.output.table).parent)
