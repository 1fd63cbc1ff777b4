"""Glue of the rule identify_phases."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.measured.campaign import measure_for_campaign

measure_for_campaign(
    snakemake.params.measurement,
    snakemake.params.settings,
    snakemake.params.results,
    snakemake.params.predicted,
    snakemake.output.fit,
)
job.write_provenance()
