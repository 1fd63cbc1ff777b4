"""Glue of the rule clean_sites."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.learning.cleaning import clean_sites

clean_sites(
    snakemake.input.records,
    snakemake.input.calibration,
    snakemake.params.rules,
    snakemake.output.sites,
    snakemake.output.training,
    snakemake.output.dropped,
    snakemake.params.external,
    snakemake.input.reference,
)
job.write_provenance()
