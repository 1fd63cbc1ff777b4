"""Pauli kinetic energy density of free atoms, and exchange and correlation that depend on it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pyscf import dft, gto

from dft2spectra.density.exchange_correlation import (
    evaluate_functional,
    half_matrix,
    occupied_orbitals,
    output_density,
)
from dft2spectra.density.free_atom import converged_atom
from dft2spectra.density.pauli_atoms import (
    atomic_pauli_density,
    pauli_gradient,
    pauli_on_grid,
)

SYMBOLS = ["O", "C", "H"]
POSITIONS = np.array([[0.1, 0.0, 0.2], [2.2, 0.3, -0.1], [3.3, 1.9, 0.4]])
OWNER = np.repeat([0, 1, 2], [150, 100, 50])
OFFSETS = np.random.default_rng(5).standard_normal((300, 3)) * 1.5
META = pytest.mark.parametrize("xc", ["r2SCAN", "TPSS"])


# --- free atoms ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "basis"),
    [("H", "def2-svp"), ("O", "def2-svp"), ("O", "sto-3g"), ("S", "def2-tzvp")],
)
def test_pauli_density_of_an_atom_is_that_of_its_orbitals(symbol, basis):
    """PySCF's τ and n in another direction than that of the table."""
    atom, density_matrix = converged_atom(symbol, "r2SCAN", basis)
    r = np.geomspace(1e-4, 9.0, 1000)
    points = r[:, None] * np.array([0.6, 0.0, -0.8])
    functions = dft.numint.eval_ao(atom, points, deriv=1)
    rho = dft.numint.eval_rho(atom, functions, density_matrix, xctype="MGGA", with_lapl=False)
    weizsaecker = np.square(rho[1:4]).sum(axis=0) / (8.0 * rho[0])
    origin = np.zeros((1, 3))
    found = pauli_on_grid([atomic_pauli_density(symbol, "r2SCAN", basis)], origin, points)
    assert_allclose(found, rho[4] - weizsaecker, rtol=1e-6, atol=1e-9)
    # no τ is below von Weizsäcker's, and that of one orbital is equal to it
    assert found.min() > -1e-12
    assert (found.max() < 1e-12) == (symbol == "H")
    total = np.trapezoid(4.0 * np.pi * r**3 * (found + weizsaecker), np.log(r))
    expected = np.einsum("ij,ji", atom.intor("int1e_kin"), density_matrix)
    assert total == pytest.approx(expected, rel=1e-3)


def test_gradient_of_superposed_atoms_agrees_with_differences():
    atoms = [atomic_pauli_density(symbol, "r2SCAN", "def2-svp") for symbol in SYMBOLS]
    weight = np.random.default_rng(0).standard_normal(len(OWNER))

    def total(positions):
        return weight @ pauli_on_grid(atoms, positions, OFFSETS + positions[OWNER])

    gradient = pauli_gradient(atoms, POSITIONS, OFFSETS + POSITIONS[OWNER], OWNER, weight)
    h = 1e-3
    for atom in range(3):
        for axis in range(3):
            values = []
            for k in (-2, -1, 1, 2):
                moved = POSITIONS.copy()
                moved[atom, axis] += k * h
                values.append(total(moved))
            numeric = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
            assert gradient[atom, axis] == pytest.approx(numeric, rel=1e-6, abs=1e-6)
    assert np.abs(gradient).max() > 1.0
    assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-9)


def test_far_points_and_the_nucleus_have_finite_values():
    atoms = [atomic_pauli_density("O", "r2SCAN", "def2-svp")]
    points = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 500.0]])
    values = pauli_on_grid(atoms, np.zeros((1, 3)), points)
    assert values[0] > 0.0  # the slopes of p orbitals
    assert values[1] == 0.0
    owner = np.array([1, 1])
    gradient = pauli_gradient(atoms * 2, np.zeros((2, 3)), points, owner, np.ones(2))
    assert_allclose(gradient, 0.0, atol=1e-6)


# --- functional ----------------------------------------------------------------------------------


def random_density(seed=0, count=200):
    """Densities from 1e-5 to 1, gradients and τ_P as they occur: rows n, ∇n and τ_P."""
    random = np.random.default_rng(seed)
    n = 10.0 ** random.uniform(-5, 0, count)
    slope = random.normal(size=(3, count)) * 2.0 * n ** (4 / 3)
    return np.vstack([n, slope, 3.0 * random.uniform(0.1, 2.0, count) * n ** (5 / 3)])


def evaluate(xc, rows):
    return evaluate_functional(xc, rows[:4], rows[4])


def derivatives(xc, rows, quantity):
    """Of a quantity with respect to each row, by a five-point rule."""
    found = []
    for row in range(5):
        h = 1e-4 * np.abs(rows[row])
        values = []
        for k in (-2, -1, 1, 2):
            moved = rows.copy()
            moved[row] += k * h
            values.append(quantity(evaluate(xc, moved)))
        found.append((values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h))
    return np.array(found)


