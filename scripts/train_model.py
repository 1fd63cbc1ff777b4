"""Glue of the rule train_model."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.learning.boosting import train_model

train_model(
    *(snakemake.input.features, snakemake.input.sites),
    metrics_json=snakemake.input.metrics,
    target=snakemake.wildcards.target,
    learning=snakemake.params.learning,
    representatives_csv=snakemake.input.representatives,
    out_model=snakemake.output.model,
    out_card=snakemake.output.card,
    out_figure=snakemake.output.figure,
)
job.write_provenance()
