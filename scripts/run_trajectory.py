"""Glue of the rule run_trajectory."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.density.calculator import DensityCalculator
from dft2spectra.dynamics.trajectory import run_from_state

model, molecule = snakemake.input.model, snakemake.input.molecule
pyscf, guards = snakemake.params.pyscf, snakemake.params.guards
run_from_state(
    snakemake.input.states,
    int(snakemake.wildcards.number) - 1,
    DensityCalculator.from_files(model, molecule, pyscf, guards),
    snakemake.config["dynamics"] | snakemake.params.dynamics,
    snakemake.output.trajectory,
    sys.stdout,
)
