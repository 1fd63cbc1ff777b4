"""Glue of the rule equilibrate."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.density.calculator import DensityCalculator
from dft2spectra.dynamics.equilibration import equilibrate, start_geometry
from dft2spectra.records import kept, read_json

settings, harmonic = snakemake.params.section, snakemake.input.harmonic
atoms = start_geometry(harmonic, settings["timestep_fs"])
like = snakemake.params.pyscf, snakemake.params.guards, read_json(harmonic), settings
calculator = DensityCalculator.from_files(snakemake.input.model, snakemake.input.molecule, *like)
with kept(snakemake.output.run) as run:
    equilibrate(atoms, calculator, settings, run, snakemake.output.states, job.log)
job.write_provenance()
