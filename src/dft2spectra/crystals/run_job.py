"""``python -m dft2spectra.crystals.run_job``: the DFT of one job, of a crystal or of a bundle."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from dft2spectra.crystals.run_bundle import run_bundle
from dft2spectra.crystals.run_record import obtain_record


def main() -> None:
    """Compute records, or take them; exit code 1 if one is missing at the end."""
    parser = argparse.ArgumentParser(
        prog="python -m dft2spectra.crystals.run_job", description=__doc__
    )
    parser.add_argument(
        "--structures", type=Path, nargs="+", required=True, help="structure files (JSON)"
    )
    parser.add_argument(
        "--settings", type=json.loads, required=True, help="gpaw section of the config, as JSON"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="record to write (JSON); in a folder bundles, marker that all records are there",
    )
    parser.add_argument("--logs", type=Path, required=True, help="folder for a log per structure")
    parser.add_argument(
        "--launcher", type=shlex.split, default=[], help="MPI launcher with the number of processes"
    )
    parser.add_argument("--store", type=Path, help="folder of finished records")
    asked = parser.parse_args()
    structures, output, logs = asked.structures, asked.output, asked.logs
    if output.parent.name == "bundles":
        missing = run_bundle(structures, asked.settings, output, logs, asked.launcher, asked.store)
        if missing:
            lines = "\n  ".join(missing)
            sys.exit(
                f"{len(missing)} of {len(structures)} crystals without a record:\n  {lines}\n"
                "The other records are kept; run again to compute these."
            )
        return
    like = asked.settings, output, logs / f"{output.stem}.log", asked.launcher
    record, how = obtain_record(structures[0], *like, keep=True, store=asked.store)
    if record is None:
        sys.exit(f"{output}: {how}; run again to compute it.")
    print(f"{output}: {record['status']}, {how}", flush=True)


if __name__ == "__main__":
    main()
