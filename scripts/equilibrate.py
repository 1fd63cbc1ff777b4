"""Glue of the rule equilibrate."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.density.calculator import DensityCalculator
from dft2spectra.dynamics.equilibration import equilibrate, start_geometry
from dft2spectra.records import kept

settings = snakemake.params.section
atoms = start_geometry(snakemake.input.harmonic, settings["timestep_fs"])
like = snakemake.params.pyscf, snakemake.params.guards
calculator = DensityCalculator.from_files(snakemake.input.model, snakemake.input.molecule, *like)
with kept(snakemake.output.run) as run:
    equilibrate(atoms, calculator, settings, run, snakemake.output.states, job.log)
job.write_provenance()
