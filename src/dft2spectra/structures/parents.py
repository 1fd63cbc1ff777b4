"""Parents of decorated structures: prototypes of the AFLOW library by name, files, pinned sets.

The library is the one that pymatgen carries: 288 entries of M. J. Mehl et al., Comput. Mater. Sci.
136, S1 (2017), each a real crystal. Some of their geometries are extreme (high pressure, molecules)
and a few are wrong; what does not suit the elements is rejected with its reason later.
"""

import difflib
import functools
import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dft2spectra.structures.listing import file_format, list_files
from dft2spectra.structures.raw import RawStructure, Reason, Rejected, one_line

CITATION = "prototype {}: M. J. Mehl et al., Comput. Mater. Sci. 136, S1 (2017)"
WHOLE_LIBRARY = "aflow"
PINNED_PREFIX = "pinned:"


@dataclass(frozen=True)
class Parent:
    """A crystal in its primitive standard cell whose atoms are to be replaced."""

    label: str
    """Unique name: label of the library, path of the file, or name and id of the pinned entry."""
    raw: RawStructure
    """Idealised primitive cell, one site label per orbit."""
    structure_type: str
    """Label that relatives share, as in the key ``parent`` of structure records."""
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def n_atoms(self) -> int:
        """Atoms of the primitive cell."""
        return len(self.raw.symbols)


Found = tuple[str, Parent | Rejected]


def named_parents(names: list[str], pinned_folder: str) -> Iterator[Found]:
    """Label and parent, or the reason against it, for every name in its order, each label once.

    Parameters
    ----------
    names
        ``aflow`` for the whole library; a label (``AB3_cP4_221_a_c``), Strukturbericht symbol
        (``L1_2``) or mineral (``Halite, Rock Salt``) of the library; a file, folder or pattern;
        ``pinned:<name>``.
    pinned_folder
        Where the pinned sets are.

    Raises
    ------
    ValueError
        A name that means nothing or more than one prototype, a path that does not exist.
    """
    seen: set[str] = set()
    for name in names:
        for label, found in _named(name, pinned_folder):
            if label not in seen:
                seen.add(label)
                yield label, found


def parent_files(names: list[str], pinned_folder: str) -> list[str]:
    """Files that the parents are read from."""
    files: list[str] = []
    for name in names:
        if name.startswith(PINNED_PREFIX):
            files.append(_pinned_file(name, pinned_folder))
        elif _is_path(name):
            files += list_files({"path": name})
    return files


def _is_path(name: str) -> bool:
    return os.path.lexists(name) or glob.has_magic(name) or file_format(name) is not None


def _pinned_file(name: str, folder: str) -> str:
    return os.path.join(folder, name.removeprefix(PINNED_PREFIX) + ".json")


def _named(name: str, pinned_folder: str) -> Iterator[Found]:
    if name == WHOLE_LIBRARY:
        yield from map(_from_library, library())
    elif name.startswith(PINNED_PREFIX):
        yield from _from_pinned(name, _pinned_file(name, pinned_folder))
    elif _is_path(name):
        for path in list_files({"path": name}):
            yield from _from_file(path)
    else:
        yield _from_library(look_up(name))


# --- the library ---------------------------------------------------------------------------------


@functools.cache
def library() -> tuple[dict[str, Any], ...]:
    """Entries of the AFLOW library: ``label`` (unique), ``names`` (all it answers to), ``snl``."""
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    entries = []
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        tags = {key: _tidy(value) for key, value in entry["tags"].items()}
        names = [tags[key] for key in ("aflow", "strukturbericht", "mineral") if tags[key]]
        entries.append({"aflow": tags["aflow"], "names": names, "snl": entry["snl"]})
    aflow = [entry["aflow"] for entry in entries]
    for entry in entries:
        entry["label"] = entry["aflow"]
        if aflow.count(entry["aflow"]) > 1:
            formula = entry["snl"].structure.composition.reduced_formula
            entry["label"] = "-".join([*entry["names"], formula][:2])
    return tuple(entries)


