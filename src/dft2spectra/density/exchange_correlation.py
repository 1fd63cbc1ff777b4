"""Exchange and correlation of an input density on the grid, with its sums over basis functions.

The rows of a density are those on which the functional depends: n; ∇n, three more, from GGA on; and
the kinetic energy density ``τ = ½ Σ f_i |∇ψ_i|²`` for a meta-GGA (PySCF's order).

No orbitals stand behind an input density. Its τ is that of von Weizsäcker, ``τ_W = |∇n|²/(8n)``,
which no τ is below, plus the Pauli kinetic energy density ``τ_P = τ − τ_W``, which a model predicts
and which is cut at zero. Meta-GGAs depend on τ through ``τ_P/τ_uniform``: so an error of n or ∇n,
of which τ_W in the tail is a large multiple, does not pass for another kind of bond.
"""

from typing import NamedTuple

import numpy as np
from pyscf import dft

# Below this input density the exchange–correlation energy is left out. A point that crosses it
# moves the energy by some 1e-8 hartree where a rough model passes zero inside the molecule.
SMALLEST_DENSITY = 1e-9

TAU = 4  # row of the kinetic energy density
# τ is larger than τ_W by so much at least: at τ_W itself rounding decides on which side functionals
# such as TPSS see themselves, and their derivatives jump there.
ABOVE = 1.0 + 1e-8


class ExchangeCorrelation(NamedTuple):
    """What an input density gives; atomic units.

    Attributes
    ----------
    rho
        Shape (1, 4 or 5, N): the density.
    dense, cut
        Shape (N,): where there is a density at all, and where τ_P was cut at zero.
    energy
        Shape (N,), hartree/bohr³.
    potential
        Shape of ``rho``: derivatives of ``energy`` with respect to its rows.
    kernel
        Shape (rows, rows, N): the second derivatives.
    """

    rho: np.ndarray
    dense: np.ndarray
    cut: np.ndarray
    energy: np.ndarray
    potential: np.ndarray
    kernel: np.ndarray

    def change(self, rho_out: np.ndarray) -> np.ndarray:
        """Output minus input density where there is an input density, shape of ``rho``."""
        return np.where(self.dense, rho_out - self.rho, 0.0)

    def response(self, change: np.ndarray) -> np.ndarray:
        """``kernel · change``: what multiplies the derivatives of n, ∇n and τ_P of the input."""
        field = np.where(self.dense, np.einsum("xyp,yp->xp", self.kernel, change), 0.0)
        if len(field) > TAU:
            # dτ_W = ∇n·d∇n/(4n) − τ_W dn/n
            n, slope = np.where(self.dense, self.rho[0], 1.0), self.rho[1:TAU]
            along = ABOVE * field[TAU] / (4.0 * n)
            field[0] -= along * np.square(slope).sum(axis=0) / (2.0 * n)
            field[1:TAU] += along * slope
            field[TAU, self.cut] = 0.0
        return field


def evaluate_functional(
    xc: str, rho: np.ndarray, pauli: np.ndarray | None = None
) -> ExchangeCorrelation:
    """Energy, potential and kernel of the functional ``xc`` for an input density.

    Parameters
    ----------
    rho
        Shape (1 or 4, N): n, and ∇n from GGA on.
    pauli
        Shape (N,): τ_P for a meta-GGA.
    """
    kind = "LDA" if len(rho) == 1 else "GGA" if pauli is None else "MGGA"
    density = rho[0]
    dense = density > SMALLEST_DENSITY
    cut = np.zeros(len(density), dtype=bool)
    if pauli is not None:
        cut = pauli < 0.0
        least = np.square(rho[1:]).sum(axis=0) / (8.0 * np.where(dense, density, 1.0))
        rho = np.vstack([rho, ABOVE * least + np.where(cut, 0.0, pauli)])
    inside = np.where(dense, rho, 0.0)
    energy, potential, kernel, _ = dft.numint.NumInt().eval_xc_eff(
        xc, inside if kind != "LDA" else inside[0], 2, xctype=kind
    )
    return ExchangeCorrelation(
        rho,
        dense,
        cut,
        np.where(dense, energy * density, 0.0),
        np.where(dense, potential, 0.0),
        kernel,
    )


def half_matrix(
    values: np.ndarray, weights: np.ndarray, u: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """Matrix (nao, nao) that together with its transpose is that of a potential on the grid.

    Parameters
    ----------
    values
        Shape (1 or 4, N, nao): basis functions and their gradients.
    weights
        Shape (N,), of the grid.
    u
        Shape (N,): weights times all potentials that multiply the density.
    v
        Shape (rows, N): potentials that multiply its rows; the first is in ``u`` already.
    """
    # functions × points, contiguous
    phi = values[0].T
    y = phi * (0.5 * u)
    for axis in range(1, len(values)):
        y += values[axis].T * (weights * v[axis])
    matrix = phi @ y.T
    if len(v) > TAU:
        for axis in range(1, len(values)):
            slope = values[axis].T
            matrix += (slope * (0.25 * weights * v[TAU])) @ slope.T
    return matrix


def occupied_orbitals(values: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Occupied orbitals ``half`` (nao, occupied) and their gradients, (1 or 4, occupied, N)."""
    return np.array([half.T @ row.T for row in values])


def output_density(orbitals: np.ndarray, rows: int) -> np.ndarray:
    """Rows (rows, N) of the density of doubly occupied orbitals (1 or 4, occupied, N)."""
    psi = orbitals[0]
    rho = np.empty((rows, psi.shape[1]))
    rho[0] = 2 * np.einsum("ip,ip->p", psi, psi)
    if rows > TAU:
        rho[TAU] = 0.0
    for axis in range(1, len(orbitals)):
        slope = orbitals[axis]
        rho[axis] = 4 * np.einsum("ip,ip->p", psi, slope)
        if rows > TAU:
            rho[TAU] += np.einsum("ip,ip->p", slope, slope)
    return rho
