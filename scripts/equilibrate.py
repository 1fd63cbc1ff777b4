"""Glue of the rule equilibrate."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from ase import Atoms

from dft2spectra.density.calculator import DensityCalculator
from dft2spectra.dynamics.equilibration import equilibrate
from dft2spectra.dynamics.settings import check_timestep
from dft2spectra.records import read_json

harmonic = read_json(snakemake.input.harmonic)
settings = snakemake.config["dynamics"] | snakemake.params.dynamics
check_timestep(settings["timestep_fs"], harmonic["frequencies_cm1"][-1])
like = snakemake.params.pyscf, snakemake.params.guards
calculator = DensityCalculator.from_files(snakemake.input.model, snakemake.input.molecule, *like)
atoms = Atoms(harmonic["symbols"], harmonic["positions_ang"])
equilibrate(atoms, calculator, settings, snakemake.output.run, snakemake.output.states, sys.stdout)
