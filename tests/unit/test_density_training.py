"""Fit of a density model: points, normal equations, choice of the ridge, uncertainty, refusals."""

import numpy as np
import pytest
from density_labels import PYSCF, SECTION, SYMBOLS, labels, write_label_file
from pyscf import dft

from dft2spectra.density.committee import assign_parts, conformal_factor, rank_correlation
from dft2spectra.density.jacobi_legendre_fit import BASIS_KEYS
from dft2spectra.density.kinds import read_model
from dft2spectra.density.least_squares import NormalEquations, SingularFitError, solve_ridge
from dft2spectra.density.model import Basis
from dft2spectra.density.ridge import choose_ridge
from dft2spectra.density.sampling_points import (
    WEIGHT_FLOOR,
    design_matrix,
    draw_sample,
    free_atom_density,
    label_grid,
    scf_density,
)
from dft2spectra.density.training import (
    TrainingError,
    fit_density_model,
    fit_from_files,
)
from dft2spectra.molecules.pyscf_input import build_molecule
from dft2spectra.records import read_json

BASIS = Basis(("H", "O"), {key: SECTION[key] for key in BASIS_KEYS})
ALL = 10**9  # points: the whole grid


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def model():
    return fit_density_model([*labels("train"), *labels("validation")], SECTION, PYSCF, silent)


# --- points ----------------------------------------------------------------------------------


def test_density_of_a_label_is_that_of_pyscf():
    label = labels("train")[0]
    mol = build_molecule(SYMBOLS, label["positions_ang"], 0, PYSCF)
    points = np.random.default_rng(0).normal(0.0, 2.0, (50, 3))
    functions = dft.numint.eval_ao(mol, points)
    expected = dft.numint.eval_rho(mol, functions, label["density_matrix"])
    np.testing.assert_allclose(scf_density(label, points, PYSCF), expected, rtol=1e-10, atol=1e-12)


def test_weights_and_targets_integrate_to_the_electrons():
    label = labels("train")[0]
    full = draw_sample(label, PYSCF, ALL, 0, "full")
    difference = draw_sample(label, PYSCF, ALL, 0, "difference")
    share = full.weights * (full.target + WEIGHT_FLOOR)
    # Level 1 integrates to some 1e-3, and has no negative weights that would be cut off.
    assert share @ full.target == pytest.approx(10.0, abs=0.02)
    assert share @ difference.target == pytest.approx(0.0, abs=0.02)
    atoms = free_atom_density(label, full.points, PYSCF)
    np.testing.assert_allclose(full.target - difference.target, atoms, atol=1e-12)


def test_drawn_points_are_weighted_up_and_keep_what_others_do():
    label = labels("train")[3]
    whole = draw_sample(label, PYSCF, ALL, 0)
    part = draw_sample(label, PYSCF, 300, 0)
    assert len(part.points) == 300
    assert (np.diff(part.owner) >= 0).all()
    rows = {tuple(point): weight for point, weight in zip(whole.points, whole.weights, strict=True)}
    expected = [rows[tuple(point)] for point in part.points]
    np.testing.assert_allclose(part.weights, len(whole.points) / 300 * np.array(expected))
    # Uniform over the grid: the far tail has its share.
    far = np.linalg.norm(whole.points, axis=1) > 6.0
    assert (np.linalg.norm(part.points, axis=1) > 6.0).mean() == pytest.approx(far.mean(), abs=0.1)
    np.testing.assert_array_equal(part.points, draw_sample(label, PYSCF, 300, 0).points)
    assert not np.array_equal(part.points, draw_sample(label, PYSCF, 300, 1).points)
    renamed = draw_sample({**label, "frame": "train-0099"}, PYSCF, 300, 0)
    assert not np.array_equal(part.points, renamed.points)


def test_impossible_samples_are_refused():
    with pytest.raises(ValueError, match="none of difference, full"):
        draw_sample(labels("train")[0], PYSCF, 10, 0, "half")
    with pytest.raises(ValueError, match="points_per_geometry"):
        draw_sample(labels("train")[0], PYSCF, 0, 0)


# --- normal equations ------------------------------------------------------------------------


