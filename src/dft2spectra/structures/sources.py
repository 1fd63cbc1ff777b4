"""From the sources of a configuration to accepted structures and accounted-for rejections.

Imports only the standard library at the top: the Snakefile asks for the planned ids at every start,
and when nothing changed the answer comes from ``index.csv``.
"""

import hashlib
import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any

from dft2spectra.structures.listing import list_files
from dft2spectra.structures.storage import read_structure, to_atoms, write_structures

__all__ = [
    "collect",
    "fingerprint",
    "planned",
    "read_structure",
    "to_atoms",
    "write_structures",
]

# For the whole package: raised when the same files would give other structures. Part of the
# fingerprint, so that a raised number reaches the structures before any job is planned.
METHOD_VERSION = 1

Structure = dict[str, Any]
Rejection = dict[str, Any]

# What a calculation depends on; provenance and measured values are not among it.
HASHED_KEYS = ("cell_ang", "symbols", "scaled_positions", "site_labels", "initial_moments_mub")


def collect(
    sources: list[dict[str, Any]], limits: dict[str, Any]
) -> tuple[list[Structure], list[Rejection]]:
    """Accepted structures in canonical form, and every other input with the reason against it.

    Parameters
    ----------
    sources
        Mappings with ``kind: files``, ``path`` (folder, pattern or file) and optionally ``names``
        (stems of the files to take).
    limits
        ``max_atoms`` (primitive cell), ``min_distance_ang``, ``min_covalent_fraction`` (of the sum
        of covalent radii), ``max_volume_ang3_per_atom``; see
        :data:`dft2spectra.structures.screening.DEFAULT_LIMITS`. Other keys are not looked at.

    Returns
    -------
    accepted
        Structure records sorted by id. The same crystal from several inputs is one record with the
        provenance of each.
    rejected
        ``source, origin, structure_id, formula, reason`` per rejected input, sorted by origin.
        Inputs merged into another appear here as ``duplicate_of``, so that accepted plus rejected
        is the number of structures read.

    Raises
    ------
    ValueError
        A path of a source does not exist, or its kind is unknown. Nothing else raises.
    """
    from dft2spectra.structures.files import read_file
    from dft2spectra.structures.raw import Rejected
    from dft2spectra.structures.screening import effective_limits

    in_force = effective_limits(limits)
    candidates: list[Structure] = []
    rejected: list[Rejection] = []
    for path in _all_files(sources):
        results = read_file(path)
        for number, result in enumerate(results, start=1):
            origin = path if len(results) == 1 else f"{path}#{number}"
            checked = result if isinstance(result, Rejected) else _check(result, in_force)
            if isinstance(checked, Rejected):
                rejected.append(_rejection(origin, result, checked))
                continue
            checked["_origin"] = origin
            checked["provenance"] = [
                _provenance(path, number if len(results) > 1 else None, result, checked)
            ]
            candidates.append(checked)
    accepted, duplicates = _merge(candidates)
    rejected = sorted(rejected + duplicates, key=lambda row: str(row["origin"]))
    return accepted, rejected


def _all_files(sources: list[dict[str, Any]]) -> list[str]:
    """Files of all sources, each once, in an order that the sources' order does not change."""
    paths: dict[str, str] = {}
    folders: dict[str, str] = {}  # resolved once each: with 10,000 files this is most of the time
    for source in sources:
        if source.get("kind") != "files":
            raise ValueError(
                f"structures.sources: unknown kind '{source.get('kind')}'; known is 'files'"
            )
        for path in list_files(source):
            folder, name = os.path.split(path)
            if folder not in folders:
                folders[folder] = os.path.realpath(folder)
            real = os.path.join(folders[folder], name)
            if os.path.islink(path):
                real = os.path.realpath(path)
            paths[real] = min(path, paths.get(real, path))
    return sorted(paths.values())


