"""JSON of pymatgen and of OPTIMADE: what they write is read, what contradicts itself is not."""

import json
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry

from dft2spectra.structures.files import read_file
from dft2spectra.structures.raw import RawStructure, Rejected
from dft2spectra.structures.sources import collect

BUNDLED = Path(__file__).parents[2] / "data" / "structures"


@pytest.fixture
def feal():
    return Structure(Lattice.cubic(2.909), ["Fe", "Al"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def written(tmp_path, content, name="crystal.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def optimade_entry(structure, **changes):
    symbols = [site.specie.symbol for site in structure]
    attributes = {
        "lattice_vectors": structure.lattice.matrix.tolist(),
        "cartesian_site_positions": structure.cart_coords.tolist(),
        "species_at_sites": symbols,
        "species": [
            {"name": symbol, "chemical_symbols": [symbol], "concentration": [1.0]}
            for symbol in sorted(set(symbols))
        ],
        "nsites": len(symbols),
        "dimension_types": [1, 1, 1],
        "structure_features": [],
    }
    return {"id": "x/1", "type": "structures", "attributes": attributes | changes}


def test_every_shape_is_the_bundled_crystal(tmp_path, feal):
    written(tmp_path, feal.as_dict(), "a.json")
    written(tmp_path, [feal.as_dict(), (2 * feal).as_dict()], "b.json")
    entry = ComputedStructureEntry(feal, -1.0, entry_id="mp-2658").as_dict()
    written(tmp_path, entry | {"energy": -1.0}, "c.json")
    charged = feal.copy()
    charged.add_oxidation_state_by_element({"Fe": 3, "Al": -3})
    written(tmp_path, charged.as_dict(), "d.json")
    response = {"data": [optimade_entry(feal)], "meta": {"api_version": "1.2.0"}}
    written(tmp_path, response, "e.json")
    written(tmp_path, response | {"data": optimade_entry(feal)}, "f.json")
    feal.to(tmp_path / "g.json")
    sources = [{"kind": "files", "path": str(path)} for path in (tmp_path, BUNDLED / "FeAl.yaml")]
    accepted, rejected = collect(sources, {"max_atoms": 8})
    assert [structure["name"] for structure in accepted] == ["FeAl"]
    assert len(rejected) == 8
    assert {row["reason"].split(":")[0] for row in rejected} == {"duplicate_of"}


def test_names_and_moments_are_kept(tmp_path, feal):
    feal.add_site_property("magmom", [2.2, -0.1])
    document = {"material_id": "mp-2658", "structure": feal.as_dict()}
    (raw,) = read_file(written(tmp_path, document))
    assert raw.name == "mp-2658"
    assert raw.moments_mub == [2.2, -0.1]
    feal.add_site_property("magmom", [[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    (raw,) = read_file(written(tmp_path, feal.as_dict()))
    assert raw.moments_mub == [2.0, 0.0]


def test_a_list_keeps_its_good_structures(tmp_path, feal):
    alloy = Structure(Lattice.cubic(2.909), [{"Fe": 0.5, "Al": 0.5}], [[0, 0, 0]])
    results = read_file(written(tmp_path, [alloy.as_dict(), feal.as_dict()]))
    assert isinstance(results[0], Rejected)
    assert str(results[0]) == "partial_occupancy: site 1 is Fe 0.5, Al 0.5"
    assert isinstance(results[1], RawStructure)


def set_in(data, path, value):
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["sites", 0, "xyz"], [0.0, 0.0, 0.1], "unreadable: abc and xyz of site 1 are 0.1 Å apart"),
        (["lattice", "a"], 2.809, "unreadable: lattice.a is 2.809, but 2.909 by"),
        (["lattice", "volume"], None, None),
        (["lattice", "matrix", 0, 0], "2.909", "unreadable: lattice.matrix is"),
        (
            ["lattice", "matrix"],
            [[1, 0, 0]],
            "unreadable: lattice.matrix is [[1, 0, 0]], not 3 × 3",
        ),
        (["lattice", "pbc"], [True, True, False], "not_periodic"),
        (["sites"], [], "empty_file: the structure has no sites"),
        (["sites", 1], 7, "unreadable: site 2 is 7, not a mapping"),
        (["sites", 1, "abc"], [0.5, 0.5], "unreadable: abc of site 2 is [0.5, 0.5], not 3 numbers"),
        (["sites", 1, "abc", 0], True, "unreadable: abc of site 2 is [True"),
        (["sites", 1, "species"], [], "unreadable: site 2 has no list of species"),
        (["sites", 1, "species", 0, "occu"], 0.9, "partial_occupancy: site 2 is Al 0.9"),
        (["sites", 1, "species", 0, "occu"], None, "unreadable: occu of site 2 is None"),
        (["sites", 1, "species", 0, "element"], "Xx", "unknown_element: 'Xx'"),
        (["sites", 1, "species", 0, "element"], None, "unknown_element: 'None'"),
        (["sites", 1, "properties", "magmom"], "up", "unreadable: magmom of site 2 is up"),
        (["sites", 1, "properties", "magmom"], float("nan"), "not_finite: a magnetic moment"),
    ],
)
def test_pymatgen_that_contradicts_itself(tmp_path, feal, path, value, reason):
    data = feal.as_dict()
    set_in(data, path, value)
    file = written(tmp_path, data)
    accepted, rejected = collect([{"kind": "files", "path": file}], {"max_atoms": 8})
    if reason is None:
        assert len(accepted) == 1
    else:
        assert accepted == []
        assert rejected[0]["reason"].startswith(reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"lattice": 1, "lattice": 2}', "the key 'lattice' is given twice"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "JSON, but not"),
        ("null", "JSON, but not"),
        ('[{"lattice": {}, "sites": []}, 3]', "JSON, but not"),
        ('{"data": [], "meta": {}}', "holds no structure"),
        ('{"data": [3], "meta": {}}', "not an OPTIMADE entry"),
        ('{"data": [{"id": "a", "attributes": {}}], "meta": {}}', "entry a: the database sends no"),
    ],
)
def test_json_that_holds_no_crystal(tmp_path, content, reason):
    (rejection,) = read_file(written(tmp_path, content))
    assert isinstance(rejection, Rejected)
    assert reason in str(rejection)


def test_disorder_in_a_response_is_rejected(tmp_path, feal):
    entry = optimade_entry(feal, structure_features=["disorder"])
    (rejection,) = read_file(written(tmp_path, {"data": [entry], "meta": {}}))
    assert str(rejection).startswith("partial_occupancy: entry x/1: ")
