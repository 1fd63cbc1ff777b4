"""What the symmetry of its site leaves of a tensor at an atom."""

import warnings
from typing import Any

import numpy as np
import spglib
from numpy.typing import NDArray

SYMMETRY_TOLERANCE_ANG = 1e-3


def free_gradient_components(structure: dict[str, Any], kinds: NDArray | None = None) -> list[int]:
    """Number of free components (0 to 5) of the electric field gradient at every atom.

    The gradient is a second-rank traceless tensor (angular momentum 2). By the orthogonality of
    characters the count is the mean over the site's operations of χ₂ = t² − t − 1, with t the trace
    of the proper part of the operation (from D¹ × D¹ = D⁰ + D¹ + D²). Cubic point groups give 0.

    Parameters
    ----------
    structure
        Structure or record with ``symbols``, ``scaled_positions`` and ``cell_ang``.
    kinds
        Numbers of the atoms; those of different number are not exchanged. The elements, if left
        out; a magnetic order has less symmetry than the crystal.
    """
    if kinds is None:
        kinds = np.unique(structure["symbols"], return_inverse=True)[1]
    positions = np.asarray(structure["scaled_positions"], dtype=float)
    cell = np.asarray(structure["cell_ang"], dtype=float)
    try:  # spglib 2 returns None for an error, spglib 3 raises
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            symmetry = spglib.get_symmetry_dataset(
                (cell.tolist(), positions.tolist(), (np.asarray(kinds) + 1).tolist()),
                symprec=SYMMETRY_TOLERANCE_ANG,
            )
    except spglib.SpglibError:
        symmetry = None
    if symmetry is None:
        return [5] * len(positions)
    return [_free_components(symmetry, atom, positions, cell) for atom in range(len(positions))]


def _free_components(symmetry: Any, atom: int, positions: NDArray, cell: NDArray) -> int:
    images = symmetry.rotations @ positions[atom] + symmetry.translations - positions[atom]
    distances = np.linalg.norm((images - np.rint(images)) @ cell, axis=1)
    site_group = symmetry.rotations[distances < 10 * SYMMETRY_TOLERANCE_ANG]
    proper_trace = np.linalg.det(site_group) * np.trace(site_group, axis1=1, axis2=2)
    return round(float(np.mean(proper_trace**2 - proper_trace - 1.0)))
