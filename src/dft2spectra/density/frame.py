"""The frame in which a molecule's integration grid is laid: its principal axes.

Lebedev spheres are fixed in space, so that an energy from the grid changes by some 1e-5 hartree as
the molecule turns. In the frame of the principal axes of the nuclear charges a turned molecule is
the same molecule, and the energy is exactly invariant. The frame follows the atoms, however, and
the gradient has to know: with ``x_a = Q (R_a − c)``, the second moments ``M = Σ Z_a x_a x_aᵀ``
diagonal with eigenvalues λ, and G the gradient at fixed axes,

    dQ Qᵀ = Ω,   Ω_ij = dM_ij/(λ_i − λ_j)
    dE/dx_ai = G_ai + Z_a Σ_j K_ij x_aj,   K_ij = Σ_b (G_bi x_bj − G_bj x_bi)/(λ_i − λ_j).

The order and signs of the axes do not matter: Lebedev spheres have the symmetry of the cube.
"""

from typing import NamedTuple

import numpy as np

# Smallest difference of two second moments, relative to the largest moment, at which the axes are
# taken from the molecule. Below it they turn fast as the atoms move, and what the grid leaves of
# a torque (1e-5 hartree) becomes a force of more than 1e-4 hartree/bohr.
SMALLEST_GAP = 0.02


class Frame(NamedTuple):
    """Axes of a molecule: ``positions_in_frame = (positions − centre) @ rotation.T``.

    Attributes
    ----------
    rotation
        Shape (3, 3): the axes as rows, determinant +1.
    centre
        Shape (3,): centre of the nuclear charges, bohr.
    gap
        Smallest difference of two second moments over the largest moment.
    degenerate
        Whether ``gap`` is below :data:`SMALLEST_GAP`: linear, or as round as a top. The axes are
        then arbitrary, and the caller works with those of the laboratory for a whole trajectory.
    """

    rotation: np.ndarray
    centre: np.ndarray
    gap: float
    degenerate: bool


def molecular_frame(charges: np.ndarray, positions: np.ndarray) -> Frame:
    """Principal axes of the nuclear charges (atoms,) at ``positions`` (atoms, 3), bohr."""
    charges = np.asarray(charges, dtype=float)
    centre = charges @ positions / charges.sum()
    x = positions - centre
    moments, axes = np.linalg.eigh((charges[:, None] * x).T @ x)
    rotation = axes.T * np.sign(np.linalg.det(axes))
    gap = float(np.diff(moments).min() / moments[-1]) if moments[-1] > 1e-8 else 0.0
    return Frame(rotation, centre, gap, gap < SMALLEST_GAP)


def frame_gradient(gradient: np.ndarray, positions: np.ndarray, charges: np.ndarray) -> np.ndarray:
    """The gradient with the turning of the axes included: no net force, no net torque.

    Parameters
    ----------
    gradient
        Shape (atoms, 3): at fixed axes, components along the axes; without net force.
    positions
        Shape (atoms, 3), bohr, in the frame: about the centre, along the axes.

    Returns
    -------
    numpy.ndarray
        Shape (atoms, 3), components along the axes; ``gradient @ rotation`` leads back.

    Raises
    ------
    ValueError
        If the second moments are degenerate, where the axes are not defined.
    """
    charges = np.asarray(charges, dtype=float)
    moments = charges @ positions**2
    gaps = moments[:, None] - moments[None, :]
    np.fill_diagonal(gaps, np.inf)
    if np.abs(gaps).min() <= 1e-6 * moments.max():
        raise ValueError(
            "the principal axes of this molecule are not defined: use the axes of the laboratory"
        )
    torque = gradient.T @ positions - positions.T @ gradient
    return gradient + charges[:, None] * (positions @ (torque / gaps))
