"""Glue of the rule equilibrate."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from ase import Atoms

from dft2spectra.density.calculator import DensityCalculator
from dft2spectra.dynamics.equilibration import equilibrate
from dft2spectra.records import kept, read_json

start, pyscf = read_json(snakemake.input.harmonic), snakemake.params.pyscf
settings = snakemake.config["dynamics"] | snakemake.params.dynamics
like = pyscf, snakemake.params.guards, start, settings
calculator = DensityCalculator.from_files(snakemake.input.model, snakemake.input.molecule, *like)
atoms = Atoms(start["symbols"], start["positions_ang"], masses=start["masses_amu"])
with kept(snakemake.output.run) as run:
    equilibrate(atoms, calculator, settings, run, snakemake.output.states, sys.stdout)
