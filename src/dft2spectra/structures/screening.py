"""Which crystals are computed: limits and guards, each with its own reason.

The guards run before the symmetry code, so that it only sees finite numbers, known elements and
a cell with a volume; the limit on the atoms runs after it, on the primitive cell, so that a large
supercell of a small crystal is welcome.
"""

import functools
import importlib.util
import os
import re
from typing import Any

import numpy as np

from dft2spectra.structures.neighbours import pairs_within
from dft2spectra.structures.raw import RawStructure, Reason, Rejected

DEFAULT_LIMITS: dict[str, Any] = {
    "max_atoms": 8,
    "min_distance_ang": 0.9,
    "min_covalent_fraction": 0.6,
    "max_volume_ang3_per_atom": 60.0,
    "xc": "PBE",  # functional that the PAW datasets are for
}

# Atoms of a cell as given; beyond, the search for its primitive cell takes minutes.
MAX_INPUT_ATOMS = 2000
# Å; lengths and coordinates beyond are typing errors and lose digits.
MAX_LENGTH_ANG = 1e4
# Å³ per atom; the densest element at normal pressure, carbon in diamond, has 5.7.
MIN_VOLUME_ANG3_PER_ATOM = 1.0
# Å; shorter than any bond.
SHORTEST_VECTOR_ANG = 1.0


def effective_limits(limits: dict[str, Any]) -> dict[str, Any]:
    """The limits in force: those given, else :data:`DEFAULT_LIMITS`; other keys are left out."""
    return {key: limits.get(key, default) for key, default in DEFAULT_LIMITS.items()}


def screen(raw: RawStructure, limits: dict[str, Any]) -> None:
    """Return if the crystal can go to the symmetry code and to GPAW.

    Raises
    ------
    Rejected
        With the first reason against it.
    """
    screen_geometry(raw)
    _screen_elements(raw.symbols, limits["xc"])
    volume = abs(np.linalg.det(raw.cell)) / len(raw.symbols)
    if volume > limits["max_volume_ang3_per_atom"]:
        raise Rejected(
            Reason.HUGE_CELL,
            f"{volume:.1f} Å³ per atom, at most {limits['max_volume_ang3_per_atom']:g}",
        )
    _screen_distances(raw, limits)


def screen_geometry(raw: RawStructure) -> None:
    """Return if the symmetry code can take the crystal, whatever its elements, else `Rejected`."""
    if not raw.symbols:
        raise Rejected(Reason.EMPTY_FILE, "the structure has no atoms")
    if len(raw.symbols) > MAX_INPUT_ATOMS:
        raise Rejected(
            Reason.TOO_MANY_ATOMS, f"{len(raw.symbols)} atoms as given, at most {MAX_INPUT_ATOMS}"
        )
    _screen_finite(raw)
    _screen_periodic(raw)


def screen_size(n_atoms: int, limits: dict[str, Any]) -> None:
    """Return if a primitive cell of ``n_atoms`` is within ``max_atoms``, else raise `Rejected`."""
    if n_atoms > limits["max_atoms"]:
        raise Rejected(
            Reason.TOO_MANY_ATOMS,
            f"{n_atoms} atoms in the primitive cell, at most {limits['max_atoms']:g}",
        )


def _screen_finite(raw: RawStructure) -> None:
    if not np.isfinite(raw.cell).all():
        raise Rejected(Reason.NOT_FINITE, "the cell has a component that is not a finite number")
    if np.abs(raw.cell).max() > MAX_LENGTH_ANG:
        raise Rejected(Reason.HUGE_CELL, f"a lattice vector of {np.abs(raw.cell).max():.3g} Å")
    wrong = ~np.isfinite(raw.scaled_positions).all(axis=1)
    if wrong.any():
        raise Rejected(
            Reason.NOT_FINITE, f"atom {int(wrong.argmax()) + 1} has a coordinate that is not finite"
        )
    if np.abs(raw.scaled_positions).max() > MAX_LENGTH_ANG:
        raise Rejected(
            Reason.NOT_FINITE, f"a coordinate of {np.abs(raw.scaled_positions).max():.3g} cells"
        )
    moments = [moment for moment in raw.moments_mub or [] if moment is not None]
    if not np.isfinite(moments).all():
        raise Rejected(Reason.NOT_FINITE, "a magnetic moment is not a finite number")


