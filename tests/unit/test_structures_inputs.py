"""Several kinds of sources together: filters, provenance, order, and what a pinned set gives."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from dft2spectra.structures import pinned
from dft2spectra.structures.inputs import distinct, label
from dft2spectra.structures.pinned import Retrieved
from dft2spectra.structures.retrieval import check_current, query
from dft2spectra.structures.sources import collect, fingerprint, planned, write_structures

OPTIMADE = {
    "kind": "optimade",
    "name": "db",
    "base_url": "http://127.0.0.1:9",
    "filter": 'elements HAS "Fe"',
}
MP = {"kind": "materials_project", "name": "mp", "n_elements": [1, 3]}
CUBIC = {"FeAl": 2.909, "FeCo": 2.857, "FeTi": 2.976, "FeRh": 2.998, "NiAl": 2.887}


def entry(identifier: str, formula: str, a: float | None = None, **more: Any) -> dict[str, Any]:
    """A crystal of two elements as an entry of a pinned set."""
    a = CUBIC[formula] if a is None else a
    return {
        "id": identifier,
        "url": f"http://db/{identifier}",
        "formula": formula,
        "cell_ang": (a * np.eye(3)).tolist(),
        "symbols": [formula[:2], formula[2:]],
        "scaled_positions": [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]],
        "moments_mub": None,
        "properties": {"energy_above_hull_ev_per_atom": 0.01},
        **more,
    }


@pytest.fixture
def limits(tmp_path: Path) -> dict[str, Any]:
    return {"max_atoms": 8, "pinned": str(tmp_path / "retrieved")}


@pytest.fixture
def pin(limits: dict[str, Any]) -> Any:
    """Function that pins entries for a source."""

    def write(source: dict[str, Any], *entries: dict[str, Any], version: str = "v1") -> Path:
        provider = {"name": "db", "base_url": "http://x", "database_version": version}
        path = Path(limits["pinned"], f"{source['name']}.json")
        pinned.write(path, query(source), Retrieved(list(entries), provider, 1))
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "structures"
    place.mkdir()
    for formula, a in CUBIC.items():
        ase.io.write(place / f"{formula}.cif", bulk(formula, "cesiumchloride", a=a))
    return place


def reasons(rejected: list[dict[str, Any]]) -> dict[str, str]:
    return {row["origin"]: row["reason"] for row in rejected}


# --- pinned sets ----------------------------------------------------------------------------------


def test_provenance_of_a_database(limits: dict[str, Any], pin: Any) -> None:
    pin(OPTIMADE, entry("7", "FeAl", moments_mub=[2.1, -0.02], last_modified="2026-01-01"))
    (structure,), rejected = collect([OPTIMADE], limits)
    (found,) = structure["provenance"]
    assert found.pop("retrieved_at").endswith("Z")
    assert found == {
        "source": "optimade",
        "name": "db",
        "id": "7",
        "url": "http://db/7",
        "last_modified": "2026-01-01",
        "database_version": "v1",
        "properties": {
            "energy_above_hull_ev_per_atom": 0.01,
            "site_moments_mub": {"Fe": [2.1], "Al": [-0.02]},
        },
    }
    assert rejected == []
    assert json.loads(json.dumps(structure)) == structure


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        (None, {"Al": 0.0, "Fe": 2.5}),
        ([2.1, -0.02], {"Al": 0.0, "Fe": 2.5}),  # from the high-spin side
        ([3.4, 0.3], {"Al": 0.3, "Fe": 3.4}),
        ([-2.1, None], {"Al": 0.0, "Fe": -2.5}),
        ([0.0, 0.0], {"Al": 0.0, "Fe": 2.5}),  # converged without a moment: not believed
    ],
)
def test_starting_moments(
    limits: dict[str, Any], pin: Any, moments: Any, expected: dict[str, float]
) -> None:
    pin(OPTIMADE, entry("7", "FeAl", moments_mub=moments))
    (structure,), _ = collect([OPTIMADE], limits)
    assert dict(zip(structure["symbols"], structure["initial_moments_mub"], strict=True)) == (
        expected
    )


def test_every_entry_is_accounted_for(limits: dict[str, Any], pin: Any) -> None:
    pin(
        OPTIMADE,
        entry("1", "FeAl"),
        entry("2", "NiAl"),
        entry("3", "FeAl", a=1.2),
        entry("4", "FeAl", a=12.0),
        entry("5", "FeCo", symbols=["Fe", "Uu"]),
        {"id": "6", "formula": "Fe2Al", "reason": "partial_occupancy: a site is shared"},
        {"id": "7", "formula": None, "reason": "not_periodic: 2 of 3"},
        entry("8", "FeAl", a=2.9091),
    )
    accepted, rejected = collect([OPTIMADE], limits)
    assert len(accepted) == 1
    rows = {row["origin"]: (row["formula"], row["reason"].partition(":")[0]) for row in rejected}
    assert rows == {
        "optimade:db/2": ("AlNi", "no_fe"),
        "optimade:db/3": ("AlFe", "overlapping_atoms"),
        "optimade:db/4": ("AlFe", "huge_cell"),
        "optimade:db/5": ("FeCo", "unknown_element"),
        "optimade:db/6": ("Fe2Al", "partial_occupancy"),
        "optimade:db/7": (None, "not_periodic"),
        "optimade:db/8": ("AlFe", "duplicate_of"),
    }
    assert {row["source"] for row in rejected} == {"optimade:db"}


def test_missing_damaged_or_other_set(limits: dict[str, Any], pin: Any) -> None:
    with pytest.raises(ValueError, match=r"db\.json: optimade:db is not retrieved yet.*all_retri"):
        collect([OPTIMADE], limits)
    path = pin(OPTIMADE, entry("1", "FeAl"))
    other = {**OPTIMADE, "filter": 'elements HAS "Co"', "base_url": "http://y"}
    with pytest.raises(ValueError, match=r"base_url: .* now; filter: .*Fe.* then, .*Co.* now"):
        collect([other], limits)
    path.write_text(path.read_text(encoding="utf-8").replace("2.909", "2.809"), encoding="utf-8")
    with pytest.raises(ValueError, match="damaged or edited"):
        collect([OPTIMADE], limits)


def test_local_filters_need_no_retrieval(limits: dict[str, Any], pin: Any) -> None:
    pin(OPTIMADE, entry("1", "FeAl"), entry("2", "FeCo"))
    own = {**OPTIMADE, "max_atoms": 3, "elements": ["Al"], "exclude_elements": ["O"], "at_most": 9}
    check_current(own, limits["pinned"])
    accepted, rejected = collect([own], limits)
    assert [structure["formula"] for structure in accepted] == ["AlFe"]
    assert reasons(rejected) == {
        "optimade:db/2": "filtered: Co is not among the elements of this source, Fe and Al"
    }


# --- filters --------------------------------------------------------------------------------------


def files(folder: Path, **more: Any) -> dict[str, Any]:
    return {"kind": "files", "path": str(folder), **more}


def taken(sources: list[dict[str, Any]], limits: dict[str, Any]) -> list[str]:
    return sorted(structure["formula"] for structure in collect(sources, limits)[0])


def test_filters_of_one_source(folder: Path, limits: dict[str, Any]) -> None:
    assert taken([files(folder, elements=["Al", "Ti"])], limits) == ["AlFe", "TiFe"]
    assert taken([files(folder, exclude_elements=["Al", "Ti"])], limits) == ["FeCo", "FeRh"]
    assert taken([files(folder, max_atoms=1)], limits) == []
    assert taken([files(folder, elements=[])], limits) == []
    rejected = reasons(collect([files(folder, max_atoms=1, exclude_elements=["Al"])], limits)[1])
    assert rejected[str(folder / "FeCo.cif")] == (
        "filtered: 2 atoms in the primitive cell, this source takes 1"
    )
    assert rejected[str(folder / "FeAl.cif")] == (
        "filtered: Al is among exclude_elements of this source"
    )


def test_at_most_counts_what_is_taken(folder: Path, limits: dict[str, Any]) -> None:
    accepted, rejected = collect([files(folder, at_most=2)], limits)
    assert sorted(structure["formula"] for structure in accepted) == ["AlFe", "FeCo"]
    assert reasons(rejected)[str(folder / "FeRh.cif")].startswith("beyond_limit: this source gives")
    assert len(accepted) + len(rejected) == 5
    # What is left out for another reason does not count.
    few = files(folder, at_most=2, exclude_elements=["Co"])
    assert taken([few], limits) == ["AlFe", "FeRh"]


def test_filters_of_another_source_do_not_matter(folder: Path, limits: dict[str, Any]) -> None:
    """A file that two sources name is taken if one of them takes it."""
    narrow, one = files(folder, elements=["Al"]), files(folder / "FeCo.cif")
    for sources in ([narrow, one], [one, narrow]):
        assert taken(sources, limits) == ["AlFe", "FeCo"]
    small = files(folder, max_atoms=1)
    for sources in ([small, one], [one, small]):
        assert taken(sources, limits) == ["FeCo"]
    every = len(collect([small, one], limits)[1]) + 1
    assert every == 5


def test_sources_in_any_order(folder: Path, limits: dict[str, Any], pin: Any) -> None:
    pin(OPTIMADE, entry("1", "FeAl", a=2.9089), entry("2", "FeGa", a=2.92))
    pin(MP, entry("mp-1", "FeAl", a=2.9092), entry("mp-2", "FeCo"))
    sources = [files(folder, at_most=3), OPTIMADE, MP, files(folder / "FeRh.cif")]
    forth, back = collect(sources, limits), collect(sources[::-1], limits)
    assert forth == back
    assert fingerprint(sources, limits) == fingerprint(sources[::-1], limits)
    iron_aluminium = next(s for s in forth[0] if s["formula"] == "AlFe")
    assert [found["source"] for found in iron_aluminium["provenance"]] == [
        *("files", "materials_project", "optimade")
    ]


def test_a_database_does_not_displace_a_file(
    folder: Path, limits: dict[str, Any], pin: Any
) -> None:
    """Else a finished campaign would be computed again when a database joins that holds it too."""
    alone = {s["structure_id"]: s["content_hash"] for s in collect([files(folder)], limits)[0]}
    for a in (2.900, 2.9089, 2.9091, 2.915):
        pin(OPTIMADE, entry("1", "FeAl", a=a, moments_mub=[2.2, 0.0]))
        both = {
            s["structure_id"]: s["content_hash"]
            for s in collect([OPTIMADE, files(folder)], limits)[0]
        }
        assert alone.items() <= both.items()


def test_unknown_kind(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="unknown kind 'telepathy'; known are files, prototypes"):
        collect([{"kind": "telepathy"}], limits)


def test_equal_sources_are_one(folder: Path) -> None:
    source = files(folder, at_most=1)
    assert distinct([source, dict(reversed(source.items())), OPTIMADE]) == [source, OPTIMADE]
    assert (label(source), label(OPTIMADE)) == ("files", "optimade:db")


# --- tables and the quick answer ------------------------------------------------------------------


def test_sources_in_the_index(
    folder: Path, limits: dict[str, Any], pin: Any, tmp_path: Path
) -> None:
    pin(OPTIMADE, entry("1", "FeAl"), entry("2", "FeGa", a=2.92))
    pin(MP, entry("mp-1", "FeAl"))
    write_structures(*collect([files(folder), OPTIMADE, MP], limits), tmp_path / "out")
    with open(tmp_path / "out" / "index.csv", encoding="utf-8") as handle:
        rows = {row["formula"]: row["sources"] for row in csv.DictReader(handle)}
    assert rows["AlFe"] == "files;materials_project:mp;optimade:db"
    assert (rows["GaFe"], rows["FeCo"]) == ("optimade:db", "files")


def test_fingerprint_covers_pinned_sets(limits: dict[str, Any], pin: Any) -> None:
    absent = fingerprint([OPTIMADE], limits)
    path = pin(OPTIMADE, entry("1", "FeAl"))
    there = fingerprint([OPTIMADE], limits)
    os.utime(path, ns=(1, 1))
    touched = fingerprint([OPTIMADE], limits)
    assert len({absent, there, touched}) == 3
    assert touched != fingerprint([{**OPTIMADE, "at_most": 3}], limits)


def test_plan_follows_a_refresh(limits: dict[str, Any], pin: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pin(OPTIMADE, entry("1", "FeAl"))
    stamp = fingerprint([OPTIMADE], limits)
    write_structures(*collect([OPTIMADE], limits), out, fingerprint=stamp)
    path = pin(OPTIMADE, entry("1", "FeAl"), entry("2", "FeCo"))
    os.utime(path, ns=(5, 5))
    found, _ = planned([OPTIMADE], limits, out)
    assert [structure["formula"] for structure in found] == ["AlFe", "FeCo"]


@pytest.mark.parametrize("change", [{"timeout_s": 5}, {"page_limit": 3}, {"max_entries": 7}])
def test_how_a_database_is_asked_is_not_what_it_is_asked(change):
    """A longer time limit neither retrieves again nor makes a pinned set one of other settings."""
    source = {"kind": "optimade", "name": "db", "base_url": "http://x", "filter": "nelements=2"}
    assert query(source | change) == query(source)
    assert query(source | {"filter": "nelements=3"}) != query(source)