def random_blocks(parts: int = 3, terms: int = 6):
    random = np.random.default_rng(1)
    scale = 10.0 ** np.arange(terms)
    return [
        [(scale * random.normal(size=(20, terms)), random.normal(size=20)) for _ in range(2)]
        for _ in range(parts)
    ]


def stacked(parts):
    x = np.vstack([x for part in parts for x, _ in part])
    return x, np.concatenate([y for part in parts for _, y in part])


def ridge_by_lstsq(x, y, ridge):
    """Tikhonov regularisation as least squares with more rows, columns of unit length."""
    scale = np.linalg.norm(x, axis=0)
    rows = np.vstack([x / scale, np.sqrt(ridge) * np.eye(x.shape[1])])
    right = np.concatenate([y, np.zeros(x.shape[1])])
    return np.linalg.lstsq(rows, right, rcond=None)[0] / scale


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 1.0])
def test_solutions_are_those_of_least_squares_with_and_without_a_part(ridge):
    parts = random_blocks()
    with NormalEquations(6) as equations:
        for part in parts:
            equations.add_part(part)
        x, y = stacked(parts)
        found = equations.solve(ridge)
        np.testing.assert_allclose(found, ridge_by_lstsq(x, y, ridge), rtol=1e-9)
        expected = 1.0 - np.sum((y - x @ found) ** 2) / np.sum(y**2)
        assert equations.r2(found) == pytest.approx(expected, abs=1e-12)
        for left_out in range(3):
            rest = stacked(parts[:left_out] + parts[left_out + 1 :])
            np.testing.assert_allclose(
                equations.solve(ridge, without=left_out), ridge_by_lstsq(*rest, ridge), rtol=1e-9
            )
        assert (equations.parts, equations.rows) == (3, 120)


def test_singular_equations_are_refused_and_a_ridge_cures_them():
    x = np.random.default_rng(0).normal(size=(30, 4))
    x[:, 3] = x[:, 1]
    y = x[:, 1].copy()
    with pytest.raises(SingularFitError, match=r"raise density_model.ridge"):
        solve_ridge(np.asfortranarray(x.T @ x), x.T @ y, 0.0)
    found = solve_ridge(np.asfortranarray(x.T @ x), x.T @ y, 1e-8)
    np.testing.assert_allclose(found, [0.0, 0.5, 0.0, 0.5], atol=1e-6)


def test_term_without_data_gets_zero_and_numbers_must_be_finite():
    x = np.random.default_rng(0).normal(size=(30, 3)) * [1.0, 0.0, 1.0]
    assert solve_ridge(np.asfortranarray(x.T @ x), x.T @ x[:, 0], 0.0)[1] == 0.0
    with pytest.raises(ValueError, match="not finite"):
        solve_ridge(np.full((2, 2), np.nan, order="F"), np.zeros(2), 1.0)
    with pytest.raises(ValueError, match="negative"):
        solve_ridge(np.eye(2, order="F"), np.zeros(2), -1.0)


def test_a_density_that_the_model_can_represent_is_found_again():
    truth = np.random.default_rng(0).normal(size=sum(BASIS.terms.sizes))
    with NormalEquations(len(truth)) as equations:
        for label in labels("train")[:4]:
            x = design_matrix(BASIS, draw_sample(label, PYSCF, 500, 0))
            equations.add_part([(x, x @ truth)])
        found = equations.solve(1e-11)
    x = design_matrix(BASIS, draw_sample(labels("test")[0], PYSCF, 500, 0))
    assert np.linalg.norm(x @ (found - truth)) < 1e-3 * np.linalg.norm(x @ truth)


def test_shuffled_targets_teach_nothing():
    random, terms = np.random.default_rng(0), sum(BASIS.terms.sizes)
    with NormalEquations(terms) as honest, NormalEquations(terms) as lie:
        for label in labels("train"):
            sample = draw_sample(label, PYSCF, 500, 0)
            x = design_matrix(BASIS, sample) * np.sqrt(sample.weights)[:, None]
            y = sample.target * np.sqrt(sample.weights)
            honest.add_part([(x, y)])
            lie.add_part([(x, random.permutation(y))])
        fits = honest.solve(1e-5), lie.solve(1e-5)
    sample = draw_sample(labels("test")[0], PYSCF, ALL, 0)
    root = np.sqrt(sample.weights)
    x, y = design_matrix(BASIS, sample) * root[:, None], sample.target * root
    r2 = [1.0 - np.sum((y - x @ fit) ** 2) / np.sum(y**2) for fit in fits]
    assert r2[0] > 0.95
    assert abs(r2[1]) < 0.2


