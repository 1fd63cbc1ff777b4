"""Glue of the rule evaluate_tensor."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.learning.tensor_evaluation import evaluate_tensor

evaluate_tensor(
    snakemake.input.features,
    snakemake.input.sites,
    snakemake.input.representatives,
    snakemake.input.records,
    *(snakemake.params.soap, snakemake.params.learning),
    *(snakemake.output.predictions, snakemake.output.metrics, snakemake.output.figure),
)
job.write_provenance()
