"""GPAW against the all-electron table: the committed comparison, and two compounds run anew."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from dft2spectra.records import read_json

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import compare_all_electron  # noqa: E402


@pytest.fixture(scope="module")
def compounds():
    return read_json(ROOT / "data/reference/elk.json")["compounds"]


def test_published_comparison_is_within_the_limits_and_complete(compounds):
    table = pd.read_csv(ROOT / "docs/all-electron.csv")
    assert all(compare_all_electron.within_limits(table).values())
    assert list(dict.fromkeys(table.compound)) == [c["compound"] for c in compounds]
    reference = [s["vzz_1e21_v_m2"] for c in compounds for s in c["sites"]]
    pd.testing.assert_series_equal(
        table.vzz_1e21_v_m2_elk, pd.Series(reference), check_names=False, atol=1e-3
    )


def test_limits_can_fail():
    table = pd.read_csv(ROOT / "docs/all-electron.csv")
    for column, step in (("moment_mub", 0.2), ("bhf_t", 2.0), ("vzz_1e21_v_m2", 1.0)):
        worse = table.copy()
        worse.loc[2, column] += step
        assert not compare_all_electron.within_limits(worse)[column]
    table["density_difference"] *= 1.5
    assert not all(compare_all_electron.within_limits(table).values())


@pytest.mark.slow
def test_two_compounds_run_anew(compounds, tmp_path):
    chosen = [c for c in compounds if c["compound"] in ("bcc Fe (A2)", "alpha-FeSi2")]
    records = [compare_all_electron.record_of(c, tmp_path) for c in chosen]
    table = compare_all_electron.compare(chosen, records)
    assert all(compare_all_electron.within_limits(table).values())
