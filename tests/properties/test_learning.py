"""What must hold for any crystal and any data: invariances, and no knowledge of the test side."""

import numpy as np
import pandas as pd
import pytest
import xgboost
from ase import Atoms
from ase.build import make_supercell
from hypothesis import given, settings
from hypothesis import strategies as st

from dft2spectra.columns import Site
from dft2spectra.learning.baselines import fit_linear
from dft2spectra.learning.committee import train_committee
from dft2spectra.learning.evaluation import out_of_fold
from dft2spectra.learning.kernel import fit_kernel, kernel
from dft2spectra.learning.metrics import intervals, scores
from dft2spectra.learning.models import cv_plus
from dft2spectra.learning.soap import Features, site_features
from dft2spectra.learning.species import CHANNELS
from dft2spectra.learning.splits import (
    SPLITS,
    grouped_folds,
    inner_folds,
    make_folds,
    single,
    site_groups,
    split_groups,
)
from dft2spectra.learning.training_data import TrainingData

SOAP = {
    "cutoff_ang": 4.5,
    "n_max": 4,
    "l_max": 3,
    "sigma_ang": 0.4,
    "species_weighting": list(CHANNELS),
    "bands": False,  # tests/unit/test_learning_bands.py
}
LEARNING = {
    "folds": 4,
    "seed": 3,
    "n_estimators": 60,
    "learning_rate": 0.1,
    "max_depth": 3,
    "early_stopping_rounds": 15,
    "coverage": 0.9,
}


def crystal() -> Atoms:
    """A triclinic cell with four elements on general positions."""
    return Atoms(
        "FeSiCoFeY",
        cell=[[3.9, 0.1, 0.0], [0.4, 4.2, 0.2], [-0.3, 0.5, 5.1]],
        scaled_positions=[
            [0.02, 0.05, 0.03],
            [0.48, 0.55, 0.21],
            [0.51, 0.02, 0.52],
            [0.03, 0.49, 0.63],
            [0.55, 0.52, 0.81],
        ],
        pbc=True,
    )


REFERENCE = site_features(crystal(), [0, 3], SOAP)


def assert_same(values: np.ndarray, expected: np.ndarray = REFERENCE) -> None:
    """Equal to rounding of the storage in single precision."""
    assert np.abs(values - expected).max() < 1e-8 * np.abs(expected).max()


unit = st.floats(0.0, 1.0)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.floats(0, 360), st.tuples(unit, unit, unit))
def test_rotation(angle, axis):
    atoms = crystal()
    atoms.rotate(angle, np.add(axis, (0.1, 0.0, 0.0)), rotate_cell=True)
    assert_same(site_features(atoms, [0, 3], SOAP))


def test_inversion():
    atoms = crystal()
    atoms.set_cell(-atoms.cell.array, scale_atoms=True)
    assert_same(site_features(atoms, [0, 3], SOAP))


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.tuples(unit, unit, unit))
def test_origin(shift):
    atoms = crystal()
    atoms.set_scaled_positions(atoms.get_scaled_positions() + shift)
    assert_same(site_features(atoms, [0, 3], SOAP))


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.permutations(range(5)))
def test_permutation(order):
    atoms = crystal()[list(order)]
    assert_same(site_features(atoms, [order.index(0), order.index(3)], SOAP))


@pytest.mark.parametrize(
    "matrix", [np.diag([2, 1, 1]), np.diag([1, 2, 2]), [[1, 1, 0], [0, 1, 0], [0, -1, 2]]]
)
def test_supercell_and_choice_of_cell(matrix):
    small = crystal()
    large = make_supercell(small, matrix)
    atoms = []
    for atom in (0, 3):
        images = (large.positions - small.positions[atom]) @ np.linalg.inv(small.cell.array)
        atoms.append(int(np.argmin(np.abs(images - np.rint(images)).sum(axis=1))))
    assert_same(site_features(large, atoms, SOAP))


def test_two_sites_of_one_crystal_differ():
    assert np.abs(REFERENCE[0] - REFERENCE[1]).max() > 1e-3 * np.abs(REFERENCE).max()


