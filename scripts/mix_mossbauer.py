"""Glue of the rule mix_mossbauer."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.spectra.mossbauer import plot_mixture

plot_mixture(
    sites_parquet=snakemake.input.sites,
    index_csv=snakemake.input.structures,
    mixture=snakemake.params.mixture,
    settings=snakemake.params.settings,
    out_csv=snakemake.output.spectrum,
    out_png=snakemake.output.figure,
    out_areas_csv=snakemake.output.areas,
)
