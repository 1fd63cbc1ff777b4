"""Glue of the rule calibrate."""

import sys

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.crystals.calibration import calibrate

calibrate(
    record_paths=snakemake.input.records,
    structure_paths=snakemake.input.measured,
    settings=snakemake.params.settings,
    out_json=snakemake.output.result,
    out_csv=snakemake.output.points,
    out_png=snakemake.output.figure,
)
