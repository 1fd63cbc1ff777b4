"""Glue of the rule evaluate_model."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.learning.boosting import evaluate_model

made = {"out_parquet": snakemake.output.predictions, "out_metrics": snakemake.output.metrics}
made |= {"out_splits": snakemake.output.splits, "out_curve": snakemake.output.curve}
made |= {"out_splits_figure": snakemake.output.splits_figure, "out_figure": snakemake.output.figure}
evaluate_model(
    features_npz=snakemake.input.features,
    sites_parquet=snakemake.input.sites,
    target=snakemake.wildcards.target,
    learning=snakemake.params.learning,
    representatives_csv=snakemake.input.representatives,
    **made,
)
