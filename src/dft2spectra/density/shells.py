"""The shells of a basis as flat arrays, and what kernels over points share.

In all kernels of this package the points are the vector axis, handled in blocks of
``BLOCK_POINTS`` with one owner atom.
"""

from functools import lru_cache
from typing import NamedTuple

import numba as nb
import numpy as np
from pyscf import gto

from dft2spectra.density.harmonics import PYSCF_P_ORDER

# A shell is skipped for a block of points where it and its derivatives are smaller than this.
NEGLIGIBLE = 1e-13


class Shells(NamedTuple):
    """The basis of a molecule as flat arrays for the kernels.

    Attributes
    ----------
    rows
        Shape (shells, 7), sorted by atom: atom, degree, first exponent, number of exponents,
        number of contractions, first coefficient, first basis function.
    exponents, coefficients
        Exponents (1/bohr²) and normalised coefficients, contraction by contraction.
    radii
        Distance (bohr) beyond which a shell is negligible.
    of_atom
        Shape (atoms + 1,): where the shells of each atom begin.
    components
        Index of the harmonic of the k-th function of a shell of degree l, at ``l² + k``.
    """

    rows: np.ndarray
    exponents: np.ndarray
    coefficients: np.ndarray
    radii: np.ndarray
    of_atom: np.ndarray
    components: np.ndarray


def flatten_shells(mol: gto.Mole) -> Shells:
    """The shells of a molecule (or of its auxiliary basis) as flat arrays.

    Raises
    ------
    ValueError
        If the basis functions are Cartesian.
    """
    if mol.cart:
        raise ValueError("the basis must be of spherical functions: build it with cart=False")
    # All but the positions of the atoms, which stand before the functions: one answer for a whole
    # trajectory.
    start = int(mol._bas[:, [gto.PTR_EXP, gto.PTR_COEFF]].min())
    return _flatten(mol._bas.tobytes(), start, mol._env[start:].tobytes(), mol.natm)


@lru_cache(maxsize=16)
def _flatten(table: bytes, start: int, numbers: bytes, n_atoms: int) -> Shells:
    """Shells of PySCF's table of a basis and of its numbers from ``start`` on."""
    bas = np.frombuffer(table, dtype=np.int32).reshape(-1, gto.BAS_SLOTS)
    env = np.frombuffer(numbers)
    widths = (2 * bas[:, gto.ANG_OF] + 1) * bas[:, gto.NCTR_OF]
    first_function = np.cumsum(widths) - widths
    rows, radii = [], []
    exponents: list[np.ndarray] = []
    coefficients: list[np.ndarray] = []
    r = np.linspace(0.0, 60.0, 601)
    for shell in np.argsort(bas[:, gto.ATOM_OF], kind="stable"):
        row = bas[shell]
        degree, primitives, contractions = row[[gto.ANG_OF, gto.NPRIM_OF, gto.NCTR_OF]].tolist()
        exps = env[row[gto.PTR_EXP] - start :][:primitives]
        # The coefficients of the integral library, normalised, contraction by contraction.
        flat = env[row[gto.PTR_COEFF] - start :][: primitives * contractions]
        rows.append(
            (
                row[gto.ATOM_OF],
                degree,
                sum(len(e) for e in exponents),
                primitives,
                contractions,
                sum(len(c) for c in coefficients),
                first_function[shell],
            )
        )
        exponents.append(exps)
        coefficients.append(flat)
        largest = np.abs(flat.reshape(contractions, primitives)).max(axis=0)
        size = largest[:, None] * np.exp(-np.outer(exps, r**2))
        bound = (size * (1.0 + 2.0 * exps[:, None] * r) ** 2).sum(axis=0) * (1.0 + r) ** degree
        beyond = np.flatnonzero(bound > NEGLIGIBLE)
        radii.append(r[beyond[-1] + 1] if beyond[-1] + 1 < len(r) else 1e6)
    flat_rows = np.array(rows, dtype=np.int64).reshape(-1, 7)
    return Shells(
        flat_rows,
        np.concatenate(exponents),
        np.concatenate(coefficients),
        np.array(radii),
        np.searchsorted(flat_rows[:, 0], np.arange(n_atoms + 1)),
        harmonic_components(int(flat_rows[:, 1].max())),
    )


def harmonic_components(lmax: int) -> np.ndarray:
    """Index of the harmonic of the k-th function of degree l in PySCF's order, at ``l² + k``."""
    components = np.arange((lmax + 1) ** 2)
    if lmax > 0:
        components[1:4] = 1 + np.array(PYSCF_P_ORDER)
    return components


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def displacements(points, first, count, centre, d, r2):
    """Fill ``d`` (3, P) and ``r2`` (P,) for points ``first`` and on; the smallest r² of them."""
    for p in range(count):
        d[0, p] = points[first + p, 0] - centre[0]
        d[1, p] = points[first + p, 1] - centre[1]
        d[2, p] = points[first + p, 2] - centre[2]
    nearest = 1e300  # no infinities: the compiler may assume there are none
    for p in range(count):
        r2[p] = d[0, p] * d[0, p] + d[1, p] * d[1, p] + d[2, p] * d[2, p]
        nearest = min(nearest, r2[p])
    # The tail of the block must hold numbers: the harmonics are evaluated there as well.
    for p in range(count, d.shape[1]):
        d[0, p] = d[1, p] = d[2, p] = 0.0
    return nearest


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def harmonic_gradients(lmax, count, indices, values, harmonics, out):
    """Fill ``out`` (3, (lmax+1)², P) with the gradients of ``harmonics``."""
    for axis in range(3):
        for p in range(count):
            out[axis, 0, p] = 0.0
        for i in range(1, (lmax + 1) * (lmax + 1)):
            a, b = values[axis, i, 0], values[axis, i, 1]
            j, k = indices[axis, i, 0], indices[axis, i, 1]
            for p in range(count):
                out[axis, i, p] = a * harmonics[j, p] + b * harmonics[k, p]
