"""Glue of the rule relax_molecule."""

from pathlib import Path

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.molecules.equilibrium import relax
from dft2spectra.records import read_json, write_json

minimum = relax(
    read_json(snakemake.input.molecule),
    snakemake.params.settings,
    Path(snakemake.output.minimum).with_name("relaxation.json"),
)
write_json(snakemake.output.minimum, minimum)
job.write_provenance()
