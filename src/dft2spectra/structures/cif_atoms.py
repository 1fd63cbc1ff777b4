"""The rows of atoms of a CIF: labels, types, places and occupancies, dummies left out."""

from dataclasses import dataclass

import numpy as np

from dft2spectra.structures.cif_blocks import Block, error_in, number_in
from dft2spectra.structures.cif_elements import Reading, element_of_type, read_label
from dft2spectra.structures.raw import Reason, Rejected
from dft2spectra.terminal import harmless

# Occupancies this close to one or none are meant to be it.
OCCUPANCY_ROUNDING = 1e-3
# An error in brackets explains more, but not this much.
LARGEST_OCCUPANCY_ERROR = 0.01
# Rows of a file; the screening takes no more atoms either.
MAX_ROWS = 2000
MULTIPLICITIES = ("_atom_site_symmetry_multiplicity", "_atom_site_site_symmetry_multiplicity")
HYDROGENS = "_atom_site_attached_hydrogens"


@dataclass
class Atom:
    """One row."""

    label: str
    reading: Reading
    """The element that the type symbol says, or what the label can mean."""
    point: np.ndarray
    """(3,) fractional coordinates."""
    occupancy: float
    error: float
    """Error of the occupancy."""
    multiplicity: int | None


def crystal_atoms(block: Block, cell: np.ndarray) -> list[Atom]:
    """Rows with a place, an occupancy and an element.

    Raises
    ------
    Rejected
        A row lacks one of them, or hides hydrogen atoms.
    """
    points = _points(block, cell)
    n = len(points)
    labels = _column(block, "_atom_site_label", n)
    types = _column(block, "_atom_site_type_symbol", n)
    flags = _column(block, "_atom_site_calc_flag", n)
    occupancies = _column(block, "_atom_site_occupancy", n)
    multiplicities = next((c for tag in MULTIPLICITIES if (c := _column(block, tag, n))), None)
    hydrogens = _column(block, HYDROGENS, n)
    if not labels and not types:
        raise Rejected(Reason.UNREADABLE, "the atoms have neither labels nor type symbols")
    atoms = []
    for row in range(n):
        if flags and flags[row].lower() == "dum":
            continue
        point = points[row]
        if isinstance(point, Rejected):
            raise point
        label = labels[row] if labels else types[row]  # type: ignore[index]
        if hydrogens and hydrogens[row] not in (".", "?", "0"):
            raise Rejected(
                Reason.UNREADABLE,
                f"the file has hydrogen atoms without positions ({HYDROGENS} of "
                f"{harmless(label, 40)})",
            )
        occupancy = occupancies[row] if occupancies else "."
        value = 1.0 if occupancy in (".", "?") else number_in(occupancy, "_atom_site_occupancy")
        _check_occupancy(value, error_in(occupancy), label)
        if value <= OCCUPANCY_ROUNDING:
            continue  # nothing is there
        kind = types[row] if types else "."
        count = multiplicities[row] if multiplicities else "."
        atoms.append(
            Atom(
                label=label,
                reading=read_label(label)
                if kind in (".", "?", "")
                else Reading((element_of_type(kind, label),)),
                point=point,
                occupancy=value,
                error=error_in(occupancy),
                multiplicity=int(count) if count.isdigit() else None,
            )
        )
    if not atoms:
        raise Rejected(Reason.UNREADABLE, "the CIF lists no atoms that are there")
    return atoms


def is_full(occupancy: float, error: float) -> bool:
    """Whether an occupancy means one, by rounding or within its stated error."""
    allowed = max(OCCUPANCY_ROUNDING, min(error, LARGEST_OCCUPANCY_ERROR))
    return abs(occupancy - 1.0) <= allowed * (1.0 + 1e-9)


def _check_occupancy(value: float, error: float, label: str) -> None:
    if value < 0.0:
        raise Rejected(
            Reason.UNREADABLE, f"the occupancy of {harmless(label, 40)} is {value:g}, below zero"
        )
    if value > 1.0 and not is_full(value, error):
        raise Rejected(
            Reason.PARTIAL_OCCUPANCY,
            f"the occupancy of {harmless(label, 40)} is {value:g}, more than one",
        )


def _column(block: Block, tag: str, n: int) -> list[str] | None:
    """Values of all rows, ``None`` without the tag."""
    found = block.values(tag)
    if not found:
        return None
    if len(found) != n:
        raise Rejected(Reason.UNREADABLE, f"{tag} has {len(found)} values for {n} atoms")
    return found


def _points(block: Block, cell: np.ndarray) -> list[np.ndarray | Rejected]:
    """Fractional coordinates of each row, or why it has none."""
    tags = [f"_atom_site_fract_{axis}" for axis in "xyz"]
    columns = [block.values(tag) for tag in tags]
    cartesian = not any(columns)
    if cartesian:
        tags = [f"_atom_site_cartn_{axis}" for axis in "xyz"]
        columns = [block.values(tag) for tag in tags]
        if not any(columns):
            raise Rejected(Reason.UNREADABLE, "the atoms have no fractional coordinates")
        if not np.allclose(cell, np.diag(np.diag(cell)), atol=1e-6):
            raise Rejected(
                Reason.UNREADABLE,
                "Cartesian coordinates in an oblique cell, whose axes the file does not say; give "
                "fractional ones",
            )
    if len(columns[0]) > MAX_ROWS:
        raise Rejected(
            Reason.TOO_MANY_ATOMS, f"{len(columns[0])} atoms are listed, at most {MAX_ROWS}"
        )
    for tag, column in zip(tags, columns, strict=True):
        if not column:
            raise Rejected(Reason.UNREADABLE, f"{tag} is missing")
        if len(column) != len(columns[0]):
            raise Rejected(
                Reason.UNREADABLE, f"{tag} has {len(column)} values, not {len(columns[0])}"
            )
    points: list[np.ndarray | Rejected] = []
    for each in zip(*columns, strict=True):
        try:
            point = np.array([number_in(x, tag) for x, tag in zip(each, tags, strict=True)])
            if cartesian:
                point = point @ np.linalg.inv(cell)
            if np.abs(point).max() > 1e4:  # wrapped into the cell, digits are lost
                raise Rejected(
                    Reason.NOT_FINITE, f"a coordinate of {np.abs(point).max():.3g} cells"
                )
            points.append(point)
        except Rejected as rejection:  # a dummy may have none
            points.append(rejection)
    return points
