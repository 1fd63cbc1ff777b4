"""Strained copies of a crystal, to fill the space around it with physically possible neighbours."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

# Beyond, a copy has nothing to do with the crystal any more.
LARGEST_STRAIN = 0.2

MODES = ("isotropic", "tetragonal", "orthorhombic", "shear")


def deformation(mode: str, strain: float) -> np.ndarray:
    """(3, 3) symmetric matrix F that takes a position r to F r, in the axes x, y and z.

    ``isotropic`` changes every length by the strain; the others keep the volume: ``tetragonal``
    changes lengths along z, ``orthorhombic`` along x against y, ``shear`` the angle of x and y by
    twice the strain (radians, small strains).
    """
    if mode == "isotropic":
        return (1.0 + strain) * np.eye(3)
    if mode == "tetragonal":
        across = (1.0 + strain) ** -0.5
        return np.diag([across, across, 1.0 + strain])
    if mode == "orthorhombic":
        return np.diag([1.0 + strain, 1.0 / (1.0 + strain), 1.0])
    if mode == "shear":
        sheared = np.eye(3)
        sheared[0, 1] = sheared[1, 0] = strain
        return np.asarray(sheared / np.cbrt(1.0 - strain**2))
    raise ValueError(f"unknown mode of strain '{mode}'; known are {', '.join(MODES)}")


def strained_cells(
    cell: np.ndarray, strains: Mapping[str, Sequence[float]]
) -> Iterator[tuple[str, float, np.ndarray]]:
    """Mode, strain and lattice vectors (Å, rows) of every copy, in the order of :data:`MODES`."""
    for mode in MODES:
        for strain in sorted(set(strains.get(mode, ()))):
            yield mode, strain, np.asarray(cell) @ deformation(mode, strain).T
