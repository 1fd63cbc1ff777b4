"""Electrostatics through an auxiliary (density-fitting) basis: metric, potentials, projections.

The potential of an auxiliary function ``f(d²) S_lm(d)`` is ``w(d) S_lm(d)``, with the w of each
element kept as tables (:mod:`dft2spectra.density.potentials`); the metric and its derivatives are
analytic (PySCF's two-centre integrals).
"""

from typing import Any

import numba as nb
import numpy as np
import scipy.linalg
from pyscf import df, gto

from dft2spectra.density.grid import BLOCK_POINTS, point_blocks
from dft2spectra.density.harmonics import gradient_table, normalisation, solid_harmonics
from dft2spectra.density.potentials import join_tables, potential_tables
from dft2spectra.density.shells import (
    displacements,
    flatten_shells,
    harmonic_components,
    harmonic_gradients,
)
from dft2spectra.density.tables import evaluate_block


class AuxiliaryBasis:
    """An auxiliary basis on a molecule: its Coulomb metric and the potentials of its functions.

    Parameters
    ----------
    mol
        The molecule, its positions included.
    name
        Name of the fitting basis, or a mapping from elements to bases, as PySCF takes them.

    Attributes
    ----------
    mol
        The auxiliary basis as a PySCF molecule; all vectors over P are in the order of its AOs.
    metric
        ``V_PQ = ∫∫ χ_P χ_Q / r12``, shape (naux, naux).
    size
        Number of functions, naux.

    Raises
    ------
    ValueError
        If the functions are Cartesian, or the metric is not positive definite.
    """

    def __init__(self, mol: gto.Mole, name: str | dict) -> None:
        self.mol = df.make_auxmol(mol, name)
        self.size = int(self.mol.nao)
        self.metric = self.mol.intor("int2c2e")
        try:
            self._factor = scipy.linalg.cho_factor(self.metric, lower=True)
        except scipy.linalg.LinAlgError as error:
            raise ValueError(
                f"the Coulomb metric of the fitting basis {name!r} is not positive definite: "
                "atoms too close together, or a basis with linear dependence"
            ) from error
        flat = flatten_shells(self.mol)
        self._lmax = int(flat.rows[:, 1].max())
        rows, of_atom, tables = [], [0], []
        for atom in range(self.mol.natm):
            radial = []
            for row in flat.rows[flat.of_atom[atom] : flat.of_atom[atom + 1]]:
                exponents = flat.exponents[row[2] : row[2] + row[3]]
                for k in range(row[4]):
                    start = row[5] + k * row[3]
                    coefs = flat.coefficients[start : start + row[3]]
                    radial.append((int(row[1]), tuple(exponents), tuple(coefs)))
                    rows.append((row[1], row[6] + k * (2 * row[1] + 1)))
            tables.append(potential_tables(tuple(radial)))
            of_atom.append(len(rows))
        self._rows = np.array(rows, dtype=np.int64)
        self._of_atom = np.array(of_atom, dtype=np.int64)
        self._tables = join_tables(tables)
        self._centres = self.mol.atom_coords()
        self._harmonics = (
            harmonic_components(self._lmax),
            self._lmax,
            normalisation(self._lmax),
            *gradient_table(self._lmax),
        )

    def solve(self, b: np.ndarray) -> np.ndarray:
        """Fit coefficients ``V⁻¹ b`` of projections ``b`` (naux,) or (naux, n)."""
        return scipy.linalg.cho_solve(self._factor, b)

    def project(self, points: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Projections ``b_P = Σ_g q_g v_P(r_g)``, shape (naux,), of charges ``q`` (N,)."""
        result = np.zeros(self.size)
        _project(*self._arguments(points, None, np.ascontiguousarray(q, dtype=float), result))
        return result

    def potential(self, points: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Potential ``Σ_P c_P v_P(r_g)``, shape (N,), of the fitted density ``c`` (naux,)."""
        result = np.zeros(len(points))
        _potential(*self._arguments(points, None, np.ascontiguousarray(c, dtype=float), result))
        return result

    def potential_gradient(
        self,
        points: np.ndarray,
        owner: np.ndarray,
        c1: np.ndarray,
        q1: np.ndarray,
        c2: np.ndarray,
        q2: np.ndarray,
    ) -> np.ndarray:
        """Derivatives ``Σ_k Σ_g q_k,g dV_k(r_g)/dR_A`` of the potentials of c1 and c2.

        The points move with their owners (N,), the fitted functions with their atoms; charges and
        coefficients are fixed. Shape (atoms, 3), hartree/bohr; the sum over atoms is zero.
        """
        result = np.zeros((self.mol.natm, 3))
        coefficients = np.array([c1, c2], dtype=float)
        charges = np.array([q1, q2], dtype=float)
        _potential_gradient(*self._arguments(points, owner, coefficients, charges, result))
        return result

    def metric_gradient(self, c1: np.ndarray, c2: np.ndarray) -> np.ndarray:
        """Derivatives ``c1ᵀ dV/dR_A c2`` of the Coulomb energy of two fits, shape (atoms, 3)."""
        slopes = self.mol.intor("int2c2e_ip1")  # (∇ of the first function | second)
        per_function = c1 * (slopes @ c2) + c2 * (slopes @ c1)
        first = self.mol.aoslice_by_atom()[:, 2]
        return -np.add.reduceat(per_function, first, axis=1).T

    def _arguments(
        self, points: np.ndarray, owner: np.ndarray | None, *last: np.ndarray
    ) -> tuple[Any, ...]:
        """Arguments of a kernel: what all have in common, then ``last``."""
        owner = np.zeros(len(points), dtype=np.int64) if owner is None else owner
        return (
            np.ascontiguousarray(points, dtype=float),
            point_blocks(owner),
            self._centres,
            self._rows,
            self._of_atom,
            *self._tables,
            *self._harmonics,
            *last,
        )


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _project(
    points, blocks, centres, rows, of_atom,
    table_of, scales, steps, tails, powers, coefficients,
    components, lmax, factors, indices, values, charges, result,
):  # fmt: skip
    size, width = (lmax + 1) * (lmax + 1), coefficients.shape[3]
    d, r = np.empty((3, BLOCK_POINTS)), np.empty(BLOCK_POINTS)
    harmonics, radial = np.empty((size, BLOCK_POINTS)), np.empty((width, BLOCK_POINTS))
    row, work = np.empty(width), np.empty(BLOCK_POINTS)
    for block in range(len(blocks)):
        first, count = blocks[block, 0], blocks[block, 1] - blocks[block, 0]
        for atom in range(len(centres)):
            displacements(points, first, count, centres[atom], d, r)
            for p in range(count):
                r[p] = np.sqrt(r[p])
            solid_harmonics(lmax, factors, d, harmonics)
            t = table_of[atom]
            evaluate_block(
                coefficients[t], scales[t], steps[t], tails[t], powers[t],
                r, count, False, row, row, radial, radial,
            )  # fmt: skip
            for shell in range(of_atom[atom], of_atom[atom + 1]):
                l, function = rows[shell, 0], rows[shell, 1]
                s = shell - of_atom[atom]
                for p in range(count):
                    work[p] = charges[first + p] * radial[s, p]
                for k in range(2 * l + 1):
                    i = components[l * l + k]
                    total = 0.0
                    for p in range(count):
                        total += work[p] * harmonics[i, p]
                    result[function + k] += total


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _potential(
    points, blocks, centres, rows, of_atom,
    table_of, scales, steps, tails, powers, coefficients,
    components, lmax, factors, indices, values, c, result,
):  # fmt: skip
    size, width = (lmax + 1) * (lmax + 1), coefficients.shape[3]
    d, r = np.empty((3, BLOCK_POINTS)), np.empty(BLOCK_POINTS)
    harmonics, radial = np.empty((size, BLOCK_POINTS)), np.empty((width, BLOCK_POINTS))
    row, work, total = np.empty(width), np.empty(BLOCK_POINTS), np.empty(BLOCK_POINTS)
    for block in range(len(blocks)):
        first, count = blocks[block, 0], blocks[block, 1] - blocks[block, 0]
        for p in range(count):
            total[p] = 0.0
        for atom in range(len(centres)):
            displacements(points, first, count, centres[atom], d, r)
            for p in range(count):
                r[p] = np.sqrt(r[p])
            solid_harmonics(lmax, factors, d, harmonics)
            t = table_of[atom]
            evaluate_block(
                coefficients[t], scales[t], steps[t], tails[t], powers[t],
                r, count, False, row, row, radial, radial,
            )  # fmt: skip
            for shell in range(of_atom[atom], of_atom[atom + 1]):
                l, function = rows[shell, 0], rows[shell, 1]
                s = shell - of_atom[atom]
                for p in range(count):
                    work[p] = 0.0
                for k in range(2 * l + 1):
                    i, weight = components[l * l + k], c[function + k]
                    for p in range(count):
                        work[p] += weight * harmonics[i, p]
                for p in range(count):
                    total[p] += radial[s, p] * work[p]
        for p in range(count):
            result[first + p] = total[p]


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _potential_gradient(
    points, blocks, centres, rows, of_atom,
    table_of, scales, steps, tails, powers, coefficients,
    components, lmax, factors, indices, values, c, charges, result,
):  # fmt: skip
    size, width = (lmax + 1) * (lmax + 1), coefficients.shape[3]
    d, r = np.empty((3, BLOCK_POINTS)), np.empty(BLOCK_POINTS)
    harmonics, slopes = np.empty((size, BLOCK_POINTS)), np.empty((3, size, BLOCK_POINTS))
    radial, radial_slope = np.empty((width, BLOCK_POINTS)), np.empty((width, BLOCK_POINTS))
    row, row_slope = np.empty(width), np.empty(width)
    work, outward = np.empty(BLOCK_POINTS), np.empty(BLOCK_POINTS)
    q = np.empty((2, BLOCK_POINTS))
    for block in range(len(blocks)):
        first, count = blocks[block, 0], blocks[block, 1] - blocks[block, 0]
        owner = blocks[block, 2]
        for k in range(2):
            for p in range(count):
                q[k, p] = charges[k, first + p]
        for atom in range(len(centres)):
            if atom == owner:
                continue  # moves with the points
            displacements(points, first, count, centres[atom], d, r)
            for p in range(count):
                r[p] = np.sqrt(r[p])
            solid_harmonics(lmax, factors, d, harmonics)
            harmonic_gradients(lmax, count, indices, values, harmonics, slopes)
            t = table_of[atom]
            evaluate_block(
                coefficients[t], scales[t], steps[t], tails[t], powers[t],
                r, count, True, row, row_slope, radial, radial_slope,
            )  # fmt: skip
            total = np.zeros(3)
            for p in range(count):
                outward[p] = 0.0
            # Shells of one degree together: the harmonics carry all that depends on direction.
            for shell in range(of_atom[atom], of_atom[atom + 1]):
                l, function = rows[shell, 0], rows[shell, 1]
                s = shell - of_atom[atom]
                for k in range(2 * l + 1):
                    i = components[l * l + k]
                    c1, c2 = c[0, function + k], c[1, function + k]
                    for p in range(count):
                        work[p] = c1 * q[0, p] + c2 * q[1, p]
                    for p in range(count):
                        outward[p] += work[p] * radial_slope[s, p] * harmonics[i, p]
                    if l > 0:
                        x = y = z = 0.0
                        for p in range(count):
                            weight = work[p] * radial[s, p]
                            x += weight * slopes[0, i, p]
                            y += weight * slopes[1, i, p]
                            z += weight * slopes[2, i, p]
                        total[0] += x
                        total[1] += y
                        total[2] += z
            for p in range(count):
                outward[p] /= max(r[p], 1e-12)
            for axis in range(3):
                part = 0.0
                for p in range(count):
                    part += outward[p] * d[axis, p]
                total[axis] += part
            for axis in range(3):
                result[atom, axis] -= total[axis]
                result[owner, axis] += total[axis]
