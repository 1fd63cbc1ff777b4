"""Becke's integration grid of a molecule, its derivatives, and the frame it is laid in.

The grid is that of PySCF (``dft.gen_grid.Grids`` with its defaults): around each atom Treutler's
radial shells with pruned Lebedev spheres, joined by Becke's weights,

    w = bare P_owner / Σ_i P_i,   P_i = Π_j s(µ_ij + a_ij (1 − µ_ij²)),   µ_ij = (r_i − r_j)/R_ij,

s three times the cubic switch and a_ij from Treutler's adjusted radii. Every point moves with its
owner atom and none is dropped, so that an integral is a smooth function of the positions.

Sources: A. D. Becke, J. Chem. Phys. 88, 2547 (1988); O. Treutler and R. Ahlrichs, J. Chem. Phys.
102, 346 (1995); gradients of the weights: B. G. Johnson, P. M. W. Gill and J. A. Pople, J. Chem.
Phys. 98, 5612 (1993).
"""

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numba as nb
import numpy as np
from pyscf import gto
from pyscf.data import elements
from pyscf.dft import gen_grid, radi

# Points handled together by the kernels: the vector axis, and small enough for the cache.
BLOCK_POINTS = 128
# A cell function below this share of the sum is left out: below the rounding of the sum.
NEGLIGIBLE = 1e-18


class Grid(NamedTuple):
    """Integration points of a molecule, atom by atom.

    Attributes
    ----------
    points
        Shape (N, 3), bohr.
    weights, bare
        Shape (N,), bohr³: with and without Becke's partition.
    owner
        Shape (N,): the atom that each point moves with, ascending.
    """

    points: np.ndarray
    weights: np.ndarray
    bare: np.ndarray
    owner: np.ndarray


def point_blocks(owner: np.ndarray, size: int = BLOCK_POINTS) -> np.ndarray:
    """Runs of points with one owner, cut at ``size``: rows (first, end, owner).

    Parameters
    ----------
    owner
        Shape (N,): the atom that each point moves with. Efficient if sorted.
    """
    owner = np.asarray(owner, dtype=np.int64)
    edges = np.concatenate(([0], np.flatnonzero(np.diff(owner)) + 1, [len(owner)]))
    rows = [np.empty((0, 3), dtype=np.int64)]
    for start, end in pairwise(edges):
        first = np.arange(start, end, size)
        last = np.minimum(first + size, end)
        rows.append(np.stack([first, last, owner[first]], axis=1))
    return np.concatenate(rows)


