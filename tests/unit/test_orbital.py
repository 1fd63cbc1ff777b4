"""Orbital moment of hand-made states, axes that symmetry exchanges, and the Lorentz field."""

from types import SimpleNamespace

import numpy as np
import pytest
from ase.units import Bohr
from gpaw import GPAW
from gpaw.atom.radialgd import EquidistantRadialGridDescriptor
from scipy.constants import mu_0, physical_constants

from dft2spectra.crystals.contact import lorentz_field
from dft2spectra.crystals.gpaw_input import gpaw_parameters
from dft2spectra.crystals.orbital import along_axis, equivalent_axes, over_images, spin_orbit
from dft2spectra.crystals.starts import to_atoms

# Real spherical harmonics as GPAW orders them; m = 1 is −(x + iy)/√2.
P_ONE = np.array([-1j, 0.0, -1.0]) / np.sqrt(2.0)  # y, z, x
D_TWO = np.array([1j, 0.0, 0.0, 0.0, 1.0]) / np.sqrt(2.0)  # xy, yz, z², xz, x²−y²: m = 2


def hydrogen_like(l: int) -> SimpleNamespace:
    """A dataset whose only wave is r^l exp(−r), normalised."""
    rgd = EquidistantRadialGridDescriptor(0.01, 3000)
    wave = rgd.r_g**l * np.exp(-rgd.r_g)
    wave /= np.sqrt((wave**2 * rgd.r_g**2) @ rgd.dr_g)
    return SimpleNamespace(rgd=rgd, l_j=[l], data=SimpleNamespace(phi_jg=[wave], rcut_j=[30.0]))


def density_matrix(state: np.ndarray) -> np.ndarray:
    """Of one electron, as GPAW's: conj(c_i) c_j."""
    return np.outer(state.conj(), state)


@pytest.mark.parametrize(("state", "l", "m"), [(P_ONE, 1, 1), (D_TWO, 2, 2)])
def test_states_of_given_m(state: np.ndarray, l: int, m: int) -> None:
    """⟨l_z⟩ = m; ⟨1/r³⟩ of r^l exp(−r) is 8 (2l−1)! / (2l+2)!."""
    setup = hydrogen_like(l)
    gamma, factorial = {1: (1, 24), 2: (6, 720)}[l]
    inverse_cube = 2.0**3 * gamma / factorial
    moment, field = along_axis(density_matrix(state), setup, 2)
    assert moment == pytest.approx(m, rel=1e-4)
    assert field == pytest.approx(m * inverse_cube, rel=2e-3)
    turned = along_axis(density_matrix(state.conj()), setup, 2)
    np.testing.assert_allclose(turned, [-moment, -field])
    for axis in (0, 1):
        np.testing.assert_allclose(along_axis(density_matrix(state), setup, axis), 0, atol=1e-12)


def test_real_waves_and_full_shells_have_no_orbital_moment() -> None:
    setup = hydrogen_like(1)
    for axis in range(3):
        for matrix in (np.eye(3), density_matrix(np.array([1.0, 0.0, 0.0]))):
            np.testing.assert_allclose(along_axis(matrix, setup, axis), 0.0, atol=1e-12)


def test_axes_that_operations_exchange() -> None:
    identity = np.eye(3)
    around_z = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    around_diagonal = identity[[1, 2, 0]]
    cell = np.diag([2.8, 2.8, 3.1])
    assert equivalent_axes(np.array([identity]), cell) == [[0], [1], [2]]
    assert equivalent_axes(np.array([identity, around_z]), cell) == [[0, 1], [2]]
    cubic = np.array([identity, around_diagonal, around_diagonal.T])
    assert equivalent_axes(cubic, 2.8 * identity) == [[0, 1, 2]]
    # Sixfold axes turn x into no other axis of the frame.
    hexagonal = np.array([[2.5, 0, 0], [-1.25, 2.5 * np.sqrt(0.75), 0], [0, 0, 4.0]])
    sixfold = np.array([[1, 1, 0], [-1, 0, 0], [0, 0, 1]])
    assert equivalent_axes(np.array([identity, sixfold]), hexagonal) == [[0], [1], [2]]


def test_lorentz_field_of_iron_by_hand() -> None:
    """µ0 M / 3 with 2.22 µB in 11.78 Å³: M is 1.75 MA/m, as measured, and the field 0.73 T."""
    magnetisation = 2.22 * physical_constants["Bohr magneton"][0] / 11.78e-30
    assert magnetisation == pytest.approx(1.75e6, rel=0.01)
    found = lorentz_field(2.22, 11.78 / Bohr**3)
    assert found == pytest.approx(mu_0 * magnetisation / 3.0, rel=1e-4)
    assert found == pytest.approx(0.73, abs=0.01)
    assert lorentz_field(-2.22, 11.78 / Bohr**3) == -found


def test_value_of_an_atom_is_the_mean_over_what_turns_the_axis() -> None:
    """Three atoms on the faces of a cube: each has p along its own normal and q across."""
    turn = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    along_x = np.array([[5.0, 50.0], [3.0, 30.0], [3.0, 30.0]])
    np.testing.assert_allclose(over_images(along_x, turn), [[11 / 3, 110 / 3]] * 3)
    np.testing.assert_allclose(over_images(along_x, turn[:1]), along_x)


def test_symmetry_changes_no_orbital_part() -> None:
    """Fe3Co in L1_2, whose three iron atoms have a tetragonal axis each, far from converged."""
    structure = {
        "symbols": ["Co", "Fe", "Fe", "Fe"],
        "cell_ang": (3.6 * np.eye(3)).tolist(),
        "scaled_positions": [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
        "initial_moments_mub": [1.6, 2.5, 2.5, 2.5],
    }
    settings = {"cutoff_ev": 200, "kpoint_density_ang": 0.8, "xc": "PBE", "smearing_ev": 0.3}
    settings |= {"eigensolver": "davidson", "max_iterations": 60, "hubbard_u_ev": {}}
    settings["convergence"] = {
        "energy_ev_per_electron": 1e-5,
        "density": 1e-5,
        "eigenstates": 1e-7,
    }
    atoms = to_atoms(structure)
    keywords = gpaw_parameters(atoms, settings, {})
    found = []
    for symmetry in (keywords["symmetry"], "off"):
        calculator = GPAW(**keywords | {"symmetry": symmetry}, txt=None)
        calculator.get_potential_energy(atoms.copy())
        found.append(spin_orbit(calculator))
    few, all_of_them = found
    assert (few.axes, all_of_them.axes) == ([[0, 1, 2]], [[0], [1], [2]])
    np.testing.assert_allclose(few.atoms, all_of_them.atoms, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(few.atoms[1:], [few.atoms[1]] * 3, rtol=1e-6)
    # One atom alone is not that mean: what is tested is no zero.
    moment, field = few.atoms[1]
    assert moment > 0.02
    assert field > 1.0
