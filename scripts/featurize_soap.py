"""Glue of the rule featurize_soap."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.learning.soap import featurize

featurize(
    snakemake.input.sites,
    snakemake.input.crystals,
    snakemake.params.soap,
    snakemake.output.features,
)
job.write_provenance()
