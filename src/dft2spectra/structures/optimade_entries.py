"""One OPTIMADE structure entry as a crystal, or the reason why it cannot be one.

Tolerant where databases differ without a loss: missing optional keys, ``null``, ids as numbers,
``species`` as a list, as a mapping or left out, provider-specific properties of any name. Strict
with what a calculation needs: three lattice vectors, a position and one element for every site,
full occupation, periodicity in three directions, finite numbers, lengths and formula that agree.

Properties of structures: OPTIMADE specification 1.2, section "Structures Entries".
"""

import math
import re
from collections import Counter
from typing import Any
from urllib.parse import quote

import numpy as np

from dft2spectra.structures.canonical import reduced_formula
from dft2spectra.structures.raw import Reason, Rejected

# Without these no crystal; a provider has to send them, if only as null.
NEEDED = ("lattice_vectors", "cartesian_site_positions", "species_at_sites")
OPTIONAL = (
    *("species", "nsites", "dimension_types", "nperiodic_dimensions", "structure_features"),
    *("chemical_formula_reduced", "last_modified"),
)

# Provider-specific properties that are kept: stability, magnetism, gap, symmetry, functional,
# conditions of a measurement, state of the entry and references to other databases.
KEPT = re.compile(
    r"hull|stability|formation_energy|delta_e|magneti[cz]|magmom|ordering|band_?gap|"
    r"space_?group|_sg(number)?$|prototype|functional|icsd|entry_id|celltemp|cellpressure|"
    r"_doi$|_status$|duplicateof|mineral"
)
# NOMAD serves hundreds of properties of its own; what is asked for also has to fit in an address.
MOST_KEPT = 40

# eV/atom and µB under one name, for comparison between databases; the first that is given holds.
ENERGY_ABOVE_HULL = ("_alexandria_hull_distance", "_oqmd_stability")
FORMATION_ENERGY = ("_alexandria_formation_energy_per_atom", "_oqmd_delta_e")
TOTAL_MOMENT = ("_alexandria_magnetization",)
SITE_MOMENTS = ("_alexandria_magnetic_moments",)
# The Materials Project gives one pair of energies per functional and mixing scheme; the first is
# what its own website shows.
MP_SCHEMES = ("gga_gga+u_r2scan", "gga_gga+u", "r2scan")

# Marks of the Crystallography Open Database for entries that should not be used.
WITHDRAWN = frozenset({"errors", "retracted"})
FEATURES = {
    "disorder": Reason.PARTIAL_OCCUPANCY,
    "assemblies": Reason.PARTIAL_OCCUPANCY,
    "site_attachments": Reason.UNREADABLE,
    "implicit_atoms": Reason.UNREADABLE,
    "unknown_positions": Reason.UNREADABLE,
}

Entry = dict[str, Any]


class Malformed(Rejected):
    """An entry that breaks the specification, not merely one that describes no simple crystal."""

    def __init__(self, sentence: str) -> None:
        super().__init__(Reason.UNREADABLE, sentence)


def read_entry(resource: dict[str, Any], structures_url: str) -> tuple[Entry, bool]:
    """The entry of a pinned set for one resource object, and whether the resource is malformed.

    Parameters
    ----------
    resource
        Resource object with an ``id`` and ``attributes``.
    structures_url
        Address of the structures endpoint, of which the entry's own address is made.
    """
    attributes = resource["attributes"]
    identifier = str(resource["id"])
    entry: Entry = {
        "id": identifier,
        "url": f"{structures_url}/{quote(identifier, safe='')}",
        "last_modified": _text(attributes.get("last_modified")),
        "formula": _text(attributes.get("chemical_formula_reduced")),
    }
    try:
        crystal = _crystal(attributes)
        entry["formula"] = reduced_formula(crystal["symbols"])
        properties = kept_properties(attributes)
        moments = _site_moments(attributes, len(crystal["symbols"]))
        read, malformed = {**crystal, "moments_mub": moments, "properties": properties}, False
    except Rejected as why:
        read, malformed = {"reason": f"{why.code}: {why.sentence}"}, isinstance(why, Malformed)
    return plain(entry | read), malformed


