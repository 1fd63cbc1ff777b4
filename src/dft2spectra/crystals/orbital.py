r"""Orbital moment and orbital hyperfine field of a magnetic crystal, with spin–orbit coupling.

Spin–orbit coupling is added to the converged scalar-relativistic states and diagonalised once
(GPAW's ``soc_eigenstates``). Inside the sphere of an atom the orbital moment along the spin is
:math:`µ_l = \langle l_n \rangle µ_B`, and its currents make at the nucleus the field

.. math:: B_\text{orb} = \frac{µ_0}{4π}\, 2 µ_B \langle l_n / r^3 \rangle

(Abragam & Bleaney, Electron Paramagnetic Resonance, ch. 17), here from the all-electron partial
waves. It adds to the spin's fields along the same axis; parallel moments give a positive field.
"""

from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from gpaw.ibz2bz import IBZ2BZMap, IBZ2BZMaps
from gpaw.spinorbit import get_L_vlmm, soc_eigenstates
from numpy.typing import NDArray

from dft2spectra.units import DIPOLAR_FIELD_T_BOHR3

METHOD_VERSION = 2

# Directions of the spins (polar and azimuthal angle in degrees): x, y, z of the cell's axes.
DIRECTIONS = ((90.0, 0.0), (90.0, 90.0), (0.0, 0.0))


class Orbital(NamedTuple):
    """Orbital parts of one atom, the mean over spins along x, y and z: what a powder shows."""

    moment_mub: float
    field_t: float


class SpinOrbit(NamedTuple):
    """What spin–orbit coupling adds to a converged state."""

    atoms: list[Orbital]
    axes: list[list[int]]
    """Cartesian axes in groups that the crystal's operations turn into each other."""
    band_energies_ev: list[float]
    """Sum of the occupied eigenvalues with the spins along each group of axes; the lowest is the
    easy one, if it is lower by more than the error of the mesh, tenths of a meV at best."""


class _Map(IBZ2BZMap):
    """Projections at a k-point from those at its irreducible one, by any symmetry operation.

    GPAW refuses operations with a translation t of their own. What they add is one phase,
    exp(−2πi k·t), for all atoms, and density matrices know nothing of it.
    """

    @property
    def U_aii(self) -> list[NDArray]:
        shifts = self.spos_ac @ self.U_cc - self.spos_ac[self.b_a]
        phases = np.exp(2j * np.pi * shifts @ self.ik_c)
        return [R_ii.T * phase for R_ii, phase in zip(self.R_aii, phases, strict=True)]


class _Maps(IBZ2BZMaps):
    """The maps of all k-points."""

    def __getitem__(self, K):
        plain = super().__getitem__(K)
        operation = plain.U_cc, plain.b_a, plain.R_aii, plain.time_reversal
        return _Map(plain.ik_c, *operation, plain.spos_ac, plain.k_c, plain.r_cR)


def spin_orbit(calculator: Any) -> SpinOrbit:
    """Orbital moment and field of every atom, along the spin direction that counts as up.

    Parameters
    ----------
    calculator
        Converged, spin polarised, with all its data on this process: no MPI.
    """
    setups = calculator.dft.setups
    symmetries = calculator.dft.ibzwfs.ibz.symmetries
    cell = np.array(calculator.dft.density.nt_sR.desc.cell_cv)
    sums = np.zeros((len(setups), 2))
    groups, energies = equivalent_axes(symmetries.rotation_scc, cell), []
    for axes in groups:
        theta, phi = DIRECTIONS[axes[0]]
        with patch("gpaw.spinorbit.IBZ2BZMaps", _Maps):
            states = soc_eigenstates(calculator, theta=theta, phi=phi)
        energies.append(float(states.calculate_band_energy()))
        matrices = states.get_atomic_density_matrices()
        # The first of the four components is that of the charge.
        own = [along_axis(matrices[a][0], setup, axes[0]) for a, setup in enumerate(setups)]
        sums += len(axes) / 3.0 * over_images(np.array(own), symmetries.atommap_sa)
    atoms = [Orbital(float(m), float(2.0 * DIPOLAR_FIELD_T_BOHR3 * f)) for m, f in sums]
    return SpinOrbit(atoms, groups, energies)


def over_images(values: NDArray, images: NDArray) -> NDArray:
    """Mean of the values (n, 2) of every atom over what the operations turn the direction into.

    An operation turns the direction and moves the atoms: the value of an atom along a turned
    direction is that of another atom along the given one.

    Parameters
    ----------
    values
        Of the atoms, all along one direction.
    images
        (m, n) numbers of the atoms that the operations map the atoms on.
    """
    return np.asarray(values[images].mean(axis=0))


def equivalent_axes(rotations: NDArray, cell: NDArray) -> list[list[int]]:
    """Cartesian axes in groups that operations of the crystal turn into each other.

    Parameters
    ----------
    rotations
        (m, 3, 3) operations in units of the lattice vectors (rows).
    cell
        (3, 3) lattice vectors as rows.
    """
    turned = np.abs(np.einsum("ij,mjk,kl->mil", np.linalg.inv(cell), rotations, cell))
    same = (turned > 1.0 - 1e-6).any(axis=0)
    groups: list[list[int]] = []
    for axis in range(3):
        for group in groups:
            if same[group[0], axis]:
                group.append(axis)
                break
        else:
            groups.append([axis])
    return groups


def along_axis(density_matrix: NDArray, setup: Any, axis: int) -> NDArray:
    """⟨l⟩ and ⟨l/r³⟩ (1/bohr³) along a Cartesian axis, of the partial waves in the sphere; (2,).

    Parameters
    ----------
    density_matrix
        (n_i, n_i) complex occupations of the partial waves, both spins.
    setup
        GPAW's PAW dataset.
    axis
        0, 1 or 2.
    """
    angular = get_L_vlmm()
    rgd = setup.rgd
    inside = (rgd.r_g > 0.0) & (rgd.r_g <= max(setup.data.rcut_j))
    r, dr = rgd.r_g[inside], rgd.dr_g[inside]
    result = np.zeros(2)
    first = np.cumsum([0, *(2 * l + 1 for l in setup.l_j)])
    for j, l in enumerate(setup.l_j):
        for k, other in enumerate(setup.l_j):
            if other != l or l == 0:
                continue
            block = density_matrix[first[j] : first[j + 1], first[k] : first[k + 1]]
            value = np.einsum("ij,ij->", block, angular[axis][l]).real
            product = setup.data.phi_jg[j][inside] * setup.data.phi_jg[k][inside]
            result += value * np.array([product @ (r**2 * dr), product @ (dr / r)])
    return result
