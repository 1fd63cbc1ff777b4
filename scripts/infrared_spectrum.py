"""Glue of the rule infrared_spectrum."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.spectra.infrared import write_infrared

write_infrared(
    snakemake.input.trajectories,
    snakemake.input.harmonic,
    snakemake.input.measured or None,
    *(snakemake.params.temperature_k, snakemake.params.settings),
    *(snakemake.output.spectrum, snakemake.output.peaks),
    snakemake.output.figure,
    snakemake.output.evaluation,
)
job.write_provenance()
