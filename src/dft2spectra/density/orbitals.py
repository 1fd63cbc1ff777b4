"""Basis functions at points, and sums of their derivatives with respect to the nuclei.

A basis function of an atom at R is ``φ(r) = f(d²) S_lm(d)``, d = r − R, with the contracted radial
part ``f = Σ_p c_p exp(−a_p d²)`` and a solid harmonic S. With ``f1 = 2 f'`` and ``f2 = 4 f''``
(slopes with respect to d²),

    ∂_i φ   = f1 d_i S + f ∂_i S
    ∂_i∂_j φ = f2 d_i d_j S + f1 (δ_ij S + d_i ∂_j S + d_j ∂_i S) + f ∂_i∂_j S.

Nothing of the size of the second derivatives is ever stored: they are contracted block by block.

Moving points: a sum over points that move with their owner atoms has, next to the derivative at
fixed points, the gradient of the integrand at the points of the moving atom. The integrand depends
on differences of positions only, so that this gradient is minus the sum of the fixed-point
derivatives over all atoms: what a block of points gives to all atoms is taken from its owner.
"""

import numba as nb
import numpy as np
from pyscf import gto

from dft2spectra.density.grid import BLOCK_POINTS, point_blocks
from dft2spectra.density.harmonics import gradient_table, normalisation, solid_harmonics
from dft2spectra.density.shells import displacements, flatten_shells, harmonic_gradients
from dft2spectra.density.tables import gaussians


def evaluate(
    mol: gto.Mole, points: np.ndarray, deriv: int = 0, out: np.ndarray | None = None
) -> np.ndarray:
    """Basis functions at points and, for ``deriv=1``, their gradients.

    Parameters
    ----------
    points
        Shape (N, 3), bohr.
    out
        Memory to reuse, an array that an earlier call returned.

    Returns
    -------
    numpy.ndarray
        Shape (1 or 4, N, nao): value, then ∂x, ∂y, ∂z; points are contiguous in memory, as in
        PySCF's ``eval_gto``.

    Raises
    ------
    ValueError
        If ``deriv`` is neither 0 nor 1, or ``out`` has another shape.
    """
    if deriv not in (0, 1):
        raise ValueError(f"deriv must be 0 or 1, not {deriv}")
    shape = (1 + 3 * deriv, mol.nao, len(points))
    memory = np.empty(shape) if out is None else out.transpose(0, 2, 1)
    if memory.shape != shape or not memory.flags.c_contiguous:
        raise ValueError("out must be an array that evaluate returned for as many points")
    shells = flatten_shells(mol)
    lmax = int(shells.rows[:, 1].max())
    blocks = point_blocks(np.zeros(len(points), dtype=np.int64))
    _evaluate(
        np.ascontiguousarray(points, dtype=float),
        blocks,
        mol.atom_coords(),
        *shells,
        lmax,
        normalisation(lmax),
        *gradient_table(lmax),
        deriv,
        memory,
    )
    return memory.transpose(0, 2, 1)


