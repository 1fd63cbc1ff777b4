"""External sites: nothing before the last evaluation sees them, and then they are scored."""

import json

import numpy as np
import pandas as pd
import pytest
from test_learning_models import LEARNING, PARTNERS, Campaign, crystal

from dft2spectra.columns import Site
from dft2spectra.learning.external import evaluate_external
from dft2spectra.learning.selection import select_representatives
from dft2spectra.learning.training_data import read_external_data

STRUCTURES = [crystal(parent, partner) for parent in range(9) for partner in PARTNERS[:5]]
# Structure type 8 whole, the element Ti, and one composition of type 0.
EXTERNAL = [
    structure["structure_id"]
    for structure in STRUCTURES
    if structure["parent"] == "type08"
    or structure["structure_id"].endswith("-Ti")
    or structure["structure_id"] == "t00-Al"
]
FILES = [
    *("predictions.parquet", "metrics.json", "splits.csv"),
    *("model.ubj", "kernel.npz", "card.json", "training.npz"),
]


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    return Campaign(tmp_path_factory.mktemp("held_out"), STRUCTURES, EXTERNAL)


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """The same campaign, in which the external crystals were never computed."""
    structures = [one for one in STRUCTURES if one["structure_id"] not in EXTERNAL]
    return Campaign(tmp_path_factory.mktemp("without"), structures)


def evaluate(campaign, folder, **changes):
    model = campaign.model("moment")
    files = {
        "features_npz": campaign.features,
        "sites_parquet": campaign.sites,
        "representatives_csv": campaign.representatives,
        "model_ubj": model / "model.ubj",
        "card_json": model / "card.json",
        "target": "moment",
        "learning": LEARNING,
        "out_csv": folder / "predictions.csv",
        "out_metrics": folder / "metrics.json",
        "out_figure": folder / "parity.png",
    }
    evaluate_external(**files | changes)
    return json.loads((folder / "metrics.json").read_text())


def test_models_are_those_of_a_campaign_without_the_external_crystals(held_out, without):
    assert held_out.representatives.read_bytes() == without.representatives.read_bytes()
    ours, theirs = held_out.model("moment"), without.model("moment")
    for name in FILES:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


def test_external_sites_are_scored_apart_by_what_is_new_in_them(held_out, tmp_path):
    metrics = evaluate(held_out, tmp_path)
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert set(table["structure_id"]) == set(EXTERNAL)
    by_name = table.groupby("structure_id")["difference"].first()
    assert by_name["t08-Al"] == "unseen_structure_type"
    assert by_name["t08-Ti"] == by_name["t03-Ti"] == "unseen_element"
    assert by_name["t00-Al"] == "neither"

    assert metrics["n_sites"] == len(table)
    assert metrics["n_structures"] == len(EXTERNAL)
    parts = metrics["by_difference"]
    assert sum(part["n_sites"] for part in parts.values()) == len(table)
    error = table[f"{Site.MOMENT}_xgboost"] - table[Site.MOMENT]
    model = metrics["models"]["xgboost"]
    assert model["mae"] == pytest.approx(error.abs().mean())
    assert model["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    low, high = model["ci95_by_parent"]["mae"]
    assert low < model["mae"] < high
    assert model["r2"] > metrics["models"]["mean"]["r2"]
    alone = table[table["difference"] == "unseen_element"]
    error = alone[f"{Site.MOMENT}_linear"] - alone[Site.MOMENT]
    assert parts["unseen_element"]["models"]["linear"]["mae"] == pytest.approx(error.abs().mean())

    card = json.loads((held_out.model("moment") / "card.json").read_text())
    assert metrics["out_of_fold"] == card["metrics"]["models"]
    assert f"{len(table)} sites of {len(EXTERNAL)} structures kept apart" in metrics["verdict"]
    assert (tmp_path / "parity.png").stat().st_size > 10_000
    assert (tmp_path / "parity.svg").exists()


def test_the_mean_beside_the_model_is_that_of_the_training_sites(held_out, tmp_path):
    evaluate(held_out, tmp_path)
    table = pd.read_csv(tmp_path / "predictions.csv")
    sites = pd.read_parquet(held_out.sites)
    train = sites.loc[sites[Site.ROLE] == "train", Site.MOMENT].mean()
    assert table[f"{Site.MOMENT}_mean"].to_numpy() == pytest.approx(train)


def test_a_model_of_other_sites_is_refused(held_out, tmp_path):
    card = json.loads((held_out.model("moment") / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(card | {"data_hash": "0"}))
    with pytest.raises(ValueError, match="is of a model of other data"):
        evaluate(held_out, tmp_path, card_json=tmp_path / "card.json")


def test_a_table_without_external_sites_is_named(without, tmp_path):
    with pytest.raises(ValueError, match="no site has the role external"):
        read_external_data(without.features, without.sites, "moment")
    with pytest.raises(ValueError, match="no site has the role external"):
        evaluate(without, tmp_path)


def test_a_table_of_external_sites_alone_trains_nothing(tmp_path):
    with pytest.raises(ValueError, match="every site is external"):
        Campaign(tmp_path, STRUCTURES[:2], [one["structure_id"] for one in STRUCTURES[:2]])


def test_representatives_are_chosen_among_training_sites(held_out, tmp_path):
    select_representatives(held_out.features, 12, tmp_path / "few.csv")
    chosen = set(pd.read_csv(tmp_path / "few.csv")["structure_id"])
    assert chosen
    assert not chosen & set(EXTERNAL)
