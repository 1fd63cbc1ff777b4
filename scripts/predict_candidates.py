"""Glue of the rule predict_candidates."""

import sys
from pathlib import Path

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

from dft2spectra.learning.screening import predict_candidates

predict_candidates(
    sorted(Path(snakemake.input.candidates).glob("*.json")),
    {Path(path).parent.name: Path(path).parent for path in snakemake.input.models},
    snakemake.params.soap,
    snakemake.params.rank_by,
    snakemake.params.coverage,
    snakemake.output.table,
    snakemake.output.figure,
)
