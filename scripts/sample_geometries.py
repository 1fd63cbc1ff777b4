"""Glue of the rule sample_geometries."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.molecules.batches import write_batch

write_batch(
    snakemake.input.harmonic,
    snakemake.params.frames,
    snakemake.params.sampling,
    snakemake.output.batch,
)
job.write_provenance()
