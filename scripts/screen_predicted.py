"""Glue of the rule screen_predicted."""

import sys
from pathlib import Path

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.structures.sources import collect, fingerprint, write_structures

sources, limits = snakemake.params.sources, snakemake.params.limits
stamp = fingerprint(sources, limits)
folder = Path(snakemake.output.table).parent
write_structures(*collect(sources, limits), folder, fingerprint=stamp)
