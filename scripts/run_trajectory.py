"""Glue of the rule run_trajectory."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.density.calculator import DensityCalculator
from dft2spectra.dynamics.trajectory import run_from_state
from dft2spectra.records import kept, read_json

number, settings = int(snakemake.wildcards.number) - 1, snakemake.params.section
harmonic = read_json(snakemake.input.harmonic)
like = snakemake.params.pyscf, snakemake.params.guards, harmonic, settings
calculator = DensityCalculator.from_files(snakemake.input.model, snakemake.input.molecule, *like)
with kept(snakemake.output.trajectory) as output:
    run_from_state(snakemake.input.states, number, calculator, settings, output, job.log)
job.write_provenance()