@META
@pytest.mark.parametrize("cut", [False, True], ids=["pauli", "cut"])
def test_potential_and_response_are_derivatives(xc, cut):
    rows = random_density()
    if cut:
        rows[4] *= -1.0
    found = evaluate(xc, rows)
    assert found.dense.all()
    assert (found.cut == cut).all()
    least = np.square(rows[1:4]).sum(axis=0) / (8.0 * rows[0])
    assert_allclose(found.rho[4], least + (0.0 if cut else rows[4]), rtol=2e-8)
    # energy: its rows are n, ∇n and τ = τ_W + τ_P, the variables n, ∇n and τ_P
    expected = derivatives(xc, rows, lambda xc: xc.energy)
    slope = found.potential[:4] * 1.0
    slope[0] -= found.potential[4] * least / rows[0]
    slope[1:] += found.potential[4] * rows[1:4] / (4.0 * rows[0])
    assert_allclose(slope, expected[:4], rtol=1e-5, atol=1e-6)
    if not cut:
        assert_allclose(found.potential[4], expected[4], rtol=1e-5, atol=1e-6)
    change = np.random.default_rng(1).normal(size=rows.shape)
    expected = derivatives(xc, rows, lambda xc: np.einsum("xp,xp->p", xc.potential, change))
    response = found.response(change)
    for row in range(4 if cut else 5):  # the last one of a cut is in the next test
        scale = np.abs(expected[row]).max() + 1.0
        assert_allclose(response[row], expected[row], rtol=1e-4, atol=1e-5 * scale)


@META
def test_negative_pauli_densities_have_no_say(xc):
    rows = random_density()
    low, lower = (evaluate_functional(xc, rows[:4], k * rows[4]) for k in (-1.0, -2.0))
    assert_allclose(lower.energy, low.energy, rtol=0, atol=0)
    assert_allclose(lower.potential, low.potential, rtol=0, atol=0)
    change = np.ones_like(rows)
    assert_allclose(low.response(change)[4], 0.0, rtol=0, atol=0)
    assert np.abs(low.response(change)[:4]).min(axis=1).max() > 0.0


@META
def test_where_there_is_no_density_there_is_no_energy(xc):
    rows = random_density()
    rows[:, :50] = 0.0
    rows[0, 50:100] *= -1.0
    found = evaluate(xc, rows)
    assert found.dense.sum() == 100
    assert_allclose(found.energy[:100], 0.0, rtol=0, atol=0)
    assert_allclose(found.potential[:, :100], 0.0, rtol=0, atol=0)
    change = found.change(np.ones_like(rows))
    assert_allclose(change[:, :100], 0.0, rtol=0, atol=0)
    assert_allclose(found.response(change)[:, :100], 0.0, rtol=0, atol=0)
    assert (found.energy[100:] < 0.0).all()


@pytest.mark.parametrize(("xc", "rows"), [("LDA,VWN", 1), ("PBE", 4), ("r2SCAN", 5)])
def test_density_and_matrix_on_the_grid_are_those_of_pyscf(xc, rows):
    mol = gto.M(atom="O 0 0 0.2; H 0 0.8 -0.5; H 0.1 -0.7 -0.4", basis="def2-svp", verbose=0)
    mean_field = dft.RKS(mol, xc=xc)
    mean_field.grids.level = 0
    mean_field.max_cycle = 2
    mean_field.kernel()
    half = mean_field.mo_coeff[:, :5]
    density_matrix = 2.0 * half @ half.T
    grids = mean_field.grids
    values = dft.numint.eval_ao(mol, grids.coords, deriv=0 if rows == 1 else 1)
    values = np.ascontiguousarray(values.reshape(-1, len(grids.coords), mol.nao))
    rho = output_density(occupied_orbitals(values, half), rows)
    expected = dft.numint.eval_rho(
        mol,
        values[0] if rows == 1 else values,
        density_matrix,
        xctype={1: "LDA", 4: "GGA", 5: "MGGA"}[rows],
        with_lapl=False,
    )
    assert_allclose(rho, np.atleast_2d(expected), rtol=1e-8, atol=1e-8)
    pauli = None
    if rows == 5:
        pauli = rho[4] - np.square(rho[1:4]).sum(axis=0) / (8.0 * rho[0])
    found = evaluate_functional(xc, rho[:4], pauli)
    potential = found.potential
    matrix = half_matrix(values, grids.weights, grids.weights * potential[0], potential)
    _, energy, reference = mean_field._numint.nr_rks(mol, grids, xc, density_matrix)
    assert grids.weights @ found.energy == pytest.approx(energy, abs=1e-8)
    assert_allclose(matrix + matrix.T, reference, atol=1e-7)
