"""Glue of the rule harmonic_reference."""

from dft2spectra.job import Job

job = Job(snakemake)

import pandas as pd

from dft2spectra.molecules.harmonic import harmonic_reference, harmonic_table
from dft2spectra.records import read_json, write_csv, write_json

reference = harmonic_reference(read_json(snakemake.input.minimum), snakemake.params.settings)
write_json(snakemake.output.reference, reference)
write_csv(snakemake.output.table, pd.DataFrame(harmonic_table(reference)))
job.write_provenance()
