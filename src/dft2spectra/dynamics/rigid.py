"""Motion of a molecule as a whole: what it is, and its removal."""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from dft2spectra.molecules.shape import inertia, is_straight


def principal_inertia(atoms: Atoms) -> tuple[NDArray, NDArray]:
    """Moments of inertia (3,) in amu Å², ascending, and the axes as columns (3, 3)."""
    moments, axes, _ = inertia(atoms.get_masses(), atoms.get_positions())
    return moments, axes


def is_linear(atoms: Atoms) -> bool:
    """Whether the equilibrium geometry ``atoms`` is linear.

    Not to be asked of a snapshot: a linear molecule is bent at nearly every instant.
    """
    return is_straight(atoms.get_masses(), atoms.get_positions())


def degrees_of_freedom(n_atoms: int, linear: bool, rotation: bool) -> int:
    """Degrees of freedom that carry kinetic energy when the centre of mass rests.

    3N − 3 for a molecule that rotates, otherwise 3N − 6, and 3N − 5 for a linear one.
    """
    if rotation:
        return 3 * n_atoms - 3
    return 3 * n_atoms - (5 if linear else 6)


def remove_rigid_motion(atoms: Atoms, linear: bool, rotation: bool) -> None:
    """Put the centre of mass at rest in the origin and, unless ``rotation``, stop the rotation.

    The rotation is stopped by ω = I⁻¹ L; the rest of the momenta stays as it is and, in a canonical
    ensemble, canonically distributed: the parts are orthogonal in the mass-weighted metric. Of a
    linear molecule only the two rotations across its axis are taken: around the axis a bent
    snapshot carries the angular momentum of its bending vibrations.
    """
    atoms.positions -= atoms.get_center_of_mass()
    masses = atoms.get_masses()
    velocities = atoms.get_velocities()
    velocities -= masses @ velocities / masses.sum()
    if not rotation:
        moments, axes = principal_inertia(atoms)
        angular_momentum = (masses[:, None] * np.cross(atoms.positions, velocities)).sum(axis=0)
        kept = slice(1, 3) if linear else slice(0, 3)
        omega = axes[:, kept] @ (axes[:, kept].T @ angular_momentum / moments[kept])
        velocities -= np.cross(omega, atoms.positions)
    atoms.set_velocities(velocities)
