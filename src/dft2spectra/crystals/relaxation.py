"""Volumes of decorated prototypes from cheap DFT, pinned like what a database gave.

The volume decides which crystal enters the campaign, and with it the id: so it is computed before
the screening, once, and kept in the pinned set of the source. Every crystal is computed by a
process of its own; its record in the scratch folder is written whole, so that a job that is killed
loses the crystals in hand. A crystal without such a volume is an entry with a reason; a process
that dies says nothing about its crystal and stops the retrieval when the others have finished.
"""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from dft2spectra.crystals.equation_of_state import METHOD_VERSION, SETTINGS
from dft2spectra.locks import output_lock, sigterm_raises
from dft2spectra.processes import run_child
from dft2spectra.records import content_hash, read_json, write_json
from dft2spectra.structures import prototypes
from dft2spectra.structures.canonical import DEFAULT_MOMENTS_MUB, reduced_formula
from dft2spectra.structures.filters import filter_elements
from dft2spectra.structures.pinned import RetrievalError, Retrieved
from dft2spectra.structures.raw import RawStructure, Reason, Rejected
from dft2spectra.structures.screening import effective_limits, screen

# Snakemake gives these variables the cores of the job; threads of as many crystals at a time wait
# for each other, and an iteration of FeTi takes 25 s of processor time instead of 0.5 s.
ONE_THREAD = dict.fromkeys(
    (
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GOTO_NUM_THREADS"),
        *("NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    ),
    "1",
)

METHOD = (
    "energies of {xc} at {cutoff_ev} eV and k-points of {kpoint_density_ang} Å, Birch–Murnaghan"
)


class ProcessDied(RuntimeError):
    """The process of a crystal left no record; says how it ended and where its log is."""


def fetch(
    source: dict[str, Any],
    progress: Callable[[str], None],
    *,
    limits: dict[str, Any],
    scratch: Path,
    processes: int,
) -> Retrieved:
    """Crystals of a source of prototypes, without strained copies, at their volume of least energy.

    Parameters
    ----------
    source
        Source of kind ``prototypes``, with its own ``at_most`` and filters.
    progress
        Called with a line of text for each crystal.
    limits
        As for :func:`dft2spectra.structures.sources.collect`; crystals that do not keep them are
        not computed.
    scratch
        Folder for the records of finished crystals, which a second run takes over.
    processes
        Crystals that are computed at the same time, one core each.

    Raises
    ------
    RetrievalError
        Processes of crystals died, by a signal or an error of the machine; names crystals and logs.
    ValueError
        As :func:`dft2spectra.structures.prototypes.unstrained`.
    """
    xc = effective_limits(limits)["xc"]
    for line in prototypes.sizes_in_words([source], limits):
        progress(line)
    found = list(prototypes.unstrained(source, limits))
    died: list[str] = []

    def entry(number: int) -> dict[str, Any] | None:
        origin, result, provenance = found[number]
        try:
            made = _entry(origin, result, provenance, source, limits, scratch, xc)
        except ProcessDied as how:
            progress(f"{number + 1} of {len(found)}  {origin}  {how}")
            died.append(f"{origin} {how}")
            return None
        properties = made.get("properties") or {}
        said = made.get("reason") or (
            f"{properties['relaxed_volume_ang3']:.2f} Å³, predicted "
            f"{properties['predicted_volume_ang3']:.2f}"
        )
        progress(f"{number + 1} of {len(found)}  {origin}  {said}")
        return made

    # Locks are held by the threads: they end their crystals, and begin no other.
    with sigterm_raises(), ThreadPoolExecutor(max_workers=processes) as pool:
        entries = [made for made in pool.map(entry, range(len(found))) if made is not None]
    if died:
        more = f"; and {len(died) - 5} more" if len(died) > 5 else ""
        raise RetrievalError(
            f"the processes of {len(died)} of {len(found)} crystals died: "
            f"{'; '.join(sorted(died)[:5])}{more}. The others are kept in {scratch}; a crystal "
            "that dies every time is left out by parents, elements or exclude_elements"
        )
    import gpaw

    provider = {
        "name": "GPAW",
        "base_url": None,
        "api_version": None,
        "database_version": gpaw.__version__,
        "method": METHOD.format(xc=xc, **SETTINGS),
        "method_version": METHOD_VERSION,
    }
    return Retrieved(entries, provider, 0)


def _entry(
    origin: str,
    result: RawStructure | Rejected,
    provenance: dict[str, Any],
    source: dict[str, Any],
    limits: dict[str, Any],
    scratch: Path,
    xc: str,
) -> dict[str, Any]:
    """Entry of the pinned set for one decoration."""
    entry: dict[str, Any] = {"id": origin.removeprefix("prototypes:"), "formula": None}
    if isinstance(result, Rejected):
        return entry | {"reason": str(result)}
    try:
        filter_elements(result.symbols, source)
        screen(result, effective_limits(limits))
    except Rejected as rejection:
        return entry | {"reason": str(rejection)}
    entry["formula"] = reduced_formula(result.symbols)
    moments = result.moments_mub or [None] * len(result.symbols)
    crystal = {
        "cell_ang": np.asarray(result.cell).tolist(),
        "symbols": result.symbols,
        "scaled_positions": np.asarray(result.scaled_positions).tolist(),
        "moments_mub": [
            DEFAULT_MOMENTS_MUB.get(symbol, 0.0) if moment is None else moment
            for symbol, moment in zip(result.symbols, moments, strict=True)
        ],
    }
    record = _record(crystal, scratch, xc)
    if "reason" in record:
        return entry | {"reason": f"{Reason.NO_VOLUME}: {record['reason']}"}
    predicted = abs(float(np.linalg.det(result.cell)))
    scale = np.cbrt(record["volume_ang3"] / predicted)
    properties = provenance | {
        "prototype": result.prototype,
        "predicted_volume_ang3": predicted,
        "relaxed_volume_ang3": record["volume_ang3"],
        "bulk_modulus_gpa": record["bulk_modulus_gpa"],
        "volume_method": METHOD.format(xc=xc, **SETTINGS),
    }
    return entry | {
        "cell_ang": np.round(np.asarray(result.cell) * scale, 8).tolist(),
        "symbols": result.symbols,
        "scaled_positions": crystal["scaled_positions"],
        "moments_mub": result.moments_mub,
        "properties": properties,
    }


def _record(crystal: dict[str, Any], scratch: Path, xc: str) -> dict[str, Any]:
    """Equation of state of one crystal, taken over from the scratch folder or computed there.

    Raises
    ------
    ProcessDied
        The process that should compute it ended without a record.
    """
    name = content_hash([crystal, xc, SETTINGS, METHOD_VERSION])
    path = scratch / f"{name}.record.json"
    with output_lock(path):
        try:
            return dict(read_json(path))
        except (OSError, ValueError):  # not there, or not ours: records are written whole
            return _compute(crystal, scratch / name, xc, path)


def _compute(crystal: dict[str, Any], stem: Path, xc: str, path: Path) -> dict[str, Any]:
    """Equation of state of one crystal, computed by a process of its own; its log beside it."""
    write_json(f"{stem}.json", crystal)
    command = [sys.executable, "-P", "-m", "dft2spectra.crystals.equation_of_state"]
    command += [f"{stem}.json", "--xc", xc, "--output", str(path)]
    how = run_child(command, f"{stem}.log", ONE_THREAD)
    if path.exists():
        return dict(read_json(path))
    raise ProcessDied(f"{how}, see {stem}.log")
