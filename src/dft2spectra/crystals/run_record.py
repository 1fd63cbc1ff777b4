"""The record of one crystal, computed once.

DFT runs in a process of its own, ``python -m dft2spectra.crystals``, under MPI if a launcher is
given. This one holds the lock of the record meanwhile. Two jobs may want the same record: when
Snakemake is killed its jobs go on, and the next run starts them again. The second job then waits
for the first and takes its record if that is current; it computes only if the first one dies. In a
queue it ends at once instead, to be started again: see :class:`dft2spectra.locks.OutputBusyError`.
"""

import json
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from dft2spectra.crystals.identity import record_is_current
from dft2spectra.disk import refusal
from dft2spectra.locks import Lock, OutputBusyError, output_lock
from dft2spectra.processes import run_child
from dft2spectra.records import kept, read_json, write_json


def obtain_record(
    structure_path: Path,
    settings: dict[str, Any],
    path: Path,
    log: Path,
    launcher: list[str],
    keep: bool = False,
    store: Path | None = None,
) -> tuple[Any, str]:
    """Record of a crystal, and in words where it comes from.

    ``None`` if its process died, or was not begun as nothing could be written, or as another job of
    the queue is writing the record.

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
    keep
        Whether Snakemake knows the record by its name, and deletes it: see
        :func:`dft2spectra.records.kept`.
    store
        Folder of finished records, by the id of their crystal; a current one is copied.
    """
    structure = read_json(structure_path)
    stored = None if store is None else store / f"{structure['structure_id']}.json"
    try:
        with (
            output_lock(path, partial(print, flush=True)) as lock,
            kept(path) if keep else nullcontext(),
        ):
            record = current_record(path, structure, settings)
            if record is not None:
                return record, "is there"
            if reason := refusal(path.parent):
                return None, f"was not begun, {reason.removesuffix('.')}"
            if stored and (record := current_record(stored, structure, settings)) is not None:
                write_json(path, record)
                return record, f"taken from {store}"
            how = _compute(structure_path, settings, path, log, launcher, lock)
            record = current_record(path, structure, settings)
            return record, "computed" if record else f"its process {how}"
    except OutputBusyError as busy:
        return None, str(busy).removesuffix(".")


def current_record(path: Path, structure: dict[str, Any], settings: dict[str, Any]) -> Any:
    """Record in a file if it needs no new calculation, else ``None``.

    Raises
    ------
    OSError
        The file is there and cannot be read, as on a file system that comes and goes: no reason to
        compute it again.
    """
    try:
        record = read_json(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # none, or not one of ours
        return None
    return record if record_is_current(record, structure, settings) else None


def _compute(
    structure: Path,
    settings: dict[str, Any],
    record: Path,
    log: Path,
    launcher: list[str],
    lock: Lock,
) -> str:
    """Compute one crystal in a child process; how the process ended, in words.

    The child looks at the lock before it writes: if this job was suspended for so long that another
    one took over, its record comes too late.
    """
    record.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [*launcher, sys.executable, "-P", "-m", "dft2spectra.crystals"]
    command += ["--structure", str(structure), "--settings", json.dumps(settings)]
    command += ["--output", str(record), "--log", str(log), "--lock-token", lock.owner.token]
    mpi = {"OMP_NUM_THREADS": "1", "GPAW_MPI_BACKEND": "cgpaw"} if launcher else {}
    return run_child(command, log, mpi)
