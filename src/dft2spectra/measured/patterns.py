"""Lines of one Fe site as functions of what a fit changes: shift, quadrupole, field, texture.

Four kinds of site:

* ``singlet``: one line; no quadrupole, no field.
* ``doublet``: field zero, axial EFG; the quadrupole parameter is the splitting ΔEQ.
* ``sextet``: a field along the axis of an axial EFG; the quadrupole parameter is the quadrupole
  shift 2ε = ½ e Q V_BB with V_BB the EFG along the field, the quantity that fits of sextets print.
  For 2ε of a tenth of the magnetic splitting it stands for every EFG and angle.
* ``hamiltonian``: EFG tensors and moment direction from a calculation; the fit changes the size of
  the field and of the tensor, positions and intensities come from the full Hamiltonian of
  :mod:`dft2spectra.spectra.nuclear`. The quadrupole parameter is the signed splitting of the
  tensor; the shape of the tensor and all angles stay.

Texture enters by c = ⟨cos²θ⟩ with θ between the γ ray and the axis (the field, or that of the EFG
of a doublet): 1/3 for a powder, 0 for moments in the plane of a foil. With an axial distribution of
directions the intensities are I(c) = c I(k ∥ axis) + (1 − c) I(k ⊥ axis), and the mean over all
directions is I(1/3); so two calls of the Hamiltonian give every c.
"""

from dataclasses import dataclass

import numpy as np

from dft2spectra import units
from dft2spectra.spectra import nuclear

POWDER = 1.0 / 3.0
KINDS = ("singlet", "doublet", "sextet", "hamiltonian")

# Lines of a sextet in mm/s per tesla and per mm/s of 2ε, ascending for a positive field.
_POSITIONS, _ = nuclear.merge_lines(*nuclear.transitions(np.zeros((3, 3)), [0.0, 0.0, 1.0]))
SEXTET_PER_T = _POSITIONS
SEXTET_PER_SHIFT = 0.5 * np.array([1.0, -1.0, -1.0, -1.0, -1.0, 1.0])
# Intensities are a + b c, of Δm = ±1 (3 and 1 parts) and Δm = 0 lines.
_SEXTET_A = np.array([3.0, 4.0, 1.0, 1.0, 4.0, 3.0]) / 16.0
_SEXTET_B = np.array([3.0, -4.0, 1.0, 1.0, -4.0, 3.0]) / 16.0
# m = ±1/2 first, at −ΔEQ/2; the pair m = ±3/2 absorbs 3/8 (1 + cos²θ).
_DOUBLET_A = np.array([5.0, 3.0]) / 8.0
_DOUBLET_B = np.array([-3.0, 3.0]) / 8.0


@dataclass(frozen=True)
class Orbit:
    """Atoms of a site that look alike: their share, EFG of unit splitting, unit field direction."""

    share: float
    efg: np.ndarray
    direction: np.ndarray


@dataclass(frozen=True)
class Lines:
    """Lines of one site, (n,), and their derivatives; intensities add up to 1."""

    position: np.ndarray
    intensity: np.ndarray
    by_quadrupole: np.ndarray
    by_field: np.ndarray
    intensity_by_quadrupole: np.ndarray
    intensity_by_field: np.ndarray
    intensity_by_texture: np.ndarray


def site_lines(
    kind: str,
    shift_mm_s: float,
    quadrupole_mm_s: float,
    field_t: float,
    texture: float,
    orbits: tuple[Orbit, ...] = (),
) -> Lines:
    """Lines of a site of this kind with these parameters."""
    if kind == "hamiltonian":
        return _hamiltonian(shift_mm_s, quadrupole_mm_s, field_t, texture, orbits)
    zero1, zero2, zero6 = np.zeros(1), np.zeros(2), np.zeros(6)
    if kind == "singlet":
        one = np.ones(1)
        return Lines(shift_mm_s * one, one, zero1, zero1, zero1, zero1, zero1)
    if kind == "doublet":
        half = np.array([-0.5, 0.5])
        position = shift_mm_s + half * quadrupole_mm_s
        intensity = _DOUBLET_A + _DOUBLET_B * texture
        return Lines(position, intensity, half, zero2, zero2, zero2, _DOUBLET_B)
    position = shift_mm_s + SEXTET_PER_T * field_t + SEXTET_PER_SHIFT * quadrupole_mm_s
    intensity = _SEXTET_A + _SEXTET_B * texture
    return Lines(position, intensity, SEXTET_PER_SHIFT, SEXTET_PER_T, zero6, zero6, _SEXTET_B)


def _solve(
    quadrupole: float, field: float, texture: float, orbits: tuple[Orbit, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, intensities and their slope in the texture, all atoms one after the other."""
    efg = quadrupole * np.array([orbit.efg for orbit in orbits])
    direction = np.array([orbit.direction for orbit in orbits])
    share = np.array([orbit.share for orbit in orbits])[:, None]
    position, mean = nuclear.transitions(efg, field * direction)
    _, along = nuclear.transitions(efg, field * direction, direction)
    # mean = along/3 + 2/3 across, so that across = (3 mean − along)/2.
    slope = 1.5 * (along - mean)
    intensity = mean + (texture - POWDER) * slope
    return position.ravel(), (share * intensity).ravel(), (share * slope).ravel()


def _hamiltonian(
    shift: float, quadrupole: float, field: float, texture: float, orbits: tuple[Orbit, ...]
) -> Lines:
    position, intensity, slope = _solve(quadrupole, field, texture, orbits)
    steps = []
    for dq, db in ((1e-4, 0.0), (0.0, 1e-3)):
        upper = _solve(quadrupole + dq, field + db, texture, orbits)
        lower = _solve(quadrupole - dq, field - db, texture, orbits)
        size = 2.0 * (dq + db)
        steps.append([(u - w) / size for u, w in zip(upper[:2], lower[:2], strict=True)])
    (q_position, q_intensity), (b_position, b_intensity) = steps
    return Lines(
        shift + position, intensity, q_position, b_position, q_intensity, b_intensity, slope
    )


def unit_efg(efg_1e21_v_m2: np.ndarray) -> tuple[np.ndarray, float]:
    """Tensor of the same shape whose splitting is 1 mm/s, and the signed splitting of the tensor.

    The sign is that of Vzz. A tensor of zeros comes back as one along z, with splitting 0.
    """
    values = np.linalg.eigvalsh(efg_1e21_v_m2)
    vzz = values[np.argmax(np.abs(values))]
    # ½ e Q √(Vzz² + (Vxx − Vyy)²/3) = ½ e Q √(2/3 Σ V²).
    size = units.splitting_per_vzz() * float(np.sqrt(2.0 / 3.0 * np.sum(values**2)))
    if size < 1e-6:
        return np.diag([-0.5, -0.5, 1.0]) / units.splitting_per_vzz(), 0.0
    splitting = float(np.copysign(size, vzz))
    return efg_1e21_v_m2 / splitting, splitting
