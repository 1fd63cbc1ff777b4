"""Whether a molecule is linear: asked once, of its equilibrium geometry, by one definition.

A relaxation ends when forces are small, and a soft bending mode then leaves the atoms of a linear
molecule beside its axis, by up to the force over the bending constant. Whoever asks for exactly
three equal angles of 180° finds a molecule with one rotation more and one vibration less.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Largest distance of an atom from the axis in a molecule that counts as linear: what a force of
# 0.005 eV/Å leaves with a bending constant of 0.1 eV/Å². That of HCN is 1.5 eV/Å² at the hydrogen
# atom. The bent hydrogen of HNCO is 0.8 Å beside the axis of the others.
STRAIGHT_ANG = 0.05


def inertia(masses: ArrayLike, positions: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    """Moments of inertia (3,) ascending, the axes as columns (3, 3), and the centred positions."""
    masses, positions = np.asarray(masses, dtype=float), np.asarray(positions, dtype=float)
    centred = positions - masses @ positions / masses.sum()
    tensor = np.einsum("a,ai,aj->ij", masses, centred, centred)
    moments, axes = np.linalg.eigh(np.trace(tensor) * np.eye(3) - tensor)
    return moments, axes, centred


def is_straight(masses: ArrayLike, positions_ang: ArrayLike) -> bool:
    """Whether every atom lies on the axis of the smallest moment of inertia.

    Of an equilibrium geometry: a linear molecule is bent at nearly every instant. One atom counts.
    """
    _, axes, centred = inertia(masses, positions_ang)
    beside = centred - np.outer(centred @ axes[:, 0], axes[:, 0])
    return bool(np.linalg.norm(beside, axis=1).max() < STRAIGHT_ANG)


def straightened(masses: ArrayLike, positions_ang: ArrayLike) -> NDArray:
    """Positions (atoms, 3) of a linear molecule with the atoms put on its axis."""
    masses, positions = np.asarray(masses, dtype=float), np.asarray(positions_ang, dtype=float)
    _, axes, centred = inertia(masses, positions)
    return positions - centred + np.outer(centred @ axes[:, 0], axes[:, 0])
