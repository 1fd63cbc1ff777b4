"""Glue of the rule calibrate."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.crystals.calibration import calibrate

calibrate(
    record_paths=snakemake.input.records,
    structure_paths=snakemake.input.measured,
    settings=snakemake.params.settings,
    out_json=snakemake.output.result,
    out_csv=snakemake.output.points,
    out_png=snakemake.output.figure,
)
job.write_provenance()
