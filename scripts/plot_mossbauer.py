"""Glue of the rule plot_mossbauer."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.spectra.mossbauer import plot_structures

plot_structures(
    snakemake.input.sites,
    snakemake.input.structures,
    snakemake.params.settings,
    snakemake.output.folder,
    snakemake.output.lines,
    snakemake.output.components,
)
job.write_provenance()
