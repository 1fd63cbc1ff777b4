"""Glue of the rule equilibrate."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from ase import Atoms

from dft2spectra.density.calculator import DensityCalculator
from dft2spectra.dynamics.equilibration import equilibrate
from dft2spectra.dynamics.settings import check_timestep
from dft2spectra.records import kept, read_json

start, settings = read_json(snakemake.input.harmonic), snakemake.params.section
check_timestep(settings["timestep_fs"], start["frequencies_cm1"][-1])
like = snakemake.params.pyscf, snakemake.params.guards
calculator = DensityCalculator.from_files(snakemake.input.model, snakemake.input.molecule, *like)
atoms = Atoms(start["symbols"], start["positions_ang"], masses=start["masses_amu"])
with kept(snakemake.output.run) as run:
    equilibrate(atoms, calculator, settings, run, snakemake.output.states, sys.stdout)
