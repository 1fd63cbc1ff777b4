"""Lines of the 14.4 keV transition of 57Fe from its full nuclear Hamiltonian.

The excited state (I = 3/2) feels the electric field gradient (EFG) and the hyperfine field
together, at any angle and with any asymmetry; the ground state (I = 1/2) feels the field alone.
Both Hamiltonians are diagonalised, nothing is treated as a perturbation.

Sign conventions, here for the whole project:

* EFG: ``V_ij = ∂²φ/∂x_i∂x_j`` of the electrostatic potential φ at the nucleus, so that electrons
  gathered along z, which is negative charge, give a negative V_zz. Principal values are ordered
  |Vzz| ≥ |Vyy| ≥ |Vxx| and η = (Vxx − Vyy)/Vzz lies in [0, 1].
* Quadrupole energy: ``H = eQ/(6I(2I−1)) Σ V_ij [3/2 (I_i I_j + I_j I_i) − δ_ij I(I+1)]`` with
  e > 0 and Q > 0: Vzz > 0 raises m = ±3/2 and lowers m = ±1/2.
* Zeeman energy: ``H = −(µ/I) µN I·B``. With µ > 0 in the ground state and µ < 0 in the excited
  state, the level m = +1/2 along B is the lower one below, m = +3/2 the highest above.
* Line position: (E_excited − E_ground) as a Doppler velocity in mm/s, without the isomer shift.
  Positive velocity means that the source approaches the absorber.
* Turning B round changes no line of an unpolarised measurement; the sign of a hyperfine field
  (negative: antiparallel to the moment) is therefore invisible in these spectra.

Intensities are those of a pure magnetic dipole (M1) transition between the eigenstates, in a thin
absorber, for an unpolarised source and an isotropic recoil-free fraction. The sum over the eight
lines of a nucleus is 1 for every field, EFG and direction of the γ ray.

Sources: W. Kündig, Nucl. Instrum. Methods 48, 219 (1967); N. N. Greenwood and T. C. Gibb,
Mössbauer Spectroscopy (Chapman and Hall, 1971), ch. 3 and appendix 2.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import constants

from dft2spectra import units


def spin_matrices(spin: float) -> np.ndarray:
    """Matrices of I_x, I_y, I_z in the basis m = I, I−1, …, −I: complex, (3, 2I+1, 2I+1)."""
    m = np.arange(spin, -spin - 1.0, -1.0)
    raising = np.diag(np.sqrt(spin * (spin + 1.0) - m[1:] * (m[1:] + 1.0)), k=1)
    return np.array(
        [(raising + raising.T) / 2.0, (raising - raising.T) / 2.0j, np.diag(m)], dtype=complex
    )


def _transition_operators() -> np.ndarray:
    """Vector operator of the M1 transition from I = 1/2 to I = 3/2: complex, (3, 4, 2).

    The spherical components are the Clebsch–Gordan coefficients ⟨1 q; 1/2 m_g | 3/2 m_e⟩, which for
    this stretched coupling are √((3/2 ± m_e)/3) for m_g = ±1/2; T_±1 = ∓(T_x ± iT_y)/√2, T_0 = T_z.
    """
    spherical = {q: np.zeros((4, 2)) for q in (-1, 0, 1)}
    for e, m_excited in enumerate((1.5, 0.5, -0.5, -1.5)):
        for g, m_ground in enumerate((0.5, -0.5)):
            q = round(m_excited - m_ground)
            if abs(q) <= 1:
                spherical[q][e, g] = np.sqrt((1.5 + 2.0 * m_ground * m_excited) / 3.0)
    return np.array(
        [
            (spherical[-1] - spherical[1]) / np.sqrt(2.0),
            1j * (spherical[-1] + spherical[1]) / np.sqrt(2.0),
            spherical[0],
        ]
    )


_MAGNETON_MM_S_T = units.energy_to_mm_s(units.NUCLEAR_MAGNETON / constants.e)
_GROUND_SPIN = spin_matrices(0.5)
_EXCITED_SPIN = spin_matrices(1.5)
_TRANSITION = _transition_operators()
_PRODUCTS = np.einsum("iab,jbc->ijac", _EXCITED_SPIN, _EXCITED_SPIN)
# eQ/18 [3/2 (I_i I_j + I_j I_i) − 15/4 δ_ij] in mm/s per 1e21 V/m²; eQ/2 is the splitting per Vzz.
_QUADRUPOLE = (units.splitting_per_vzz() / 9.0) * (
    1.5 * (_PRODUCTS + _PRODUCTS.swapaxes(0, 1))
    - 3.75 * np.eye(3)[:, :, None, None] * np.eye(4)[None, None]
)


def ground_hamiltonian(field_t: ArrayLike) -> np.ndarray:
    """Zeeman Hamiltonian of the ground state in mm/s, (..., 2, 2), for fields (..., 3) in tesla."""
    factor = -units.MU_GROUND_NM / 0.5 * _MAGNETON_MM_S_T
    return factor * np.einsum("...i,iab->...ab", np.asarray(field_t, float), _GROUND_SPIN)


def excited_hamiltonian(efg_1e21_v_m2: ArrayLike, field_t: ArrayLike) -> np.ndarray:
    """Zeeman and quadrupole Hamiltonian of the excited state in mm/s.

    Parameters
    ----------
    efg_1e21_v_m2
        EFG tensors in 1e21 V/m², shape (..., 3, 3). A trace or an antisymmetric part has no effect.
    field_t
        Hyperfine fields in tesla in the same axes, shape (..., 3).

    Returns
    -------
    numpy.ndarray
        Hermitian traceless matrices, shape (..., 4, 4), basis m = 3/2 … −3/2 along z.
    """
    factor = -units.MU_EXCITED_NM / 1.5 * _MAGNETON_MM_S_T
    zeeman = factor * np.einsum("...i,iab->...ab", np.asarray(field_t, float), _EXCITED_SPIN)
    return zeeman + np.einsum("...ij,ijab->...ab", np.asarray(efg_1e21_v_m2, float), _QUADRUPOLE)


def transitions(
    efg_1e21_v_m2: ArrayLike, field_t: ArrayLike, gamma: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (mm/s, without isomer shift) and intensities of the eight lines of each nucleus.

    Parameters
    ----------
    efg_1e21_v_m2
        EFG tensors in 1e21 V/m², shape (..., 3, 3), any axes.
    field_t
        Hyperfine fields in tesla in the same axes, shape (..., 3).
    gamma
        Direction of the γ ray in the same axes (any length), shape (3,) or (..., 3); ``None`` takes
        the isotropic average over directions, exactly.

    Returns
    -------
    positions, intensities
        Both (..., 8), the excited level as the slow index, each level in ascending energy. The
        intensities of a nucleus add up to 1. Where levels are degenerate, only the sum over the
        lines that coincide has a meaning.

    Raises
    ------
    ValueError
        If a direction of the γ ray has no length.

    Notes
    -----
    With a = ⟨excited|T|ground⟩, T the vector operator of the transition, the two polarisations of
    an M1 photon along the unit vector k absorb |a|² − |k·a|². The average over k is 2/3 |a|². Since
    Σ a_i* a_j over all lines is 4/3 δ_ij, the sums over lines are 8/3 for every k.
    """
    ground_energy, ground = np.linalg.eigh(ground_hamiltonian(field_t))
    excited_energy, excited = np.linalg.eigh(excited_hamiltonian(efg_1e21_v_m2, field_t))
    amplitude = np.einsum("...me,imn,...ng->...egi", excited.conj(), _TRANSITION, ground)
    strength = np.sum(np.abs(amplitude) ** 2, axis=-1)
    if gamma is None:
        intensity = strength / 4.0
    else:
        k = np.asarray(gamma, float)
        length = np.linalg.norm(k, axis=-1, keepdims=True)
        if not np.all(length > 0.0):
            raise ValueError("the direction of the γ ray must not be the zero vector")
        along = np.einsum("...egi,...i->...eg", amplitude, k / length)
        intensity = 0.375 * (strength - np.abs(along) ** 2)
    position = excited_energy[..., :, None] - ground_energy[..., None, :]
    intensity = np.broadcast_to(intensity, np.broadcast_shapes(intensity.shape, position.shape))
    position = np.broadcast_to(position, intensity.shape)
    return position.reshape(*position.shape[:-2], 8), intensity.reshape(*intensity.shape[:-2], 8)


def merge_lines(
    positions: ArrayLike, intensities: ArrayLike, tolerance_mm_s: float = 1e-5
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct lines of one nucleus, ascending: coincident ones added, forbidden ones left out.

    Neighbours closer than ``tolerance_mm_s`` become one line at their centre of gravity; lines with
    less than 1e-6 of the total intensity are dropped. A sextet comes out as six lines, a doublet as
    two, a singlet as one.
    """
    order = np.argsort(np.ravel(positions), kind="stable")
    position = np.ravel(positions)[order]
    intensity = np.ravel(intensities)[order]
    group = np.concatenate([[0], np.cumsum(np.diff(position) > tolerance_mm_s)])
    total = np.bincount(group, weights=intensity)
    kept = total > 1e-6 * intensity.sum()
    centre = np.bincount(group, weights=intensity * position)[kept] / total[kept]
    return centre, total[kept]
