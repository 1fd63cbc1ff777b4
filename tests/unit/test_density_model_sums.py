"""The density model: sums of its terms, gradient with riding points, committee, file, refusals."""

import json

import numpy as np
import pytest
from density_reference import random_basis, random_model
from numpy.testing import assert_allclose, assert_array_equal

from dft2spectra.density import model as model_module
from dft2spectra.density.invariants import features
from dft2spectra.density.kinds import read_model
from dft2spectra.density.model import (
    DensityModel,
    moments_around,
    pauli_model,
)
from dft2spectra.density.predictor import ModelError
from dft2spectra.units import BOHR_ANG

SYMBOLS = ["O", "H", "H", "O"]
POSITIONS = np.array([[0.0, 0.1, 0.0], [1.6, 0.2, 0.4], [-0.5, 1.5, 0.3], [-1.2, -1.4, 1.1]])
OWNER = np.repeat(np.arange(4), [80, 30, 1, 49])
RANDOM = np.random.default_rng(3)
POINTS = POSITIONS[OWNER] + RANDOM.normal(0.0, 0.9, (len(OWNER), 3))
WEIGHT, DIRECTION = RANDOM.normal(size=len(OWNER)), RANDOM.normal(size=(len(OWNER), 3))

KINDS = pytest.mark.parametrize(
    "change",
    [
        {},
        {"channels": 3},
        {"channels": 1},
        {"radial_map": "plain", "channels": 2},
        {"three_body": None},
        {"two_body": {"n_max": 2, "l_max": 0, "cutoff_ang": 1.5, "map_scale_bohr": 0.2},
         "three_body": {"n_max": 2, "l_max": 0, "l_total": 0}},
    ],
    ids=["all channels", "mixed", "one channel", "plain map", "pairs only", "round"],
)  # fmt: skip


@KINDS
def test_density_is_the_sum_of_the_terms(change):
    model = random_model(random_basis(**change))
    around = moments_around(model.basis, POINTS, POSITIONS, model.basis.numbered(SYMBOLS))
    expected = features(model.basis.terms, *around) @ model.coefficients
    value = model.evaluate(SYMBOLS, POSITIONS, POINTS, OWNER)[0]
    assert_allclose(value, expected, atol=1e-11 * np.abs(expected).max())


@KINDS
def test_gradient_with_points_that_ride_on_atoms(change):
    model = random_model(random_basis(**change))

    def number(shifts):
        value, slope = model.evaluate(SYMBOLS, POSITIONS + shifts, POINTS + shifts[OWNER], OWNER)
        return WEIGHT @ value + (DIRECTION * slope).sum()

    found = model.gradient(SYMBOLS, POSITIONS, POINTS, OWNER, WEIGHT, DIRECTION)
    h, numeric = 1e-4, np.empty_like(found)
    for index in np.ndindex(found.shape):
        shift = np.zeros(found.shape)
        shift[index] = h
        e = [number(k * shift) for k in (-2, -1, 1, 2)]
        numeric[index] = (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * h)
    assert_allclose(found, numeric, atol=1e-7 * np.abs(found).max())
    # moved together, points and atoms give the same number
    assert_allclose(found.sum(axis=0), 0.0, atol=1e-11 * np.abs(found).max())


def test_blocks_do_not_matter(monkeypatch):
    model = random_model(random_basis(channels=3))
    arguments = SYMBOLS, POSITIONS, POINTS, OWNER
    value, slope = model.evaluate(*arguments)
    gradient = model.gradient(*arguments, WEIGHT, DIRECTION)
    for size in (1, 7, 1000):
        monkeypatch.setattr(model_module, "BLOCK", size)
        other, other_slope = model.evaluate(*arguments)
        assert_allclose(other, value, atol=1e-12 * np.abs(value).max())
        assert_allclose(other_slope, slope, atol=1e-12 * np.abs(slope).max())
        other_gradient = model.gradient(*arguments, WEIGHT, DIRECTION)
        assert_allclose(other_gradient, gradient, atol=1e-11 * np.abs(gradient).max())


def test_owners_only_help_the_speed_of_an_evaluation():
    model = random_model(random_basis(channels=3))
    value, slope = model.evaluate(SYMBOLS, POSITIONS, POINTS, OWNER)
    other, other_slope = model.evaluate(SYMBOLS, POSITIONS, POINTS, np.zeros_like(OWNER))
    assert_allclose(other, value, atol=1e-12 * np.abs(value).max())
    assert_allclose(other_slope, slope, atol=1e-12 * np.abs(slope).max())
    nothing = model.evaluate(SYMBOLS, POSITIONS, np.empty((0, 3)), np.empty(0, dtype=int))
    assert [array.shape for array in nothing] == [(0,), (0, 3)]