def kept_properties(attributes: dict[str, Any]) -> dict[str, Any]:
    """Provider-specific properties that match `KEPT`, and their common names where known.

    The common names are ``energy_above_hull_ev_per_atom``, ``formation_energy_ev_per_atom`` and
    ``total_moment_mub`` (per cell of the database); each is there only if the database gives it
    as a finite number.
    """
    kept = {
        name: given
        for name, value in sorted(attributes.items())
        if name.startswith("_") and KEPT.search(name) and (given := plain(value)) is not None
    }
    stability = attributes.get("_mp_stability")
    scheme: dict[str, Any] = {}
    if isinstance(stability, dict):
        for name in MP_SCHEMES:
            if isinstance(stability.get(name), dict):
                scheme = stability[name]
                kept["energy_scheme"] = name
                break
    hull, formation = scheme.get("energy_above_hull"), scheme.get("formation_energy_per_atom")
    common = {
        "energy_above_hull_ev_per_atom": [hull, *_those(ENERGY_ABOVE_HULL, kept)],
        "formation_energy_ev_per_atom": [formation, *_those(FORMATION_ENERGY, kept)],
        "total_moment_mub": _those(TOTAL_MOMENT, kept),
    }
    for name, values in common.items():
        numbers = [float(value) for value in values if _is_number(value)]
        if numbers:
            kept[name] = numbers[0]
    return kept


def _crystal(attributes: dict[str, Any]) -> dict[str, Any]:
    """Cell, elements and scaled positions; raises `Rejected` with the first reason against it."""
    missing = [name for name in NEEDED if name not in attributes]
    if missing:
        raise Malformed(f"the database sends no {', '.join(missing)}")
    status = attributes.get("_cod_status")
    if isinstance(status, str) and status in WITHDRAWN:
        raise Rejected(Reason.WITHDRAWN, f"the database marks the entry with '{status}'")
    for feature in _list(attributes, "structure_features") or []:
        if isinstance(feature, str) and feature in FEATURES:
            raise Rejected(FEATURES[feature], f"the database marks the entry as having {feature}")
    _check_periodic(attributes)
    absent = [name for name in NEEDED if attributes[name] in (None, [])]
    if absent:
        raise Rejected(Reason.UNREADABLE, f"the database has no {' and no '.join(absent)}")

    cell = _table(attributes, "lattice_vectors")
    positions = _table(attributes, "cartesian_site_positions")
    names = _list(attributes, "species_at_sites") or []
    if len(cell) != 3:
        raise Malformed(f"lattice_vectors has {len(cell)} rows, not 3")
    nsites = attributes.get("nsites")
    if len(names) != len(positions) or nsites not in (None, len(names)):
        raise Malformed(
            f"{len(positions)} positions, {len(names)} species_at_sites and nsites = {nsites}"
        )
    symbols = _symbols(names, _species(attributes))
    _check_formula(symbols, attributes.get("chemical_formula_reduced"))
    for what, values in (("cell", cell), ("positions", positions)):
        if not np.isfinite(values).all():
            raise Rejected(Reason.NOT_FINITE, f"a number of the {what} is not finite")
    if abs(np.linalg.det(cell)) < 1e-3:
        raise Rejected(
            Reason.NOT_PERIODIC, f"the cell has no volume ({abs(np.linalg.det(cell)):.3g} Å³)"
        )
    # Rounded, so that a refresh on another machine does not differ in the last bits.
    scaled = np.round(np.linalg.solve(cell.T, positions.T).T, 10) + 0.0
    return {"cell_ang": cell.tolist(), "symbols": symbols, "scaled_positions": scaled.tolist()}


def _check_periodic(attributes: dict[str, Any]) -> None:
    directions = attributes.get("nperiodic_dimensions")
    types = _list(attributes, "dimension_types")
    if directions is None and types:
        directions = sum(1 for value in types if value == 1)
    if directions not in (None, 3) or (types and types != [1, 1, 1]):
        raise Rejected(
            Reason.NOT_PERIODIC,
            f"periodic in {directions} of 3 directions (dimension_types {types}), not a crystal",
        )


def _species(attributes: dict[str, Any]) -> dict[str, dict[str, Any]] | None:
    """Species by name, or ``None`` where the database gives none."""
    species = attributes.get("species")
    if isinstance(species, dict):  # the shape of version 0.9 of the specification
        species = [{"name": name, **_mapping(value)} for name, value in species.items()]
    if species is None or species == []:
        return None
    if not isinstance(species, list):
        raise Malformed(f"species is a {type(species).__name__}")
    return {str(_mapping(one).get("name")): _mapping(one) for one in species}


def _symbols(names: list[Any], species: dict[str, dict[str, Any]] | None) -> list[str]:
    """One chemical symbol per site; without species, the names at the sites have to be symbols."""
    symbols: dict[str, str] = {}
    for name in dict.fromkeys(str(name) for name in names):
        if species is None:
            symbols[name] = _element(name, name)
        elif name not in species:
            raise Malformed(f"species_at_sites names '{name}', which species does not describe")
        else:
            symbols[name] = _only_element(name, species[name])
    return [symbols[str(name)] for name in names]