def look_up(name: str) -> dict[str, Any]:
    """The entry of the library with this label, Strukturbericht symbol or mineral.

    Raises
    ------
    ValueError
        None or several; names the nearest, or those that can be told apart.
    """
    wanted = _comparable(name)
    matches = [
        entry
        for entry in library()
        if wanted in map(_comparable, [*entry["names"], entry["label"]])
    ]
    if len(matches) > 1:
        choices = ", ".join(entry["label"] for entry in matches)
        raise ValueError(
            f"structures.sources: parents: '{name}' is the name of {len(matches)} prototypes; "
            f"choose among {choices}"
        )
    if not matches:
        known = {_comparable(other): other for entry in library() for other in entry["names"]}
        close = difflib.get_close_matches(wanted, known, n=3)
        hint = f"; nearest: {', '.join(known[key] for key in close)}" if close else ""
        raise ValueError(
            f"structures.sources: parents: '{name}' is no prototype of the AFLOW library, no file "
            f"(seen from {os.getcwd()}) and not '{WHOLE_LIBRARY}' or '{PINNED_PREFIX}…'{hint}"
        )
    return matches[0]


def _tidy(tag: str) -> str:
    text = str(tag or "").replace("\\", "").strip()
    return "" if text == "None" else text


def _comparable(name: str) -> str:
    """``L1_2``, ``L12`` and ``l12`` are one name."""
    return name.replace("_", "").strip().lower()


def _from_library(entry: dict[str, Any]) -> Found:
    structure = entry["snl"].structure
    raw = RawStructure(
        cell=np.array(structure.lattice.matrix),
        symbols=[site.specie.symbol for site in structure],
        scaled_positions=np.array(structure.frac_coords),
        citation=CITATION.format(entry["label"]),
        prototype=entry["names"][1] if len(entry["names"]) > 1 else entry["aflow"],
    )
    return _standardised(entry["label"], raw, {"prototype": entry["label"]})


# --- files and pinned sets -----------------------------------------------------------------------


def _from_file(path: str) -> Iterator[Found]:
    from dft2spectra.structures.files import read_file

    results = read_file(path)
    for number, result in enumerate(results, start=1):
        label = path if len(results) == 1 else f"{path}#{number}"
        if isinstance(result, Rejected):
            yield label, result
        else:
            yield _standardised(label, result, {"path": path})


def _from_pinned(name: str, path: str) -> Iterator[Found]:
    from dft2spectra.structures import pinned

    try:
        content = pinned.read(path)
    except FileNotFoundError:
        raise ValueError(
            f"structures.sources: parents: '{name}' has no pinned set at {path} "
            f"(seen from {os.getcwd()}); retrieve it first, or correct the name"
        ) from None
    for entry in content["entries"]:
        label = f"{name}/{entry['id']}"
        if "reason" in entry:
            code, _, sentence = entry["reason"].partition(": ")
            yield label, Rejected(Reason(code), sentence)
            continue
        raw = RawStructure(
            cell=np.array(entry["cell_ang"], dtype=float),
            symbols=list(entry["symbols"]),
            scaled_positions=np.array(entry["scaled_positions"], dtype=float),
            moments_mub=entry["moments_mub"],
        )
        yield _standardised(label, raw, {"pinned": name, "id": entry["id"]})


def _standardised(label: str, raw: RawStructure, provenance: dict[str, Any]) -> Found:
    """Parent in its primitive standard cell, or why there is none."""
    from dft2spectra.structures.canonical import canonical_form
    from dft2spectra.structures.screening import screen_geometry

    try:
        screen_geometry(raw)
        record = canonical_form(raw)
    except Rejected as rejection:
        return label, rejection
    except Exception as error:  # numerical trouble in foreign code that no guard foresaw
        return label, Rejected(Reason.UNREADABLE, one_line(error))
    standard = RawStructure(
        cell=np.array(record["cell_ang"]),
        symbols=record["symbols"],
        scaled_positions=np.array(record["scaled_positions"]),
        labels=record["site_labels"],
        moments_mub=record["initial_moments_mub"] if raw.moments_mub else None,
        name=record["name"],
        prototype=record["prototype"],
        magnetic_order=record["magnetic_order"],
        citation=raw.citation,
    )
    return label, Parent(label, standard, record["parent"], provenance)