groups_of_rows = st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(
    lambda rows: len(set(rows)) > 1
)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(groups_of_rows, st.integers(2, 7), st.integers(0, 5))
def test_no_group_on_two_sides_and_every_row_tested_once(rows, n_folds, seed):
    groups = np.array([f"g{row}" for row in rows])
    folds = grouped_folds(groups, n_folds, seed)
    assert all(len(set(folds[groups == name])) == 1 for name in set(groups))
    assert set(folds) == set(range(min(n_folds, len(set(groups)))))
    order = np.random.default_rng(seed).permutation(len(groups))
    assert (grouped_folds(groups[order], n_folds, seed) == folds[order]).all()
    # No fold exceeds another by more than its last group could have brought.
    sizes = np.bincount(folds)
    assert sizes.max() - sizes.min() <= max(np.unique(groups, return_counts=True)[1])


def test_structures_stay_whole():
    sites = pd.DataFrame(
        {"structure_id": ["a", "a", "b"], "parent": ["p", "q", "p"], "site": ["1", "2", "1"]}
    )
    with pytest.raises(ValueError, match="without exactly one parent: a"):
        site_groups(sites)
    sites["parent"] = ["p", "p", "q"]
    assert site_groups(sites).tolist() == ["p", "p", "q"]


@pytest.mark.parametrize(("groups", "n_folds"), [(["a", "a"], 5), (["a", "b"], 1), ([], 3)])
def test_nothing_to_leave_out_is_an_error(groups, n_folds):
    with pytest.raises(ValueError, match="at least two"):
        grouped_folds(np.array(groups, dtype=str), n_folds, 0)


def test_seed_moves_groups():
    groups = np.repeat([f"g{i:02d}" for i in range(30)], 4)
    splits = {tuple(grouped_folds(groups, 5, seed)) for seed in range(4)}
    assert len(splits) == 4


