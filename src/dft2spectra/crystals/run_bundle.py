"""The records of several crystals, one by one.

Every crystal is computed by a process of its own, see :mod:`dft2spectra.crystals.run_record`: a
crash, a kill or a lack of memory ends that crystal alone. The record of each is written as soon as
it is there, and a bundle that is run again computes only what is missing or out of date.
"""

from pathlib import Path
from typing import Any

from dft2spectra.crystals.run_record import current_record, obtain_record
from dft2spectra.records import read_json, write_json


def run_bundle(
    structures: list[Path],
    settings: dict[str, Any],
    marker: Path,
    logs: Path,
    launcher: list[str],
    store: Path | None = None,
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
    store
        Folder of finished records, by the id of their crystal; current ones are copied.
    """
    missing: list[str] = []
    status: dict[str, str] = {}
    for number, path in enumerate(structures, start=1):
        structure = read_json(path)
        name = structure["structure_id"]
        record_path = marker.parent / "records" / f"{name}.json"
        record, how = None, "taken over"
        if current_record(record_path, structure, settings) is None:
            single = marker.parent.parent / f"{name}.json"
            record = current_record(single, structure, settings)
        if record is not None:
            write_json(record_path, record)
        else:
            log = logs / f"{name}.log"
            record, how = obtain_record(path, settings, record_path, log, launcher, store=store)
            if record is None:
                missing.append(f"{name}: {how}; see {log}")
        status[name] = record["status"] if record else "missing"
        words = [f"{number} of {len(structures)}", name, status[name], how]
        print(*words, sep="  ", flush=True)
    if not missing:
        write_json(marker, {"members": status})
    return missing