def _check(raw: Any, limits: dict[str, float]) -> Any:
    """Canonical structure of a crystal as read, or the `Rejected` that says why not."""
    from dft2spectra.structures.canonical import canonical_form
    from dft2spectra.structures.raw import Reason, Rejected, one_line
    from dft2spectra.structures.screening import screen, screen_size

    try:
        screen(raw, limits)
        structure = canonical_form(raw)
        screen_size(len(structure["symbols"]), limits)
    except Rejected as rejection:
        return rejection
    except Exception as error:  # numerical trouble in foreign code that no guard foresaw
        return Rejected(Reason.UNREADABLE, one_line(error))
    return structure


def _provenance(path: str, number: int | None, raw: Any, structure: Structure) -> dict[str, Any]:
    """Where a structure came from; ``index`` counts from 1 in a file that holds several."""
    provenance = {"source": "files", "path": path, "citation": raw.citation}
    if number is not None:
        provenance["index"] = number
    if structure["_notes"]:
        provenance["notes"] = structure["_notes"]
    return provenance


def _rejection(origin: str, raw: Any, why: Any) -> Rejection:
    return {
        "source": "files",
        "origin": origin,
        "structure_id": None,
        "formula": _formula(getattr(raw, "symbols", [])),
        "reason": f"{why.code}: {why.sentence}",
    }


def _formula(symbols: list[str]) -> str | None:
    from dft2spectra.structures.canonical import reduced_formula

    try:
        return reduced_formula(symbols) if symbols else None
    except ValueError:  # an unknown element
        return None


def _merge(candidates: list[Structure]) -> tuple[list[Structure], list[Rejection]]:
    """One structure per crystal, with all provenances, and the duplicates as rejections."""
    from dft2spectra.records import content_hash
    from dft2spectra.structures.identity import group_same

    accepted: list[Structure] = []
    duplicates: list[Rejection] = []
    for identifier, (first, *others) in group_same(candidates):
        for other in sorted(others, key=lambda structure: str(structure["_origin"])):
            first["provenance"] += other["provenance"]
            duplicates.append(
                {
                    "source": "files",
                    "origin": other["_origin"],
                    "structure_id": identifier,
                    "formula": other["formula"],
                    "reason": f"duplicate_of: the same crystal as {identifier} from "
                    f"{first['_origin']}, whose provenance names both",
                }
            )
        record = {"structure_id": identifier}
        record |= {key: value for key, value in first.items() if not key.startswith("_")}
        record["content_hash"] = content_hash({key: record[key] for key in HASHED_KEYS})
        accepted.append(record)
    return accepted, duplicates


def fingerprint(sources: list[dict[str, Any]], limits: dict[str, Any]) -> str:
    """Hash that changes when ``collect`` could give something else, without reading a structure.

    Made from the sources, the limits, the paths, sizes and modification times of the files, the
    version of the PAW datasets and ``METHOD_VERSION``.

    Raises
    ------
    ValueError
        As :func:`collect`.
    """
    files = []
    for path in _all_files(sources):
        try:
            status = os.stat(path)
            files.append([path, status.st_size, status.st_mtime_ns])
        except OSError:  # a link to nothing; `collect` rejects it
            files.append([path, None, None])
    try:
        datasets = metadata.version("gpaw-data")
    except metadata.PackageNotFoundError:
        datasets = os.environ.get("GPAW_SETUP_PATH", "")
    state = [METHOD_VERSION, datasets, sources, limits, files]
    text = json.dumps(state, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def planned(
    sources: list[dict[str, Any]], limits: dict[str, Any], folder: str | Path
) -> tuple[list[Structure], list[dict[str, Any]]]:
    """What ``collect`` gives, without its work while nothing has changed; nothing is written.

    The accepted structures are read back from ``folder`` if its ``fingerprint.json`` still holds
    (a fraction of a second; the rejected ones are then left out), else collected in memory.

    Raises
    ------
    ValueError
        As :func:`collect`.
    """
    folder = Path(folder)
    try:
        stamp = json.loads((folder / "fingerprint.json").read_text(encoding="utf-8"))
        if stamp == {"fingerprint": fingerprint(sources, limits)}:
            paths = sorted(folder.glob("accepted/*.json"))
            return [json.loads(path.read_text(encoding="utf-8")) for path in paths], []
    except (OSError, ValueError, KeyError):  # never written, or damaged
        pass
    return collect(sources, limits)
