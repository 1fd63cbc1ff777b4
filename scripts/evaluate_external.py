"""Glue of the rule evaluate_external."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.learning.external import evaluate_external

evaluate_external(
    *(snakemake.input.features, snakemake.input.sites, snakemake.input.representatives),
    *(snakemake.input.model, snakemake.input.card),
    *(snakemake.wildcards.target, snakemake.params.learning),
    *(snakemake.output.table, snakemake.output.metrics, snakemake.output.figure),
)
job.write_provenance()
