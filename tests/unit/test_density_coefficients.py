"""Density models in coefficients: functions, surroundings, invariance, gradients, fit, file."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from density_labels import PYSCF, SYMBOLS, labels
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from dft2spectra.density.atoms import density_on_grid
from dft2spectra.density.calculator import DensityCalculator
from dft2spectra.density.coefficient_fit import CoefficientFit
from dft2spectra.density.coefficient_model import CoefficientBasis, CoefficientModel
from dft2spectra.density.comparison import density_error, one_shot_errors
from dft2spectra.density.equivariants import (
    LinearMap,
    feature_counts,
    features,
    split_degrees,
)
from dft2spectra.density.free_atom import atomic_density
from dft2spectra.density.gaussian_basis import (
    charges,
    contracted,
    coulomb_metric,
    coulomb_projections,
    place_functions,
    places,
    primitive_functions,
)
from dft2spectra.density.grid import build_grid
from dft2spectra.density.guards import geometry_uncertainty
from dft2spectra.density.kinds import read_model
from dft2spectra.density.one_shot import OneShot
from dft2spectra.density.predictor import ModelError
from dft2spectra.density.sampling_points import positions_bohr, scf_density
from dft2spectra.density.surroundings import (
    Radial,
    find_neighbours,
    pull_neighbours,
    radial_functions,
    sum_neighbours,
)
from dft2spectra.density.training import TrainingError, fit_density_model, settings_of_kind
from dft2spectra.molecules.pyscf_input import build_molecule

SECTION = {
    "kind": "coefficients",
    "committee": 2,
    "coefficients": {
        "smallest_energy_ha": 1e-7,
        "cutoff_ang": 6.0,
        "n_max": 4,
        "l_max": 3,
        "channels": 6,
        "ridge": [1e-9],
    },
}
FORM = Radial(9.0, 4, 3)
TURN = Rotation.from_rotvec([0.4, -1.1, 2.0]).as_matrix()
WATER = np.array([[0.0, 0.1, 0.2], [0.1, 1.5, -0.9], [-0.2, -1.4, -1.0]])
OXONIUM = np.array([[0, 0, 0.5], [0.1, 1.9, 0], [1.6, -0.9, 0.1], [-1.5, -0.9, 0.2]], dtype=float)


@cache
def random_model(charge=0, size=0.02) -> CoefficientModel:
    """Weights that were fitted to nothing."""
    random = np.random.default_rng(5)
    functions = {}
    for symbol in ("H", "O"):
        primitive = primitive_functions(symbol, "sto-3g")
        mixing = [random.normal(size=(n, min(n, 3))) / n for n in primitive.counts]
        functions[symbol] = contracted(primitive, mixing)
    projections = {
        symbol: [random.normal(size=(2 * FORM.n_max, 4)) for _ in range(FORM.l_max + 1)]
        for symbol in functions
    }
    settings = {"cutoff_ang": 4.8, "n_max": FORM.n_max, "l_max": FORM.l_max}
    basis = CoefficientBasis(functions, projections, settings)
    weights = size * random.normal(size=(4, basis.size))
    card = {"charge": charge, "target": "difference", "pyscf": PYSCF}
    return CoefficientModel(basis, weights[0], weights[1:], card)


def points_around(positions, count=40):
    random = np.random.default_rng(2)
    owner = np.repeat(np.arange(len(positions)), count)
    return positions[owner] + random.normal(0.0, 1.2, (len(owner), 3)), owner


# --- functions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "basis"), [("H", "sto-3g"), ("C", "def2-svp"), ("Fe", "def2-svp")]
)
def test_functions_of_an_element_are_orthonormal_and_cover_its_orbitals(symbol, basis):
    own = primitive_functions(symbol, basis)
    metric = coulomb_metric(place_functions([own], np.zeros((1, 3))))
    assert_allclose(metric, np.eye(own.size), atol=1e-7)
    assert all(np.all(np.diff(e) > 0) for e in own.exponents)
    assert len(own.exponents) == (4 if symbol == "H" else 5)


def test_places_and_charges_are_those_of_pyscf():
    model = random_model()
    functions = [model.basis.functions[s] for s in SYMBOLS]
    placed = place_functions(functions, WATER)
    grid = build_grid(np.array([8, 1, 1]), WATER, 4)
    values = placed.eval_gto("GTOval_sph", grid.points)
    assert_allclose(charges(functions), grid.weights @ values, atol=1e-3)
    # Components along x, y, z turn into m = 1, −1, 0.
    where = places(functions)[1][1]
    start = functions[0].size + functions[1].counts[0]
    assert_array_equal(where[0], start + np.array([1, 2, 0]))
    assert sorted(np.concatenate([w.ravel() for a in places(functions) for w in a])) == list(
        range(placed.nao_nr())
    )


def test_projections_are_integrals_over_the_density():
    """Against the potential of each function, summed over a fine grid."""
    label = labels("train")[0]
    mol = build_molecule(SYMBOLS, label["positions_ang"], 0, PYSCF)
    free = [atomic_density(s, PYSCF["xc"], PYSCF["basis"]) for s in SYMBOLS]
    functions = [random_model().basis.functions[s] for s in SYMBOLS]
    placed = place_functions(functions, mol.atom_coords())
    found = coulomb_projections(placed, mol, label["density_matrix"], free)
    grid = build_grid(mol.atom_charges(), mol.atom_coords(), 5)
    density = scf_density(label, grid.points, PYSCF)
    density -= density_on_grid(free, mol.atom_coords(), grid.points)[0]
    from pyscf import gto

    charges_on_grid = gto.fakemol_for_charges(grid.points)
    potential = gto.intor_cross("int2c2e", placed, charges_on_grid)
    assert np.abs(found).max() > 0.01
    assert_allclose(found, potential @ (grid.weights * density), atol=3e-5)


# --- surroundings and features -------------------------------------------------------------------


def test_radial_functions_and_their_slopes():
    r = np.linspace(0.5, 8.9, 30)
    values, slopes = radial_functions(r, FORM)
    higher, lower = (radial_functions(r + h, FORM)[0] for h in (1e-5, -1e-5))
    assert_allclose(slopes, (higher - lower) / 2e-5, atol=1e-9)
    u = 1 - 2 * np.log1p(r / 2.0) / np.log1p(FORM.cutoff / 2.0)
    weight = 0.5 * (1 + np.cos(np.pi * r / FORM.cutoff)) / (1 + (r / 4.0) ** 2)
    chebyshev = np.polynomial.chebyshev.chebvander(u, FORM.n_max - 1).T
    assert_allclose(values, chebyshev * weight, atol=1e-13)
    edge = radial_functions(np.array([FORM.cutoff - 1e-6]), FORM)
    assert np.abs(edge).max() < 1e-6


def test_gradient_of_sums_over_neighbours():
    random, kinds = np.random.default_rng(0), np.array([0, 1, 1, 0, 1])
    positions = 2.5 * random.normal(size=(5, 3))
    near = find_neighbours(positions, FORM)
    weight = random.normal(size=sum_neighbours(near, kinds, 2).shape)
    found, way = pull_neighbours(near, kinds, weight), random.normal(size=(5, 3))

    def total(step):
        moved = find_neighbours(positions + step * way, FORM)
        return np.sum(weight * sum_neighbours(moved, kinds, 2))

    numeric = (8 * (total(1e-3) - total(-1e-3)) - (total(2e-3) - total(-2e-3))) / 12e-3
    assert np.vdot(found, way) == pytest.approx(numeric, rel=1e-8)
    assert_allclose(found.sum(axis=0), 0.0, atol=1e-12)


def test_contracted_map_is_the_product_with_the_features_and_back():
    random = np.random.default_rng(1)
    sums = random.normal(size=(3, 16, 8))
    projections = [random.normal(size=(8, q)) for q in (5, 4, 3, 2)]
    written = features(split_degrees(sums, projections), 4)
    assert [f.shape[2] for f in written] == feature_counts([5, 4, 3, 2], 4)
    weights = [
        random.normal(size=(n, f.shape[2])) for n, f in zip((4, 3, 2, 2, 1), written, strict=True)
    ]
    contracted_map = LinearMap(weights, projections)
    mapped, parts = contracted_map.forward(sums)
    for found, f, w in zip(mapped, written, weights, strict=True):
        assert_allclose(found, f @ w.T, atol=1e-11)
    pull, way = [random.normal(size=m.shape) for m in mapped], random.normal(size=sums.shape)
    slope = np.sum(contracted_map.backward(parts, pull) * way)

    def total(step):
        there = contracted_map.forward(sums + step * way)[0]
        return sum(np.sum(p * m) for p, m in zip(pull, there, strict=True))

    assert slope == pytest.approx((total(1e-4) - total(-1e-4)) / 2e-4, rel=1e-7)


# --- the model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", [TURN, -np.eye(3), -TURN], ids=["turn", "invert", "both"])
def test_density_turns_and_moves_with_the_molecule_to_machine_precision(operation):
    model, (points, owner) = random_model(), points_around(WATER)
    value, slope = model.evaluate(SYMBOLS, WATER, points, owner)
    shift = np.array([0.7, -2.3, 5.0])
    other, other_slope = model.evaluate(
        SYMBOLS, WATER @ operation.T + shift, points @ operation.T + shift, owner
    )
    assert np.abs(value).max() > 1e-3
    assert_allclose(other, value, atol=1e-12 * np.abs(value).max())
    assert_allclose(other_slope, slope @ operation.T, atol=1e-10 * np.abs(slope).max())


def test_like_atoms_can_change_places():
    model, (points, owner) = random_model(), points_around(OXONIUM)
    symbols = ["O", "H", "H", "H"]
    value, _ = model.evaluate(symbols, OXONIUM, points, owner)
    for order in ([0, 2, 3, 1], [3, 1, 0, 2]):
        there = [symbols[i] for i in order]
        other, _ = model.evaluate(there, OXONIUM[order], points, owner)
        assert_allclose(other, value, atol=1e-12 * np.abs(value).max())


@pytest.mark.parametrize("charge", [0, 1, -1])
def test_charge_is_exact(charge):
    model = random_model(charge)
    functions = [model.basis.functions[s] for s in SYMBOLS]
    assert charges(functions) @ model.predict(SYMBOLS, WATER) == pytest.approx(-charge, abs=1e-12)


def test_atoms_out_of_sight_have_no_difference_density():
    model = random_model()
    assert_array_equal(model.predict(["O", "O"], np.array([[0, 0, 0], [0, 0, 30.0]])), 0.0)


def test_value_and_slope_are_those_of_the_functions():
    model, (points, owner) = random_model(), points_around(WATER)
    placed = place_functions([model.basis.functions[s] for s in SYMBOLS], WATER)
    expected = placed.eval_gto("GTOval_sph_deriv1", points) @ model.predict(SYMBOLS, WATER)
    value, slope = model.evaluate(SYMBOLS, WATER, points, owner)
    # What is left is the interpolation in the tables.
    assert_allclose(value, expected[0], atol=1e-6 * np.abs(expected[0]).max())
    assert_allclose(slope.T, expected[1:], atol=1e-5 * np.abs(expected[1:]).max())


def test_gradient_agrees_with_differences():
    model, (points, owner) = random_model(charge=1), points_around(OXONIUM)
    symbols, random = ["O", "H", "H", "H"], np.random.default_rng(4)
    weight, direction = random.normal(size=len(points)), random.normal(size=(len(points), 3))
    found = model.gradient(symbols, OXONIUM, points, owner, weight, direction)
    assert_allclose(found.sum(axis=0), 0.0, atol=1e-10 * np.abs(found).max())
    way = random.normal(size=OXONIUM.shape)

    def total(step):
        value, slope = model.evaluate(
            symbols, OXONIUM + step * way, points + step * way[owner], owner
        )
        return weight @ value + np.sum(direction * slope)

    numeric = (8 * (total(1e-3) - total(-1e-3)) - (total(2e-3) - total(-2e-3))) / 12e-3
    assert np.vdot(found, way) == pytest.approx(numeric, rel=1e-6)


def test_spread_is_that_of_the_committee():
    model, (points, owner) = random_model(), points_around(WATER)
    values = [
        replace(model, coefficients=member).evaluate(SYMBOLS, WATER, points, owner)[0]
        for member in model.committee
    ]
    expected = np.sqrt(2 / 3 * ((values - np.mean(values, axis=0)) ** 2).sum(axis=0))
    found = model.spread(SYMBOLS, WATER, points, owner)
    assert_allclose(found, expected, atol=1e-6 * expected.max())


def test_file_gives_the_same_model(tmp_path):
    model, (points, owner) = random_model(charge=-1), points_around(WATER)
    model.write(tmp_path / "model.npz")
    read = read_model(tmp_path / "model.npz")
    assert isinstance(read, CoefficientModel)
    assert read.card == model.card
    assert read.identity() == model.identity()
    for found, expected in zip(
        read.evaluate(SYMBOLS, WATER, points, owner),
        model.evaluate(SYMBOLS, WATER, points, owner),
        strict=True,
    ):
        assert_array_equal(found, expected)
    changed = replace(model, coefficients=model.coefficients + 1e-9)
    assert changed.identity() != model.identity()


def test_what_the_model_cannot_do_is_refused():
    with pytest.raises(ModelError, match="knows H, O, not N"):
        random_model().evaluate(["N"], np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(1, dtype=int))
    with pytest.raises(ModelError, match="take jacobi_legendre"):
        CoefficientFit(labels("train"), [], {}, {**PYSCF, "xc": "r2SCAN"}, print)
    with pytest.raises(TrainingError, match="'neural' is none of jacobi_legendre, coefficients"):
        settings_of_kind({**SECTION, "kind": "neural"})


# --- the fit -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted_model():
    both = [*labels("train"), *labels("validation")]
    return fit_density_model(both, SECTION, PYSCF, lambda line: None)


def test_fit_explains_most_of_what_free_atoms_miss(fitted_model):
    card = fitted_model.card
    for label in labels("test"):
        error = density_error(fitted_model, label, PYSCF)
        assert error.model_percent < 0.15 * error.free_atoms_percent
        step = one_shot_errors(fitted_model, label, PYSCF)
        assert step.force_mae_mev_ang < 60.0
    assert 0.0 < card["fit_floor_percent"] < card["validation_density_error_percent"]
    assert card["fit_residual"] < 1e-4
    assert card["terms"]["unknowns"] > 100
    assert fitted_model.committee.shape == (2, fitted_model.basis.size)
    uncertainty = [
        geometry_uncertainty(fitted_model, SYMBOLS, positions_bohr(label), 1)
        for label in labels("test")
    ]
    assert np.min(uncertainty) > 0.0


def test_solution_is_that_of_the_normal_equations():
    """All of the equations written out: Aᵀ P V P A + λ, one column per unknown."""
    settings = {**SECTION["coefficients"], "committee": 2}
    settings |= {"channels": 2, "n_max": 2, "l_max": 1, "smallest_energy_ha": 1e-5}
    train, ridge = labels("train")[:6], 1e-5
    with CoefficientFit(train, labels("validation")[:1], settings, PYSCF, lambda line: None) as fit:
        for without in (None, 1):
            chosen = np.flatnonzero(fit.parts != (-1 if without is None else without))
            columns = np.array([fit._forward(row, chosen) for row in np.eye(fit.unknowns)])
            columns *= fit.sizes
            q = fit.charge.charges
            columns -= (columns @ q)[:, :, None] * q / (q @ q)
            metrics = fit.metrics[chosen].astype(float)
            matrix = np.einsum("igk,gkl,jgl->ij", columns, metrics, columns, optimize=True)
            right = np.einsum("igk,gk->i", columns, fit.targets[chosen])
            expected = np.linalg.solve(matrix + ridge * np.eye(len(matrix)), right)
            found = fit.solve(ridge, without)
            assert_allclose(found, fit._weights(expected), atol=1e-3 * np.abs(found).max())


@pytest.mark.parametrize("xc", ["LDA,VWN", "PBE"])
def test_forces_of_the_step_are_the_derivative_of_the_energy(fitted_model, xc):
    """Also with another functional than that of the fit, away from self-consistency."""
    label, chosen = labels("test")[1], {**PYSCF, "xc": xc}
    mol = build_molecule(SYMBOLS, label["positions_ang"], 0, chosen)
    shot, positions = OneShot(mol, fitted_model, chosen), positions_bohr(label)
    gradient = shot.step(positions).gradient
    way = np.random.default_rng(3).normal(size=positions.shape)
    e = [shot.step(positions + k * 1e-3 * way, forces=False).energy for k in (-2, -1, 1, 2)]
    numeric = (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / 12e-3
    assert abs(numeric) > 1e-3
    assert np.vdot(gradient, way) == pytest.approx(numeric, abs=1e-6)


def test_calculator_runs_on_the_model(fitted_model):
    from ase import Atoms

    molecule = {"symbols": SYMBOLS, "charge": 0}
    positions = labels("test")[0]["positions_ang"]
    calc = DensityCalculator(fitted_model, {**molecule, "positions_ang": positions}, PYSCF)
    atoms = Atoms(SYMBOLS, positions, calculator=calc)
    assert np.isfinite(atoms.get_forces()).all()
    assert calc.results["diagnostics"]["uncertainty_percent"] > 0.0