def synthetic(n_groups=20, rows=6, seed=0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features with a fingerprint of their group, a target that is the group's alone, groups."""
    random = np.random.default_rng(seed)
    groups = np.repeat([f"g{i:02d}" for i in range(n_groups)], rows)
    centres = random.normal(size=(n_groups, 8))
    values = np.repeat(centres, rows, axis=0) + 0.05 * random.normal(size=(n_groups * rows, 8))
    return values, np.repeat(random.normal(size=n_groups), rows), groups


def predict(values, target, groups):
    """Fold and out-of-fold predictions of committee, kernel and ridge."""
    names = np.array([f"density {i}" for i in range(values.shape[1])])
    rows = np.array([str(i) for i in range(len(target))])
    features = Features(values.astype(np.float32), rows, rows, rows, names, {}, {})
    sites = pd.DataFrame({Site.STRUCTURE_ID: rows, Site.PARENT: groups})
    every = np.ones(len(target), dtype=bool)
    data = TrainingData(features, sites, "moment", Site.MOMENT, target, groups, every)
    predictions, _ = out_of_fold(data, single(groups), LEARNING)
    return [predictions[name].to_numpy() for name in ("fold", "xgboost", "kernel", "linear")]


def test_memory_of_relatives_does_not_count():
    """A target that only depends on the group can be remembered but not predicted."""
    values, target, groups = synthetic()
    rows = np.array([str(i) for i in range(len(target))])
    remembered = predict(values, target, rows)[1:]
    for remembers, predicts in zip(remembered, predict(values, target, groups)[1:], strict=True):
        assert scores(target, predicts)["r2"] < 0.35
        assert scores(target, remembers)["r2"] > scores(target, predicts)["r2"] + 0.2
    # A tenth of eight features a tree: the trees remember less than the kernel.
    assert scores(target, remembered[1])["r2"] > 0.7


def test_shuffled_target_has_no_score():
    values, _, groups = synthetic(n_groups=120, rows=2)
    target = 2.0 * values[:, 0] - values[:, 1]
    shuffled = np.random.default_rng(5).permutation(target)
    for prediction in predict(values, shuffled, groups)[1:]:
        assert -0.25 < scores(shuffled, prediction)["r2"] < 0.1
    _, committee, _, linear = predict(values, target, groups)
    assert scores(target, committee)["r2"] > 0.5
    assert scores(target, linear)["r2"] > 0.95


def test_targets_of_the_test_fold_change_nothing_there():
    """Neither the rounds, nor the penalty, nor anything else may look at what is tested."""
    values, target, groups = synthetic()
    folds, *honest = predict(values, target, groups)
    spoiled = target.copy()
    spoiled[folds == 0] = 1e3 * np.random.default_rng(1).normal(size=(folds == 0).sum())
    _, *other = predict(values, spoiled, groups)
    for before, after in zip(honest, other, strict=True):
        assert (before[folds == 0] == after[folds == 0]).all()
        assert not (before[folds == 1] == after[folds == 1]).all()


def test_each_row_is_hidden_from_one_member():
    _, _, groups = synthetic()
    hidden = ~inner_folds(single(groups), 4, 3).trains
    assert (hidden.sum(axis=1) == 1).all()
    for name in set(groups):
        assert len(np.unique(hidden[groups == name], axis=0)) == 1
    assert inner_folds(single(np.array(["a", "a"])), 4, 3).trains.all()


several_groups = st.lists(
    st.frozensets(st.sampled_from("ABCDEFGH"), max_size=3), min_size=2, max_size=40
)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(several_groups, st.integers(2, 5), st.integers(0, 3))
def test_no_group_of_a_tested_row_is_trained_on_where_it_is_left_out(groups, n_folds, seed):
    """Rows of several groups, as ternary crystals are of two elements."""
    folds = inner_folds(groups, n_folds, seed)
    if folds.number == 1:
        return
    for fold in range(folds.number):
        trained = [groups[row] for row in np.flatnonzero(folds.trains[:, fold])]
        tested = np.flatnonzero(folds.fold == fold)
        assert not folds.trains[tested, fold].any()
        assert len(tested)
        # Of its groups, the one that counts is the rarest, and nothing of that is trained on.
        for row in tested:
            count = {name: sum(name in other for other in groups) for name in groups[row]}
            least = min(count, key=lambda name: (count[name], name))
            assert not any(least in names for names in trained)
    for row, names in enumerate(groups):
        assert (folds.fold[row] >= 0) == bool(names)


def test_splits_hold_together_what_they_say():
    formulas = ["Fe", "FeAl", "Fe3Al", "FeAlSi", "FeSi", "FeCo", "FeAl", "FeAl"]
    names = np.array([f"s{i}" for i in range(8)])
    sites = pd.DataFrame(
        {
            Site.STRUCTURE_ID: names,
            Site.FORMULA: formulas,
            Site.PARENT: ["A2", "B2", "D03", "C1", "B2", "B2", "B2", "L10"],
        }
    )
    values = np.array([[0.0], [1.0], [9.0], [9.1], [1.1], [0.1], [1.05], [9.05]], dtype=np.float32)
    features = Features(values, names, names, names, np.array(["density 1"]), {}, {})
    found = {split: split_groups(split, sites, features) for split in SPLITS}
    # FeAl of B2 twice: a strained copy.
    assert found["structure"][1] == found["structure"][6] != found["structure"][7]
    assert found["structure_type"][1] == found["structure_type"][4] == frozenset(["B2"])
    assert found["chemical_system"][1] == found["chemical_system"][2] == frozenset(["Al-Fe"])
    assert found["element"][0] == frozenset()
    assert found["element"][3] == frozenset(["Al", "Si"])
    clusters = [next(iter(names)) for names in found["cluster"]]
    assert len(set(clusters)) == 2
    assert clusters[2] == clusters[3] == clusters[7] != clusters[0]
    folds = make_folds(found["element"], 3, 0)
    assert folds.fold[0] == -1
    assert folds.trains[0].all()
    silicon = folds.fold[4]
    assert folds.fold[3] == silicon
    assert not folds.trains[3, silicon]
    assert not folds.trains[3, folds.fold[1]]
    with pytest.raises(ValueError, match="unknown split 'typ'; known: structure"):
        split_groups("typ", sites, features)


@pytest.mark.parametrize("linear", [False, True])
def test_parts_left_out_in_closed_form_are_refits(linear):
    """Against kernel ridge regressions that never saw the part."""
    values, _, groups = synthetic(n_groups=9, rows=3)
    target = 5.0 + np.sin(values[:, 0]) + 0.1 * np.random.default_rng(0).normal(size=len(values))
    # Overlapping parts, as elements make them.
    folds = make_folds([frozenset([g, "x" if i % 4 else g]) for i, g in enumerate(groups)], 4, 0)
    scale = np.ones(values.shape[1])
    model = fit_kernel(values, target, folds, scale, linear=linear)
    new = values[:5] + 0.3

    def refit(rows, points):
        gram = kernel(values[rows], values[rows], model.length)
        size = np.mean(np.diag(kernel(values, values, model.length))) - 100.0
        gram += model.penalty * size * np.eye(len(gram))
        weights = np.linalg.solve(gram, target[rows] - target.mean())
        return target.mean() + kernel(points, values[rows], model.length) @ weights

    whole, members = model.predict(new)
    assert whole == pytest.approx(refit(np.ones(len(target), dtype=bool), new), abs=1e-6)
    for part in range(folds.number):
        rows, tested = folds.trains[:, part], folds.fold == part
        if not rows.any():
            continue
        assert members[:, part] == pytest.approx(refit(rows, new), abs=1e-6)
        assert model.hidden[tested] == pytest.approx(refit(rows, values[tested]), abs=1e-6)
    # A constant more in the target is a constant more in the prediction.
    moved = fit_kernel(values, target + 1e3, folds, scale, linear=linear)
    assert moved.predict(new)[0] == pytest.approx(whole + 1e3, abs=1e-4)


def test_ridge_finds_a_plane():
    random = np.random.default_rng(2)
    values = random.normal(size=(80, 3))
    folds = inner_folds(single(np.arange(80).astype(str)), 4, 0)
    linear = fit_linear(values, 1.0 + values @ [2.0, 0.0, -1.0], folds)
    assert linear.predict([[1.0, 5.0, 1.0]]) == pytest.approx(2.0, abs=0.01)


def test_interval_bounds_by_hand():
    """Four rows, two members: bounds are the second of four values at a coverage of 0.6."""
    members = np.array([[1.0, 3.0]])
    fold, residual = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.2, 5.0])
    # Lower: 0.9, 0.6, 2.8, −2.0. Upper: 1.1, 1.4, 3.2, 8.0. ceil(0.6 · 5) = 3 of 4.
    low, high = cv_plus(members, fold, residual, 0.6)
    assert (low[0], high[0]) == pytest.approx((0.6, 3.2))


