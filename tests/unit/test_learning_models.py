"""Models of synthetic crystals with real SOAP and XGBoost, from records to ranked candidates."""

import json

import numpy as np
import pandas as pd
import pytest
import xgboost
from ase import Atoms
from ase.neighborlist import neighbor_list
from example_calibration import CALIBRATION, STATUSES
from example_calibration import LIMITS as RULES

from dft2spectra.columns import TARGETS, Site
from dft2spectra.learning.baselines import fit_linear
from dft2spectra.learning.boosting import evaluate_model, train_model
from dft2spectra.learning.cleaning import clean_sites
from dft2spectra.learning.committee import predict_committee, train_committee
from dft2spectra.learning.evaluation import MAIN_SPLIT, best_model, out_of_fold
from dft2spectra.learning.metrics import coverage, intervals, scores, spread_calibration, verdict
from dft2spectra.learning.models import CHOICES, MODELS
from dft2spectra.learning.screening import predict_candidates
from dft2spectra.learning.selection import select_representatives
from dft2spectra.learning.soap import featurize
from dft2spectra.learning.species import species_weights
from dft2spectra.learning.splits import SPLITS, inner_folds, single, split_groups
from dft2spectra.learning.systems import evaluate_systems, left_out_predictions
from dft2spectra.learning.tensor_evaluation import evaluate_tensor
from dft2spectra.learning.tensor_prediction import read_tensor_model
from dft2spectra.learning.training_data import read_training_data

SOAP = {
    "cutoff_ang": 4.0,
    "n_max": 3,
    "l_max": 2,
    "sigma_ang": 0.5,
    "species_weighting": ["density", "electronegativity", "magnetic"],
    "bands": False,
}
LEARNING = {
    "model": "xgboost",
    "folds": 3,
    "seed": 0,
    "seeds": 1,
    "n_estimators": 40,
    "learning_rate": 0.25,
    "max_depth": 3,
    "early_stopping_rounds": 10,
    "bootstrap": 300,
    "min_sites": 100,
    "coverage": 0.9,
    "usable_error": {"moment": 0.5, "isomer_shift": 0.5, "vzz": 0.5, "bhf": 5.0},
}
PARTNERS = ("Al", "Si", "Co", "Ni", "Ti", "Ga")


def crystal(parent: int, partner: str) -> dict:
    """Stacked square layers, strained and distorted as ``parent`` says, all Fe but one atom."""
    random = np.random.default_rng(parent)
    n_atoms = 2 + 2 * (parent % 2)
    strain = np.eye(3) + random.uniform(-0.08, 0.08, (3, 3))
    cell = np.diag([2.9, 2.9, 1.45 * n_atoms]) @ strain
    layers = [[0.5 * (i % 2), 0.5 * (i % 2), i / n_atoms] for i in range(n_atoms)]
    atoms = Atoms(f"Fe{n_atoms}", cell=cell, scaled_positions=layers, pbc=True)
    atoms.rattle(0.12, seed=parent)
    symbols = ["Fe"] * (n_atoms - 1) + [partner]
    return {
        "structure_id": f"t{parent:02d}-{partner}",
        "formula": f"Fe{n_atoms - 1}{partner}",
        "spacegroup": 1,
        "prototype": None,
        "parent": f"type{parent:02d}",
        "cell_ang": cell.tolist(),
        "symbols": symbols,
        "scaled_positions": atoms.get_scaled_positions().tolist(),
        "site_labels": [f"{symbol}{i + 1}" for i, symbol in enumerate(symbols)],
    }


def environment(structure: dict) -> np.ndarray:
    """Smooth count of neighbours and of their electronegativity for each atom: (n_atoms, 2)."""
    atoms = Atoms(
        structure["symbols"],
        cell=structure["cell_ang"],
        scaled_positions=structure["scaled_positions"],
        pbc=True,
    )
    centre, neighbour, distance = neighbor_list("ijd", atoms, 4.0)
    weight = np.exp(-((distance / 2.5) ** 2))
    chi = np.array([species_weights("electronegativity")[s] for s in structure["symbols"]])
    count = np.bincount(centre, weight, len(atoms))
    return np.stack([count, np.bincount(centre, weight * (chi[neighbour] - 1), len(atoms))], axis=1)


