"""Tables of the potentials of Gaussian auxiliary functions, element by element.

The potential of an auxiliary function ``f(d²) S_lm(d)`` is ``w(d) S_lm(d)``; a primitive
``exp(−a d²)`` gives ``w = (2π/a) F_l(a d²)`` with the Boys function F_l (by Laplace's expansion
of 1/r and ``∫ t^2l exp(−T t²)``), which far away is the multipole tail
``π^(3/2) (2l−1)!!/(2^l a^(l+3/2)) d^−(2l+1)``.
"""

from functools import cache

import numpy as np
from scipy.special import factorial2, gamma, gammainc

from dft2spectra.density.tables import RadialTables, build_tables

# Intervals of a radial table: error below 1e-11 of the largest value for the usual fitting bases.
TABLE_INTERVALS = 500
# A Gaussian is outside of its own charge where a r² is larger: exp(−40) = 4e-18.
OUTSIDE = 40.0


def boys_function(order: int, argument: np.ndarray) -> np.ndarray:
    """Boys function ``F_n(T) = ∫_0^1 t^2n exp(−T t²) dt`` through the incomplete gamma function."""
    argument = np.asarray(argument, dtype=float)
    half = order + 0.5
    small = argument < 1e-12
    safe = np.where(small, 1.0, argument)
    return np.where(
        small,
        1.0 / (2 * order + 1) - argument / (2 * order + 3),
        gamma(half) * gammainc(half, safe) / (2.0 * safe**half),
    )


@cache
def potential_tables(radial: tuple) -> RadialTables:
    """Tables of w for the shells (degree, exponents, coefficients) of one element."""
    smallest = min(min(exponents) for _, exponents, _ in radial)
    largest = max(max(exponents) for _, exponents, _ in radial)
    tails = np.array(
        [
            np.pi**1.5
            * factorial2(max(2 * l - 1, 1))
            / 2.0**l
            * np.sum(np.array(coefs) / np.array(exponents) ** (l + 1.5))
            for l, exponents, coefs in radial
        ]
    )
    powers = np.array([2 * l + 1 for l, _, _ in radial])

    def functions(r: np.ndarray) -> np.ndarray:
        result = np.zeros((3, len(radial), len(r)))
        for i, (l, exponents, coefs) in enumerate(radial):
            for a, c in zip(exponents, coefs, strict=True):
                first, second = boys_function(l + 1, a * r**2), boys_function(l + 2, a * r**2)
                result[0, i] += c * 2.0 * np.pi / a * boys_function(l, a * r**2)
                result[1, i] -= c * 4.0 * np.pi * r * first
                result[2, i] += c * 4.0 * np.pi * (2.0 * a * r**2 * second - first)
        return result

    return build_tables(
        functions,
        scale=0.5 / np.sqrt(largest),
        range_bohr=np.sqrt(OUTSIDE / smallest),
        intervals=TABLE_INTERVALS,
        tails=tails,
        powers=powers,
    )


def join_tables(tables: list[RadialTables]) -> tuple:
    """Tables of all atoms as arrays for the kernels; equal elements share their memory.

    Returns the table of each atom, scales, steps, joined tails and powers, and coefficients
    (table, interval, 6, function), functions padded to the longest.
    """
    distinct: list[RadialTables] = []
    of_atom = []
    for table in tables:
        known = [i for i, other in enumerate(distinct) if other is table]
        if not known:
            distinct.append(table)
        of_atom.append(known[0] if known else len(distinct) - 1)
    width = max(t.coefficients.shape[2] for t in distinct)
    coefficients = np.zeros((len(distinct), TABLE_INTERVALS, 6, width))
    tails, powers = np.zeros((len(distinct), width)), np.ones((len(distinct), width), np.int64)
    for i, table in enumerate(distinct):
        count = table.coefficients.shape[2]
        coefficients[i, :, :, :count] = table.coefficients
        tails[i, :count], powers[i, :count] = table.tails, table.powers
    scales = np.array([t.scale for t in distinct])
    steps = np.array([t.step for t in distinct])
    return np.array(of_atom, dtype=np.int64), scales, steps, tails, powers, coefficients
