"""Glue of the rule plan."""

import sys
from pathlib import Path

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.crystals.plan import make_plan

results, made_at = Path(snakemake.output.plan).parents[1], snakemake.params.made_at
settings, jobs = snakemake.params.settings, snakemake.params.jobs
molecules, with_crystals = snakemake.params.molecules, snakemake.params.with_crystals
text = make_plan(results, settings, jobs, molecules, with_crystals, made_at)
print(text)
print(f"\n{text}\n", file=sys.__stdout__)
