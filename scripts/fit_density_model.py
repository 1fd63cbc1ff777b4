"""Glue of the rule fit_density_model."""

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.density.training import fit_from_files

fit_from_files(
    snakemake.input.labels,
    snakemake.params.settings,
    snakemake.params.pyscf,
    snakemake.output.model,
    print,
)
job.write_provenance()
