"""The one form of a crystal: primitive standardised cell, orbits, site labels, starting moments.

spglib finds the space group within :data:`SYMPREC`, moves every atom onto its symmetry position
and chooses the cell and its orientation; what is left of the source's choice is the origin among
those the space group allows. Ids do not depend on it (:mod:`dft2spectra.structures.identity`).
"""

import hashlib
import json
import re
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from dft2spectra.structures.raw import RawStructure, Reason, Rejected, warnings_as_notes

# Å. Above the rounding of coordinates in files (0.333 for 1/3 in a 5 Å cell is off by 0.002 Å),
# below distortions that matter (1 % strain of a 2.5 Å lattice vector is 0.025 Å).
SYMPREC = 0.01

# µB, starting guess where the source gives none: ferromagnetic metals, above the bulk moments so
# that the iterations come from the high-spin side.
DEFAULT_MOMENTS_MUB = {"Fe": 2.5, "Co": 1.6, "Ni": 0.7, "Mn": 2.5, "Cr": 1.0}

# Pairs of space groups that are mirror images; both hands have the same spectrum and one id.
MIRROR_GROUPS = {
    **{78: 76, 95: 91, 96: 92, 145: 144, 153: 151, 154: 152},
    **{170: 169, 172: 171, 179: 178, 181: 180, 213: 212},
}

# Primitive vectors of each centring as columns, in units of the conventional ones; the choice of
# spglib (https://spglib.readthedocs.io, "Transformation to the primitive cell").
PRIMITIVE = {
    "P": np.eye(3),
    "A": np.array([[2, 0, 0], [0, 1, -1], [0, 1, 1]]) / 2,
    "C": np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]]) / 2,
    "I": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2,
    "F": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
    "R": np.array([[2, -1, -1], [1, 1, -2], [1, 1, 1]]) / 3,
}

Structure = dict[str, Any]


def canonical_form(raw: RawStructure) -> Structure:
    """Structure record of a screened crystal, without ``structure_id`` and ``provenance``.

    Besides the keys that are written it holds ``"_key"``: the conventional lattice parameters and
    the occupied Wyckoff positions, from which the id is made.

    Raises
    ------
    Rejected
        spglib finds no symmetry, or the atoms cannot be followed into the primitive cell.
    """
    species, numbers = np.unique(raw.symbols, return_inverse=True)
    dataset, primitive = _standardise(raw.cell, raw.scaled_positions, numbers)
    lattice, positions, kinds = primitive
    sources = _source_atoms(dataset, lattice, positions)

    symbols = [str(species[kind]) for kind in kinds]
    orbits = np.array([dataset.crystallographic_orbits[atoms[0]] for atoms in sources])
    wyckoff = [str(dataset.wyckoffs[atoms[0]]) for atoms in sources]
    order = _atom_order(symbols, wyckoff, orbits, positions)
    symbols = [symbols[i] for i in order]
    wyckoff = [wyckoff[i] for i in order]
    orbits, positions = orbits[order], positions[order]
    sources = [sources[i] for i in order]

    labels, label_of = _site_labels(raw.labels, symbols, orbits, dataset.crystallographic_orbits)
    moments, notes = _moments(raw, symbols, orbits, sources)
    formula = reduced_formula(symbols)
    occupation = _occupation(dataset, symbols, orbits, sources)
    return {
        "formula": formula,
        "spacegroup": int(dataset.number),
        "name": raw.name,
        "prototype": raw.prototype,
        "magnetic_order": raw.magnetic_order,
        "parent": raw.parent or _parent(int(dataset.number), occupation),
        "cell_ang": np.round(lattice, 8).tolist(),
        "symbols": symbols,
        "scaled_positions": (np.round(positions, 8) % 1.0).tolist(),
        "site_labels": labels,
        "wyckoff": wyckoff,
        "initial_moments_mub": moments,
        "measured": _measured(raw, label_of),
        "_notes": raw.notes + notes,
        "_key": {
            "formula": formula,
            "spacegroup": MIRROR_GROUPS.get(int(dataset.number), int(dataset.number)),
            "occupation": occupation,
            "conventional_cell_ang": np.asarray(dataset.std_lattice),
        },
    }


