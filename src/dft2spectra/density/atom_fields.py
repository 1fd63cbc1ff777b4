"""A density of atom-centred functions on a grid: value, gradient, and the derivatives of both.

Around each atom the density is ``Σ_lm g_lm(d) S_lm(d)``. The radial functions of an element are
tabulated once (:mod:`dft2spectra.density.tables`); for a geometry the tables are summed with the
coefficients, one function g per atom and component, so that the time at a point does not depend on
how many functions there were. The derivative with respect to the coefficients is taken the same way
back: first to the numbers in the summed tables, then once a geometry to the coefficients.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numba as nb
import numpy as np

from dft2spectra.density.gaussian_basis import AtomFunctions, places
from dft2spectra.density.grid import BLOCK_POINTS, point_blocks
from dft2spectra.density.harmonics import gradient_table, normalisation, solid_harmonics
from dft2spectra.density.shells import displacements, harmonic_gradients
from dft2spectra.density.tables import build_tables

# Intervals of a table: 1e-7 of the largest value of the narrowest Gaussian, less of the others.
INTERVALS = 160
# exp(−28) = 7e-13 of a function is left at the end of its table.
OUTSIDE = 28.0
POWERS = 6  # of a quintic


class Tables(NamedTuple):
    """Radial functions of the atoms of a molecule.

    Attributes
    ----------
    rows
        For each atom and degree, shape (intervals · 6, functions).
    scales, steps
        Shape (atoms,): of the meshes.
    degrees
        Shape (atoms,): highest degree of each atom.
    where
        Places of the coefficients, :func:`~dft2spectra.density.gaussian_basis.places`.
    size
        Number of coefficients.
    """

    rows: list[list[np.ndarray]]
    scales: np.ndarray
    steps: np.ndarray
    degrees: np.ndarray
    where: list[list[np.ndarray]]
    size: int


def tabulate(functions: Sequence[AtomFunctions]) -> Tables:
    """Tables of the functions of all atoms; like ones are made once."""
    made: dict[int, tuple[list[np.ndarray], float, float]] = {}
    for own in functions:
        if id(own) not in made:
            made[id(own)] = _tabulate(own)
    of_atoms = [made[id(own)] for own in functions]
    return Tables(
        [rows for rows, _, _ in of_atoms],
        np.array([scale for _, scale, _ in of_atoms]),
        np.array([step for _, _, step in of_atoms]),
        np.array([len(own.exponents) - 1 for own in functions]),
        places(functions),
        sum(own.size for own in functions),
    )


def _tabulate(own: AtomFunctions) -> tuple[list[np.ndarray], float, float]:
    smallest = min(e.min() for e in own.exponents)
    largest = max(e.max() for e in own.exponents)

    def radial(r: np.ndarray) -> np.ndarray:
        found = []
        for exponents, columns in zip(*own, strict=True):
            shapes = np.exp(-np.outer(exponents, r**2))
            slopes = -2.0 * exponents[:, None] * r * shapes
            bends = (4.0 * (exponents[:, None] * r) ** 2 - 2.0 * exponents[:, None]) * shapes
            found.append(np.einsum("pk,xpr->xkr", columns, [shapes, slopes, bends]))
        return np.concatenate(found, axis=1)

    table = build_tables(
        radial, 0.5 / np.sqrt(largest), np.sqrt(OUTSIDE / smallest), intervals=INTERVALS
    )
    edges = np.cumsum([0, *own.counts])
    rows = [
        np.ascontiguousarray(table.coefficients[:, :, a:b].reshape(-1, b - a))
        for a, b in pairwise(edges)
    ]
    return rows, table.scale, table.step


def sum_tables(tables: Tables, coefficients: np.ndarray) -> np.ndarray:
    """Radial functions g of all atoms and components, (atoms, intervals, 6, (l_max + 1)²)."""
    size = (int(tables.degrees.max()) + 1) ** 2
    summed = np.zeros((len(tables.rows), INTERVALS, POWERS, size))
    for atom, (rows, where) in enumerate(zip(tables.rows, tables.where, strict=True)):
        for l, (table, own) in enumerate(zip(rows, where, strict=True)):
            part = (table @ coefficients[own]).reshape(INTERVALS, POWERS, -1)
            summed[atom, :, :, l * l : (l + 1) ** 2] = part
    return summed


def pull_tables(tables: Tables, pulled: np.ndarray) -> np.ndarray:
    """Derivatives (size,) with respect to coefficients, from those with respect to the tables."""
    result = np.zeros(tables.size)
    for atom, (rows, where) in enumerate(zip(tables.rows, tables.where, strict=True)):
        for l, (table, own) in enumerate(zip(rows, where, strict=True)):
            part = pulled[atom, :, :, l * l : (l + 1) ** 2].reshape(INTERVALS * POWERS, -1)
            result[own] = table.T @ part
    return result


def evaluate_fields(
    tables: Tables, summed: np.ndarray, positions: np.ndarray, points: np.ndarray, owner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Density (N,) and its gradient (N, 3) at points near their owners; atomic units."""
    value, slope = np.zeros(len(points)), np.zeros((len(points), 3))
    _field_values(  # type: ignore[call-arg]
        *_arguments(tables, positions, points, owner), summed, value, slope
    )
    return value, slope


