"""From the sources of a configuration to accepted structures and accounted-for rejections.

Imports only the standard library at the top: the Snakefile asks for the planned ids at every start,
and when nothing changed the answer comes from ``index.csv``.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from dft2spectra.structures.inputs import Input, distinct, input_files, label, read_inputs
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
METHOD_VERSION = 4

Structure = dict[str, Any]
Rejection = dict[str, Any]

# Kinds in the order in which their description of a crystal is preferred: a campaign that has
# computed its own files does not compute them again because a database holds them too.
PREFERENCE = ("files", "materials_project", "optimade", "prototypes")

# What a calculation depends on; provenance and measured values are not among it.
HASHED_KEYS = ("cell_ang", "symbols", "scaled_positions", "site_labels", "initial_moments_mub")


def collect(
    sources: list[dict[str, Any]], limits: dict[str, Any], design: str | None = None
) -> tuple[list[Structure], list[Rejection]]:
    """Accepted structures in canonical form, and every other input with the reason against it.

    Parameters
    ----------
    sources
        Mappings with ``kind`` and the keys that ``config_schema.yaml`` names for it. Databases are
        read from their pinned sets; nothing is retrieved.
    limits
        ``max_atoms`` (primitive cell), ``min_distance_ang``, ``min_covalent_fraction`` (of the sum
        of covalent radii), ``max_volume_ang3_per_atom``; see
        :data:`dft2spectra.structures.screening.DEFAULT_LIMITS`. ``pinned`` is the folder of the
        pinned sets. Other keys are not looked at.
    design
        Table with the places of the crystals (:mod:`dft2spectra.structures.design`).

    Returns
    -------
    accepted
        Structure records sorted by id. The same crystal from several inputs is one record with the
        provenance of each. ``order`` and ``role`` are its place in the design.
    rejected
        ``source, origin, structure_id, formula, reason`` per rejected input, sorted by origin.
        Inputs merged into another appear here as ``duplicate_of``, so that accepted plus rejected
        is the number of structures read.

    Raises
    ------
    ValueError
        A path of a source does not exist, its kind is unknown, or a pinned set is missing, damaged
        or was retrieved with other settings. Nothing else raises.
    """
    from dft2spectra.structures.design import place
    from dft2spectra.structures.raw import Rejected
    from dft2spectra.structures.screening import effective_limits

    in_force = effective_limits(limits)
    taken: Counter[str] = Counter()
    candidates: list[Structure] = []
    rejected: list[Rejection] = []
    for item in read_inputs(sources, limits):
        checked = _take(item, in_force, taken)
        if isinstance(checked, Rejected):
            rejected.append(_rejection(item, checked))
            continue
        checked["_origin"] = item.origin
        checked["_source"] = label(item.sources[0])
        checked["_rank"] = PREFERENCE.index(item.sources[0]["kind"])
        checked["provenance"] = [item.provenance]
        if checked["_notes"]:
            item.provenance["notes"] = checked["_notes"]
        candidates.append(checked)
    accepted, duplicates = _merge(candidates)
    rejected = sorted(rejected + duplicates, key=lambda row: str(row["origin"]))
    return place(accepted, design), rejected


def _take(item: Input, limits: dict[str, Any], taken: Counter[str]) -> Any:
    """Canonical structure for the first source that takes the crystal, or the `Rejected`.

    ``taken`` counts what every source has taken so far.
    """
    from dft2spectra.structures.filters import filter_elements, filter_number, filter_size
    from dft2spectra.structures.raw import Rejected

    if isinstance(item.result, Rejected):
        return item.result
    left: list[tuple[str, Any]] = []
    refusal: Any = None
    for source in item.sources:
        key = json.dumps(source, sort_keys=True, default=str)
        try:
            filter_elements(item.result.symbols, source)
            filter_number(taken[key], source)
        except Rejected as rejection:
            refusal = rejection
            continue
        left.append((key, source))
    if not left:
        return refusal
    structure = _check(item.result, limits)
    if isinstance(structure, Rejected):
        return structure
    for key, source in left:
        try:
            filter_size(len(structure["symbols"]), source)
        except Rejected as rejection:
            refusal = rejection
            continue
        taken[key] += 1
        return structure
    return refusal


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


def _rejection(item: Input, why: Any) -> Rejection:
    return {
        "source": label(item.sources[0]),
        "origin": item.origin,
        "structure_id": None,
        "formula": _formula(getattr(item.result, "symbols", [])) or item.formula,
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
                    "source": other["_source"],
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


def fingerprint(
    sources: list[dict[str, Any]], limits: dict[str, Any], design: str | None = None
) -> str:
    """Hash that changes when ``collect`` could give something else, without reading a structure.

    Made from the sources, the limits, the paths, sizes and modification times of the files, the
    design among them, the version of the PAW datasets and ``METHOD_VERSION``.

    Raises
    ------
    ValueError
        As :func:`collect`.
    """
    files = []
    each = distinct(sources)
    paths = {path for source in each for path in input_files(source, limits)}
    for path in sorted(paths) + ([] if design is None else [design]):
        try:
            status = os.stat(path)
            files.append([path, status.st_size, status.st_mtime_ns])
        except OSError:  # a link to nothing, or not retrieved yet; `collect` says so
            files.append([path, None, None])
    try:
        datasets = metadata.version("gpaw-data")
    except metadata.PackageNotFoundError:
        datasets = os.environ.get("GPAW_SETUP_PATH", "")
    state = [METHOD_VERSION, datasets, each, limits, files, design]
    text = json.dumps(state, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def planned(
    sources: list[dict[str, Any]],
    limits: dict[str, Any],
    folder: str | Path,
    progress: Callable[[str], None] = lambda line: None,
    design: str | None = None,
) -> tuple[list[Structure], list[dict[str, Any]]]:
    """What ``collect`` gives, without its work while nothing has changed; nothing is written.

    The accepted structures are read back from ``folder`` if its ``fingerprint.json`` still holds
    (a fraction of a second; the rejected ones are then left out), else collected in memory, after
    ``progress`` was called with the size of the enumeration of each source of prototypes.

    Raises
    ------
    ValueError
        As :func:`collect`.
    """
    folder = Path(folder)
    try:
        stamp = json.loads((folder / "fingerprint.json").read_text(encoding="utf-8"))
        if stamp == {"fingerprint": fingerprint(sources, limits, design)}:
            paths = sorted(folder.glob("accepted/*.json"))
            return [json.loads(path.read_text(encoding="utf-8")) for path in paths], []
    except (OSError, ValueError, KeyError):  # never written, or damaged
        pass
    if any(source["kind"] == "prototypes" for source in sources):
        from dft2spectra.structures.prototypes import sizes_in_words

        for line in sizes_in_words(sources, limits):
            progress(line)
    return collect(sources, limits, design)
