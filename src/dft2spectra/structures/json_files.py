"""Structures in JSON as ASE, pymatgen and OPTIMADE write it.

pymatgen's own ``Structure.from_dict`` was tried and left: it believes the fractional coordinates
and does not look at the Cartesian ones and the lattice parameters beside them, so that a damaged
file gives another crystal without a word. Here the two descriptions have to agree.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from dft2spectra.structures.cif_elements import element_of_type, plain
from dft2spectra.structures.moments import along_one_axis
from dft2spectra.structures.raw import RawStructure, Reason, Rejected, one_line
from dft2spectra.terminal import harmless

# Å; between the fractional and the Cartesian coordinates of one atom.
TOLERANCE_ANG = 0.01

Results = list[RawStructure | Rejected]


def load(text: str) -> Any:
    """Content of a JSON text; refuses a key given twice, of which Python keeps the last.

    Raises
    ------
    Rejected
        A key is given twice, or the nesting is beyond all sense.
    json.JSONDecodeError
        The text is not JSON.
    """
    try:
        try:
            return json.loads(text, object_pairs_hook=_unique)
        except json.JSONDecodeError as error:
            lines = [line for line in text.split("\n") if line.strip()]
            if error.msg != "Extra data" or len(lines) < 2:
                raise
            return [json.loads(line, object_pairs_hook=_unique) for line in lines]  # JSON lines
    except RecursionError:
        raise Rejected(Reason.UNREADABLE, "the JSON is nested too deeply") from None


def read_structures(data: Any) -> Results | None:
    """Structures of pymatgen or of an OPTIMADE response, in their order; ``None`` if it is neither.

    Taken are ``Structure.as_dict()``, mappings with such a one under ``structure`` (entries,
    documents of the Materials Project), lists of either, also under ``structures`` or as values of
    a mapping from names, and the response of a ``structures`` endpoint.
    """
    if isinstance(data, dict) and isinstance(data.get("data"), list | dict) and "meta" in data:
        return list(_optimade(data["data"]))
    if isinstance(data, dict) and data.get("@class") == "Molecule":
        raise Rejected(Reason.NOT_PERIODIC, "a pymatgen Molecule, not a crystal")
    items = data if isinstance(data, list) else [data]
    if isinstance(data, dict) and not _is_pymatgen(data):
        within = data.get("structures")
        items = within if isinstance(within, list) else list(data.values())
    if not items or not all(_is_pymatgen(item) for item in items):
        return None
    results: Results = []
    for item in items:
        try:
            results.append(_pymatgen(item))
        except Rejected as rejection:
            results.append(rejection)
    return results


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Rejected(Reason.UNREADABLE, f"the key '{harmless(twice, 60)}' is given twice")
    return content


# --- pymatgen ------------------------------------------------------------------------------------


def _is_pymatgen(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    structure = item.get("structure", item)
    return isinstance(structure, dict) and {"lattice", "sites"} <= structure.keys()


def _pymatgen(item: dict[str, Any]) -> RawStructure:
    """Crystal of one ``Structure.as_dict()``."""
    structure = item.get("structure", item)
    lattice = _mapping(structure["lattice"], "lattice")
    cell = _numbers(lattice.get("matrix"), (3, 3), "lattice.matrix")
    _check_parameters(lattice, cell)
    pbc = lattice.get("pbc", [True, True, True])
    if not isinstance(pbc, list) or len(pbc) != 3 or not all(isinstance(x, bool) for x in pbc):
        raise Rejected(Reason.UNREADABLE, f"lattice.pbc is {str(pbc)[:60]}, not three booleans")
    sites = structure["sites"]
    if not isinstance(sites, list) or not sites:
        raise Rejected(Reason.EMPTY_FILE, "the structure has no sites")

    symbols: list[str] = []
    scaled = np.zeros((len(sites), 3))
    moments: list[np.ndarray | None] = []
    for number, site in enumerate(sites):
        where = f"site {number + 1}"
        site = _mapping(site, where)
        symbols.append(_symbol(site, where))
        scaled[number] = _numbers(site.get("abc"), (3,), f"abc of {where}")
        if site.get("xyz") is not None:
            xyz = _numbers(site["xyz"], (3,), f"xyz of {where}")
            distance = _distance(scaled[number] @ cell - xyz, cell)
            if not distance <= TOLERANCE_ANG:
                raise Rejected(
                    Reason.UNREADABLE, f"abc and xyz of {where} are {distance:.3g} Å apart"
                )
        moments.append(_moment(site, where))
    name = next((item[key] for key in ("material_id", "entry_id") if item.get(key)), None)
    return RawStructure(
        cell=cell,
        symbols=symbols,
        scaled_positions=scaled,
        periodic=(pbc[0], pbc[1], pbc[2]),
        moments_mub=_collinear(moments),
        name=None if name is None else harmless(str(name), 100),
    )


def _check_parameters(lattice: dict[str, Any], cell: np.ndarray) -> None:
    """Refuse lattice parameters beside the vectors that say something else."""
    from ase.geometry import cell_to_cellpar

    if not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-9:
        return  # the screening says so
    keys = ("a", "b", "c", "alpha", "beta", "gamma")
    found = dict(zip(keys, cell_to_cellpar(cell), strict=True))
    found["volume"] = abs(np.linalg.det(cell))
    for key, value in found.items():
        if lattice.get(key) is None:
            continue
        stated = float(_numbers(lattice[key], (), f"lattice.{key}"))
        if not abs(stated - value) <= 1e-3 * max(1.0, value):
            raise Rejected(
                Reason.UNREADABLE,
                f"lattice.{key} is {stated:g}, but {value:g} by the lattice vectors",
            )


def _distance(difference: np.ndarray, cell: np.ndarray) -> float:
    """Length (Å) of a vector without whole lattice vectors: both may be wrapped into the cell."""
    if abs(np.linalg.det(cell)) > 1e-9:
        whole = np.rint(difference @ np.linalg.inv(cell))
        difference = difference - whole @ cell
    return float(np.linalg.norm(difference))


def _symbol(site: dict[str, Any], where: str) -> str:
    """The element of a site that one element occupies fully; oxidation states are left out."""
    parts = _species(site, where)
    shares = [float(_numbers(part.get("occu"), (), f"occu of {where}")) for part in parts]
    names = [str(part.get("element"))[:40] for part in parts]
    if len(parts) > 1 or not abs(shares[0] - 1.0) < 1e-6:
        mix = ", ".join(f"{name} {share:g}" for name, share in zip(names, shares, strict=True))
        raise Rejected(Reason.PARTIAL_OCCUPANCY, f"{where} is {mix}")
    return plain(element_of_type(names[0])) if names[0][-1:] in "+-" else plain(names[0])


def _species(site: dict[str, Any], where: str) -> list[dict[str, Any]]:
    species = site.get("species")
    if not isinstance(species, list) or not species:
        raise Rejected(Reason.UNREADABLE, f"{where} has no list of species")
    return [_mapping(part, f"a species of {where}") for part in species]


def _moment(site: dict[str, Any], where: str) -> np.ndarray | None:
    """(3,) moment of a site, µB; a number is along z.

    It stands under ``magmom`` or ``final_magmom`` of the site, or as ``spin`` of its species.
    """
    properties = _mapping(site.get("properties") or {}, f"properties of {where}")
    species = _species(site, where)[0]
    inner = _mapping(species.get("properties") or {}, f"properties of a species of {where}")
    found = [properties.get("magmom"), properties.get("final_magmom")]
    found += [species.get("spin"), inner.get("spin")]
    value = next((one for one in found if one is not None), None)
    axis = np.array([0.0, 0.0, 1.0])
    if isinstance(value, dict):  # pymatgen's Magmom
        if value.get("saxis") is not None:
            axis = _numbers(value["saxis"], (3,), f"saxis of {where}")
        value = value.get("moment")
    if value is None:
        return None
    if isinstance(value, list):
        return _axes(axis) @ _numbers(value, (3,), f"magmom of {where}")
    return _axes(axis)[:, 2] * float(_numbers(value, (), f"magmom of {where}"))


def _axes(axis: np.ndarray) -> np.ndarray:
    """(3, 3) the frame of VASP's SAXIS, its axes as columns; the third is ``axis``."""
    length = np.linalg.norm(axis)
    if not 0.0 < length < np.inf:
        raise Rejected(Reason.NOT_FINITE, "an axis of moments (saxis) has no direction")
    x, y, z = axis / length
    across = np.hypot(x, y)
    cos, sin = (x / across, y / across) if across > 0.0 else (1.0, 0.0)
    return np.array([[z * cos, -sin, x], [z * sin, cos, y], [-across, 0.0, z]])


