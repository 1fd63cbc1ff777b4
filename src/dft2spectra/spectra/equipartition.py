"""A spectrum as if every normal mode had had the energy kT that it has on average.

In a trajectory at constant energy a mode k keeps, for picoseconds, the energy E_k that it starts
with, and its band the area ``E_k/kT`` times the thermal one: the scatter of intensities comes from
energies, which positions tell. With P_k(ω) the power spectra of the derivatives of mass-weighted
normal coordinates, of area E_k, and ``p_k = P_k/E_k`` of area one,

    σ'(ω) = σ(ω) · kT Σ_k p_k(ω) / Σ_k P_k(ω).

Where one mode moves alone the factor is kT/E_k; elsewhere it is a mean of such factors, each
weighted with the energy that its mode has there. Integrated over a band it is the area divided by
the mass-weighted velocity spectrum over the same band, times the number of modes in it and kT.
For the velocity spectrum and its equipartition see M. Thomas, M. Brehm, R. Fligg, P. Vöhringer and
B. Kirchner, Phys. Chem. Chem. Phys. 15, 6608 (2013). Modes of one band with unequal dipole
derivatives keep the scatter of how they share its energy, with the right mean.

Normal coordinates are taken in Eckart's axes on the reference geometry and differentiated as the
dipole is, by the quotient of neighbours: the finite time step, which makes the square of a Verlet
velocity too small by ``ω²τ²/4`` (11 % at 3500 cm⁻¹ and 1 fs), drops out of the ratio.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Where less than this part of the highest power is left, no mode moves and no factor is known.
FAINT = 1e-6


def mode_coordinates(positions_ang: np.ndarray, harmonic: Mapping[str, Any]) -> np.ndarray:
    """Mass-weighted normal coordinates along a trajectory, shape (n, modes), in Å √u.

    Parameters
    ----------
    positions_ang
        Shape (n, atoms, 3).
    harmonic
        Reference with ``positions_ang`` (atoms, 3), ``masses_amu`` (atoms,) and orthonormal
        mass-weighted ``modes`` (modes, atoms, 3).
    """
    masses = np.asarray(harmonic["masses_amu"], float)
    reference = np.asarray(harmonic["positions_ang"], float)
    modes = np.asarray(harmonic["modes"], float)
    reference = reference - masses @ reference / masses.sum()
    centre = np.einsum("a,nax->nx", masses, positions_ang) / masses.sum()
    inside = positions_ang - centre[:, None]
    # The turn that brings a frame nearest to the reference, weighted with the masses (Kabsch).
    left, _, right = np.linalg.svd(np.einsum("a,nax,ay->nxy", masses, inside, reference))
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    displaced = np.einsum("nax,nxz,nzy->nay", inside, left, right, optimize=True) - reference
    return np.einsum("kay,nay,a->nk", modes, displaced, np.sqrt(masses), optimize=True)


def equipartition_factor(
    wavenumber_cm1: np.ndarray, powers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Factor (m,) on a spectrum, and the energy of every mode in units of kT, (modes,).

    Parameters
    ----------
    wavenumber_cm1
        Shape (m,), ascending.
    powers
        Shape (modes, m): power spectra P_k of the mode velocities, of area one at energy kT.
    """
    energies = np.trapezoid(powers, wavenumber_cm1, axis=1)
    if not (energies > 0.0).all():
        raise ValueError("a normal mode does not move: its trajectory has no thermal energy")
    total = powers.sum(axis=0)
    wanted = (powers / energies[:, None]).sum(axis=0)
    # Windows of unbiased estimates leave small negative numbers between bands.
    clear = (total > FAINT * total.max()) & (wanted > 0.0)
    factor = np.where(clear, wanted / np.where(clear, total, 1.0), 1.0)
    return np.clip(factor, 1.0 / energies.max(), 1.0 / energies.min()), energies


def check_harmonic(harmonic: Mapping[str, Any], atoms: int) -> bool:
    """Whether a harmonic reference has the modes of a molecule of so many atoms."""
    keys: Sequence[str] = ("modes", "masses_amu", "positions_ang")
    return all(key in harmonic for key in keys) and len(harmonic["masses_amu"]) == atoms