# --- fit -------------------------------------------------------------------------------------


def test_fit_explains_most_of_what_free_atoms_miss(model):
    card = model.card
    error = card["validation_density_error_percent"]
    assert error < 0.2 * card["validation_free_atoms_error_percent"]
    assert card["fit_r2"] > 0.95
    assert model.committee.shape == (4, len(model.coefficients))
    assert card["n_train"] == 10
    assert card["n_points"] >= 500 * 10
    chosen = next(row for row in card["ridge_table"] if row["ridge"] == card["ridge"])
    assert chosen["force_mae_mev_ang"] < 100.0
    assert len(card["ridge_table"]) == 2
    assert card["highest_validation_uncertainty_percent"] > 0.0
    low, high = card["train_energy_range_ha"]
    assert low < high < -70.0


def test_fit_is_deterministic_and_survives_its_file(model, tmp_path):
    again = fit_density_model([*labels("train"), *labels("validation")], SECTION, PYSCF, silent)
    np.testing.assert_array_equal(model.coefficients, again.coefficients)
    np.testing.assert_array_equal(model.committee, again.committee)
    seconds = model.card["seconds"]
    assert {**again.card, "seconds": seconds} == model.card
    model.write(tmp_path / "model.npz")
    read = read_model(tmp_path / "model.npz")
    assert read.card == model.card
    label = labels("test")[0]
    grid = label_grid(label, PYSCF)
    positions = build_molecule(SYMBOLS, label["positions_ang"], 0, PYSCF).atom_coords()
    for one, other in zip(
        model.evaluate(SYMBOLS, positions, grid.points, grid.owner),
        read.evaluate(SYMBOLS, positions, grid.points, grid.owner),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_files_give_the_same_model_and_their_test_labels_no_part_in_it(model, tmp_path):
    first = write_label_file(tmp_path / "a.npz", "test", "train")
    second = write_label_file(tmp_path / "b.npz", "validation")
    lines: list[str] = []
    found = fit_from_files(
        [first, second], SECTION, PYSCF, tmp_path / "out" / "model.npz", lines.append
    )
    np.testing.assert_array_equal(found.coefficients, model.coefficients)
    assert read_json(tmp_path / "out" / "card.json") == found.card
    assert sum("left" in line for line in lines) >= 10
    assert not any("water test-" in line for line in lines)


def test_unconverged_labels_are_left_out_and_counted():
    nan = {**labels("train")[0], "status": "not_converged", "reason": "50 cycles"}
    nan |= {"density_matrix": np.full((7, 7), np.nan), "energy_ha": float("nan")}
    given = [nan, *labels("train")[1:], *labels("validation")]
    fewer = fit_density_model(given, SECTION, PYSCF, silent)
    assert (fewer.card["n_train"], fewer.card["n_not_converged"]) == (9, 1)
    assert np.isfinite(fewer.coefficients).all()


def changed(which: str, **keys) -> list:
    return [{**label, **keys} for label in labels(which)]


def both() -> list:
    return [*labels("train"), *labels("validation")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: [], "no train geometry: raise sampling.train"),
        (lambda: labels("validation"), "no train geometry"),
        (lambda: labels("train"), "no validation geometry: raise sampling.validation"),
        (lambda: [*both(), labels("test")[0]], "test label was given"),
        (
            lambda: [*changed("train", status="not_converged", reason="7 cycles"), *both()[10:]],
            "none of 10 train geometries converged .7 cycles.",
        ),
        (lambda: [*both(), *changed("train", settings_hash="other")], "made with other settings"),
        (lambda: [*both(), *changed("train", symbols=["S", "H", "H"])], "has symbols"),
        (lambda: [*both(), *changed("train", charge=2)], "has charge 2"),
        (lambda: [*both(), *changed("train", split="validation")], "in both train and validation"),
        (lambda: [*labels("train")[:3], *labels("validation")], "cannot be cut into 4 parts"),
    ],
)
def test_labels_that_cannot_train_are_refused(given, message):
    with pytest.raises(TrainingError, match=message):
        fit_density_model(list(given()), SECTION, PYSCF, silent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "half"}, "none of difference, full"),
        ({"ridge": []}, "density_model.ridge"),
        ({"ridge": [-1.0]}, "density_model.ridge"),
        ({"committee": 1}, "density_model.committee"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    with pytest.raises(TrainingError, match=message):
        fit_density_model(both(), {**SECTION, **change}, PYSCF, silent)


def test_no_usable_ridge_is_an_error_and_one_of_two_is_not(model):
    # Terms of one atom with itself depend on each other, so that zero determines nothing.
    with pytest.raises(SingularFitError, match=r"no ridge of density_model.ridge is usable"):
        fit_density_model(both(), {**SECTION, "ridge": [0.0]}, PYSCF, silent)
    mixed = fit_density_model(both(), {**SECTION, "ridge": [0.0, 1e-5]}, PYSCF, silent)
    assert mixed.card["ridge"] == 1e-5
    assert "failure" in mixed.card["ridge_table"][1]


# --- choice of the ridge and uncertainty -----------------------------------------------------


def test_ridge_is_chosen_by_forces_then_by_dipoles():
    clear = {
        1e-5: (np.array([4.0, 4.1, 3.9]), np.array([1.0, 1.0, 1.0])),
        1e-7: (np.array([1.0, 1.1, 0.9]), np.array([5.0, 5.0, 5.0])),
    }
    assert choose_ridge(clear) == 1e-7
    # Worse by 0.1 on average, with a standard error of 0.5: forces do not tell them apart.
    close = {
        1e-5: (np.array([1.0, 2.0, 3.0]), np.array([5.0, 5.0, 5.0])),
        1e-7: (np.array([2.0, 1.4, 2.9]), np.array([1.0, 1.0, 1.0])),
    }
    assert choose_ridge(close) == 1e-7
    assert choose_ridge({r: (f[:1], d[:1]) for r, (f, d) in close.items()}) == 1e-5


def test_parts_take_turns_hold_every_temperature_and_keep_what_was():
    temperatures = [300.0, 600.0] * 20
    given = [{"temperature_k": temperature} for temperature in temperatures]
    parts = assign_parts(given, 4)
    assert parts[:4] == [0, 1, 2, 3]
    assert parts[:25] == assign_parts(given[:25], 4)
    assert [parts.count(part) for part in range(4)] == [10, 10, 10, 10]
    for part in range(4):
        own = {t for t, p in zip(temperatures, parts, strict=True) if p == part}
        assert own == {300.0, 600.0}


def test_conformal_factor_is_the_order_statistic():
    predicted = np.full(20, 2.0)
    actual = 2.0 * np.arange(1.0, 21.0)[::-1]
    # ⌈21 · 0.9⌉ = 19th smallest of the ratios 1 … 20
    assert conformal_factor(actual, predicted) == (19.0, 0.9)
    assert conformal_factor(actual[-4:], predicted[-4:]) == (4.0, 0.8)
    with pytest.raises(ValueError, match="no geometry"):
        conformal_factor(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="agree exactly"):
        conformal_factor(np.array([1.0]), np.array([0.0]))


def test_conformal_factor_covers_new_geometries_as_promised():
    random = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        predicted = random.uniform(0.5, 2.0, 21)
        actual = predicted * random.lognormal(0.0, 1.0, 21)
        factor, _ = conformal_factor(actual[:20], predicted[:20])
        covered.append(actual[20] <= factor * predicted[20])
    # 19/21 exactly, the binomial error of 2000 draws is 0.0066
    assert np.mean(covered) == pytest.approx(19 / 21, abs=0.02)


def test_rank_correlation_of_known_orders():
    assert rank_correlation(np.array([1.0, 5.0, 9.0]), np.array([2.0, 3.0, 4.0])) == pytest.approx(
        1
    )
    # Σd² = 6 for (1,2,3,4) and (2,1,4,3)+…: 1 − 6·4/(4·15)
    assert rank_correlation(
        np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 1.0, 4.0, 3.0])
    ) == pytest.approx(0.6)
    assert rank_correlation(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None
