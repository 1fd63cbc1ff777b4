"""Glue of the rule evaluate_model."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.learning.boosting import evaluate_model

made = {"out_parquet": snakemake.output.predictions, "out_metrics": snakemake.output.metrics}
made |= {"out_splits": snakemake.output.splits, "out_curve": snakemake.output.curve}
made |= {"out_splits_figure": snakemake.output.splits_figure, "out_figure": snakemake.output.figure}
evaluate_model(
    *(snakemake.input.features, snakemake.input.sites),
    *(snakemake.wildcards.target, snakemake.params.learning),
    representatives_csv=snakemake.input.representatives,
    **made,
)
job.write_provenance()
