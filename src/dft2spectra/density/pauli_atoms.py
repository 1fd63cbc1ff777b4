"""Pauli kinetic energy density of superposed free atoms on a grid, and its derivatives.

``τ_P = ½ Σ f_i |∇ψ_i|² − |∇n|²/(8n)`` of the spherically averaged atom of
:func:`~dft2spectra.density.free_atom.converged_atom` is a function of the distance alone, tabulated
with its exact slope and curvature. Unlike the density it enters no integral over Gaussians, so that
it need not be fitted by any.
"""

from functools import cache

import numpy as np

from dft2spectra.density.free_atom import converged_atom
from dft2spectra.density.potentials import OUTSIDE
from dft2spectra.density.tables import RadialTables, build_tables, evaluate_tables

INTERVALS = 500
# Basis functions and their derivatives on the axis z among all of PySCF's of order 0 to 3: φ to
# ∂z∂z∂zφ, and ∂a, ∂a∂z and ∂a∂z∂z for a = x, y, z.
ALONG = ((0,), (3,), (9,), (19,))
SLOPES = ((1, 2, 3), (6, 8, 9), (15, 18, 19))


@cache
def atomic_pauli_density(symbol: str, xc: str, basis: str) -> RadialTables:
    """Table of τ_P of a free atom, hartree/bohr³ against bohr.

    Raises
    ------
    ValueError, RuntimeError
        As :func:`dft2spectra.density.free_atom.converged_atom`.
    """
    atom, density_matrix = converged_atom(symbol, xc, basis)
    exponents = np.concatenate([atom.bas_exp(i) for i in range(atom.nbas)])

    def product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.einsum("agi,agi->g", first @ density_matrix, second)

    def functions(r: np.ndarray) -> np.ndarray:
        values = atom.eval_gto("GTOval_sph_deriv3", r[:, None] * np.array([0.0, 0.0, 1.0]))
        f, f1, f2, f3 = (values[list(chosen)] for chosen in ALONG)
        g, g1, g2 = (values[list(chosen)] for chosen in SLOPES)
        n, slope = product(f, f), 2.0 * product(f, f1)
        bend = 2.0 * (product(f1, f1) + product(f, f2))
        twist = 2.0 * (3.0 * product(f1, f2) + product(f, f3))
        # τ_W = n s²/8 with s = n'/n
        s = slope / n
        s1 = bend / n - s**2
        s2 = twist / n - bend * s / n - 2.0 * s * s1
        return np.array(
            [
                0.5 * product(g, g) - n * s**2 / 8.0,
                product(g, g1) - (slope * s**2 + 2.0 * n * s * s1) / 8.0,
                product(g, g2)
                + product(g1, g1)
                - (bend * s**2 + 4.0 * slope * s * s1 + 2.0 * n * (s1**2 + s * s2)) / 8.0,
            ]
        )[:, None]

    return build_tables(
        functions,
        scale=0.5 / np.sqrt(2.0 * exponents.max()),
        range_bohr=np.sqrt(OUTSIDE / (2.0 * exponents.min())),
        intervals=INTERVALS,
    )


def pauli_on_grid(
    atoms: list[RadialTables], positions: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Superposed τ_P (N,) at ``points`` (N, 3); ``positions`` (atoms, 3)."""
    total = np.zeros(len(points))
    for atom, position in zip(atoms, positions, strict=True):
        total += evaluate_tables(atom, np.linalg.norm(points - position, axis=1))[0][0]
    return total


def pauli_gradient(
    atoms: list[RadialTables],
    positions: np.ndarray,
    points: np.ndarray,
    owner: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    """Derivatives of ``Σ_g weight_g τ_P(r_g)``, points moving with their owners, (atoms, 3).

    ``weight`` (N,) is not differentiated; the sum over atoms is zero.
    """
    result = np.zeros((len(positions), 3))
    for index, (atom, position) in enumerate(zip(atoms, positions, strict=True)):
        others = owner != index  # an atom's own points keep their distance
        d = points[others] - position
        r = np.linalg.norm(d, axis=1)
        slope = evaluate_tables(atom, r)[1][0]
        force = (weight[others] * slope / np.maximum(r, 1e-12))[:, None] * d
        result[index] -= force.sum(axis=0)
        for axis in range(3):
            result[:, axis] += np.bincount(
                owner[others], weights=force[:, axis], minlength=len(positions)
            )
    return result
