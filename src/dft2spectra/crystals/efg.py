"""Electric field gradient at the nuclei from a projector-augmented-wave (PAW) calculation.

Sign and order, fixed here for the whole project: V_ij = ∂²V/∂x_i∂x_j of the *physical*
electrostatic potential V (positive near nuclei), traceless, principal values ordered
|Vzz| ≥ |Vyy| ≥ |Vxx|, η = (Vxx − Vyy)/Vzz in [0, 1].

The reconstruction follows Petrilli, Blöchl, Blaha, Schwarz, Phys. Rev. B 57, 14690 (1998): the
gradient is that of the smooth potential, made by the pseudo-density and the compensation charges,
plus that of the l = 2 part of the difference between the true and the smooth charge in the sphere.
"""

import numpy as np
from gpaw.atom.shapefunc import shape_functions
from gpaw.hyperfine import Y2_m, Y2_mvv
from gpaw.sphere.gaunt import gaunt
from numpy.typing import NDArray

from dft2spectra.crystals.paw_state import PawState
from dft2spectra.units import EFG_AU_1E21_V_M2

METHOD_VERSION = 2


def traceless(tensor: NDArray) -> NDArray:
    """Symmetric traceless part of a (3, 3) tensor."""
    symmetric = 0.5 * (tensor + tensor.T)
    return symmetric - np.eye(3) * np.trace(symmetric) / 3.0


def multipole_occupations(density_matrix: NDArray, degrees: list[int], l: int) -> NDArray:
    """Coefficients (2l + 1, n_j, n_j) of products of radial partial waves in the Y_lm of a density.

    As ``gpaw.hyperfine.expand``, which stops at d waves: the PAW datasets of the lanthanides have f
    waves.

    Parameters
    ----------
    density_matrix
        Occupations of the partial waves (n_i, n_i), each with its 2 l_j + 1 orientations.
    degrees
        l_j of each radial partial wave (n_j,).
    """
    couplings = gaunt(lmax=max(2, *degrees))[:, :, l**2 : (l + 1) ** 2]
    starts = np.cumsum([0, *(2 * degree + 1 for degree in degrees)])
    waves = [
        (slice(start, start + 2 * degree + 1), slice(degree**2, (degree + 1) ** 2))
        for start, degree in zip(starts, degrees, strict=False)
    ]
    return np.array(
        [
            [
                np.einsum("ab,abm->m", density_matrix[rows, columns], couplings[left, right])
                for columns, right in waves
            ]
            for rows, left in waves
        ]
    ).transpose(2, 0, 1)


def onsite_l2(density_matrix: NDArray, setup) -> NDArray:
    """Radial l = 2 difference of the true and the pseudo-density, (5, n_radial), e/bohr³.

    The five components go with the real spherical harmonics xy, yz, 3z²−r², xz, x²−y².
    """
    occupations = multipole_occupations(density_matrix, setup.l_j, 2)
    true, smooth = np.array(setup.data.phi_jg), np.array(setup.data.phit_jg)
    return np.einsum("mab,ag,bg->mg", occupations, true, true, optimize=True) - np.einsum(
        "mab,ag,bg->mg", occupations, smooth, smooth, optimize=True
    )


def cartesian_l2(integrals: NDArray) -> NDArray:
    """Hessian of Σ_m a_m r² Y_2m for the five coefficients a_m, a (3, 3) traceless tensor."""
    return np.einsum("m,mij->ij", integrals * Y2_m, Y2_mvv)


def onsite_gradient(density_matrix: NDArray, multipoles: NDArray, setup) -> NDArray:
    """Part of V_ij made inside the sphere, atomic units, (3, 3).

    (4π/5) ∫ (n − ñ − Q₂ g₂)(r)/r dr is the coefficient of r² Y_2m in the potential energy of an
    electron at the nucleus; V has the opposite sign.
    """
    rgd = setup.rgd
    shape = shape_functions(rgd, **setup.data.shape_function, lmax=2)[2]
    difference = onsite_l2(density_matrix, setup) - multipoles[4:9, None] * shape
    integrals = 4.0 * np.pi / 5.0 * (difference[:, 1:] @ (rgd.dr_g[1:] / rgd.r_g[1:]))
    return -cartesian_l2(integrals)


def partial_wave_gradient(density_matrix: NDArray, setup) -> NDArray:
    """Part of V_ij made by the true l = 2 density of one spin in the sphere, 1e21 V/m², (3, 3).

    Without pseudo-density and compensation charges, so that parts of both spins can be compared
    with their sum and with each other.
    """
    rgd = setup.rgd
    waves = np.array(setup.data.phi_jg)
    occupations = multipole_occupations(density_matrix, setup.l_j, 2)
    density = np.einsum("mab,ag,bg->mg", occupations, waves, waves, optimize=True)
    inside = (rgd.r_g > 0.0) & (rgd.r_g <= max(setup.data.rcut_j))
    radial = density[:, inside] @ (rgd.dr_g[inside] / rgd.r_g[inside])
    return -cartesian_l2(4.0 * np.pi / 5.0 * radial) * EFG_AU_1E21_V_M2


def efg_tensor(state: PawState, atom: int) -> NDArray:
    """Electric field gradient V_ij at nucleus ``atom`` in 1e21 V/m², (3, 3), traceless."""
    smooth = -traceless(state.potential.hessian(state.positions[atom]))
    sphere = onsite_gradient(
        state.atomic_density_matrices[atom].sum(axis=0),
        state.multipoles[atom],
        state.setups[atom],
    )
    return traceless(smooth + sphere) * EFG_AU_1E21_V_M2


def principal_values(tensor: NDArray) -> tuple[float, float]:
    """(Vzz, η) of a traceless tensor; η is 0 for a vanishing one.

    Raises
    ------
    ArithmeticError
        If a component is not finite, or the trace is more than 1e-6 of the largest eigenvalue (and
        of 1e-6 in absolute terms).
    """
    if not np.isfinite(tensor).all():
        raise ArithmeticError("tensor with components that are not finite")
    values = np.linalg.eigvalsh(tensor)
    largest = float(np.abs(values).max())
    if abs(values.sum()) > 1e-6 * max(largest, 1.0):
        raise ArithmeticError(f"tensor with trace {values.sum():.3e} of {largest:.3e}")
    vxx, vyy, vzz = values[np.argsort(np.abs(values))]
    # Below this size the tensor is the rounding of a cubic site and has no asymmetry.
    if largest < 1e-9:
        return float(vzz), 0.0
    return float(vzz), float(np.clip((vxx - vyy) / vzz, 0.0, 1.0))