def reduced_formula(symbols: list[str]) -> str:
    """Reduced formula such as ``AlFe2B2``, elements in pymatgen's order (by electronegativity).

    Without the brackets that pymatgen's own ``reduced_formula`` puts around some groups: the
    formula becomes part of file names that a shell reads.

    Raises
    ------
    ValueError
        A symbol is not an element.
    """
    unknown = set(symbols) - set(chemical_symbols[1:])
    if unknown:  # pymatgen would take some of them for Python
        raise ValueError(f"{min(unknown)!r} is not an element")
    return _formula(tuple(sorted(Counter(symbols).items())))


@cache
def _formula(counts: tuple[tuple[str, int], ...]) -> str:
    from pymatgen.core import Composition

    words = Composition(dict(counts)).reduced_composition.formula.split()
    return "".join(re.sub(r"(?<=[A-Za-z])1$", "", word) for word in words)


def _standardise(cell: np.ndarray, scaled: np.ndarray, numbers: np.ndarray) -> tuple[Any, Any]:
    """Symmetry dataset of spglib and its idealised primitive cell (lattice, positions, kinds)."""
    import spglib

    if np.linalg.det(cell) < 0:  # the same crystal described in a right-handed cell
        cell, scaled = cell[[1, 0, 2]], scaled[:, [1, 0, 2]]
    described: Any = (cell, scaled % 1.0, numbers + 1)
    try:  # spglib 2 returns None for an error and says that spglib 3 will raise; both are met
        with warnings_as_notes():
            dataset = spglib.get_symmetry_dataset(described, symprec=SYMPREC)
    except Exception as error:
        raise Rejected(Reason.UNREADABLE, f"spglib finds no symmetry: {error}") from error
    if dataset is None:
        raise Rejected(Reason.UNREADABLE, "spglib finds no symmetry")
    return dataset, _primitive_cell(dataset)


