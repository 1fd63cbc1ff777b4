"""Glue of the rule identify_phases."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.measured.campaign import measure_for_campaign

measure_for_campaign(
    snakemake.params.measurement,
    snakemake.params.settings,
    snakemake.params.results,
    snakemake.params.predicted,
    snakemake.output.fit,
)
