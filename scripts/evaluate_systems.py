"""Glue of the rule evaluate_systems."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.learning.systems import evaluate_systems

evaluate_systems(
    snakemake.input.features,
    snakemake.input.sites,
    snakemake.input.representatives,
    snakemake.wildcards.target,
    snakemake.params.learning,
    snakemake.output.table,
    snakemake.output.figure,
)
job.write_provenance()
