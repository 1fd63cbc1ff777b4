"""All atoms of a cell from the listed ones and the symmetry operations."""

from typing import NamedTuple

import numpy as np

from dft2spectra.structures.raw import Reason, Rejected
from dft2spectra.structures.space_groups import DENOMINATOR, Operations

# Å. An atom whose images come as close as this is one atom on a special position, given with few
# digits (0.33 for 1/3 in a cell of 6 Å); real atoms of a full site are far from that.
SPECIAL_ANG = 0.1
# Å; above, it is said that an atom was moved onto its special position.
NOTED_ANG = 0.01


class Orbit(NamedTuple):
    """The atoms that one listed atom stands for."""

    positions: np.ndarray
    """(m, 3) fractional coordinates from 0."""
    makers: np.ndarray
    """(m,) for each atom, the number of an operation that makes it."""
    fixing: np.ndarray
    """Numbers of the operations that leave the listed atom where it is."""
    moved_ang: float
    """How far the listed atom was moved onto its special position."""


def orbit_of(point: np.ndarray, operations: Operations, cell: np.ndarray) -> Orbit:
    """Atoms that operations make of one at fractional coordinates ``point``.

    Coordinates of few digits are moved onto the special position by the mean over the operations
    that leave them there.

    Raises
    ------
    Rejected
        The point is near several special positions and on none.
    """
    rotations, shifts = operations.rotations, operations.translations / DENOMINATOR
    exact = point
    fixing = np.arange(0)
    for tolerance in (SPECIAL_ANG, SPECIAL_ANG, 1e-4):
        images = rotations @ exact + shifts
        near = images - np.rint(images - exact)
        distances = np.linalg.norm((near - exact) @ cell, axis=1)
        now = np.flatnonzero(distances <= tolerance)
        if tolerance == SPECIAL_ANG:
            exact = near[now].mean(axis=0)
            fixing = now
        elif len(now) != len(fixing) or (now != fixing).any():
            fixing = now[:0]
    images = (rotations @ exact + shifts) % 1.0
    keys = np.rint(images * 1e5).astype(np.int64) % 100_000
    _, makers = np.unique(keys, axis=0, return_index=True)
    makers.sort()
    if not len(fixing) or len(makers) * len(fixing) != len(rotations):
        place = ", ".join(f"{x:g}" for x in point)
        raise Rejected(
            Reason.UNREADABLE,
            f"the position {place} is within {SPECIAL_ANG} Å of several special positions and on "
            "none; give more digits",
        )
    moved = exact - point
    return Orbit(
        images[makers], makers, fixing, float(np.linalg.norm((moved - np.rint(moved)) @ cell))
    )


def coincide(first: np.ndarray, second: np.ndarray, cell: np.ndarray) -> bool:
    """Whether two orbits (fractional coordinates) have an atom in the same place."""
    if len(first) != len(second):
        return False
    difference = first - second[0]
    difference = difference - np.rint(difference)
    return bool(np.linalg.norm(difference @ cell, axis=1).min() <= SPECIAL_ANG)
