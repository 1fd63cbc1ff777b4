"""Electron density and spin density at a nucleus: isomer shift, hyperfine field, local moment.

The density at the nucleus is that of the valence states (true partial waves, weighted with their
occupations in the crystal) plus that of the core shells, solved anew for each spin in the
crystal's own spherical potential until core and potential agree. Outside the augmentation sphere
the potential is made by the crystal's smooth density, averaged over directions and cut where the
sphere is neutral. Scalar-relativistic s densities diverge at a point nucleus, so each is averaged
with the extended delta function of Blöchl, Phys. Rev. B 62, 6158 (2000), as in
:mod:`gpaw.hyperfine`. Only differences between calculations with equal settings and datasets mean
anything.
"""

from dataclasses import dataclass

import numpy as np
from gpaw.atom.aeatom import Channel
from gpaw.atom.configurations import configurations
from gpaw.hyperfine import alpha, integrate
from numpy.typing import NDArray

from dft2spectra.crystals.efg import cartesian_l2, multipole_occupations, onsite_l2, traceless
from dft2spectra.crystals.paw_state import PawState, PlaneWaves
from dft2spectra.units import CONTACT_FIELD_T_BOHR3, DIPOLAR_FIELD_T_BOHR3

METHOD_VERSION = 2

# Local moments are integrated over one radius for all elements and compounds, so that they compare
# with each other and with full-potential codes that use this sphere.
MOMENT_RADIUS_BOHR = 2.0


@dataclass(frozen=True)
class ContactDensity:
    """Nuclear averages in e/bohr³, arrays of (up, down)."""

    valence: NDArray[np.float64]
    core: NDArray[np.float64]

    @property
    def total(self) -> float:
        """Electron density, both spins."""
        return float(self.valence.sum() + self.core.sum())

    @property
    def valence_field_t(self) -> float:
        """Contact field of the valence spin density, tesla."""
        return float(CONTACT_FIELD_T_BOHR3 * (self.valence[0] - self.valence[1]))

    @property
    def core_field_t(self) -> float:
        """Contact field of the polarised core, tesla."""
        return float(CONTACT_FIELD_T_BOHR3 * (self.core[0] - self.core[1]))

    @property
    def field_t(self) -> float:
        """Contact hyperfine field, tesla; negative is against the moment that defines 'up'."""
        return self.valence_field_t + self.core_field_t


def nuclear_average(density: NDArray, setup) -> float:
    """Average of a radial density over the extended delta function of the nucleus."""
    beta = 2.0 * (1.0 - np.sqrt(1.0 - (setup.Z * alpha) ** 2))
    return float(integrate(density, setup.rgd, setup.Z * alpha**2, beta))


def spherical_average(waves: PlaneWaves, centre: NDArray, radii: NDArray) -> NDArray:
    """Average of a periodic function over the spheres of ``radii`` round ``centre``."""
    lengths = np.linalg.norm(waves.vectors, axis=1)
    amplitudes = (waves.coefficients * np.exp(1j * waves.vectors @ centre)).real
    shells, index = np.unique(np.round(lengths, 8), return_inverse=True)
    weights = np.bincount(index, amplitudes)
    return np.sinc(np.outer(radii, shells) / np.pi) @ weights


def valence_densities(density_matrices: NDArray, setup) -> NDArray:
    """Spherical valence densities of both spins inside the sphere, (2, n_radial), e/bohr³."""
    waves = np.array(setup.data.phi_jg)
    occupations = np.array([multipole_occupations(d, setup.l_j, 0)[0] for d in density_matrices])
    return np.einsum("sab,ag,bg->sg", occupations, waves, waves, optimize=True) / np.sqrt(
        4.0 * np.pi
    )


def _with_crystal_tail(state: PawState, atom: int, inside: NDArray, core: NDArray) -> NDArray:
    """Valence densities with the crystal's own average outside the augmentation sphere."""
    setup = state.setups[atom]
    r, dr = setup.rgd.r_g, setup.rgd.dr_g
    cutoff = max(setup.data.rcut_j)
    # No sphere of a crystal reaches neutrality beyond three augmentation radii.
    tail = (r > cutoff) & (r < 3.0 * cutoff)
    charge = spherical_average(state.density, state.positions[atom], r[tail])
    spin = spherical_average(state.spin_density, state.positions[atom], r[tail])
    result = np.where(r > cutoff, 0.0, inside)
    result[0, tail] = 0.5 * (charge + spin) - core[0, tail]
    result[1, tail] = 0.5 * (charge - spin) - core[1, tail]
    enclosed = np.cumsum(4.0 * np.pi * (result + core).sum(axis=0) * r**2 * dr)
    result[:, (enclosed > setup.Z) & (r > cutoff)] = 0.0
    return result


def _core_shells(setup) -> dict[int, list[float]]:
    """Starting energies of the core shells per angular momentum: occupied and not valence."""
    valence = {(n, l) for n, l in zip(setup.n_j, setup.l_j, strict=True) if n > 0}
    shells: dict[int, list[float]] = {}
    for n, l, f, energy in configurations[setup.symbol][1]:
        if f > 0 and (n, l) not in valence:
            shells.setdefault(l, []).append(energy)
    return shells


def _solve_core(potential: NDArray, setup, shells: dict[int, list[float]]) -> dict[int, NDArray]:
    """Core densities of one spin per angular momentum in the radial potential r·v(r)."""
    densities = {}
    for l, energies in shells.items():
        channel = Channel(l=l, f_n=[2 * l + 1] * len(energies))
        channel.e_n = list(energies)
        channel.phi_ng = setup.rgd.empty(len(energies))
        channel.solve2(potential, rgd=setup.rgd, scalar_relativistic=True, Z=setup.Z)
        if not channel.solve2ok:
            raise ArithmeticError(f"no bound core states with l={l} found for {setup.symbol}")
        densities[l] = channel.calculate_density()
    return densities


