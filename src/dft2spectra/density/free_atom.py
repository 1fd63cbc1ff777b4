"""The density of a free atom, as Gaussians.

It is that of the spherically averaged, spin-restricted Kohn–Sham atom in the basis and functional
of the molecule, fitted by normalised s Gaussians with the best exponents,

    n(r) = Σ_k q_k (a_k/π)^(3/2) exp(−a_k r²),   Σ_k q_k = Z.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from pyscf import gto, scf
from pyscf.data import elements
from pyscf.scf import atom_ks
from scipy.optimize import least_squares, nnls

GAUSSIANS = 20  # most of an atom
# So many Gaussians are tried, until the error is below this part of the electrons. Ten leave 6e-3
# to 1.1e-2 electrons of C, N and O, less than twenty even-tempered ones, and the integrals with the
# free atoms take half the time.
COUNTS = (10, 14, GAUSSIANS)
FIT_ERROR = 2e-3
LEAST_RATIO = 1.4  # of neighbouring exponents; nearer ones take large charges of opposite sign


class Gaussians(NamedTuple):
    """The density of a free atom.

    Attributes
    ----------
    exponents
        Shape (k,), 1/bohr².
    charges
        Shape (k,), electrons; they sum to the nuclear charge. Zero where fewer than k are needed.
    fit_error
        ``∫ |fit − atom|``, electrons.
    """

    exponents: np.ndarray
    charges: np.ndarray
    fit_error: float


@cache
def converged_atom(symbol: str, xc: str, basis: str) -> tuple[gto.Mole, np.ndarray]:
    """A free atom and its spherically averaged, spin-restricted Kohn–Sham density matrix.

    Raises
    ------
    ValueError
        If the basis has no functions for the core electrons.
    RuntimeError
        If the atom does not converge.
    """
    atom = gto.M(atom=symbol, basis=basis, spin=None, verbose=0)
    _refuse_valence_basis(atom, symbol, basis)
    solver = atom_ks.AtomSphAverageRKS(atom)
    solver.atomic_configuration = elements.NRSRHFS_CONFIGURATION
    solver.xc = xc
    solver.grids.atom_grid = (100, 434)
    solver.diis = scf.ADIIS()
    solver.run(conv_tol=1e-9, max_cycle=200)
    if not solver.converged:
        raise RuntimeError(f"the free {symbol} atom in {xc}/{basis} did not converge")
    return atom, np.asarray(solver.make_rdm1())


@cache
def atomic_density(symbol: str, xc: str, basis: str) -> Gaussians:
    """The Kohn–Sham density of a free atom, spherically averaged, as s Gaussians.

    Raises
    ------
    ValueError, RuntimeError
        As :func:`converged_atom`.
    """
    atom, density_matrix = converged_atom(symbol, xc, basis)
    charge = int(atom.nelectron)
    r = np.geomspace(1e-4, 30.0, 2000)
    orbitals = atom.eval_gto("GTOval_sph", r[:, None] * np.array([0.0, 0.0, 1.0]))
    density = np.einsum("gi,ij,gj->g", orbitals, density_matrix, orbitals)

    used = np.concatenate([atom.bas_exp(i) for i in range(atom.nbas)])
    best = None
    for count in COUNTS:
        even = np.geomspace(1.6 * used.min(), 2.0 * used.max(), count)
        for exponents in (_best_exponents(even, r, density, charge), even):
            charges, error = _fit_charges(exponents, r, density, charge)
            if best is None or error < best.fit_error:
                best = Gaussians(exponents, charges, error)
        if best is not None and best.fit_error < FIT_ERROR * charge:
            break
    assert best is not None
    # As many for all elements: the others of no charge.
    more = GAUSSIANS - len(best.exponents)
    return best._replace(
        exponents=np.append(best.exponents, np.ones(more)),
        charges=np.append(best.charges, np.zeros(more)),
    )


def _shapes(exponents: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.asarray((exponents / np.pi) ** 1.5 * np.exp(-np.outer(r**2, exponents)))


def _shell(r: np.ndarray) -> np.ndarray:
    """4π r² dr on a logarithmic mesh."""
    return np.asarray(4.0 * np.pi * r**3 * np.gradient(np.log(r)))


def _least_squares(
    exponents: np.ndarray, r: np.ndarray, density: np.ndarray, charge: int
) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and target: the integrated square, the charge as a heavily weighted equation."""
    root = np.sqrt(_shell(r))
    matrix = np.vstack([_shapes(exponents, r) * root[:, None], np.full(len(exponents), 1e4)])
    return matrix, np.append(density * root, 1e4 * charge)


def _fit_charges(
    exponents: np.ndarray, r: np.ndarray, density: np.ndarray, charge: int
) -> tuple[np.ndarray, float]:
    """Charges of the Gaussians, which sum to ``charge`` and give no negative density; the error."""
    matrix, target = _least_squares(exponents, r, density, charge)
    shapes = _shapes(exponents, r)
    charges = np.linalg.lstsq(matrix, target, rcond=None)[0]
    if (shapes @ charges).min() < 0.0:
        charges = nnls(matrix, target, maxiter=100 * len(exponents))[0]
    charges *= charge / charges.sum()
    return charges, float(_shell(r) @ np.abs(shapes @ charges - density))


def _best_exponents(
    start: np.ndarray, r: np.ndarray, density: np.ndarray, charge: int
) -> np.ndarray:
    """Exponents of least squared error, apart by a factor of ``LEAST_RATIO`` at least.

    The charges follow from the exponents by linear least squares (variable projection).
    """
    inside = slice(None, None, 5)  # a mesh that is fine enough to choose on

    def exponents(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(np.cumsum(x)))

    def residuals(x: np.ndarray) -> np.ndarray:
        matrix, target = _least_squares(exponents(x), r[inside], density[inside], charge)
        charges = np.linalg.lstsq(matrix, target, rcond=None)[0]
        return np.asarray(matrix @ charges - target)

    steps = np.diff(np.log(start), prepend=0.0)
    low = np.append(-20.0, np.full(len(start) - 1, math.log(LEAST_RATIO)))
    high = np.append(20.0, np.full(len(start) - 1, 10.0))
    found = least_squares(
        residuals, np.clip(steps, low + 1e-6, None), bounds=(low, high), max_nfev=200, x_scale=0.1
    )
    return exponents(found.x)


def _refuse_valence_basis(atom: gto.Mole, symbol: str, basis: str) -> None:
    for l, electrons in enumerate(elements.NRSRHFS_CONFIGURATION[gto.charge(symbol)]):
        shells = sum(atom.bas_nctr(i) for i in range(atom.nbas) if atom.bas_angular(i) == l)
        if electrons > shells * 2 * (2 * l + 1):
            raise ValueError(
                f"{basis} has too few functions for the electrons of {symbol}, it goes with a "
                "core potential: choose an all-electron basis"
            )