def hyperfine_record(structure: dict) -> dict:
    """A record whose moment, density and field follow from the environment, without noise."""
    sites = []
    for atom, (count, charge) in enumerate(environment(structure)):
        if structure["symbols"][atom] != "Fe":
            continue
        moment = 3.0 - 0.4 * count + 2.0 * charge
        efg = {"xx": -0.4, "yy": -0.6, "zz": 1.0, "xy": 0.0, "xz": 0.0, "yz": 0.0}
        sites.append(
            {
                "site": structure["site_labels"][atom],
                "element": "Fe",
                "atom_indices": [atom],
                "multiplicity": 1,
                "moment_mub": moment,
                "contact_density_e_per_bohr3": 15000.0 - 4.0 * charge,
                **{f"efg_{key}_1e21_v_m2": value for key, value in efg.items()},
                "vzz_1e21_v_m2": 1.0,
                "eta": 0.2,
                "efg_orbit_1e21_v_m2": [list(efg.values())],
                "efg_free_components": 5,
                "bhf_contact_t": -12.0 * moment,
                "bhf_core_t": -11.0 * moment,
                "bhf_valence_t": -1.0 * moment,
                "bhf_lorentz_t": 0.3,
                "bhf_orbital_t": 1.0,
                "orbital_moment_mub": 0.03,
                "bhf_dipolar_t": 0.1,
                "bhf_dipolar_orbit_t": [[0.1, -0.05, -0.05, 0.0, 0.0, 0.0]],
                "bhf_t": -12.0 * moment,
                **dict.fromkeys(STATUSES, "converged"),
                "reasons": {},
            }
        )
    keys = ("structure_id", "formula", "spacegroup", "prototype", "parent", "cell_ang", "symbols")
    return {key: structure[key] for key in (*keys, "scaled_positions", "site_labels")} | {
        "status": "converged",
        "reason": None,
        "settings_hash": "abc",
        "method_hash": "abc",
        "states_within_mev": None,
        "ambiguous_state": False,
        "ionic_without_u": False,
        "total_moment_mub": sum(site["moment_mub"] for site in sites),
        "sites": sites,
    }


class Campaign:
    """Files of one run in a folder."""

    def __init__(self, folder, structures, external=()):
        self.folder = folder
        self.structures = [folder / f"{s['structure_id']}.json" for s in structures]
        for path, structure in zip(self.structures, structures, strict=True):
            path.write_text(json.dumps(structure))
        records = [folder / f"record-{s['structure_id']}.json" for s in structures]
        for path, structure in zip(records, structures, strict=True):
            path.write_text(json.dumps(hyperfine_record(structure)))
        calibration = folder / "calibration.json"
        calibration.write_text(json.dumps(CALIBRATION))
        self.sites = folder / "sites.parquet"
        tables = self.sites, folder / "training.parquet", folder / "dropped.csv"
        clean_sites(records, calibration, RULES, *tables, external)
        self.features = folder / "soap.npz"
        featurize(self.sites, self.structures, SOAP, self.features)
        self.representatives = folder / "representatives.csv"
        select_representatives(self.features, None, self.representatives)

    def data(self, target):
        return read_training_data(self.features, self.sites, target, self.representatives)

    def model(self, target):
        """Folder of the model of a target, made at the first call."""
        folder = self.folder / "models" / target
        if not folder.exists():
            self.make_model(target, folder)
        return folder

    def make_model(self, target, folder):
        """Evaluate and train."""
        evaluate_model(
            self.features,
            self.sites,
            target,
            LEARNING,
            self.representatives,
            folder / "predictions.parquet",
            folder / "metrics.json",
            folder / "parity.png",
            folder / "splits.csv",
            folder / "learning_curve.csv",
            folder / "splits.png",
        )
        train_model(
            self.features,
            self.sites,
            folder / "metrics.json",
            target,
            LEARNING,
            self.representatives,
            folder / "model.ubj",
            folder / "card.json",
            folder / "importance.png",
        )


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """About 160 Fe sites of 72 structures of 12 structure types."""
    structures = [crystal(parent, partner) for parent in range(12) for partner in PARTNERS]
    return Campaign(tmp_path_factory.mktemp("large"), structures)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """As small as the default campaign: 12 structures of 4 structure types."""
    structures = [crystal(parent, partner) for parent in range(4) for partner in PARTNERS[:3]]
    return Campaign(tmp_path_factory.mktemp("small"), structures)


