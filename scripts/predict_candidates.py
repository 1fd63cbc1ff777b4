"""Glue of the rule predict_candidates."""

from pathlib import Path

from dft2spectra.job import Job

job = Job(snakemake)

from dft2spectra.learning.screening import predict_candidates

predict_candidates(
    sorted(Path(snakemake.input.candidates).glob("*.json")),
    {Path(path).parent.name: Path(path).parent for path in snakemake.input.models},
    snakemake.input.tensor or None,
    *(snakemake.params.soap, snakemake.params.rank_by, snakemake.params.coverage),
    *(snakemake.output.table, snakemake.output.figure),
)
job.write_provenance()
