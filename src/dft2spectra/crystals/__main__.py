"""``python -m dft2spectra.crystals``: the hyperfine record of one structure, also under MPI."""

import argparse
import json
import os
from pathlib import Path

# GPAW parallelises over k-points with MPI; threads below it fight for the same cores (measured: a
# 2 s run took 80 s beside a second one). To be set before NumPy loads its BLAS.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from dft2spectra.crystals.gpaw_runner import compute_hyperfine
from dft2spectra.locks import Lock, Owner, lock_path


def main() -> None:
    """Compute one record; a scientific failure is a record, only faults of the machine raise."""
    parser = argparse.ArgumentParser(prog="python -m dft2spectra.crystals", description=__doc__)
    parser.add_argument("--structure", type=Path, required=True, help="structure file (JSON)")
    parser.add_argument(
        "--settings", type=json.loads, required=True, help="gpaw section of the config, as JSON"
    )
    parser.add_argument("--output", type=Path, required=True, help="record to write (JSON)")
    parser.add_argument("--log", type=Path, help="progress, one line per iteration; else stdout")
    parser.add_argument(
        "--lock-token", help="write only while the lock of the record still has this token"
    )
    arguments = parser.parse_args()
    lock = None
    if arguments.lock_token:
        lock = Lock(lock_path(arguments.output), Owner(token=arguments.lock_token))
    compute_hyperfine(
        arguments.structure, arguments.settings, arguments.output, arguments.log, lock
    )


if __name__ == "__main__":
    main()
