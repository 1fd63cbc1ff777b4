"""Glue of the rule relax_molecule."""

import sys
from pathlib import Path

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.molecules.equilibrium import relax
from dft2spectra.records import read_json, write_json

minimum = relax(
    read_json(snakemake.input.molecule),
    snakemake.params.settings,
    Path(snakemake.output.minimum).with_name("relaxation.json"),
)
write_json(snakemake.output.minimum, minimum)
