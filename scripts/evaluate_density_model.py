"""Glue of the rule evaluate_density_model."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.density.evaluation import evaluate_density_model

evaluate_density_model(
    snakemake.input.model,
    snakemake.input.labels,
    snakemake.params.pyscf,
    snakemake.output.metrics,
    snakemake.output.table,
    snakemake.output.forces,
    snakemake.output.errors,
    snakemake.output.uncertainty,
)
job.write_provenance()