def radial_potential(densities: NDArray, setup, xc) -> NDArray:
    """r·v(r) of nucleus, Hartree and exchange–correlation, (2, n_radial), Ha·bohr."""
    potential = np.zeros_like(densities)
    xc.calculate_spherical(setup.rgd, densities, potential)
    return potential * setup.rgd.r_g - setup.Z + setup.rgd.poisson(densities.sum(axis=0))


def contact_density(
    state: PawState, atom: int, max_iterations: int = 60, tolerance: float = 1e-6
) -> ContactDensity:
    """Density at the nucleus ``atom``, valence and re-solved core, per spin.

    Parameters
    ----------
    state : PawState
    atom : int
    max_iterations : int
        Steps of the core's self-consistency with half mixing.
    tolerance : float
        Largest change of a core electron number integrated over |Δn| at which it stops.

    Raises
    ------
    ArithmeticError
        If a core shell is not bound or the core does not converge.
    """
    setup = state.setups[atom]
    inside = valence_densities(state.atomic_density_matrices[atom], setup)
    frozen = setup.data.nc_g / np.sqrt(4.0 * np.pi)
    core = np.array([0.5 * frozen, 0.5 * frozen])
    valence = _with_crystal_tail(state, atom, inside, core)
    shells = _core_shells(setup)
    volume = 4.0 * np.pi * setup.rgd.r_g**2 * setup.rgd.dr_g
    for _ in range(max_iterations):
        potentials = radial_potential(valence + core, setup, state.xc)
        solved = [_solve_core(v, setup, shells) for v in potentials]
        new = np.array([sum(densities.values()) for densities in solved])
        change = float((np.abs(new - core) @ volume).max())
        core = 0.5 * (core + new)
        if change < tolerance:
            break
    else:
        raise ArithmeticError(
            f"core of {setup.symbol} atom {atom} not self-consistent: last change {change:.1e} e"
        )
    return ContactDensity(
        valence=np.array([nuclear_average(n, setup) for n in inside]),
        core=np.array([nuclear_average(densities[0], setup) for densities in solved]),
    )


def local_moment(state: PawState, atom: int, radius: float = MOMENT_RADIUS_BOHR) -> float:
    """Spin moment in the sphere of ``radius`` (bohr) round the nucleus, Bohr magnetons."""
    setup = state.setups[atom]
    up, down = state.atomic_density_matrices[atom]
    occupations = multipole_occupations(up - down, setup.l_j, 0)[0]
    true, smooth = np.array(setup.data.phi_jg), np.array(setup.data.phit_jg)
    difference = np.einsum("ab,ag,bg->g", occupations, true, true, optimize=True) - np.einsum(
        "ab,ag,bg->g", occupations, smooth, smooth, optimize=True
    )
    # Partial waves coincide beyond the augmentation radius: a smaller sphere cuts the difference.
    r, dr = setup.rgd.r_g, setup.rgd.dr_g
    within = np.cumsum(difference * r**2 * dr) * np.sqrt(4.0 * np.pi)
    onsite = float(np.interp(min(radius, max(setup.data.rcut_j)), r, within))
    return state.spin_density.sphere_integral(state.positions[atom], radius) + onsite


def dipolar_tensor(state: PawState, atom: int) -> NDArray:
    """Dipolar hyperfine tensor T_ij in tesla, traceless: B_i = T_ij n_j for a moment along n.

    Without the term of G = 0, which is isotropic and depends on the shape of the sample: that of a
    sphere without a surface is :func:`lorentz_field`.

    T_ij = (µ0/4π) µB ∫ (3 x_i x_j − δ_ij r²)/r⁵ ρ_spin d³r, from the Hessian of the potential
    that the spin density would have as a charge: smooth part in reciprocal space, l = 2 part of the
    partial waves in the sphere.
    """
    setup = state.setups[atom]
    spin = state.spin_density
    squared = np.einsum("gi,gi->g", spin.vectors, spin.vectors)
    kernel = np.divide(4.0 * np.pi, squared, out=np.zeros_like(squared), where=squared > 1e-16)
    smooth = PlaneWaves(spin.vectors, spin.coefficients * kernel).hessian(state.positions[atom])
    up, down = state.atomic_density_matrices[atom]
    from_sphere = _dipolar_onsite(up - down, setup)
    return traceless(traceless(smooth) + from_sphere) * DIPOLAR_FIELD_T_BOHR3


def _dipolar_onsite(spin_matrix: NDArray, setup) -> NDArray:
    rgd = setup.rgd
    radial = onsite_l2(spin_matrix, setup)[:, 1:] @ (rgd.dr_g[1:] / rgd.r_g[1:])
    return cartesian_l2(4.0 * np.pi / 5.0 * radial)


def lorentz_field(total_moment_mub: float, volume_bohr3: float) -> float:
    """Lorentz field µ0 M / 3 of the magnetisation (T), along the total moment; +0.7 T in α-Fe.

    What dipoles far away add in a domain without a demagnetising field (Stearns, in
    Landolt-Börnstein III/19a, ch. 1.1.2).

    Parameters
    ----------
    total_moment_mub
        Spin moment of the cell, Bohr magnetons.
    volume_bohr3
        Volume of the cell.
    """
    return float(4.0 * np.pi / 3.0 * DIPOLAR_FIELD_T_BOHR3 * total_moment_mub / volume_bohr3)
