"""Glue of the rule label_densities."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.molecules.labels import label_batch
from dft2spectra.records import kept, read_json

with kept(snakemake.output.labels) as output:
    label_batch(
        read_json(snakemake.input.molecule),
        read_json(snakemake.input.geometries),
        snakemake.params.settings,
        output,
    )
job.write_provenance()
