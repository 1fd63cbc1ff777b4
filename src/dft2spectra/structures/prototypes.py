"""Chosen elements on the sublattices of known structures, and strained copies.

A **parent** is a crystal (:mod:`dft2spectra.structures.parents`); a **decoration** puts Fe or one
of the chosen elements on every sublattice (:mod:`dft2spectra.structures.decorations`), or those
that ``decorations`` lists, and has a predicted volume (:mod:`dft2spectra.structures.volumes`).
Without ``elements`` and ``decorations`` the parents are taken as they are, with their own volume.
Strained copies (:mod:`dft2spectra.structures.strains`) are made of all. The size is known before
anything is enumerated.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from dft2spectra.structures import inputs
from dft2spectra.structures.decorations import Sublattices, sublattices
from dft2spectra.structures.parents import Parent, named_parents, parent_files
from dft2spectra.structures.prototype_settings import DEFAULTS, Source, check, decorated, in_words
from dft2spectra.structures.raw import RawStructure, Reason, Rejected
from dft2spectra.structures.retrieval import DEFAULT_FOLDER, pinned_path
from dft2spectra.structures.strains import strained_cells
from dft2spectra.structures.volumes import EXPECTED_ERROR_PERCENT, PREDICTOR, predicted_volume

Enumerated = tuple[str, RawStructure | Rejected, dict[str, Any]]
Planned = list[tuple[str, Parent | Rejected, Sublattices | None]]


def input_files(source: Source, limits: dict[str, Any]) -> list[str]:
    """Files that the crystals of a source are read from; a pinned set may still be missing."""
    if source.get("relax_volume"):
        return [pinned_path(source, _pinned_folder(limits))]
    return parent_files(source["parents"], _pinned_folder(limits))


def count(source: Source, limits: dict[str, Any] | None = None) -> dict[str, Any]:
    """Size of the enumeration, without enumerating.

    Parameters
    ----------
    source
        ``parents`` and optionally ``max_atoms`` and the keys of
        :data:`dft2spectra.structures.prototype_settings.DEFAULTS`.
    limits
        ``max_atoms`` and ``pinned`` are looked at.

    Returns
    -------
    dict
        ``structures`` in all; ``copies`` of each decoration (itself, if it is wanted, and its
        strained ones); ``parents``: for
        each ``parent, n_atoms, sublattices, assignments`` (of Fe and the elements to sublattices,
        whatever they are), ``allowed`` (with Fe and as many elements as asked for), ``distinct``
        (after symmetry) and ``structures``; or ``parent``, ``reason`` and ``structures``, 0, where
        there is none.

    Raises
    ------
    ValueError
        As :func:`check`; a parent that does not exist, or has not the sublattices of a decoration.
    """
    check(source)
    return _sizes(_planned(source, limits or {}), DEFAULTS | source)


def sizes_in_words(sources: Iterable[Source], limits: dict[str, Any]) -> list[str]:
    """One line on the size of the enumeration for every source of this kind.

    Raises
    ------
    ValueError
        As :func:`count`.
    """
    lines = []
    for source in inputs.distinct(sources):
        if source["kind"] != "prototypes":
            continue
        sizes = count(source, limits)
        total, copies = sizes["structures"], sizes["copies"]
        most = (DEFAULTS | source)["at_most"]
        lines.append(
            f"{_described(source)}: decorations × copies = {total // copies:,} × {copies:,} = "
            f"{total:,} structures, at most {most:,} are allowed"
        )
    return lines


def enumerate_structures(source: Source, limits: dict[str, Any]) -> Iterator[Enumerated]:
    """Origin, crystal or the reason against it, and provenance of every decoration and copy.

    Parameters
    ----------
    source, limits
        As for :func:`count`.

    Raises
    ------
    ValueError
        As :func:`count`; or more structures than ``at_most``, with the numbers of the parents.
    """
    settings = DEFAULTS | source
    relaxed = bool(source.get("relax_volume"))
    for origin, result, provenance in (_relaxed if relaxed else unstrained)(source, limits):
        if isinstance(result, Rejected):
            yield origin, result, provenance
        else:
            yield from _with_copies(origin, result, provenance, settings)


def unstrained(source: Source, limits: dict[str, Any]) -> Iterator[Enumerated]:
    """As :func:`enumerate_structures`, with predicted volumes and without strained copies."""
    check(source)
    settings = DEFAULTS | source
    planned = _planned(source, limits)
    sizes = _sizes(planned, settings)
    if sizes["structures"] > settings["at_most"]:
        raise ValueError(_too_many(sizes, source))
    for label, parent, places in planned:
        origin = f"prototypes:{label}"
        if isinstance(parent, Rejected):
            yield origin, parent, {"parent": label}
        elif places is None:
            yield origin, parent.raw, _provenance(parent)
        else:
            for assignment in _assignments(places, settings):
                yield _decorated(origin, parent, places, assignment, settings["volume_scale"])


def _relaxed(source: Source, limits: dict[str, Any]) -> Iterator[Enumerated]:
    """Crystals of the pinned set with relaxed volumes, or the reasons against them."""
    from dft2spectra.structures import pinned

    settings = DEFAULTS | source
    content = pinned.read(pinned_path(source, _pinned_folder(limits)))
    copies = _copies(settings)
    total = copies * sum("reason" not in entry for entry in content["entries"])
    if total > settings["at_most"]:
        sizes = {"structures": total, "copies": copies, "parents": []}
        raise ValueError(_too_many(sizes, source))
    for entry in content["entries"]:
        origin = f"prototypes:{entry['id']}"
        if "reason" in entry:
            code, _, sentence = entry["reason"].partition(": ")
            yield origin, Rejected(Reason(code), sentence), {"parent": entry["id"]}
            continue
        provenance = dict(entry["properties"])
        raw = RawStructure(
            cell=np.array(entry["cell_ang"], dtype=float),
            symbols=list(entry["symbols"]),
            scaled_positions=np.array(entry["scaled_positions"], dtype=float),
            moments_mub=entry["moments_mub"],
            prototype=provenance.pop("prototype"),
            citation=provenance.get("citation"),
        )
        yield origin, raw, provenance | {"computed_at": content["retrieved_at"]}


# --- parents and their sizes ---------------------------------------------------------------------


def _pinned_folder(limits: dict[str, Any]) -> str:
    return str(limits.get("pinned") or DEFAULT_FOLDER)


def _others(settings: dict[str, Any]) -> list[str]:
    return sorted(set(settings["elements"]) - {"Fe"})


def _numbers(settings: dict[str, Any]) -> range:
    """Numbers of different elements that are asked for."""
    fewest, most = settings["n_elements"]
    return range(fewest, most + 1)


def _planned(source: Source, limits: dict[str, Any]) -> Planned:
    """Parents with their sublattices, if any are to be decorated; too large ones are `Rejected`."""
    settings = DEFAULTS | source
    bounds = [bound for bound in (source.get("max_atoms"), limits.get("max_atoms")) if bound]
    most = min(bounds, default=math.inf)
    planned: Planned = []
    for label, parent in named_parents(source["parents"], _pinned_folder(limits)):
        if isinstance(parent, Rejected):
            planned.append((label, parent, None))
        elif parent.n_atoms > most:
            sentence = f"{parent.n_atoms} atoms in the primitive cell of the parent, at most {most}"
            planned.append((label, Rejected(Reason.TOO_MANY_ATOMS, sentence), None))
        elif not decorated(settings):
            planned.append((label, parent, None))
        else:
            places = sublattices(parent, settings["sublattices"])
            _check_sublattices(label, places, settings["decorations"] or [])
            planned.append((label, parent, places))
    return planned


def _check_sublattices(label: str, places: Sublattices, decorations: list[dict[str, str]]) -> None:
    for decoration in decorations:
        if sorted(decoration) != places.names:
            raise ValueError(
                f"structures.sources: decorations: {in_words(decoration)} does not name the "
                f"sublattices of {label}, {', '.join(places.names)}, each once"
            )


def _assignments(places: Sublattices, settings: dict[str, Any]) -> Iterable[dict[str, str]]:
    """Elements of the sublattices: those listed, or all that are allowed."""
    if settings["decorations"] is not None:
        return [dict(sorted(decoration.items())) for decoration in settings["decorations"]]
    return places.decorations(_others(settings), _numbers(settings))


def _copies(settings: dict[str, Any]) -> int:
    """Crystals made of each decoration: itself, if it is wanted, and its strained copies."""
    strained = sum(len(set(strains)) for strains in settings["strains"].values())
    return int(settings["unstrained"]) + strained


def _sizes(planned: Planned, settings: dict[str, Any]) -> dict[str, Any]:
    copies = _copies(settings)
    rows: list[dict[str, Any]] = []
    for label, parent, places in planned:
        if isinstance(parent, Rejected):
            rows.append({"parent": label, "reason": str(parent), "structures": 0})
            continue
        sizes = {"sublattices": 0, "assignments": 1, "allowed": 1, "distinct": 1}
        if places is not None and settings["decorations"] is not None:
            listed = len(settings["decorations"])
            sizes = dict.fromkeys(sizes, listed) | {"sublattices": len(places.names)}
        elif places is not None:
            sizes = {"sublattices": len(places.names)}
            sizes |= places.sizes(_others(settings), _numbers(settings))
        row = {"parent": label, "n_atoms": parent.n_atoms, **sizes}
        rows.append(row | {"structures": sizes["distinct"] * copies})
    total = sum(row["structures"] for row in rows)
    return {"structures": total, "copies": copies, "parents": rows}


def _described(source: Source) -> str:
    """Label of a source and its parents, by which a person finds it in the configuration."""
    parents = source["parents"]
    more = f" and {len(parents) - 3} more" if len(parents) > 3 else ""
    return f"{inputs.label(source)} of {', '.join(parents[:3])}{more}"


def _too_many(sizes: dict[str, Any], source: Source) -> str:
    at_most = (DEFAULTS | source)["at_most"]
    parents = [row for row in sizes["parents"] if row["structures"]]
    parents.sort(key=lambda row: (-row["structures"], row["parent"]))
    shown = ", ".join(f"{row['parent']} {row['structures']:,}" for row in parents[:8])
    more = f" and {len(parents) - 8} more parents" if len(parents) > 8 else ""
    numbers = f": {shown}{more}" if parents else ""
    copies = f" ({sizes['copies']} copies of each decoration)" if sizes["copies"] > 1 else ""
    return (
        f"structures.sources: {_described(source)}: {sizes['structures']:,} structures{copies}, "
        f"at most {at_most:,} are allowed{numbers}; name fewer parents, elements or strains, "
        "lower n_elements or max_atoms, or raise at_most"
    )


# --- making the crystals -------------------------------------------------------------------------


def _provenance(parent: Parent) -> dict[str, Any]:
    return {"parent": parent.label, **parent.provenance, "citation": parent.raw.citation}


def _decorated(
    origin: str,
    parent: Parent,
    places: Sublattices,
    assignment: dict[str, str],
    volume_scale: float,
) -> Enumerated:
    origin += f":{in_words(assignment)}"
    provenance = _provenance(parent) | {
        "sublattices": assignment,
        "volume_predictor": PREDICTOR,
        "volume_error_percent": list(EXPECTED_ERROR_PERCENT),
    }
    if volume_scale != 1.0:
        origin += f":volume*{volume_scale:g}"
        provenance["volume_scale"] = volume_scale
    symbols = [assignment[name] for name in places.of_atoms]
    try:
        volume = predicted_volume(parent.raw.cell, symbols, parent.raw.scaled_positions)
    except Rejected as rejection:
        return origin, rejection, provenance
    scale = np.cbrt(volume_scale * volume / abs(np.linalg.det(parent.raw.cell)))
    one_to_one = len(set(assignment.values())) == len(assignment)
    raw = RawStructure(
        cell=parent.raw.cell * scale,
        symbols=symbols,
        scaled_positions=parent.raw.scaled_positions,
        prototype=parent.raw.prototype if one_to_one else None,
        citation=parent.raw.citation,
    )
    return origin, raw, provenance


def _with_copies(
    origin: str, raw: RawStructure, provenance: dict[str, Any], settings: dict[str, Any]
) -> Iterator[Enumerated]:
    """The crystal, if it is wanted, and its strained copies.

    They stay in its family: a model must not be tested on one after it has seen another.
    """
    from dft2spectra.structures.canonical import canonical_form

    strains = settings["strains"]
    if settings["unstrained"]:
        yield origin, raw, provenance
    if not any(strains.values()):
        return
    try:
        family = canonical_form(raw)["parent"]
    except Rejected as rejection:
        yield f"{origin}:strained", rejection, provenance
        return
    for mode, strain, cell in strained_cells(raw.cell, strains):
        copy = RawStructure(
            cell=cell,
            symbols=raw.symbols,
            scaled_positions=raw.scaled_positions,
            labels=raw.labels,
            moments_mub=raw.moments_mub,
            parent=family,
            magnetic_order=raw.magnetic_order,
            citation=raw.citation,
        )
        of_copy = provenance | {"strain": {"mode": mode, "strain": strain, "strained": origin}}
        yield f"{origin}:{mode}{strain:+g}", copy, of_copy