def _collinear(moments: list[np.ndarray | None]) -> list[float | None] | None:
    """Moments with their sign along their common axis; ``None`` where none is given."""
    given = [moment for moment in moments if moment is not None]
    if not given:
        return None
    along = iter(along_one_axis(np.array(given)))
    return [None if moment is None else next(along) for moment in moments]


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Rejected(Reason.UNREADABLE, f"{what} is {str(value)[:60]}, not a mapping")
    return value


def _numbers(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Numbers of this shape; text, true and null are none."""
    flat = [value]
    for _ in shape:
        flat = [item for part in flat if isinstance(part, list) for item in part]
    try:
        if not all(type(item) in (int, float) for item in flat):
            raise TypeError
        array = np.array(value, dtype=float)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros((0,))
    if array.shape != shape:
        size = " × ".join(map(str, shape)) + " numbers" if shape else "a number"
        raise Rejected(Reason.UNREADABLE, f"{what} is {str(value)[:60]}, not {size}")
    return array


# --- OPTIMADE ------------------------------------------------------------------------------------


def _optimade(data: list[Any] | dict[str, Any]) -> Iterator[RawStructure | Rejected]:
    """Crystals of the entries of a response, named by their ids."""
    from dft2spectra.structures.optimade_entries import read_entry

    for resource in data if isinstance(data, list) else [data]:
        try:
            entry, _ = read_entry(resource, "")
        except Exception as error:  # not even the outline of an entry
            yield Rejected(Reason.UNREADABLE, f"not an OPTIMADE entry: {one_line(error)}")
            continue
        if "reason" in entry:
            code, _, sentence = str(entry["reason"]).partition(": ")
            yield Rejected(Reason(code), f"entry {entry['id']}: {sentence}")
            continue
        yield RawStructure(
            cell=np.array(entry["cell_ang"], dtype=float),
            symbols=list(entry["symbols"]),
            scaled_positions=np.array(entry["scaled_positions"], dtype=float),
            moments_mub=entry["moments_mub"],
            name=str(entry["id"]),
        )
