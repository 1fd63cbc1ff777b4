"""Glue of the rule screen_predicted."""

import sys
from pathlib import Path

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.structures.sources import collect, fingerprint, write_structures

asked = snakemake.params.sources, snakemake.params.limits, snakemake.params.design
stamp = fingerprint(*asked)
folder = Path(snakemake.output.table).parent
write_structures(*collect(*asked), folder, fingerprint=stamp)
