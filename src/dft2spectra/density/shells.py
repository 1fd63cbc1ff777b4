"""The shells of a basis as flat arrays, and what kernels over points share.

In all kernels of this package the points are the vector axis, handled in blocks of
``BLOCK_POINTS`` with one owner atom.
"""

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
    first_function = mol.ao_loc_nr()
    rows, radii = [], []
    exponents: list[np.ndarray] = []
    coefficients: list[np.ndarray] = []
    r = np.linspace(0.0, 60.0, 601)
    for shell in np.argsort([mol.bas_atom(i) for i in range(mol.nbas)], kind="stable"):
        degree, exps = mol.bas_angular(shell), mol.bas_exp(shell)
        # The coefficients of the integral library, normalised: (primitives, contractions).
        coefs = mol._libcint_ctr_coeff(shell)
        rows.append(
            (
                mol.bas_atom(shell),
                degree,
                sum(len(e) for e in exponents),
                len(exps),
                coefs.shape[1],
                sum(len(c) for c in coefficients),
                first_function[shell],
            )
        )
        exponents.append(exps)
        coefficients.append(coefs.T.ravel())
        size = np.abs(coefs).max(axis=1)[:, None] * np.exp(-np.outer(exps, r**2))
        bound = (size * (1.0 + 2.0 * exps[:, None] * r) ** 2).sum(axis=0) * (1.0 + r) ** degree
        beyond = np.flatnonzero(bound > NEGLIGIBLE)
        radii.append(r[beyond[-1] + 1] if beyond[-1] + 1 < len(r) else 1e6)
    table = np.array(rows, dtype=np.int64).reshape(-1, 7)
    return Shells(
        table,
        np.concatenate(exponents),
        np.concatenate(coefficients),
        np.array(radii),
        np.searchsorted(table[:, 0], np.arange(mol.natm + 1)),
        harmonic_components(int(table[:, 1].max())),
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
