"""Auxiliary basis: potentials, projections, metric, and their derivatives."""

import numpy as np
import pytest
from pyscf import gto
from scipy.integrate import quad
from scipy.special import erf

from dft2spectra.density.coulomb import AuxiliaryBasis
from dft2spectra.density.potentials import boys_function

SYMBOLS = ["O", "C", "H"]
POSITIONS = np.array([[0.1, 0.0, 0.2], [2.2, 0.3, -0.1], [3.3, 1.9, 0.4]])
OWNER = np.repeat([0, 1, 2], [150, 100, 50])
OFFSETS = np.random.default_rng(5).standard_normal((300, 3)) * 2.0
FITTING = "def2-universal-jfit"  # reaches l = 4 on carbon and oxygen


def molecule(positions=POSITIONS):
    atoms = list(zip(SYMBOLS, positions, strict=True))
    return gto.M(atom=atoms, unit="B", basis="sto-3g", spin=None, verbose=0)


def exact_potentials(auxiliary, points):
    """∫ χ_P(r')/|r − r'| by the two-centre integrals with point charges, (naux, N)."""
    return gto.intor_cross("int2c2e", auxiliary.mol, gto.fakemol_for_charges(points, 1e20))


def four_points(function, positions, atom, axis, h=1e-3):
    energies = []
    for k in (-2, -1, 1, 2):
        moved = positions.copy()
        moved[atom, axis] += k * h
        energies.append(function(moved))
    return (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)


@pytest.fixture(scope="module")
def auxiliary():
    return AuxiliaryBasis(molecule(), FITTING)


@pytest.mark.parametrize("order", [0, 1, 4, 6])
def test_boys_function_is_its_integral(order):
    for argument in (0.0, 1e-13, 1e-6, 0.5, 7.0, 60.0):
        integral, _ = quad(
            lambda t, T=argument: t ** (2 * order) * np.exp(-T * t * t), 0, 1, epsabs=1e-14
        )
        assert boys_function(order, argument) == pytest.approx(integral, rel=1e-9)


def test_potentials_are_those_of_the_integral_library(auxiliary):
    assert max(auxiliary.mol.bas_angular(i) for i in range(auxiliary.mol.nbas)) == 4
    # Near nuclei, between them, at the ends of the tables and in the multipole tails.
    spread = np.random.default_rng(0).standard_normal((200, 3))
    spread /= np.linalg.norm(spread, axis=1, keepdims=True)
    points = POSITIONS[0] + spread * np.geomspace(1e-4, 60.0, 200)[:, None]
    exact = exact_potentials(auxiliary, points)
    for p in range(auxiliary.size):
        values = auxiliary.potential(points, np.eye(auxiliary.size)[p])
        np.testing.assert_allclose(values, exact[p], atol=1e-10 * np.abs(exact[p]).max())


def test_far_potentials_are_relatively_exact(auxiliary):
    points = np.array([[30.0, 20.0, -10.0], [-200.0, 150.0, 90.0]])
    exact = exact_potentials(auxiliary, points)
    c = np.random.default_rng(1).standard_normal(auxiliary.size)
    np.testing.assert_allclose(auxiliary.potential(points, c), c @ exact, rtol=1e-10)


def test_projection_is_the_transpose_of_the_potential(auxiliary):
    rng = np.random.default_rng(2)
    points = OFFSETS + POSITIONS[OWNER]
    q, c = rng.standard_normal(len(points)), rng.standard_normal(auxiliary.size)
    b = auxiliary.project(points, q)
    np.testing.assert_allclose(b, exact_potentials(auxiliary, points) @ q, atol=1e-8)
    assert c @ b == pytest.approx(q @ auxiliary.potential(points, c), rel=1e-11)


def test_potential_of_one_gaussian_is_the_error_function():
    hydrogen = gto.M(atom=[("H", (0.3, -0.2, 0.5))], unit="B", basis="sto-3g", spin=1, verbose=0)
    auxiliary = AuxiliaryBasis(hydrogen, {"H": [[0, [0.9, 1.0]]]})
    r = np.geomspace(0.01, 30.0, 40)
    direction = np.array([1.0, 2.0, 2.0]) / 3.0
    points = hydrogen.atom_coords() + r[:, None] * direction
    # The function N exp(−a r²)/√4π, N² ∫ r² exp(−2a r²) dr = 1, as a charge.
    charge = gto.gto_norm(0, 0.9) / np.sqrt(4 * np.pi) * (np.pi / 0.9) ** 1.5
    values = auxiliary.potential(points, np.ones(1))
    np.testing.assert_allclose(values, charge * erf(np.sqrt(0.9) * r) / r, rtol=1e-10)


def test_fit_of_a_density_of_the_basis_is_exact(auxiliary):
    c = np.random.default_rng(4).standard_normal(auxiliary.size)
    np.testing.assert_allclose(auxiliary.solve(auxiliary.metric @ c), c, atol=1e-6)


def test_potential_gradient_agrees_with_differences(auxiliary):
    rng = np.random.default_rng(6)
    q1, q2 = rng.standard_normal((2, len(OWNER)))
    c1, c2 = rng.standard_normal((2, auxiliary.size))

    def energy(positions):
        moved = AuxiliaryBasis(molecule(positions), FITTING)
        points = OFFSETS + positions[OWNER]
        return q1 @ moved.potential(points, c1) + q2 @ moved.potential(points, c2)

    points = OFFSETS + POSITIONS[OWNER]
    gradient = auxiliary.potential_gradient(points, OWNER, c1, q1, c2, q2)
    for atom in range(3):
        for axis in range(3):
            numeric = four_points(energy, POSITIONS, atom, axis)
            assert gradient[atom, axis] == pytest.approx(numeric, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-8)


def test_metric_gradient_agrees_with_differences(auxiliary):
    c1, c2 = np.random.default_rng(7).standard_normal((2, auxiliary.size))

    def energy(positions):
        return c1 @ AuxiliaryBasis(molecule(positions), FITTING).metric @ c2

    gradient = auxiliary.metric_gradient(c1, c2)
    for atom, axis in ((0, 0), (1, 1), (2, 2)):
        numeric = four_points(energy, POSITIONS, atom, axis)
        assert gradient[atom, axis] == pytest.approx(numeric, rel=1e-8, abs=1e-7)
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-9)
