"""Glue of the rule plan."""

import sys
from pathlib import Path

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.crystals.plan import make_plan

index, results = snakemake.input.index, Path(snakemake.output.plan).parents[1]
settings, jobs = snakemake.params.settings, snakemake.params.jobs
about = snakemake.params.molecules, index and Path(index).parent, snakemake.params.made_at
notes = {"sizes": snakemake.params.sizes, "unrelaxed": snakemake.params.unrelaxed}
notes["store"] = snakemake.params.store
text = make_plan(results, settings, jobs, *about, **notes)
print(text)
print(f"\n{text}\n", file=sys.__stdout__)