def _primitive_cell(dataset: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Primitive cell of the idealised conventional one: lattice (Å), positions and kinds from 0.

    What ``spglib.standardize_cell`` gives, without its second search for the symmetry, which is
    the larger part of screening.
    """
    vectors = PRIMITIVE[dataset.international[0]]
    _, first = np.unique(dataset.std_mapping_to_primitive, return_index=True)
    first.sort()
    positions = np.asarray(dataset.std_positions)[first] @ np.linalg.inv(vectors).T
    kinds = np.asarray(dataset.std_types)[first] - 1
    # Summed in spglib's order, so that not even the sign of a zero differs: content hashes see it.
    a, b, c = np.asarray(dataset.std_lattice)
    lattice = np.array([a * x + b * y + c * z for x, y, z in vectors.T])
    return lattice, positions % 1.0, kinds


def _source_atoms(dataset: Any, lattice: np.ndarray, positions: np.ndarray) -> list[np.ndarray]:
    """For each primitive atom, the indices of the given atoms that it stands for."""
    standard = np.asarray(dataset.std_positions)
    in_standard = positions @ lattice @ np.linalg.inv(dataset.std_lattice)
    sources = []
    for point in in_standard:
        difference = standard - point
        difference -= np.rint(difference)
        distance = np.linalg.norm(difference @ dataset.std_lattice, axis=1)
        nearest = int(distance.argmin())
        if distance[nearest] > 2 * SYMPREC:
            raise Rejected(Reason.UNREADABLE, "an atom is lost on the way to the primitive cell")
        index = dataset.std_mapping_to_primitive[nearest]
        sources.append(np.flatnonzero(dataset.mapping_to_primitive == index))
    return sources


def _atom_order(
    symbols: list[str], wyckoff: list[str], orbits: np.ndarray, positions: np.ndarray
) -> list[int]:
    """Order by element, Wyckoff letter and orbit, then position: not by the order of the source."""
    rounded = np.round(positions, 4) % 1.0
    first = {
        orbit: min(tuple(point) for point in rounded[orbits == orbit]) for orbit in set(orbits)
    }
    return sorted(
        range(len(symbols)),
        key=lambda i: (symbols[i], wyckoff[i], first[orbits[i]], tuple(rounded[i])),
    )


def _site_labels(
    given: list[str] | None, symbols: list[str], orbits: np.ndarray, given_orbits: np.ndarray
) -> tuple[list[str], dict[str, str]]:
    """Labels of the primitive atoms, one per orbit, and the map from the source's labels.

    The label of the source stays when all atoms of the orbit carry it and no other orbit does.
    """
    members: dict[int, set[str]] = {}
    for label, orbit in zip(given or [], given_orbits, strict=False):
        members.setdefault(int(orbit), set()).add(label)
    uses = Counter(label for labels in members.values() for label in labels)
    kept = {
        orbit: next(iter(labels))
        for orbit, labels in members.items()
        if len(labels) == 1
        and uses[next(iter(labels))] == 1
        and re.fullmatch(r"[A-Za-z][\w+-]{0,23}", next(iter(labels)), re.ASCII)
    }
    chosen: dict[int, str] = dict(kept)
    for symbol, orbit in zip(symbols, orbits.tolist(), strict=True):
        if orbit not in chosen:
            taken = set(chosen.values())
            number = 1
            while f"{symbol}{number}" in taken:
                number += 1
            chosen[orbit] = f"{symbol}{number}"
    label_of = {label: chosen[orbit] for orbit, labels in members.items() for label in labels}
    return [chosen[orbit] for orbit in orbits.tolist()], label_of


def _moments(
    raw: RawStructure, symbols: list[str], orbits: np.ndarray, sources: list[np.ndarray]
) -> tuple[list[float], list[str]]:
    """Starting moment per primitive atom (µB), and a note where the source's order is lost.

    Atoms that are one atom of the primitive cell can differ in the source's magnetic order (an
    antiferromagnetic supercell); then the orbit keeps the mean size of its moments, and a magnetic
    structure is refused.
    """
    defaults = [DEFAULT_MOMENTS_MUB.get(symbol, 0.0) for symbol in symbols]
    if raw.moments_mub is None:
        return defaults, []
    values: list[list[float]] = [
        [default if raw.moments_mub[i] is None else float(raw.moments_mub[i]) for i in atoms]  # type: ignore[arg-type]
        for default, atoms in zip(defaults, sources, strict=True)
    ]
    moments = [float(np.mean(group)) for group in values]
    mixed = {
        orbit
        for orbit, group in zip(orbits.tolist(), values, strict=True)
        if max(group) - min(group) > 0.2 * max(1.0, *np.abs(group))
    }
    if mixed and raw.keeps_order:
        raise Rejected(
            Reason.UNREADABLE,
            "its magnetic order needs a larger cell than the crystal has without moments; only the "
            "primitive cell is computed",
        )
    for i, orbit in enumerate(orbits.tolist()):
        if orbit in mixed:
            together = [
                x for o, group in zip(orbits, values, strict=True) if o == orbit for x in group
            ]
            moments[i] = float(np.mean(np.abs(together)))
    notes = ["magnetic order does not fit the primitive cell: mean size of the moments kept"]
    return [round(moment, 6) for moment in moments], notes if mixed else []


def _occupation(
    dataset: Any, symbols: list[str], orbits: np.ndarray, sources: list[np.ndarray]
) -> list[tuple[str, int, str]]:
    """Sorted (element, multiplicity in the conventional cell, site symmetry) of the orbits.

    Site symmetry stands for the Wyckoff letter: letters change with the origin (FeAl: a and b may
    be exchanged), the symmetry without its orientation does not.
    """
    per_primitive = len(dataset.std_types) // len(symbols)
    result = []
    for orbit in sorted(set(orbits.tolist())):
        i = int(np.flatnonzero(orbits == orbit)[0])
        symmetry = str(dataset.site_symmetry_symbols[sources[i][0]]).replace(".", "")
        count = int((orbits == orbit).sum()) * per_primitive
        result.append((symbols[i], count, "".join(sorted(symmetry))))
    return sorted(result)


def _parent(group: int, occupation: list[tuple[str, int, str]]) -> str:
    """Label shared by crystals with the same space group and occupied positions, any elements."""
    sites: dict[str, list[tuple[int, str]]] = {}
    for element, count, symmetry in occupation:
        sites.setdefault(element, []).append((count, symmetry))
    group = MIRROR_GROUPS.get(group, group)
    text = json.dumps([group, sorted(sites.values())], separators=(",", ":"))
    return f"{group}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _measured(raw: RawStructure, label_of: dict[str, str]) -> list[dict[str, Any]]:
    return [{**entry, "site": label_of[entry["site"]]} for entry in raw.measured]
