"""Glue of the rule train_model."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.learning.boosting import train_model

train_model(
    features_npz=snakemake.input.features,
    sites_parquet=snakemake.input.sites,
    metrics_json=snakemake.input.metrics,
    target=snakemake.wildcards.target,
    learning=snakemake.params.learning,
    representatives_csv=snakemake.input.representatives,
    out_model=snakemake.output.model,
    out_card=snakemake.output.card,
    out_figure=snakemake.output.figure,
)
