"""``python -m dft2spectra.crystals.run_bundle``: the records of several crystals, one by one.

Every crystal is computed by a process of its own, ``python -m dft2spectra.crystals``, under MPI if
a launcher is given: a crash, a kill or a lack of memory ends that crystal alone. The record of each
is written as soon as it is there, and a bundle that is run again computes only what is missing or
out of date.
"""

import argparse
import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from dft2spectra.crystals.bundles import record_is_current
from dft2spectra.records import read_json, write_json

# prctl(2): signal to a process whose parent has died.
PR_SET_PDEATHSIG = 1


def run_bundle(
    structures: list[Path], settings: dict[str, Any], marker: Path, logs: Path, launcher: list[str]
) -> list[str]:
    """Compute what is missing of a bundle; one line per crystal that has no record afterwards.

    Parameters
    ----------
    structures
        Structure files of the members, named by their ids.
    settings
        The ``gpaw`` section of the configuration without the keys about jobs.
    marker
        File to write when all members have a record, in the folder ``hyperfine/bundles``. The
        records are written to ``records`` beside it; those of crystals that were computed one per
        job, in the folder above, are taken over.
    logs
        Folder for the log of every crystal.
    launcher
        Words before ``python``, such as ``mpiexec -n 4``; empty without MPI.
    """
    missing: list[str] = []
    status: dict[str, str] = {}
    for number, path in enumerate(structures, start=1):
        structure = read_json(path)
        name = structure["structure_id"]
        record_path = marker.parent / "records" / f"{name}.json"
        record, how = _current(record_path, structure, settings), "is there"
        if record is None:
            single = _current(marker.parent.parent / f"{name}.json", structure, settings)
            if single is not None:
                write_json(record_path, single)
                record, how = single, "taken over"
        if record is None:
            log = logs / f"{name}.log"
            how = f"its process {_compute(path, settings, record_path, log, launcher)}"
            record = _current(record_path, structure, settings)
            if record is None:
                missing.append(f"{name}: {how}; see {log}")
            else:
                how = "computed"
        status[name] = record["status"] if record else "missing"
        words = [f"{number} of {len(structures)}", name, status[name], how]
        print(*words, sep="  ", flush=True)
    if not missing:
        write_json(marker, {"members": status})
    return missing


def _current(path: Path, structure: dict[str, Any], settings: dict[str, Any]) -> Any:
    """Record in a file if it needs no new calculation, else ``None``."""
    try:
        record = read_json(path)
    except (OSError, ValueError):  # none, or not one of ours: records are written whole
        return None
    return record if record_is_current(record, structure, settings) else None


def _compute(
    structure: Path, settings: dict[str, Any], record: Path, log: Path, launcher: list[str]
) -> str:
    """Compute one crystal in a child process; how the process ended, in words."""
    for path in (record, log):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    command = [*launcher, sys.executable, "-m", "dft2spectra.crystals"]
    command += ["--structure", str(structure), "--settings", json.dumps(settings)]
    command += ["--output", str(record), "--log", str(log)]
    mpi = {"OMP_NUM_THREADS": "1", "GPAW_MPI_BACKEND": "cgpaw"} if launcher else {}
    with open(log, "a", encoding="utf-8") as file:
        code = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **mpi},
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        ).returncode
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def _end_with_parent() -> None:
    """Ask the kernel to end this process with the bundle: a second run must not meet it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> None:
    """Run a bundle; exit code 1 and the names if a member has no record at the end."""
    parser = argparse.ArgumentParser(
        prog="python -m dft2spectra.crystals.run_bundle", description=__doc__
    )
    parser.add_argument(
        "--structures", type=Path, nargs="+", required=True, help="structure files (JSON)"
    )
    parser.add_argument(
        "--settings", type=json.loads, required=True, help="gpaw section of the config, as JSON"
    )
    parser.add_argument("--output", type=Path, required=True, help="marker to write at the end")
    parser.add_argument("--logs", type=Path, required=True, help="folder for a log per structure")
    parser.add_argument(
        "--launcher", type=shlex.split, default=[], help="MPI launcher with the number of processes"
    )
    arguments = parser.parse_args()
    missing = run_bundle(
        arguments.structures,
        arguments.settings,
        arguments.output,
        arguments.logs,
        arguments.launcher,
    )
    if missing:
        lines = "\n  ".join(missing)
        sys.exit(
            f"{len(missing)} of {len(arguments.structures)} crystals without a record:\n  {lines}\n"
            "The other records are kept; run again to compute these."
        )


if __name__ == "__main__":
    main()