@cache
def atom_grid(number: int, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (n, 3) in bohr and bare weights (n,) of the points of one element.

    Raises
    ------
    ValueError
        If PySCF has no grid of that level.
    """
    if not 0 <= level < len(gen_grid.RAD_GRIDS):
        raise ValueError(f"grid level {level}: PySCF has levels 0 to {len(gen_grid.RAD_GRIDS) - 1}")
    symbol = elements.ELEMENTS[number]
    atom = gto.M(atom=symbol, basis={symbol: [[0, [1.0, 1.0]]]}, spin=None, verbose=0)
    offsets, weights = gen_grid.gen_atomic_grids(
        atom, radi_method=gen_grid.Grids.radi_method, level=level
    )[symbol]
    offsets.setflags(write=False)
    weights.setflags(write=False)
    return offsets, weights


def build_grid(numbers: np.ndarray, positions: np.ndarray, level: int) -> Grid:
    """The integration grid of a molecule at ``positions`` (atoms, 3), bohr.

    The number and order of the points depend on the elements and the level only.

    Raises
    ------
    ValueError
        If a position is not finite or two atoms coincide.
    """
    positions = np.ascontiguousarray(positions, dtype=float)
    if not np.isfinite(positions).all():
        raise ValueError("a position is not finite: the geometry has broken down")
    atoms = [atom_grid(int(number), level) for number in numbers]
    owner = np.repeat(np.arange(len(atoms)), [len(bare) for _, bare in atoms])
    points = np.concatenate([offsets for offsets, _ in atoms]) + positions[owner]
    bare = np.concatenate([weights for _, weights in atoms])
    weights = np.empty(len(points))
    distances = _distances(positions)
    _partition(
        points, bare, point_blocks(owner), positions, distances, _size_adjustment(numbers), weights
    )
    return Grid(points, weights, bare, owner)


def weight_gradient(
    grid: Grid, numbers: np.ndarray, positions: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Derivatives ``Σ_g values_g dw_g/dR_A``, points moving with their owners; shape (atoms, 3).

    The sum over atoms is zero.
    """
    positions = np.ascontiguousarray(positions, dtype=float)
    result = np.zeros((len(positions), 3))
    _weight_gradient(
        grid.points,
        grid.bare,
        point_blocks(grid.owner),
        positions,
        _distances(positions),
        _size_adjustment(numbers),
        np.ascontiguousarray(values, dtype=float),
        result,
    )
    return result


def _distances(positions: np.ndarray) -> np.ndarray:
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    if distances.min(initial=np.inf) < 1e-6:
        raise ValueError("two atoms coincide: the geometry has broken down")
    return distances


def _size_adjustment(numbers: np.ndarray) -> np.ndarray:
    """Treutler's a_ij: half of ``(χ − 1/χ)/2``, χ² the ratio of Bragg radii, within ±1/2."""
    size = np.sqrt(radi.BRAGG_RADII[np.asarray(numbers)])
    ratio = size[:, None] / size[None, :]
    return np.clip(0.25 * (ratio.T - ratio), -0.5, 0.5)


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _cells(points, first, count, centres, distances, adjustment, r, order, cells, total):
    """Cell functions of a block: distances r, cells P_i and their sum; which are not negligible.

    ``order`` (atoms,) returns the atoms from the nearest on; the result says for each atom
    whether its cell function matters in this block.
    """
    atoms = len(centres)
    mean = np.zeros(atoms)
    for i in range(atoms):
        for p in range(count):
            x = points[first + p, 0] - centres[i, 0]
            y = points[first + p, 1] - centres[i, 1]
            z = points[first + p, 2] - centres[i, 2]
            r[i, p] = np.sqrt(x * x + y * y + z * z)
        for p in range(count):
            mean[i] += r[i, p]
    order[:] = np.argsort(mean)
    for p in range(count):
        total[p] = 0.0
    matters = np.zeros(atoms, dtype=np.bool_)
    for rank in range(atoms):
        i = order[rank]
        for p in range(count):
            cells[i, p] = 1.0
        matters[i] = True
        for other in range(atoms):
            j = order[other]
            if j == i:
                continue
            inverse, a = 1.0 / distances[i, j], adjustment[i, j]
            for p in range(count):
                mu = (r[i, p] - r[j, p]) * inverse
                e = 1.0 - mu - a * (1.0 - mu * mu)
                e = 0.5 * e * e * (3.0 - e)
                e = 0.5 * e * e * (3.0 - e)
                cells[i, p] *= 0.25 * e * e * (3.0 - e)
            # The atoms before this one already give a lower bound of the sum.
            if rank > 0 and other % 4 == 3:
                largest = 0.0
                for p in range(count):
                    largest = max(largest, cells[i, p] - NEGLIGIBLE * total[p])
                if largest <= 0.0:
                    matters[i] = False
                    break
        if matters[i]:
            for p in range(count):
                total[p] += cells[i, p]
    return matters


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _partition(points, bare, blocks, centres, distances, adjustment, weights):
    atoms = len(centres)
    r, cells = np.empty((atoms, BLOCK_POINTS)), np.empty((atoms, BLOCK_POINTS))
    total, order = np.empty(BLOCK_POINTS), np.empty(atoms, dtype=np.int64)
    for block in range(len(blocks)):
        first, count = blocks[block, 0], blocks[block, 1] - blocks[block, 0]
        owner = blocks[block, 2]
        matters = _cells(
            points, first, count, centres, distances, adjustment, r, order, cells, total
        )
        for p in range(count):
            share = cells[owner, p] / total[p] if matters[owner] else 0.0
            weights[first + p] = bare[first + p] * share


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _weight_gradient(points, bare, blocks, centres, distances, adjustment, values, result):
    atoms = len(centres)
    r, cells = np.empty((atoms, BLOCK_POINTS)), np.empty((atoms, BLOCK_POINTS))
    total, order = np.empty(BLOCK_POINTS), np.empty(atoms, dtype=np.int64)
    factor, scaled = np.empty(BLOCK_POINTS), np.empty(BLOCK_POINTS)
    pull = np.empty((atoms, BLOCK_POINTS))  # what multiplies the slope of r_i
    part = np.empty((atoms, 3))
    for block in range(len(blocks)):
        first, count = blocks[block, 0], blocks[block, 1] - blocks[block, 0]
        owner = blocks[block, 2]
        matters = _cells(
            points, first, count, centres, distances, adjustment, r, order, cells, total
        )
        if not matters[owner]:
            continue
        pull[:] = 0.0
        part[:] = 0.0
        for i in range(atoms):
            if not matters[i]:
                continue
            for p in range(count):
                share = cells[i, p] / total[p]
                weight = bare[first + p] * cells[owner, p] / total[p]
                factor[p] = values[first + p] * weight * ((1.0 if i == owner else 0.0) - share)
            for j in range(atoms):
                if j == i:
                    continue
                inverse, a = 1.0 / distances[i, j], adjustment[i, j]
                stretch = 0.0
                # d ln s/dg = −27 Π (1 + f)/(2 + f)/(1 − g) over the three iterates f.
                for p in range(count):
                    mu = (r[i, p] - r[j, p]) * inverse
                    e = max(1.0 - mu - a * (1.0 - mu * mu), 1e-10)
                    e1 = 0.5 * e * e * (3.0 - e)
                    e2 = 0.5 * e1 * e1 * (3.0 - e1)
                    above = (2.0 - e) * (2.0 - e1) * (2.0 - e2)
                    below = (3.0 - e) * (3.0 - e1) * (3.0 - e2) * e
                    scaled[p] = -27.0 * factor[p] * above / below * (1.0 - 2.0 * a * mu) * inverse
                    stretch += scaled[p] * mu
                for p in range(count):
                    pull[i, p] += scaled[p]
                for p in range(count):
                    pull[j, p] -= scaled[p]
                for axis in range(3):
                    change = stretch * (centres[i, axis] - centres[j, axis]) * inverse
                    part[i, axis] -= change
                    part[j, axis] += change
        for i in range(atoms):
            for p in range(count):
                pull[i, p] /= max(r[i, p], 1e-12)
            for axis in range(3):
                change = 0.0
                for p in range(count):
                    change += pull[i, p] * (points[first + p, axis] - centres[i, axis])
                part[i, axis] -= change
        for i in range(atoms):
            for axis in range(3):
                result[i, axis] += part[i, axis]
                result[owner, axis] -= part[i, axis]
