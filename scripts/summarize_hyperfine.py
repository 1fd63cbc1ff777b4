"""Glue of the rule summarize_hyperfine."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.crystals.table import summarize

summarize(snakemake.input.records, snakemake.output.table, snakemake.output.figure)
job.write_provenance()
