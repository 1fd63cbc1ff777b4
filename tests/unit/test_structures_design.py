"""Places of the crystals of a campaign: read with the line of a mistake, no part of identity."""

import json
import sys
from pathlib import Path

import pytest

from dft2spectra.config import ConfigError, complete_config
from dft2spectra.structures.design import Place, order_of, read_design
from dft2spectra.structures.sources import collect, fingerprint, planned, write_structures

ROOT = Path(__file__).parents[2]
SOURCES = [
    {"kind": "files", "path": str(ROOT / "data/structures"), "names": ["Fe", "FeAl", "FeTi"]}
]
LIMITS = {"max_atoms": 8}


@pytest.fixture(scope="module")
def ids():
    accepted, _ = collect(SOURCES, LIMITS)
    return {structure["name"]: structure["structure_id"] for structure in accepted}


def written(tmp_path, *rows, header="order,structure_id,role,why"):
    path = tmp_path / "design.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def test_a_design_gives_order_and_role_and_nothing_else(tmp_path, ids):
    path = written(tmp_path, f"2,{ids['Fe']},train,", f"1,{ids['FeTi']},external,element")
    placed, _ = collect(SOURCES, LIMITS, path)
    plain, _ = collect(SOURCES, LIMITS)
    by_name = {structure["name"]: structure for structure in placed}
    assert [(by_name[n]["order"], by_name[n]["role"]) for n in ("Fe", "FeTi", "FeAl")] == [
        (2, "train"),
        (1, "external"),
        (None, "train"),
    ]
    assert [s["name"] for s in sorted(placed, key=order_of)] == ["FeTi", "Fe", "FeAl"]
    assert order_of(by_name["FeAl"]) == sys.maxsize
    for one, other in zip(placed, plain, strict=True):
        assert {**one, "order": None, "role": "train"} == other
        assert one["content_hash"] == other["content_hash"]


def test_a_design_is_read_by_its_columns(tmp_path):
    path = written(tmp_path, "train,x,3", "external,y,1", header="role,structure_id,order")
    assert read_design(path) == {"x": Place(3, "train"), "y": Place(1, "external")}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["1,x,test,"], "line 2: role 'test' is none of train, external"),
        (["1,x,train,", "one,y,train,"], "line 3: order 'one' is no whole number"),
        (["1,x,train,", "1,y,train,"], "line 3: order 1 is that of line 2"),
        (["1,x,train,", "2,x,train,"], "line 3: x has a row already"),
        (["1"], "line 2: role 'None' is none of"),
    ],
)
def test_mistakes_of_a_design_are_named_with_their_line(tmp_path, rows, words):
    with pytest.raises(ValueError, match=words):
        read_design(written(tmp_path, *rows))


def test_a_table_that_is_none_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no column structure_id, role"):
        read_design(written(tmp_path, header="order,id"))
    with pytest.raises(ValueError, match="no table that can be read"):
        read_design(str(tmp_path / "missing.csv"))


def test_a_crystal_that_is_not_in_the_campaign_is_refused(tmp_path, ids):
    path = written(tmp_path, f"1,{ids['Fe']},train,", "2,Fe3Si-225-00000000,train,")
    with pytest.raises(ValueError, match=r"1 of 2 crystals are none of this campaign: Fe3Si-225-0"):
        collect(SOURCES, LIMITS, path)


def test_an_edited_design_is_seen_and_moves_the_places_alone(tmp_path, ids):
    path = written(tmp_path, f"1,{ids['Fe']},train,")
    before = fingerprint(SOURCES, LIMITS, path)
    out = tmp_path / "structures"
    write_structures(*collect(SOURCES, LIMITS, path), out, fingerprint=before)
    again, _ = planned(SOURCES, LIMITS, out, design=path)
    assert {s["name"]: s["order"] for s in again} == {"Fe": 1, "FeAl": None, "FeTi": None}
    index = (out / "index.csv").read_text().splitlines()
    assert index[0].endswith("sources,order,role")
    assert sum(line.endswith(",1,train") for line in index[1:]) == 1
    assert sum(line.endswith(",,train") for line in index[1:]) == 2

    written(tmp_path, f"7,{ids['Fe']},external,now")
    assert fingerprint(SOURCES, LIMITS, path) != before
    assert fingerprint(SOURCES, LIMITS, None) != before
    moved, _ = planned(SOURCES, LIMITS, out, design=path)
    assert [(s["order"], s["role"]) for s in moved if s["name"] == "Fe"] == [(7, "external")]
    json.dumps(moved)


def test_the_configuration_names_a_design_that_is_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    path = written(tmp_path, "1,x,test,")
    config = {"branches": ["mossbauer"], "structures": {"sources": SOURCES, "design": path}}
    with pytest.raises(ConfigError, match=r"structures\.design.*line 2: role 'test' is none"):
        complete_config(config, [])