def test_far_atoms_neither_act_nor_feel():
    model = random_model(random_basis(channels=3))
    reach = 2 * max(model.basis.cutoffs) + np.ptp(POINTS, axis=0).max()
    far = np.vstack([POSITIONS, [[0.0, reach, 0.0], [reach, 0.0, 5.0]]])
    symbols = [*SYMBOLS, "H", "O"]
    for found, expected in zip(
        model.evaluate(symbols, far, POINTS, OWNER),
        model.evaluate(SYMBOLS, POSITIONS, POINTS, OWNER),
        strict=True,
    ):
        assert_array_equal(found, expected)
    gradient = model.gradient(symbols, far, POINTS, OWNER, WEIGHT, DIRECTION)
    assert not gradient[4:].any()
    expected = model.gradient(SYMBOLS, POSITIONS, POINTS, OWNER, WEIGHT, DIRECTION)
    assert_array_equal(gradient[:4], expected)
    away = POINTS + np.array([0.0, 0.0, 1e3])
    assert not any(array.any() for array in model.evaluate(SYMBOLS, POSITIONS, away, OWNER))


def test_species_that_are_not_there_change_nothing():
    model = random_model(random_basis(species=("C", "H", "O")))
    value = model.evaluate(["O"], POSITIONS[:1], POINTS, OWNER)[0]
    around = moments_around(model.basis, POINTS, POSITIONS[:1], np.array([2]))
    assert_allclose(
        value, features(model.basis.terms, *around) @ model.coefficients, rtol=0, atol=1e-11
    )
    assert np.abs(value).max() > 0.1


def test_cutoffs_are_given_in_angstrom():
    model = random_model(random_basis(channels=3))
    reach = 2.4 / BOHR_ANG
    points = np.array([[0.0, 0.0, reach - 0.1], [0.0, 0.0, reach + 1e-9]])
    value = model.evaluate(["O"], np.zeros((1, 3)), points, np.zeros(2, dtype=int))[0]
    assert value[0] != 0.0
    assert value[1] == 0.0


def test_spread_is_the_jackknife_of_the_committee():
    model = random_model(random_basis(), members=4)
    values = [
        DensityModel(model.basis, member, model.committee, {}).evaluate(
            SYMBOLS, POSITIONS, POINTS, OWNER
        )[0]
        for member in model.committee
    ]  # fmt: skip
    # Efron and Stein, Ann. Statist. 9, 586 (1981): (K − 1)/K Σ (x_k − mean)²
    expected = np.sqrt(3 / 4 * ((values - np.mean(values, axis=0)) ** 2).sum(axis=0))
    assert_allclose(model.spread(SYMBOLS, POSITIONS, POINTS, OWNER), expected, rtol=1e-9)


# --- file and refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"channels": 3}, {"three_body": None}])
def test_file_gives_the_same_model(change, tmp_path):
    card = {"xc": "PBE", "nested": {"ridge": 1e-9}, "molecule": "Wasser ü"}
    model = random_model(random_basis(**change), card=card)
    model.write(tmp_path / "model.npz")
    read = read_model(tmp_path / "model.npz")
    assert read.card == card
    assert read.basis.species == model.basis.species
    assert read.basis.settings == model.basis.settings
    for name in ("coefficients", "committee"):
        assert_array_equal(getattr(read, name), getattr(model, name))
    assert_array_equal(read.basis.terms.mixing, model.basis.terms.mixing)
    for found, expected in zip(
        read.evaluate(SYMBOLS, POSITIONS, POINTS, OWNER),
        model.evaluate(SYMBOLS, POSITIONS, POINTS, OWNER),
        strict=True,
    ):
        assert_array_equal(found, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_file_holds_the_pauli_kinetic_energy_density(tmp_path):
    basis = random_basis()
    model = random_model(basis)
    model.pauli = pauli_model(basis, random_model(basis, seed=1).coefficients)
    model.write(tmp_path / "model.npz")
    read = read_model(tmp_path / "model.npz")
    assert_array_equal(read.pauli.coefficients, model.pauli.coefficients)
    assert_array_equal(
        read.pauli.evaluate(SYMBOLS, POSITIONS, POINTS, OWNER)[0],
        model.pauli.evaluate(SYMBOLS, POSITIONS, POINTS, OWNER)[0],
    )
    random_model(basis).write(tmp_path / "plain.npz")
    assert read_model(tmp_path / "plain.npz").pauli is None


def test_foreign_species_are_refused():
    model = random_model(random_basis())
    with pytest.raises(ModelError, match="knows H, O, not C, N"):
        model.evaluate(["N", "O", "C", "H"], POSITIONS, POINTS, OWNER)


def test_files_that_are_no_model_are_refused(tmp_path):
    path = tmp_path / "model.npz"
    path.write_text("no archive")
    with pytest.raises(ModelError, match="no readable density model"):
        read_model(path)
    np.savez(path, something=np.ones(3))
    with pytest.raises(ModelError, match="no readable density model"):
        read_model(path)
    with pytest.raises(ModelError, match="absent"):
        read_model(tmp_path / "absent.npz")


@pytest.mark.parametrize("key", ["format", "format_version"])
def test_files_of_another_format_are_refused(key, tmp_path):
    path = tmp_path / "model.npz"
    random_model(random_basis()).write(path)
    with np.load(path) as arrays:
        content = dict(arrays)
    content["card"] = np.array(json.dumps(json.loads(str(content["card"])) | {key: 99}))
    np.savez(path, **content)
    with pytest.raises(ModelError, match="fit the model again"):
        read_model(path)


def test_coefficients_of_another_basis_are_refused():
    basis = random_basis()
    with pytest.raises(ValueError, match="terms, but coefficients"):
        DensityModel(basis, np.zeros(3), np.zeros((0, 3)), {})