def _screen_periodic(raw: RawStructure) -> None:
    lengths = np.linalg.norm(raw.cell, axis=1)
    if not raw.cell.any():
        raise Rejected(Reason.NOT_PERIODIC, "no cell: this is a molecule")
    if not all(raw.periodic):
        raise Rejected(
            Reason.NOT_PERIODIC, f"periodic in {sum(raw.periodic)} of 3 directions, not a crystal"
        )
    if lengths.max() > MAX_LENGTH_ANG:
        raise Rejected(Reason.HUGE_CELL, f"a lattice vector of {lengths.max():.3g} Å")
    volume = abs(np.linalg.det(raw.cell))
    if volume < 1e-4 * lengths.prod() or volume < 1e-3:
        raise Rejected(Reason.NOT_PERIODIC, f"the cell has no volume ({volume:.3g} Å³)")


def _screen_elements(symbols: list[str], xc: str) -> None:
    from ase.data import atomic_numbers

    elements = sorted(set(symbols))
    for element in elements:
        if element == "X" or element not in atomic_numbers:
            raise Rejected(Reason.UNKNOWN_ELEMENT, f"'{element}' is not an element")
    if "Fe" not in elements:
        raise Rejected(Reason.NO_FE, f"no iron among {', '.join(elements)}")
    missing = [element for element in elements if element not in paw_elements(xc)]
    if missing:
        raise Rejected(Reason.NO_PAW_DATASET, f"GPAW has no {xc} dataset for {', '.join(missing)}")


def paw_folders() -> tuple[str, ...]:
    """Folders with PAW datasets, in the order in which GPAW looks into them."""
    folders = os.environ.get("GPAW_SETUP_PATH", "").split(os.pathsep)
    package = importlib.util.find_spec("gpaw_data")
    for location in (package and package.submodule_search_locations) or ():
        folders.append(os.path.join(location, "setups"))
    return tuple(folder for folder in folders if os.path.isdir(folder))


@functools.cache
def paw_elements(xc: str) -> frozenset[str]:
    """Elements with a dataset for ``xc`` in ``GPAW_SETUP_PATH`` or the package ``gpaw_data``."""
    names = [name for folder in paw_folders() for name in os.listdir(folder)]
    matches = [re.fullmatch(rf"([A-Z][a-z]?)\.{re.escape(xc)}(\.gz)?", name) for name in names]
    return frozenset(match[1] for match in matches if match)


def _screen_distances(raw: RawStructure, limits: dict[str, Any]) -> None:
    """Refuse two atoms, or an atom and its own image, that are too close."""
    from ase.data import atomic_numbers, covalent_radii
    from ase.geometry import minkowski_reduce

    volume = abs(np.linalg.det(raw.cell)) / len(raw.symbols)
    if volume < MIN_VOLUME_ANG3_PER_ATOM:
        raise Rejected(Reason.OVERLAPPING_ATOMS, f"{volume:.3g} Å³ per atom")
    cell = raw.cell
    # No lattice vector is shorter than the least distance between two lattice planes.
    if 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0).max() < SHORTEST_VECTOR_ANG:
        cell, _ = minkowski_reduce(cell)
        shortest = np.linalg.norm(cell, axis=1).min()
        if shortest < SHORTEST_VECTOR_ANG:  # also bounds the number of images below
            raise Rejected(
                Reason.OVERLAPPING_ATOMS, f"an atom and its image are {shortest:.3g} Å apart"
            )
    positions = (raw.scaled_positions % 1.0) @ raw.cell
    radii = covalent_radii[[atomic_numbers[symbol] for symbol in raw.symbols]]
    fraction, least = limits["min_covalent_fraction"], limits["min_distance_ang"]
    cutoff = max(least, 2.0 * fraction * radii.max())
    first, second, distance = pairs_within(cell, positions, cutoff)
    allowed = np.maximum(least, fraction * (radii[first] + radii[second]))
    short = np.flatnonzero(distance < allowed)
    if len(short):
        worst = short[(distance[short] / allowed[short]).argmin()]
        i, j = int(first[worst]), int(second[worst])
        raise Rejected(
            Reason.OVERLAPPING_ATOMS,
            f"{raw.symbols[i]} (atom {i + 1}) and {raw.symbols[j]} (atom {j + 1}) are "
            f"{distance[worst]:.3f} Å apart, at least {allowed[worst]:.3f}",
        )
