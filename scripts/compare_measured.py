"""Glue of the rule compare_measured."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.crystals.validation import compare_measured

compare_measured(
    snakemake.input.sites,
    snakemake.input.dropped,
    snakemake.input.calibration,
    snakemake.input.measured,
    snakemake.output.table,
    snakemake.output.statistics,
    snakemake.output.figure,
)
job.write_provenance()
