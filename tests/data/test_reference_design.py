"""The list of the reference set: as broad as it says, balanced from its start, a test set apart."""

from pathlib import Path

import pandas as pd
import pytest

from dft2spectra.structures.design import read_design

DESIGN = Path(__file__).parents[2] / "data" / "reference" / "design.csv"


@pytest.fixture(scope="module")
def table():
    read_design(str(DESIGN))
    return pd.read_csv(DESIGN).sort_values("order", ignore_index=True)


def test_breadth_within_the_budget(table):
    assert len(table) >= 700
    assert table["fe_sites"].sum() >= 800
    assert table["efg_sites"].sum() >= 500
    assert table["predicted_core_min"].sum() <= 12 * 60
    binary = table[table["system"].str.count("-") == 1]
    assert (binary.groupby("system")["fe_sites"].sum() >= 15).sum() >= 15
    assert {"C14", "D0_19", "C16", "C32", "B8_1", "B35"} <= set(table["type"])
    assert (table["efg_sites"] <= table["fe_sites"]).all()


def test_the_calibration_compounds_come_first_and_train(table):
    first = table.head(8)
    assert first["structure_id"].str.partition("-")[0].tolist() == [
        *("Fe", "AlFe", "FeCo", "TiFe", "Fe3Si", "AlFe3", "Fe4N", "AlVFe2")
    ]
    assert (first["role"] == "train").all()


@pytest.mark.parametrize("part", [0.1, 0.25, 0.5, 0.75])
def test_every_beginning_is_the_whole_in_small(table, part):
    some = table.head(round(part * len(table)))
    for column in ("fe_sites", "efg_sites", "predicted_core_min"):
        assert some[column].sum() / table[column].sum() == pytest.approx(part, abs=0.03)
    external = (table["role"] == "external").sum()
    assert (some["role"] == "external").sum() / external == pytest.approx(part, abs=0.03)
    half = table["type"].value_counts()
    assert set(half.index[half >= 10]) <= set(some["type"])


def test_nothing_of_the_test_set_is_also_trained_on(table):
    """Whole types, elements, and compositions of a type with their strained copies."""
    external, train = table[table["role"] == "external"], table[table["role"] == "train"]
    assert set(external["why"]) == {"type", "element", "random"}
    assert train["why"].isna().all()
    by_type = external[external["why"] == "type"]
    assert by_type["type"].nunique() == 2
    assert not set(by_type["type"]) & set(train["type"])
    apart = elements(table) - elements(train)
    by_element = external[external["why"] == "element"]
    held = [set(system.split("-")) & apart for system in by_element["system"]]
    assert all(held)
    assert len(set.union(*held)) == 2
    groups = ["type", "formula"]
    assert not set(map(tuple, external[groups].to_numpy())) & set(
        map(tuple, train[groups].to_numpy())
    )
    assert 0.12 < external["fe_sites"].sum() / table["fe_sites"].sum() < 0.25


def elements(table):
    return {element for system in table["system"] for element in system.split("-")}
