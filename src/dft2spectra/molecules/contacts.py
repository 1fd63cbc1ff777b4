"""Closest contact of a molecule in units of covalent radii, which tells geometries from errors."""

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import ArrayLike

# Two atoms closer than this share of the sum of their covalent radii (Cordero et al., Dalton
# Trans. 2008, 2832, as in ASE) collide. The shortest bonds are at 0.8 of it.
COLLISION = 0.5


def closest_contact(symbols: Sequence[str], positions_ang: ArrayLike) -> tuple[float, int, int]:
    """Smallest distance over sum of covalent radii, and the two atoms; infinity for one atom."""
    if len(symbols) < 2:
        return float("inf"), 0, 0
    positions = np.asarray(positions_ang, dtype=float)
    radii = covalent_radii[[atomic_numbers[symbol] for symbol in symbols]]
    first, second = np.triu_indices(len(symbols), k=1)
    distances = np.linalg.norm(positions[first] - positions[second], axis=1)
    ratios = distances / (radii[first] + radii[second])
    nearest = int(ratios.argmin())
    return float(ratios[nearest]), int(first[nearest]), int(second[nearest])


def collides(symbols: Sequence[str], positions_ang: ArrayLike) -> bool:
    """Whether two atoms are closer than :data:`COLLISION` allows."""
    return closest_contact(symbols, positions_ang)[0] < COLLISION
