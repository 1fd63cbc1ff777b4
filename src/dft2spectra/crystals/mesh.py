"""The k-points of a crystal and the symmetry that leaves few of them to compute; without GPAW.

The mesh has the asked-for density along every reciprocal vector. Where a symmetry operation
exchanges reciprocal vectors, as in primitive cells of body-centred lattices, unequal numbers of
points along them would break it: the larger number is then taken for all, if fewer irreducible
points are left. A denser mesh is the cheaper one there.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dft2spectra.units import BOHR_ANG

# All lattice points around the origin, without it.
LATTICE_POINTS = np.array([point for point in np.ndindex(3, 3, 3) if point != (1, 1, 1)]) - 1
# What may differ between images under an operation: cells are rounded to 1e-8 Å, and GPAW's own
# default, 1e-7, loses the axes of hexagonal cells by that. In Å, as GPAW is told.
TOLERANCE_ANG = 1e-5


class Operations(NamedTuple):
    """Symmetry operations: an atom at s goes to s·rotation + translation, the place of another."""

    rotations: NDArray
    """(m, 3, 3) in units of the lattice vectors."""
    translations: NDArray
    """(m, 3) in units of the lattice vectors."""
    images: NDArray
    """(m, n) numbers of the atoms that the atoms are mapped on."""


def operations(cell: NDArray, scaled: NDArray, kinds: NDArray) -> Operations:
    """Operations that map the crystal onto itself, with translations that a grid can follow.

    GPAW finds them too, but takes translations from rounded coordinates, and then stumbles over its
    own check that they are a group.

    Parameters
    ----------
    cell
        (3, 3) reduced lattice vectors as rows, Å: the elements of the rotations are −1, 0 and 1.
    scaled
        (n, 3) positions in units of the lattice vectors.
    kinds
        (n,) numbers from 0; atoms of different number are not exchanged.
    """
    tolerance = 2.0 * TOLERANCE_ANG / np.linalg.norm(cell, axis=1)
    counts = np.bincount(kinds)
    rarest = np.flatnonzero(kinds == np.argmin(np.where(counts > 0, counts, len(kinds) + 1)))
    same_kind = kinds[:, None] == kinds
    found = []
    for rotation in lattice_operations(cell):
        moved = scaled @ rotation
        # Every translation takes the first atom of the rarest kind to one of its kind; none first.
        exact = np.round(12.0 * (scaled[rarest] - moved[rarest[0]])) / 12.0 % 1.0
        for translation in sorted(exact.tolist(), key=np.any):
            apart = moved[:, None] + translation - scaled
            apart -= np.rint(apart)
            same = (np.abs(apart) < tolerance).all(axis=-1) & same_kind
            if same.any(axis=1).all():
                found.append((rotation, translation, same.argmax(axis=1)))
                break
    return Operations(*(np.array(part) for part in zip(*found, strict=True)))


def lattice_operations(cell: NDArray) -> NDArray:
    """Rotations (m, 3, 3) in units of the lattice vectors that map the lattice onto itself."""
    metric = cell @ cell.T / BOHR_ANG**2
    tolerance = 2.0 * TOLERANCE_ANG / BOHR_ANG * math.sqrt(metric.diagonal().max())
    products = LATTICE_POINTS @ metric @ LATTICE_POINTS.T
    squares = products.diagonal()
    # Images of the three lattice vectors: as long as they are, with their angles.
    images = [np.flatnonzero(np.abs(squares - square) <= tolerance) for square in metric.diagonal()]
    triples = np.stack(np.meshgrid(*images, indexing="ij"), axis=-1).reshape(-1, 3)
    found = products[triples[:, :, None], triples[:, None, :]]
    triples = triples[(np.abs(found - metric) <= tolerance).all(axis=(1, 2))]
    return np.asarray(LATTICE_POINTS[triples])


def mesh_size(cell: NDArray, density_ang: float) -> NDArray:
    """Points along the three reciprocal vectors at a density, whatever the symmetry.

    Parameters
    ----------
    cell
        (3, 3) lattice vectors as rows, Å.
    density_ang
        Points of the mesh per reciprocal length, Å; as ASE's ``kpts2sizeandoffsets`` takes it.
    """
    lengths = 2.0 * math.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    return np.maximum(1, np.ceil(lengths * density_ang - 1e-9).astype(int))


def symmetric_size(size: NDArray, rotations: NDArray) -> NDArray:
    """Smallest size of at least ``size`` that every operation maps onto itself."""
    exchanged = (rotations != 0).any(axis=0)
    exchanged |= exchanged.T
    for _ in range(2):  # what is exchanged by way of the third
        exchanged |= exchanged.astype(int) @ exchanged.astype(int) > 0
    return np.array([size[row].max() for row in exchanged])


def irreducible(size: NDArray, rotations: NDArray) -> int:
    """Number of points of a mesh through Γ that no operation and no time reversal exchanges."""
    import spglib

    # Acting on rows here, on columns there.
    reduced = spglib.get_stabilized_reciprocal_mesh(
        size, rotations.transpose(0, 2, 1), is_shift=[0, 0, 0], is_time_reversal=True
    )
    if reduced is None:
        raise ValueError(f"spglib cannot reduce the mesh {np.asarray(size).tolist()}")
    return len(np.unique(reduced[0]))


def atom_kinds(numbers: Iterable[int], moments: Iterable[float]) -> NDArray:
    """Number of the kind of each atom: no operation may exchange atoms of two kinds.

    Parameters
    ----------
    numbers
        Atomic numbers.
    moments
        Starting moments, µB; equal ones to four places are one kind.
    """
    pairs = [(int(n), round(float(m), 4)) for n, m in zip(numbers, moments, strict=True)]
    places = {pair: place for place, pair in enumerate(sorted(set(pairs)))}
    return np.array([places[pair] for pair in pairs])


def kpoint_mesh(
    cell: NDArray, scaled: NDArray, kinds: NDArray, density_ang: float
) -> tuple[NDArray, int]:
    """Size of the mesh through Γ that is computed, and how many points of it are irreducible.

    Parameters
    ----------
    cell, scaled, kinds
        As for :func:`operations`; ``kinds`` as :func:`atom_kinds` gives them.
    density_ang
        Least points of the mesh per reciprocal length, Å.
    """
    size = mesh_size(cell, density_ang)
    rotations = operations(cell, scaled, kinds).rotations
    even = symmetric_size(size, rotations)
    points = irreducible(size, rotations)
    if (even != size).any() and (fewer := irreducible(even, rotations)) <= points:
        return even, fewer
    return size, points
