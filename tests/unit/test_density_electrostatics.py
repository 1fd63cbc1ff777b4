"""Integrals of the density that the fit sees beside its points."""

import numpy as np
import pytest
from density_labels import PYSCF, SECTION, labels
from density_reference import random_model
from scipy.integrate import quad

from dft2spectra.density.electrostatics import PROBES, electrostatic_rows, kernels
from dft2spectra.density.grid import build_grid
from dft2spectra.density.jacobi_legendre_fit import BASIS_KEYS
from dft2spectra.density.model import Basis
from dft2spectra.density.sampling_points import free_atom_density, positions_bohr
from dft2spectra.units import BOHR_ANG, EANG_DEBYE

POSITIONS = np.array([[0.0, 0.1, 0.4], [1.5, -0.3, 0.2]])
POINTS = np.random.default_rng(0).normal(0.0, 2.0, (20, 3))
LABEL = labels("test")[0]


def test_first_rows_are_charge_and_dipole():
    rows = kernels(POSITIONS, POINTS)
    assert rows.shape == (4 + 8 * len(POSITIONS), len(POINTS))
    np.testing.assert_array_equal(rows[0], 1.0)
    np.testing.assert_allclose(rows[1:4].T, POINTS - POSITIONS.mean(axis=0))


@pytest.mark.parametrize("number", [0, 1])
def test_potential_is_that_of_a_gaussian_charge(number):
    """∫ ρ(s)/|r − s| over shells: a shell of radius s has 1/max(r, s) at the distance r."""
    exponent = PROBES[number]
    rows = kernels(POSITIONS, POINTS)
    for atom, position in enumerate(POSITIONS):
        for k, point in enumerate(POINTS[:5]):
            r = np.linalg.norm(point - position)

            def shell(s, r=r):
                density = (exponent / np.pi) ** 1.5 * np.exp(-exponent * s * s)
                return 4 * np.pi * s * s * density / max(r, s)

            expected = quad(shell, 0, r)[0] + quad(shell, r, np.inf)[0]
            found = rows[4 + 8 * atom + 4 * number, k]
            assert found == pytest.approx(expected, rel=1e-8)


def test_slopes_are_derivatives_of_the_potentials():
    h, rows = 1e-4, kernels(POSITIONS, POINTS)
    for axis in range(3):
        shift = h * np.eye(3)[axis]
        numeric = (kernels(POSITIONS, POINTS + shift) - kernels(POSITIONS, POINTS - shift)) / 2 / h
        for first in range(4, len(rows), 4):
            np.testing.assert_allclose(rows[first + 1 + axis], numeric[first], atol=1e-8)


def test_potential_and_field_at_the_nucleus_are_finite():
    """2 √(a/π) in the middle of a Gaussian charge, and no field."""
    rows = kernels(POSITIONS, POSITIONS[:1])[4:12, 0].reshape(2, 4)
    np.testing.assert_allclose(rows[:, 0], 2 * np.sqrt(np.array(PROBES) / np.pi), rtol=1e-7)
    np.testing.assert_allclose(rows[:, 1:], 0.0, atol=1e-6)


def test_density_of_a_label_has_its_charge_and_dipole():
    basis = Basis(("H", "O"), {key: SECTION[key] for key in BASIS_KEYS})
    difference = electrostatic_rows(basis, LABEL, PYSCF, "difference")[1]
    full = electrostatic_rows(basis, LABEL, PYSCF, "full")[1]
    # up to the error of the grid and, in units of the dipole, of the free atoms' roundness on it
    assert difference[0] == pytest.approx(0.0, abs=2e-3)
    assert full[0] == pytest.approx(10.0, abs=2e-3)
    dipole = np.array(LABEL["dipole_debye"]) / EANG_DEBYE / BOHR_ANG
    assert np.linalg.norm(dipole) > 0.4
    np.testing.assert_allclose(-difference[1:4], dipole, atol=3e-3)
    # the free atoms make the rest
    grid = build_grid(np.array([8, 1, 1]), positions_bohr(LABEL), PYSCF["grid_level"])
    atoms = free_atom_density(LABEL, grid.points, PYSCF)
    rest = kernels(positions_bohr(LABEL), grid.points) @ (grid.weights * atoms)
    np.testing.assert_allclose(full - difference, rest, atol=1e-10)


def test_rows_of_the_terms_integrate_the_model():
    basis = Basis(("H", "O"), {key: SECTION[key] for key in BASIS_KEYS})
    model, positions = random_model(basis), positions_bohr(LABEL)
    found = electrostatic_rows(basis, LABEL, PYSCF, "difference")[0] @ model.coefficients
    grid = build_grid(np.array([8, 1, 1]), positions, PYSCF["grid_level"])
    value = model.evaluate(LABEL["symbols"], positions, grid.points, grid.owner)[0]
    expected = kernels(positions, grid.points) @ (grid.weights * value)
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())
