"""``python -m dft2spectra.crystals.run_record``: the record of one crystal, computed once.

DFT runs in a process of its own, ``python -m dft2spectra.crystals``, under MPI if a launcher is
given. This one holds the lock of the record meanwhile. Two jobs may want the same record: when
Snakemake is killed its jobs go on, and the next run starts them again. The second job then waits
for the first and takes its record if that is current; it computes only if the first one dies.
"""

import argparse
import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from dft2spectra.crystals.bundles import record_is_current
from dft2spectra.disk import refusal
from dft2spectra.locks import output_lock
from dft2spectra.records import kept, read_json

# prctl(2): signal to a process whose parent has died.
PR_SET_PDEATHSIG = 1
# Loaded before any fork: the child of a process with threads should do as little as possible.
LIBC = ctypes.CDLL(None)

# Time for an MPI launcher to end its processes.
END_S = 10.0


def obtain_record(
    structure_path: Path, settings: dict[str, Any], path: Path, log: Path, launcher: list[str]
) -> tuple[Any, str]:
    """Record of a crystal, and in words where it comes from.

    ``None`` if its process died, or was not begun as nothing could be written.

    Parameters
    ----------
    structure_path
        Structure file.
    settings
        The ``gpaw`` section of the configuration without the keys about jobs.
    path
        Where the record belongs; one that is there is taken if it is current.
    log
        File for the progress of the calculation.
    launcher
        Words before ``python``, such as ``mpiexec -n 4``; empty without MPI.
    """
    structure = read_json(structure_path)
    with output_lock(path, partial(print, flush=True)):
        record = current_record(path, structure, settings)
        if record is not None:
            return record, "is there"
        if reason := refusal(path.parent):
            return None, f"was not begun, {reason.removesuffix('.')}"
        how = _compute(structure_path, settings, path, log, launcher)
        record = current_record(path, structure, settings)
        return record, "computed" if record else f"its process {how}"


def current_record(path: Path, structure: dict[str, Any], settings: dict[str, Any]) -> Any:
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
    record.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [*launcher, sys.executable, "-m", "dft2spectra.crystals"]
    command += ["--structure", str(structure), "--settings", json.dumps(settings)]
    command += ["--output", str(record), "--log", str(log)]
    mpi = {"OMP_NUM_THREADS": "1", "GPAW_MPI_BACKEND": "cgpaw"} if launcher else {}
    with (
        open(log, "a", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **mpi},
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        ) as process,
    ):
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def _end_with_parent() -> None:
    """Ask the kernel to end this process with its parent: a second job must not meet it."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def release_on_sigterm() -> None:
    """Let SIGTERM end this process in an orderly way: its child ends too, and no lock is left."""

    def end(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)


def main() -> None:
    """Compute one record, or take one; exit code 1 if the process that computes it dies."""
    parser = argparse.ArgumentParser(
        prog="python -m dft2spectra.crystals.run_record", description=__doc__
    )
    parser.add_argument("--structure", type=Path, required=True, help="structure file (JSON)")
    parser.add_argument(
        "--settings", type=json.loads, required=True, help="gpaw section of the config, as JSON"
    )
    parser.add_argument("--output", type=Path, required=True, help="record to write (JSON)")
    parser.add_argument("--log", type=Path, required=True, help="progress, one line per iteration")
    parser.add_argument(
        "--launcher", type=shlex.split, default=[], help="MPI launcher with the number of processes"
    )
    arguments = parser.parse_args()
    release_on_sigterm()
    like = arguments.settings, arguments.output, arguments.log, arguments.launcher
    with kept(arguments.output):
        record, how = obtain_record(arguments.structure, *like)
        if record is None:
            sys.exit(f"{arguments.output}: {how}; run again to compute it.")
    print(f"{arguments.output}: {record['status']}, {how}", flush=True)


if __name__ == "__main__":
    main()