def _only_element(name: str, species: dict[str, Any]) -> str:
    """The element of a species that is one element with full occupation and nothing attached."""
    parts, shares = species.get("chemical_symbols"), species.get("concentration")
    if not isinstance(parts, list) or not parts:
        raise Malformed(f"species '{name}' has no chemical_symbols")
    if shares is None and len(parts) == 1:
        shares = [1.0]
    if not isinstance(shares, list) or len(shares) != len(parts):
        raise Malformed(f"species '{name}' has {len(parts)} chemical_symbols and {shares} shares")
    if species.get("attached"):
        raise Rejected(
            Reason.UNREADABLE,
            f"species '{name}' has atoms attached without positions: {species['attached']}",
        )
    if len(parts) > 1 or parts[0] == "vacancy" or not _is_one(shares[0]):
        mix = ", ".join(f"{part} {share}" for part, share in zip(parts, shares, strict=True))
        raise Rejected(Reason.PARTIAL_OCCUPANCY, f"species '{name}' is {mix}")
    return _element(parts[0], name)


def _element(symbol: Any, name: str) -> str:
    from ase.data import atomic_numbers

    if not isinstance(symbol, str) or symbol == "X" or symbol not in atomic_numbers:
        raise Rejected(Reason.UNKNOWN_ELEMENT, f"species '{name}' is '{symbol}', not an element")
    return symbol


def _check_formula(symbols: list[str], formula: Any) -> None:
    """Refuse sites that do not add up to the formula that the database gives for them."""
    if not isinstance(formula, str) or not formula:
        return
    if not re.fullmatch(r"([A-Z][a-z]?\d*)+", formula):
        raise Malformed(f"chemical_formula_reduced is '{formula[:40]}'")
    stated: Counter[str] = Counter()
    for symbol, number in re.findall(r"([A-Z][a-z]?)(\d*)", formula):
        stated[symbol] += int(number or 1)
    found = Counter(symbols)
    same = found.keys() == stated.keys() and all(
        found[symbol] * stated.total() == stated[symbol] * found.total() for symbol in found
    )
    if not same:
        raise Malformed(f"the sites are {reduced_formula(symbols)}, the formula is {formula}")


def _site_moments(attributes: dict[str, Any], count: int) -> list[float] | None:
    """Moments of the sites (µB) in the order of the sites, where the database gives them all."""
    for name in SITE_MOMENTS:
        values = attributes.get(name)
        if isinstance(values, list) and len(values) == count and all(map(_is_number, values)):
            return [float(value) for value in values]
    return None


# --- values as they come -------------------------------------------------------------------------


def _table(attributes: dict[str, Any], name: str) -> np.ndarray:
    """(n, 3) numbers; text and true are no numbers, null in a row is a missing direction."""
    rows = attributes[name]
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and len(row) == 3 for row in rows
    ):
        raise Malformed(f"{name} is not a list of rows of three numbers")
    if any(value is None for row in rows for value in row):
        if name == "lattice_vectors":
            raise Rejected(Reason.NOT_PERIODIC, "a lattice vector is null, not a crystal")
        raise Rejected(Reason.UNREADABLE, f"{name} has a row of null: an unknown position")
    if any(isinstance(v, bool) or not isinstance(v, int | float) for row in rows for v in row):
        raise Malformed(f"{name} holds something else than numbers")
    try:
        return np.array(rows, dtype=float)
    except OverflowError:
        raise Rejected(Reason.NOT_FINITE, f"{name} holds a number beyond all bounds") from None


def _list(attributes: dict[str, Any], name: str) -> list[Any] | None:
    value = attributes.get(name)
    if value is not None and not isinstance(value, list):
        raise Malformed(f"{name} is {str(value)[:40]!r}, not a list")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"a species is {str(value)[:40]!r}, not a mapping")
    return value


def _those(names: tuple[str, ...], kept: dict[str, Any]) -> list[Any]:
    return [kept.get(name) for name in names]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 and math.isfinite(value)


def _is_one(value: Any) -> bool:
    return _is_number(value) and math.isclose(value, 1.0, abs_tol=1e-6)


def plain(value: Any) -> Any:
    """A value that a JSON file can hold: no infinite numbers, no half characters (``\\ud800``)."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if _is_number(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return value if isinstance(value, bool) else None
