"""What the sources of a configuration hold, one crystal after the other, whatever their kind.

Imports only the standard library at the top, like :mod:`dft2spectra.structures.sources`.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dft2spectra.structures.listing import list_files
from dft2spectra.structures.retrieval import check_current, is_remote, pinned_path
from dft2spectra.terminal import harmless

if TYPE_CHECKING:
    from dft2spectra.structures.raw import RawStructure, Rejected

Source = dict[str, Any]

# µB. Smaller moments of a database are not taken for a magnetic order.
SMALLEST_MOMENT_MUB = 0.1


@dataclass
class Input:
    """One crystal, or what stands in its place, before any screening."""

    origin: str
    """Where it is: a path, or ``kind:name/id`` for an entry of a database."""
    result: "RawStructure | Rejected"
    provenance: dict[str, Any]
    sources: list[Source]
    """The sources that name it: several for a file that several of them match."""
    formula: str | None = None
    """What the source calls it, for an entry that is no crystal."""


def label(source: Source) -> str:
    """Short name of a source in tables: its kind, and its name if it has one."""
    return f"{source['kind']}:{source['name']}" if "name" in source else str(source["kind"])


def distinct(sources: Iterable[Source]) -> list[Source]:
    """The sources, each once, in an order that does not depend on the given one."""
    named = {json.dumps(source, sort_keys=True, default=str): source for source in sources}
    return [named[key] for key in sorted(named)]


def input_files(source: Source, limits: dict[str, Any]) -> list[str]:
    """Files that the crystals of a source are read from; a pinned set may still be missing.

    Raises
    ------
    ValueError
        A path of the source does not exist, or its kind is unknown.
    """
    kind = source.get("kind")
    if kind == "files":
        return list_files(source)
    if is_remote(source):
        return [pinned_path(source, limits.get("pinned"))]
    if kind == "prototypes":
        from dft2spectra.structures import prototypes

        return prototypes.input_files(source, limits)
    raise ValueError(
        f"structures.sources: unknown kind '{kind}'; known are files, prototypes, "
        "materials_project, optimade"
    )


def read_inputs(sources: Iterable[Source], limits: dict[str, Any]) -> Iterator[Input]:
    """Crystals of all sources in an order that the order of the sources does not change.

    Raises
    ------
    ValueError
        As :func:`input_files`; or a pinned set is missing, damaged, or holds the answer to other
        settings.
    """
    each = distinct(sources)
    for source in each:
        input_files(source, limits)  # before any work, whether all are there
        if is_remote(source):
            check_current(source, limits.get("pinned"), limits.get("xc"))
    yield from _files([source for source in each if source["kind"] == "files"])
    for source in each:
        if source["kind"] == "prototypes":
            yield from _prototypes(source, limits)
        elif is_remote(source):
            yield from _pinned(source, limits)


def _files(sources: list[Source]) -> Iterator[Input]:
    from dft2spectra.structures.files import read_files
    from dft2spectra.structures.raw import RawStructure

    naming_of = dict(files_of(sources))
    for path, results in read_files(naming_of):
        naming = naming_of[path]
        for number, result in enumerate(results, start=1):
            several = len(results) > 1
            provenance: dict[str, Any] = {"source": "files", "path": path}
            if isinstance(result, RawStructure):
                provenance["citation"] = result.citation
            if several:
                provenance["index"] = number
            origin = harmless(f"{path}#{number}" if several else path)
            yield Input(origin, result, provenance, naming)


def files_of(sources: Iterable[Source]) -> list[tuple[str, list[Source]]]:
    """Files of all sources of this kind, each once, sorted, with the sources that name it."""
    paths: dict[str, str] = {}
    naming: dict[str, list[Source]] = {}
    folders: dict[str, str] = {}  # resolved once each: with 10,000 files this is most of the time
    for source in sources:
        for path in list_files(source):
            folder, name = os.path.split(path)
            if folder not in folders:
                folders[folder] = os.path.realpath(folder)
            real = os.path.join(folders[folder], name)
            if os.path.islink(path):
                real = os.path.realpath(path)
            paths[real] = min(path, paths.get(real, path))
            naming.setdefault(real, []).append(source)
    return sorted((path, naming[real]) for real, path in paths.items())


def _pinned(source: Source, limits: dict[str, Any]) -> Iterator[Input]:
    """Entries of a pinned set, by id."""
    from dft2spectra.structures.pinned import read
    from dft2spectra.structures.raw import Reason, Rejected

    pinned = read(pinned_path(source, limits.get("pinned")))
    for entry in pinned["entries"]:
        provenance = {
            "source": source["kind"],
            "name": source["name"],
            "id": entry["id"],
            "url": entry.get("url"),
            "last_modified": entry.get("last_modified"),
            "database_version": pinned["provider"].get("database_version"),
            "retrieved_at": pinned["retrieved_at"],
        }
        if "reason" in entry:
            code, _, sentence = entry["reason"].partition(": ")
            result: RawStructure | Rejected = Rejected(Reason(code), sentence)
        else:
            result = _raw(entry)
            provenance["properties"] = entry["properties"] | _site_moments(entry)
        origin = harmless(f"{label(source)}/{entry['id']}", 200)
        yield Input(origin, result, provenance, [source], entry.get("formula"))


def _raw(entry: dict[str, Any]) -> "RawStructure":
    """Crystal of an entry.

    Of the moments that the database found, the sign is taken and a size above the guess for the
    element: a calculation starts from the high-spin side whatever the database converged to.
    """
    import numpy as np

    from dft2spectra.structures.canonical import DEFAULT_MOMENTS_MUB
    from dft2spectra.structures.raw import RawStructure

    moments: list[float | None] | None = None
    if entry["moments_mub"] is not None:
        moments = [
            float(np.copysign(max(abs(moment), DEFAULT_MOMENTS_MUB.get(symbol, 0.0)), moment))
            if moment is not None and abs(moment) >= SMALLEST_MOMENT_MUB
            else None
            for symbol, moment in zip(entry["symbols"], entry["moments_mub"], strict=True)
        ]
    return RawStructure(
        cell=np.array(entry["cell_ang"], dtype=float),
        symbols=list(entry["symbols"]),
        scaled_positions=np.array(entry["scaled_positions"], dtype=float),
        moments_mub=moments,
    )


def _site_moments(entry: dict[str, Any]) -> dict[str, Any]:
    """Moments that the database found, by element, to compare with."""
    found: dict[str, list[float | None]] = {}
    for symbol, moment in zip(entry["symbols"], entry["moments_mub"] or [], strict=False):
        found.setdefault(symbol, []).append(moment)
    return {"site_moments_mub": found} if found else {}


def _prototypes(source: Source, limits: dict[str, Any]) -> Iterator[Input]:
    from dft2spectra.structures import prototypes

    for origin, result, provenance in prototypes.enumerate_structures(source, limits):
        named = {key: source[key] for key in ("name",) if key in source}
        yield Input(origin, result, {"source": "prototypes", **named, **provenance}, [source])
