"""Glue of the rule select_representatives."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.learning.selection import select_representatives

select_representatives(snakemake.input.features, snakemake.params.number, snakemake.output.table)
job.write_provenance()