def pull_fields(
    tables: Tables,
    summed: np.ndarray,
    positions: np.ndarray,
    points: np.ndarray,
    owner: np.ndarray,
    weight: np.ndarray,
    direction: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of ``Σ_g weight_g n_g + direction_g·∇n_g``, points riding on their owners.

    Returns
    -------
    coefficients
        Shape (size,), at fixed atoms.
    gradient
        Shape (atoms, 3), at fixed coefficients; zero in sum.
    """
    pulled, gradient = np.zeros_like(summed), np.zeros((len(positions), 3))
    _field_derivatives(  # type: ignore[call-arg]
        *_arguments(tables, positions, points, owner),
        summed,
        np.ascontiguousarray(weight, dtype=float),
        np.ascontiguousarray(direction, dtype=float),
        pulled,
        gradient,
    )
    return pull_tables(tables, pulled), gradient


@lru_cache(maxsize=4)
def _harmonic_arguments(l_max: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return normalisation(l_max), *gradient_table(l_max)


def _arguments(
    tables: Tables, positions: np.ndarray, points: np.ndarray, owner: np.ndarray
) -> tuple:
    return (
        np.ascontiguousarray(points, dtype=float),
        point_blocks(owner),
        np.ascontiguousarray(positions, dtype=float),
        tables.scales,
        tables.steps,
        tables.degrees,
        *_harmonic_arguments(int(tables.degrees.max())),
    )


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _field_values(
    points, blocks, centres, scales, steps, degrees, norms, indices, factors, tables, value, slope
):
    size = tables.shape[3]
    d, r = np.empty((3, BLOCK_POINTS)), np.empty(BLOCK_POINTS)
    harmonics, slopes = np.empty((size, BLOCK_POINTS)), np.empty((3, size, BLOCK_POINTS))
    g, outward = np.empty((size, BLOCK_POINTS)), np.empty((size, BLOCK_POINTS))
    row, steep, work = np.empty(size), np.empty(size), np.empty(BLOCK_POINTS)
    for block in range(len(blocks)):
        first, count = blocks[block, 0], blocks[block, 1] - blocks[block, 0]
        for atom in range(len(centres)):
            nearest = displacements(points, first, count, centres[atom], d, r)
            scale, step = scales[atom], steps[atom]
            end = scale * np.expm1(step * tables.shape[1])
            if nearest >= end * end:
                continue
            l_max = degrees[atom]
            own = (l_max + 1) * (l_max + 1)
            solid_harmonics(l_max, norms, d, harmonics)
            harmonic_gradients(l_max, count, indices, factors, harmonics, slopes)
            for p in range(count):
                distance = np.sqrt(r[p])
                x = np.log1p(distance / scale) / step
                k = int(x)
                if k >= tables.shape[1]:
                    for i in range(own):
                        g[i, p] = 0.0
                        outward[i, p] = 0.0
                    continue
                u = x - k
                inverse = 1.0 / (step * (scale + distance) * max(distance, 1e-12))
                t = tables[atom, k]
                for i in range(own):
                    row[i] = t[0, i] + u * (
                        t[1, i] + u * (t[2, i] + u * (t[3, i] + u * (t[4, i] + u * t[5, i])))
                    )
                    steep[i] = inverse * (
                        t[1, i]
                        + u
                        * (
                            2.0 * t[2, i]
                            + u * (3.0 * t[3, i] + u * (4.0 * t[4, i] + u * 5.0 * t[5, i]))
                        )
                    )
                for i in range(own):
                    g[i, p] = row[i]
                    outward[i, p] = steep[i]
            for p in range(count):
                work[p] = 0.0
            for i in range(own):
                for p in range(count):
                    value[first + p] += g[i, p] * harmonics[i, p]
                    work[p] += outward[i, p] * harmonics[i, p]
            for axis in range(3):
                for p in range(count):
                    slope[first + p, axis] += work[p] * d[axis, p]
                for i in range(1, own):
                    for p in range(count):
                        slope[first + p, axis] += g[i, p] * slopes[axis, i, p]


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _field_derivatives(
    points, blocks, centres, scales, steps, degrees, norms, indices, factors, tables,
    weight, direction, pulled, gradient,
):  # fmt: skip
    """Both derivatives; with β = b·d/r and Hᵇ = b·∇S, ``b·∇n = Σ g' β S + g Hᵇ``."""
    size = tables.shape[3]
    d, r = np.empty((3, BLOCK_POINTS)), np.empty(BLOCK_POINTS)
    harmonics, slopes = np.empty((size, BLOCK_POINTS)), np.empty((3, size, BLOCK_POINTS))
    toward, around = np.empty((size, BLOCK_POINTS)), np.empty((size, BLOCK_POINTS))
    g0, g1, g2 = (
        np.empty((size, BLOCK_POINTS)),
        np.empty((size, BLOCK_POINTS)),
        np.empty((size, BLOCK_POINTS)),
    )
    beta, along, across = np.empty(BLOCK_POINTS), np.empty(BLOCK_POINTS), np.empty(BLOCK_POINTS)
    b, w = np.empty((3, BLOCK_POINTS)), np.empty(BLOCK_POINTS)
    s, sb = np.empty(size), np.empty(size)
    for block in range(len(blocks)):
        first, count = blocks[block, 0], blocks[block, 1] - blocks[block, 0]
        owner = blocks[block, 2]
        for p in range(count):
            w[p] = weight[first + p]
            for axis in range(3):
                b[axis, p] = direction[first + p, axis]
        for atom in range(len(centres)):
            nearest = displacements(points, first, count, centres[atom], d, r)
            scale, step = scales[atom], steps[atom]
            end = scale * np.expm1(step * tables.shape[1])
            if nearest >= end * end:
                continue
            l_max = degrees[atom]
            own = (l_max + 1) * (l_max + 1)
            solid_harmonics(l_max, norms, d, harmonics)
            harmonic_gradients(l_max, count, indices, factors, harmonics, slopes)
            for p in range(count):
                r[p] = max(np.sqrt(r[p]), 1e-12)
                beta[p] = (b[0, p] * d[0, p] + b[1, p] * d[1, p] + b[2, p] * d[2, p]) / r[p]
            for i in range(own):
                for p in range(count):
                    toward[i, p] = (
                        b[0, p] * slopes[0, i, p]
                        + b[1, p] * slopes[1, i, p]
                        + b[2, p] * slopes[2, i, p]
                    )
            for p in range(count):
                x = np.log1p(r[p] / scale) / step
                k = int(x)
                if k >= tables.shape[1]:
                    for i in range(own):
                        g0[i, p] = 0.0
                        g1[i, p] = 0.0
                        g2[i, p] = 0.0
                    continue
                u = x - k
                first_slope = 1.0 / (step * (scale + r[p]))
                second_slope = -first_slope / (scale + r[p])
                t, a = tables[atom, k], pulled[atom, k]
                wp, turn = w[p], beta[p] * first_slope
                for i in range(own):
                    s[i] = harmonics[i, p]
                    sb[i] = toward[i, p]
                for i in range(own):
                    flat, steep = wp * s[i] + sb[i], turn * s[i]
                    a[0, i] += flat
                    a[1, i] += u * flat + steep
                    a[2, i] += u * (u * flat + 2.0 * steep)
                    a[3, i] += u * u * (u * flat + 3.0 * steep)
                    a[4, i] += u * u * u * (u * flat + 4.0 * steep)
                    a[5, i] += u * u * u * u * (u * flat + 5.0 * steep)
                if atom != owner:
                    for i in range(own):
                        once = t[1, i] + u * (
                            2.0 * t[2, i]
                            + u * (3.0 * t[3, i] + u * (4.0 * t[4, i] + u * 5.0 * t[5, i]))
                        )
                        twice = 2.0 * t[2, i] + u * (
                            6.0 * t[3, i] + u * (12.0 * t[4, i] + u * 20.0 * t[5, i])
                        )
                        g0[i, p] = t[0, i] + u * (
                            t[1, i] + u * (t[2, i] + u * (t[3, i] + u * (t[4, i] + u * t[5, i])))
                        )
                        g1[i, p] = once * first_slope
                        g2[i, p] = twice * first_slope * first_slope + once * second_slope
            if atom == owner:
                continue  # moves with the points
            for p in range(count):
                along[p] = 0.0
                across[p] = 0.0
            for i in range(own):
                for p in range(count):
                    steep = g1[i, p] * harmonics[i, p]
                    along[p] += (
                        w[p] * steep
                        + g2[i, p] * beta[p] * harmonics[i, p]
                        - beta[p] / r[p] * steep
                        + g1[i, p] * toward[i, p]
                    )
                    across[p] += steep / r[p]
                    around[i, p] = w[p] * g0[i, p] + g1[i, p] * beta[p]
            for i in range(1, own):
                for axis in range(3):
                    for term in range(2):
                        factor, j = factors[axis, i, term], indices[axis, i, term]
                        if factor != 0.0:
                            for p in range(count):
                                around[j, p] += factor * g0[i, p] * b[axis, p]
            for axis in range(3):
                total = 0.0
                for p in range(count):
                    total += along[p] * d[axis, p] / r[p] + across[p] * b[axis, p]
                for i in range(1, own):
                    for p in range(count):
                        total += around[i, p] * slopes[axis, i, p]
                gradient[owner, axis] += total
                gradient[atom, axis] -= total