def test_intervals_of_unseen_groups_hold_as_often_as_they_say():
    """Groups with an offset of their own; 40 new ones in each of 40 repetitions."""
    random = np.random.default_rng(0)
    held = []
    for repetition in range(40):
        groups = np.repeat([f"g{i:02d}" for i in range(40)], 3)
        target = np.repeat(random.normal(size=40), 3) + 0.1 * random.normal(size=120)
        folds = inner_folds(single(groups), 5, repetition)
        members = np.array([target[folds.trains[:, part]].mean() for part in range(5)])
        residual = np.abs(target - members[folds.fold])
        new = random.normal(size=40) + 0.1 * random.normal(size=40)
        low, high = cv_plus(np.tile(members, (40, 1)), folds.fold, residual, 0.9)
        held.append(np.mean((low <= new) & (new <= high)))
    assert 0.87 < np.mean(held) < 0.95


def test_member_knows_nothing_of_its_hidden_rows():
    """Spoiling the hidden targets of member 0 leaves its output alone, and moves the others."""
    values, target, groups = synthetic()
    folds = inner_folds(single(groups), 4, 3)
    hidden = ~folds.trains
    # Equal sums: the common starting value is the mean target.
    spoiled = target.copy()
    spoiled[hidden[:, 0]] += np.where(np.arange(hidden[:, 0].sum()) % 2, 5.0, -5.0)
    learning = LEARNING | {"n_estimators": 5}
    first, second = (train_committee(values, y, folds, learning) for y in (target, spoiled))
    data = xgboost.DMatrix(values.astype(np.float32))
    rounds = (0, min(first.num_boosted_rounds(), second.num_boosted_rounds()))
    before, after = (b.predict(data, iteration_range=rounds) for b in (first, second))
    assert before[:, 0] == pytest.approx(after[:, 0], abs=1e-5)
    assert np.abs(before[:, 1] - after[:, 1]).max() > 1e-3


def test_interval_covers_the_truth():
    """95 % intervals of the error hold the true value in about 95 % of repetitions.

    Clustered errors: 30 clusters of 8 equal errors of unit variance. Resampling clusters covers
    (percentile intervals of 30 draws fall a little short); resampling rows would claim too much.
    """
    random = np.random.default_rng(0)
    clusters = np.repeat(np.arange(30), 8)
    rows = np.arange(len(clusters))
    covered, fooled = 0, 0
    for repetition in range(150):
        error = np.repeat(random.normal(size=30), 8)
        truth = random.normal(size=len(rows))
        low, high = intervals(truth, truth + error, clusters, 200, repetition)["rmse"]
        covered += low <= 1.0 <= high
        low, high = intervals(truth, truth + error, rows, 200, repetition)["rmse"]
        fooled += low <= 1.0 <= high
    assert 0.85 <= covered / 150 <= 0.99
    assert fooled / 150 < 0.65
