"""Glue of the rule mix_mossbauer."""

from dft2spectra.job import Job

job = Job(snakemake)

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
job.write_provenance()
