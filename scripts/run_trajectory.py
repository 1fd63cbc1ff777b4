"""Glue of the rule run_trajectory."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.density.calculator import DensityCalculator
from dft2spectra.dynamics.trajectory import run_from_state
from dft2spectra.records import kept, read_json

model, molecule = snakemake.input.model, snakemake.input.molecule
pyscf, guards = snakemake.params.pyscf, snakemake.params.guards
number = int(snakemake.wildcards.number) - 1
settings = snakemake.config["dynamics"] | snakemake.params.dynamics
like = pyscf, guards, read_json(snakemake.input.harmonic), settings
calculator = DensityCalculator.from_files(model, molecule, *like)
with kept(snakemake.output.trajectory) as output:
    run_from_state(snakemake.input.states, number, calculator, settings, output, sys.stdout)