def by_type(data, **changes):
    """Out-of-fold predictions with structure types left out."""
    groups = split_groups(MAIN_SPLIT, data.sites, data.features)
    return out_of_fold(data, groups, LEARNING | changes)


def load(folder, name="metrics.json"):
    """Parsed JSON file of a model folder."""
    return json.loads((folder / name).read_text())


def test_scores_by_hand():
    # Errors 1, −1, 2, 0; deviations of 1, 2, 3, 6 from their mean 3: 4 + 1 + 0 + 9 = 14.
    found = scores(np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 1.0, 5.0, 6.0]))
    assert found == pytest.approx({"r2": 1 - 6 / 14, "mae": 1.0, "rmse": np.sqrt(1.5)})


def test_constant_target_has_no_r2():
    truth = np.full(12, 0.3)
    assert scores(truth, truth + 0.1)["r2"] is None
    found = intervals(truth, truth + 0.1, np.arange(12) // 2, 50, 0)
    assert found["r2"] == [None, None]
    assert found["mae"] == pytest.approx([0.1, 0.1])


def test_interval_is_the_bootstrap_of_whole_clusters():
    """Against a loop over the same resamplings."""
    random = np.random.default_rng(1)
    truth, prediction = random.normal(size=(2, 23))
    clusters = np.sort(random.integers(0, 7, 23))
    names = np.unique(clusters)
    drawn = np.random.default_rng(4).multinomial(
        len(names), np.full(len(names), 1 / len(names)), 90
    )
    sample = []
    for counts in drawn:
        rows = np.concatenate(
            [
                np.flatnonzero(clusters == n)
                for n, k in zip(names, counts, strict=True)
                for _ in range(k)
            ]
        )
        sample.append(scores(truth[rows], prediction[rows]))
    found = intervals(truth, prediction, clusters, 90, 4)
    for name in ("r2", "mae", "rmse"):
        expected = np.percentile([s[name] for s in sample], [2.5, 97.5])
        assert found[name] == pytest.approx(expected)


def test_coverage_counts_sites_that_have_an_interval():
    truth, none = np.array([1.0, 2.0, 3.0]), np.full(3, np.nan)
    low, high = np.array([0.0, 2.5, np.nan]), np.array([1.5, 3.0, np.nan])
    assert coverage(truth, low, high) == 0.5
    assert coverage(truth, none, none) is None


def test_spread_calibration_by_hand():
    assert spread_calibration(np.array([3.0, -3.0]), np.array([1.0, 1.0])) == pytest.approx(3.0)
    assert spread_calibration(np.array([3.0, -3.0]), np.zeros(2)) is None


def model_scores(r2, low, high, mae=(0.1, 0.05, 0.15)):
    """Scores in the form that the verdict reads."""
    interval = {"r2": [low, high], "mae": list(mae[1:])}
    return {"r2": r2, "mae": mae[0], "ci95_by_parent": interval}


MANY = {"n_sites": 500, "n_structures": 300, "n_parents": 40}
GOOD = (0.8, 0.7, 0.9)


@pytest.mark.parametrize(
    ("counts", "model", "usable", "words"),
    [
        (MANY | {"n_sites": 99}, model_scores(*GOOD), False, "means nothing: 99 sites"),
        (MANY | {"n_parents": 9}, model_scores(*GOOD), False, "of 9 structure types"),
        (MANY, model_scores(None, None, None), False, "undefined"),
        (
            MANY,
            model_scores(*GOOD),
            True,
            "Errs by less than 0.5 µB: MAE 0.1 µB (95 % interval 0.05",
        ),
        (MANY, model_scores(*GOOD), True, "R² = 0.80 (0.70 to 0.90)"),
        # A good R² over a wide range is no small error.
        (MANY, model_scores(*GOOD, mae=(0.45, 0.3, 0.51)), False, "Not shown to err by less than"),
    ],
)
def test_verdict_says_what_the_scores_are_worth(counts, model, usable, words):
    found, text = verdict(counts, model, LEARNING, "moment")
    assert found is usable
    assert words in text


def test_planted_signal_is_learned_and_the_mean_is_not_enough(campaign):
    metrics = load(campaign.model("moment"))
    found = metrics["models"]
    assert metrics["usable"] is True
    assert found["xgboost"]["r2"] > 0.5
    assert found["linear"]["r2"] > 0.6
    assert found["kernel"]["r2"] > 0.6
    assert found["mean_of_both"]["r2"] > 0.6
    assert found["mean"]["r2"] < 0.05
    for model in found.values():
        for clusters in ("structure", "parent"):
            low, high = model[f"ci95_by_{clusters}"]["rmse"]
            assert low < model["rmse"] < high


def test_shuffled_moments_are_not_learned(campaign):
    data = campaign.data("moment")
    shuffled = np.random.default_rng(2).permutation(data.target)
    predictions, _ = by_type(data._replace(target=shuffled))
    for name in MODELS:
        assert -0.4 < scores(shuffled, predictions[name])["r2"] < 0.1


def test_sites_without_the_target_are_left_out_of_it_alone(campaign, tmp_path):
    table = pd.read_parquet(campaign.sites)
    table.loc[[0, 5], [Site.VZZ]] = np.nan
    table.to_parquet(tmp_path / "sites.parquet")
    paths = campaign.features, tmp_path / "sites.parquet"
    vzz, moment = (
        read_training_data(*paths, target, campaign.representatives) for target in ("vzz", "moment")
    )
    assert len(moment.target) == len(table)
    left = table.drop(index=[0, 5])
    assert vzz.sites[Site.SITE].tolist() == left[Site.SITE].tolist()
    assert vzz.features.structure_id.tolist() == left[Site.STRUCTURE_ID].tolist()
    assert len(vzz.target) == len(vzz.groups) == len(vzz.trainable) == len(left)
    np.testing.assert_array_equal(vzz.features.values, moment.features.values[left.index])
    table[Site.VZZ] = np.nan
    table.to_parquet(tmp_path / "sites.parquet")
    with pytest.raises(ValueError, match=r"no site .*has a value of vzz_1e21_v_m2"):
        read_training_data(*paths, "vzz", campaign.representatives)


def test_predictions_file(campaign):
    folder = campaign.model("isomer_shift")
    table = pd.read_parquet(folder / "predictions.parquet")
    sites = pd.read_parquet(campaign.sites)
    assert len(table) == len(sites)
    assert (table[Site.ISOMER_SHIFT] == sites[Site.ISOMER_SHIFT]).all()
    assert table.groupby(Site.PARENT)["fold"].nunique().max() == 1
    r2 = scores(table[Site.ISOMER_SHIFT], table[f"{Site.ISOMER_SHIFT}_xgboost"])["r2"]
    assert r2 == pytest.approx(load(folder)["models"]["xgboost"]["r2"])
    assert (folder / "predictions.csv").exists()


def test_every_split_has_every_model_with_interval_and_coverage(campaign):
    folder = campaign.model("moment")
    table = pd.read_csv(folder / "splits.csv")
    assert list(dict.fromkeys(table["split"])) == list(SPLITS)
    assert table["model"].tolist() == len(SPLITS) * list(MODELS)
    assert (table["mae_low"] < table["mae_high"]).all()
    trees = table[table["model"] == "xgboost"].set_index("split")
    # The same folds stand in the card.
    main = load(folder)["models"]["xgboost"]
    assert trees.loc[MAIN_SPLIT, "mae"] == pytest.approx(main["mae"])
    assert trees.loc[MAIN_SPLIT, "coverage"] == pytest.approx(main["coverage"])
    mean = table[table["model"] == "mean"].set_index("split")
    difference = mean["mae_minus_xgboost"] - (mean["mae"] - trees["mae"])
    assert difference.abs().max() < 1e-9
    assert (mean["mae_minus_xgboost_low"] > 0)[MAIN_SPLIT]
    curve = pd.read_csv(folder / "learning_curve.csv")
    assert set(curve["split"]) == set(SPLITS)
    part = curve[(curve["split"] == "structure") & (curve["model"] == "mean_of_both")]
    assert part["mae"].iloc[0] > part["mae"].iloc[-1]
    assert (folder / "splits.png").exists()


def test_best_model_is_named_with_its_gain_and_whether_that_is_luck():
    rows = {"split": "s", "model": list(CHOICES), "mae": [0.3, 0.2, 0.25]}
    pairs = {"mae_minus_xgboost": [np.nan, -0.1, -0.05]}
    pairs |= {
        "mae_minus_xgboost_low": [np.nan, -0.2, 0],
        "mae_minus_xgboost_high": [np.nan, -0.01, 0],
    }
    table = pd.DataFrame(rows | pairs)
    found = best_model(table, "s")
    assert found["model"] == "kernel"
    assert found["mae_minus_xgboost"] == pytest.approx(-0.1)
    assert found["shown"] is True
    table.loc[1, "mae_minus_xgboost_high"] = 0.02
    assert best_model(table, "s")["shown"] is False


def test_card_of_a_small_campaign_says_that_the_score_means_nothing(demo):
    card = load(demo.model("bhf"), "card.json")
    assert card["verdict"].startswith("The score means nothing: 24 sites from 12 structures of 4")
    assert card["usable"] is False
    assert card["features"]["soap"] == SOAP
    assert sum(card["features"]["gain_by_block"].values()) == pytest.approx(1.0)
    assert card["hyperparameters"]["max_depth"] == LEARNING["max_depth"]
    assert card["split"]["grouped_by"] == "parent"
    assert set(card["versions"]) >= {"xgboost-cpu", "dscribe", "dft2spectra"}
    assert card["data_hash"] == load(demo.folder / "models" / "bhf")["data_hash"]


def test_model_file_is_plain_xgboost_in_the_unit_of_the_target(demo):
    folder = demo.model("bhf")
    data = demo.data("bhf")
    booster = xgboost.Booster(model_file=folder / "model.ubj")
    matrix = xgboost.DMatrix(data.features.values, feature_names=data.features.names.tolist())
    output = booster.predict(matrix)
    assert output.shape == (len(data.target), load(folder, "card.json")["members"])
    assert scores(data.target, output.mean(axis=1))["r2"] > 0.5


def test_same_input_gives_the_same_files(demo, tmp_path):
    folder = demo.model("moment")
    names = ["model.ubj", "card.json", "metrics.json", "predictions.csv", "parity.svg"]
    first = [(folder / name).read_bytes() for name in names]
    demo.make_model("moment", tmp_path)
    assert [(tmp_path / name).read_bytes() for name in names] == first


def test_another_seed_gives_another_model(demo):
    data = demo.data("moment")
    one, two = (by_type(data, seed=seed).predictions["xgboost"].to_numpy() for seed in (0, 1))
    assert not np.allclose(one, two)


def test_constant_target_ends_in_an_honest_card(demo):
    """Vzz is the same everywhere in these records."""
    card = load(demo.model("vzz"), "card.json")
    assert card["metrics"]["models"]["xgboost"]["r2"] is None
    assert card["usable"] is False


def test_card_refuses_metrics_of_other_data(demo):
    folder = demo.model("bhf")
    metrics = load(folder) | {"data_hash": "0"}
    (demo.folder / "other.json").write_text(json.dumps(metrics))
    with pytest.raises(ValueError, match="measured on other data"):
        train_model(
            demo.features,
            demo.sites,
            demo.folder / "other.json",
            "bhf",
            LEARNING,
            demo.representatives,
            *(demo.folder / name for name in ("x.ubj", "x.json", "x.png")),
        )


def test_unknown_target_is_named(demo):
    with pytest.raises(ValueError, match=r"'momment'; known: moment"):
        demo.data("momment")


def test_features_of_other_sites_are_refused(demo, campaign):
    with pytest.raises(ValueError, match="do not list the same sites"):
        read_training_data(demo.features, campaign.sites, "bhf", demo.representatives)


def test_only_representatives_are_trained_on(campaign, tmp_path):
    select_representatives(campaign.features, 30, tmp_path / "few.csv")
    data = read_training_data(campaign.features, campaign.sites, "moment", tmp_path / "few.csv")
    assert data.trainable.sum() == 30
    predictions, folds = by_type(data)
    assert predictions["xgboost"].notna().all()
    assert sum(fold["n_test"] for fold in folds) == len(data.target)
    # What the others are worth must not matter.
    spoiled = np.where(data.trainable, data.target, 1e3)
    again, _ = by_type(data._replace(target=spoiled))
    for name in MODELS:
        assert (again[name] == predictions[name]).all()


def test_one_structure_type_trains_without_early_stopping():
    random = np.random.default_rng(0)
    values, target = random.normal(size=(12, 4)), random.normal(size=12)
    folds = inner_folds(single(np.array(["only"] * 12)), 3, 0)
    assert folds.trains.all()
    booster = train_committee(values, target, folds, LEARNING)
    assert predict_committee(booster, values).shape == (12, 1)
    assert fit_linear(values, target, folds).predict(values).shape == (12,)


def test_feature_that_is_zero_to_rounding_in_training_does_not_explode():
    """As l = 1 components do at cubic sites, and then at a site without inversion."""
    random = np.random.default_rng(0)
    values = np.column_stack([random.normal(size=(60, 2)), 1e-18 * random.normal(size=60)])
    target, groups = values[:, 0], np.repeat([f"g{i}" for i in range(12)], 5)
    folds = inner_folds(single(groups), 3, 0)
    linear = fit_linear(values, target, folds)
    assert linear.predict([[0.5, 0.0, 1.0]]) == pytest.approx(0.5, abs=0.05)
    # Tiny but real variation: bounded, not ignored.
    values[:, 2] *= 1e15
    linear = fit_linear(values, target, folds)
    assert abs(linear.predict([[0.5, 0.0, 1.0]])[0] - 0.5) < 1.0


@pytest.mark.parametrize("rows", [2, 3])
def test_as_few_sites_as_a_split_can_have(campaign, rows):
    """One site for each structure type."""
    data = campaign.data("moment")
    picked = np.unique(data.groups, return_index=True)[1][:rows]
    few = data._replace(
        features=data.features.of(picked),
        sites=data.sites.iloc[picked].reset_index(drop=True),
        target=data.target[picked],
        groups=data.groups[picked],
        trainable=data.trainable[picked],
    )
    predictions, folds = by_type(few)
    assert np.isfinite(predictions[list(MODELS)].to_numpy()).all()
    assert len(folds) == rows


def test_early_stopping_chooses_fewer_rounds_on_noise():
    random = np.random.default_rng(0)
    values, groups = random.normal(size=(120, 6)), np.repeat([f"g{i}" for i in range(20)], 6)
    noise, signal = random.normal(size=120), 3.0 * np.sign(values[:, 0])
    folds = inner_folds(single(groups), 3, 0)
    slow = LEARNING | {"learning_rate": 0.1, "n_estimators": 80}
    rounds = [train_committee(values, y, folds, slow).num_boosted_rounds() for y in (noise, signal)]
    assert rounds[0] < 30 < rounds[1]


def screen(campaign, structures, targets=("moment", "bhf"), soap=SOAP, rank_by="bhf", tensor=None):
    """Ranked candidates."""
    paths = []
    for structure in structures:
        paths.append(campaign.folder / f"candidate-{structure['structure_id']}.json")
        paths[-1].write_text(json.dumps(structure))
    folders = {target: campaign.model(target) for target in targets}
    out = campaign.folder / "candidates" / "ranked.csv"
    predict_candidates(paths, folders, tensor, soap, rank_by, 0.9, out, out.with_suffix(".png"))
    assert out.with_suffix(".png").stat().st_size > 1000
    return pd.read_csv(out, keep_default_na=False)


def test_candidates_are_ranked_and_flagged(campaign):
    near = crystal(1, "Al") | {"structure_id": "near"}
    exotic = crystal(30, "U") | {"structure_id": "exotic"}
    known = crystal(0, "Al")
    table = screen(campaign, [near, exotic, known])
    assert set(table["structure_id"]) == {"near", "exotic"}
    assert len(table) == 3 + 1
    assert table["rank"].tolist() == [1, 2, 3, 4]
    flags = table.groupby("structure_id")["inside_domain"].all()
    assert flags.to_dict() == {"near": True, "exotic": False}
    assert set(table["unseen_elements"]) == {"", "U"}
    assert table["structure_id"].iloc[-1] == "exotic"
    inside = table[table["inside_domain"]]
    assert inside[Site.BHF].abs().is_monotonic_decreasing
    # A copy of a training structure lies on it.
    copies = table[table["structure_id"] == "near"]
    assert copies["nearest_distance"].max() < 1e-3
    assert set(copies["nearest_structure"]) == {"t01-Al"}
    assert (table["bhf_t_low"] < table["bhf_t"]).all()
    assert (table["bhf_t"] < table["bhf_t_high"]).all()
    # 90 % of a normal distribution lie within 1.645 of its standard deviations.
    half = 0.5 * (table["bhf_t_high"] - table["bhf_t_low"])
    np.testing.assert_allclose(table["bhf_t_error"], half / 1.6449, rtol=1e-3)
    # What a measured spectrum asks of this table.
    assert {f"{TARGETS[t]}_error" for t in ("moment", "bhf")} <= set(table.columns)


def test_no_candidates_give_an_empty_table_with_header(demo):
    table = screen(demo, [])
    assert len(table) == 0
    assert {"rank", "structure_id", "bhf_t", "bhf_t_spread", "inside_domain"} <= set(table.columns)


def test_candidates_refuse_other_descriptors_and_unknown_ranking(demo):
    with pytest.raises(ValueError, match="trained with other soap settings"):
        screen(demo, [crystal(9, "Al")], soap=SOAP | {"l_max": 3})
    with pytest.raises(ValueError, match=r"rank_by is 'vzz'; models: moment, bhf"):
        screen(demo, [crystal(9, "Al")], rank_by="vzz")


def test_tensors_of_every_split(demo, tmp_path):
    """Tables and figure of the tensor model; predicted tensors have no trace."""
    evaluate_tensor(
        demo.features,
        demo.sites,
        demo.representatives,
        sorted(demo.folder.glob("record-*.json")),
        SOAP,
        LEARNING,
        tmp_path / "predictions.parquet",
        tmp_path / "metrics.json",
        tmp_path / "parity.png",
    )
    table = pd.read_csv(tmp_path / "splits.csv")
    assert MAIN_SPLIT in set(table["split"]) <= set(SPLITS)
    assert np.isfinite(table["tensor_r2"]).all()
    assert (table["tensor_r2_low"] <= table["tensor_r2_high"]).all()
    sites = pd.read_parquet(tmp_path / "predictions.parquet")
    assert len(sites) == len(demo.data("vzz").sites)
    trace = sum(sites[f"efg_{axis}_1e21_v_m2_predicted"] for axis in ("xx", "yy", "zz"))
    np.testing.assert_allclose(trace, 0.0, atol=1e-9)
    assert load(tmp_path)["n_sites"] == len(sites)

    # Candidates have the gradient of this model, with one width of interval for all.
    candidate = crystal(9, "Al") | {"structure_id": "candidate"}
    screened = screen(demo, [candidate], ("vzz",), rank_by="vzz", tensor=tmp_path / "tensor.npz")
    found = screened[pd.to_numeric(screened[Site.VZZ]) != 0.0].astype({Site.ETA: float})
    width = read_tensor_model(tmp_path / "tensor.npz").half_width(0.9)
    np.testing.assert_allclose(found["vzz_1e21_v_m2_high"] - found[Site.VZZ], width)
    assert found[Site.ETA].between(0.0, 1.0).all()
    assert len(found) > 0


def test_single_systems(campaign, tmp_path):
    """Every partner of Fe makes a system; the environment decides, so others help."""
    evaluate_systems(
        campaign.features,
        campaign.sites,
        campaign.representatives,
        "moment",
        LEARNING,
        tmp_path / "systems.csv",
        tmp_path / "systems.png",
    )
    table = pd.read_csv(tmp_path / "systems.csv")
    assert set(table["system"]) == {"-".join(sorted(["Fe", partner])) for partner in PARTNERS}
    assert set(table["model"]) == {"own", "all", "weighted"}
    assert (table["mae_low"] <= table["mae"]).all()
    mean = table.groupby("model")["mae"].mean()
    assert mean["all"] < mean["own"] < table["spread"].mean()


def test_a_crystal_tells_nothing_of_itself(demo):
    """Another value of a crystal that is left out changes no prediction of its sites."""
    data = demo.data("moment")
    system = (data.sites["formula"].str.contains("Al")).to_numpy()
    crystal_of = data.sites["structure_id"].to_numpy()
    chosen = crystal_of[system][0]
    other = data._replace(target=np.where(crystal_of == chosen, 9.9, data.target))
    plain = left_out_predictions(data, system, LEARNING)
    changed = left_out_predictions(other, system, LEARNING)
    own = crystal_of[system] == chosen
    for model, values in plain.items():
        np.testing.assert_allclose(values[own], changed[model][own])
        if np.isfinite(values[~own]).all():
            assert not np.allclose(values[~own], changed[model][~own])


def test_no_system_is_large_enough(demo, tmp_path):
    evaluate_systems(
        demo.features,
        demo.sites,
        demo.representatives,
        "vzz",
        LEARNING,
        tmp_path / "systems.csv",
        tmp_path / "systems.png",
    )
    assert pd.read_csv(tmp_path / "systems.csv").empty
    assert (tmp_path / "systems.png").exists()