def density_force(
    mol: gto.Mole,
    points: np.ndarray,
    owner: np.ndarray,
    P: np.ndarray,
    Q: np.ndarray | None = None,
    U: np.ndarray | None = None,
) -> np.ndarray:
    """Derivatives ``Σ_g Σ_µ [P dφ_µ(r_g)/dR_A + Q d(U_g·∇φ_µ)(r_g)/dR_A]``, points moving.

    Parameters
    ----------
    points, owner
        Shapes (N, 3), bohr, and (N,): the atom that each point moves with, sorted.
    P, Q
        Shape (N, nao); best with the points contiguous in memory. ``Q`` and ``U`` may be left out.
    U
        Shape (N, 3): the direction of the gradient at each point; not differentiated.

    Returns
    -------
    numpy.ndarray
        Shape (atoms, 3); the sum over atoms is zero.

    Raises
    ------
    ValueError
        If only one of ``Q`` and ``U`` is given, or a shape does not fit.
    """
    if (Q is None) != (U is None):
        raise ValueError("Q and U go together: give both or neither")
    shape = (len(points), mol.nao)
    if P.shape != shape or (Q is not None and Q.shape != shape):
        raise ValueError(f"P and Q must have the shape {shape} (points, basis functions)")
    curved = Q is not None
    shells = flatten_shells(mol)
    lmax = int(shells.rows[:, 1].max())
    result = np.zeros((mol.natm, 3))
    _density_force(
        np.ascontiguousarray(points, dtype=float),
        point_blocks(owner),
        mol.atom_coords(),
        *shells,
        lmax,
        normalisation(lmax),
        *gradient_table(lmax),
        curved,
        P.T,
        P.T if Q is None else Q.T,
        np.zeros((1, 3)) if U is None else np.ascontiguousarray(U),
        result,
    )
    return result


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _radial(row, contraction, exponents, coefficients, r2, count, order, bits, work, radial):
    """Fill ``radial[:order+1]`` with f, f1, f2 of one contraction."""
    for k in range(order + 1):
        for p in range(count):
            radial[k, p] = 0.0
    for i in range(row[3]):
        exponent = exponents[row[2] + i]
        c = coefficients[row[5] + contraction * row[3] + i]
        if c == 0.0:
            continue
        gaussians(exponent, r2, count, bits, work)
        for k in range(order + 1):
            for p in range(count):
                radial[k, p] += c * work[p]
            c *= -2.0 * exponent


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _evaluate(
    points, blocks, centres,
    rows, exponents, coefficients, radii, of_atom, components,
    lmax, factors, indices, values, deriv, out,
):  # fmt: skip
    size = (lmax + 1) * (lmax + 1)
    d, r2, work = np.empty((3, BLOCK_POINTS)), np.empty(BLOCK_POINTS), np.empty(BLOCK_POINTS)
    bits, radial = np.empty(BLOCK_POINTS, dtype=np.int64), np.empty((3, BLOCK_POINTS))
    harmonics = np.empty((size, BLOCK_POINTS))
    slopes = np.empty((3, size, BLOCK_POINTS))
    for block in range(len(blocks)):
        first, count = blocks[block, 0], blocks[block, 1] - blocks[block, 0]
        for atom in range(len(centres)):
            nearest = displacements(points, first, count, centres[atom], d, r2)
            solid_harmonics(lmax, factors, d, harmonics)
            if deriv:
                harmonic_gradients(lmax, count, indices, values, harmonics, slopes)
            for shell in range(of_atom[atom], of_atom[atom + 1]):
                l = rows[shell, 1]
                for contraction in range(rows[shell, 4]):
                    function = rows[shell, 6] + contraction * (2 * l + 1)
                    if nearest > radii[shell] * radii[shell]:
                        for k in range(2 * l + 1):
                            for c in range(out.shape[0]):
                                for p in range(count):
                                    out[c, function + k, first + p] = 0.0
                        continue
                    _radial(
                        rows[shell], contraction, exponents, coefficients,
                        r2, count, deriv, bits, work, radial,
                    )  # fmt: skip
                    for k in range(2 * l + 1):
                        i = components[l * l + k]
                        for p in range(count):
                            out[0, function + k, first + p] = radial[0, p] * harmonics[i, p]
                        if deriv:
                            for axis in range(3):
                                for p in range(count):
                                    out[1 + axis, function + k, first + p] = (
                                        radial[1, p] * d[axis, p] * harmonics[i, p]
                                        + radial[0, p] * slopes[axis, i, p]
                                    )


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _density_force(
    points, blocks, centres,
    rows, exponents, coefficients, radii, of_atom, components,
    lmax, factors, indices, values, curved, P, Q, U, result,
):  # fmt: skip
    size = (lmax + 1) * (lmax + 1)
    d, r2, work = np.empty((3, BLOCK_POINTS)), np.empty(BLOCK_POINTS), np.empty(BLOCK_POINTS)
    bits, radial = np.empty(BLOCK_POINTS, dtype=np.int64), np.empty((3, BLOCK_POINTS))
    harmonics, slopes = np.empty((size, BLOCK_POINTS)), np.empty((3, size, BLOCK_POINTS))
    along = np.zeros((size, BLOCK_POINTS))  # U·∇S
    u, forward = np.zeros((3, BLOCK_POINTS)), np.zeros(BLOCK_POINTS)  # U and U·d
    # Sums over the functions of a shell: of P S, P ∇S, Q S, Q ∇S and Q U·∇∂S.
    value, slope = np.empty(BLOCK_POINTS), np.empty((3, BLOCK_POINTS))
    value_q, slope_q = np.empty(BLOCK_POINTS), np.empty((3, BLOCK_POINTS))
    twist = np.empty((3, BLOCK_POINTS))
    for block in range(len(blocks)):
        first, count = blocks[block, 0], blocks[block, 1] - blocks[block, 0]
        owner = blocks[block, 2]
        if curved:
            for p in range(count):
                for axis in range(3):
                    u[axis, p] = U[first + p, axis]
        for atom in range(len(centres)):
            if atom == owner:
                continue  # moves with the points: only their distances to other atoms change
            nearest = displacements(points, first, count, centres[atom], d, r2)
            solid_harmonics(lmax, factors, d, harmonics)
            harmonic_gradients(lmax, count, indices, values, harmonics, slopes)
            if curved:
                for p in range(count):
                    forward[p] = u[0, p] * d[0, p] + u[1, p] * d[1, p] + u[2, p] * d[2, p]
                for i in range(size):
                    for p in range(count):
                        along[i, p] = (
                            u[0, p] * slopes[0, i, p]
                            + u[1, p] * slopes[1, i, p]
                            + u[2, p] * slopes[2, i, p]
                        )
            total = np.zeros(3)
            for shell in range(of_atom[atom], of_atom[atom + 1]):
                if nearest > radii[shell] * radii[shell]:
                    continue
                l = rows[shell, 1]
                for contraction in range(rows[shell, 4]):
                    function = rows[shell, 6] + contraction * (2 * l + 1)
                    _radial(
                        rows[shell], contraction, exponents, coefficients,
                        r2, count, 2 if curved else 1, bits, work, radial,
                    )  # fmt: skip
                    for p in range(count):
                        value[p] = value_q[p] = 0.0
                    for axis in range(3):
                        for p in range(count):
                            slope[axis, p] = slope_q[axis, p] = twist[axis, p] = 0.0
                    for k in range(2 * l + 1):
                        i, mu = components[l * l + k], function + k
                        for p in range(count):
                            work[p] = P[mu, first + p]
                        for p in range(count):
                            value[p] += work[p] * harmonics[i, p]
                        if l > 0:
                            for axis in range(3):
                                for p in range(count):
                                    slope[axis, p] += work[p] * slopes[axis, i, p]
                        if not curved:
                            continue
                        for p in range(count):
                            work[p] = Q[mu, first + p]
                        for p in range(count):
                            value_q[p] += work[p] * harmonics[i, p]
                        if l > 0:
                            for axis in range(3):
                                for p in range(count):
                                    slope_q[axis, p] += work[p] * slopes[axis, i, p]
                        if l > 1:
                            for axis in range(3):
                                for term in range(2):
                                    c = values[axis, i, term]
                                    if c == 0.0:
                                        continue
                                    j = indices[axis, i, term]
                                    for p in range(count):
                                        twist[axis, p] += c * work[p] * along[j, p]
                    for p in range(count):
                        work[p] = radial[1, p] * value[p]
                    if curved:
                        # What multiplies d_i.
                        for p in range(count):
                            work[p] += radial[2, p] * forward[p] * value_q[p] + radial[1, p] * (
                                u[0, p] * slope_q[0, p]
                                + u[1, p] * slope_q[1, p]
                                + u[2, p] * slope_q[2, p]
                            )
                    for axis in range(3):
                        part = 0.0
                        for p in range(count):
                            part += work[p] * d[axis, p] + radial[0, p] * slope[axis, p]
                        if curved:
                            for p in range(count):
                                part += radial[0, p] * twist[axis, p] + radial[1, p] * (
                                    u[axis, p] * value_q[p] + forward[p] * slope_q[axis, p]
                                )
                        total[axis] += part
            for axis in range(3):
                result[atom, axis] -= total[axis]
                result[owner, axis] += total[axis]
