"""Bundled compounds: geometry against published bond lengths, and the errors of a typist."""

from pathlib import Path

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from dft2spectra.structures.canonical import canonical_form
from dft2spectra.structures.compounds import TWO_ORIGINS, read_compound
from dft2spectra.structures.raw import Rejected
from dft2spectra.structures.sources import collect, to_atoms

BUNDLED = Path(__file__).parents[2] / "data" / "structures"

FE3SI = """
name: Fe3Si
formula: Fe3Si
prototype: D0_3
spacegroup: 225
lattice: {a: 5.65}
sites:
  - {label: FeAC, element: Fe, wyckoff: 8c, position: [0.25, 0.25, 0.25], moment: 1.2}
  - {label: FeB, element: Fe, wyckoff: 4b, position: [1/2, 0.5, 0.5], moment: 2.4}
  - {label: Si1, element: Si, wyckoff: 4a, position: [0, 0, 0]}
citation: "a handbook"
measured:
  - {site: FeAC, temperature_k: 295, isomer_shift_mm_s: 0.26, bhf_t: 20.0, calibration: true}
"""
# M. E. Fleet, Acta Cryst. B 37 (1981) 917: a = 8.3941 Å, u = 0.2549; bonds 1.889 and 2.058 Å.
MAGNETITE = """
name: Fe3O4
formula: Fe3O4
spacegroup: 227
lattice: {a: 8.3941}
sites:
  - {label: Fe1, element: Fe, wyckoff: 8a, position: [0.125, 0.125, 0.125]}
  - {label: Fe2, element: Fe, wyckoff: 16d, position: [0.5, 0.5, 0.5]}
  - {label: O1, element: O, wyckoff: 32e, position: [0.2549, 0.2549, 0.2549]}
"""
# Fe3Ge, D0_19: hexagonal axes, thirds written with four digits.
FE3GE = """
name: Fe3Ge
formula: Fe3Ge
spacegroup: 194
lattice: {a: 5.169, c: 4.222}
sites:
  - {label: Fe1, element: Fe, wyckoff: 6h, position: [0.843, 0.686, 0.25]}
  - {label: Ge1, element: Ge, wyckoff: 2c, position: [0.3333, 0.6667, 0.25]}
"""
HEMATITE = """
name: Fe2O3
formula: Fe2O3
spacegroup: 167
lattice: {a: 5.038, c: 13.772}
sites:
  - {label: Fe1, element: Fe, wyckoff: 12c, position: [0, 0, 0.3553]}
  - {label: O1, element: O, wyckoff: 18e, position: [0.3059, 0, 0.25]}
magnetic_order: antiferromagnetic
"""


def bonds(raw, first, second, cutoff):
    """Distinct bond lengths between two labels, Å."""
    structure = canonical_form(raw)
    structure["content_hash"] = structure["structure_id"] = ""
    atoms = to_atoms(structure)
    label = atoms.arrays["site_label"]
    i, j, distance = neighbor_list("ijd", atoms, cutoff)
    return np.unique(np.round(distance[(label[i] == first) & (label[j] == second)], 3))


def test_do3_cell_labels_moments_and_measured():
    raw = read_compound(FE3SI)
    assert (len(raw.symbols), raw.name, raw.prototype) == (16, "Fe3Si", "D0_3")
    structure = canonical_form(raw)
    # primitive fcc cell: volume a³/4, vectors of length a/√2
    cell = np.array(structure["cell_ang"])
    assert np.linalg.det(cell) == pytest.approx(5.65**3 / 4, rel=1e-6)
    assert np.linalg.norm(cell, axis=1) == pytest.approx([5.65 / np.sqrt(2)] * 3, rel=1e-6)
    assert sorted(structure["site_labels"]) == ["FeAC", "FeAC", "FeB", "Si1"]
    moments = dict(zip(structure["site_labels"], structure["initial_moments_mub"], strict=True))
    assert moments == {"FeAC": 1.2, "FeB": 2.4, "Si1": 0.0}
    assert structure["spacegroup"] == 225
    assert structure["measured"][0]["site"] == "FeAC"
    # eight FeAC around FeB at √3/4 a
    assert bonds(raw, "FeB", "FeAC", 2.6) == pytest.approx([np.sqrt(3) / 4 * 5.65], abs=1e-3)


def test_second_origin_gives_the_published_bonds_of_magnetite():
    raw = read_compound(MAGNETITE)
    assert len(raw.symbols) == 56
    assert bonds(raw, "Fe1", "O1", 2.2) == pytest.approx([1.889], abs=0.002)
    assert bonds(raw, "Fe2", "O1", 2.2) == pytest.approx([2.058], abs=0.002)


def test_four_digit_thirds_are_thirds():
    raw = read_compound(FE3GE)
    assert len(raw.symbols) == 8
    ge = raw.scaled_positions[np.array(raw.symbols) == "Ge"]
    assert np.sort(ge[:, 0]) == pytest.approx([1 / 3, 2 / 3], abs=1e-12)


def test_hexagonal_axes_of_a_rhombohedral_group():
    # R. L. Blake et al., Am. Mineral. 51 (1966) 123: Fe-O 1.945 and 2.116 Å
    raw = read_compound(HEMATITE)
    assert len(raw.symbols) == 30
    assert raw.magnetic_order == "antiferromagnetic"
    assert len(canonical_form(raw)["symbols"]) == 10
    assert bonds(raw, "Fe1", "O1", 2.4) == pytest.approx([1.945, 2.116], abs=0.003)


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
def test_groups_with_two_origins_are_those_of_spglib():
    import spglib

    kinds = [spglib.get_spacegroup_type(hall) for hall in range(1, 531)]
    # choice "1" with "2" beside it; the sub-settings "2abc" and the like have the same number
    assert {kind.number for kind in kinds if kind.choice.startswith("2")} == TWO_ORIGINS


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("spacegroup: 225", "spacegroup: 231"), "spacegroup is 231"),
        (("spacegroup: 225", "spacegroup: Fm-3m"), "spacegroup is 'Fm-3m'"),
        (("lattice: {a: 5.65}", "lattice: 5.65"), "lattice is 5.65"),
        (("lattice: {a: 5.65}", "lattice: {b: 5.65}"), "unknown key 'b'"),
        (("lattice: {a: 5.65}", "lattice: {a: wide}"), "'wide', not a number"),
        (("a: 5.65", "a: -5.65"), "not a positive length"),
        (("label: FeB", "label: FeAC"), "given to two sites"),
        (("8c", "c"), "not like '8c'"),
        (("8c", "4c"), "generates 8 atoms"),
        (("[0, 0, 0]", "[0, 0]"), "not three numbers"),
        (("[1/2,", "[1/0,"), "not a number"),
        (("moment: 1.2", "moment: high"), "moment of FeAC"),
        (("moment: 1.2", "momemt: 1.2"), "did you mean 'moment'?"),
        (("formula: Fe3Si", "formula: FeSi"), "not to the formula FeSi"),
        (("site: FeAC", "site: FeA"), "site 'FeA'"),
        (("bhf_t: 20.0", "bhf_t: .inf"), "bhf_t of FeAC is inf"),
        (("bhf_t: 20.0", "bhf_t: [20.0]"), "bhf_t of FeAC"),
        (("prototype: D0_3", "magnetic_order: frustrated"), "magnetic_order"),
    ],
)
def test_contradictions_are_named(change, complaint):
    assert change[0] in FE3SI
    with pytest.raises(Rejected) as caught:
        read_compound(FE3SI.replace(*change, 1))
    assert complaint in caught.value.sentence


def test_bundled_compounds_all_parse():
    limits = {"max_atoms": 200, "max_volume_ang3_per_atom": 60}
    accepted, rejected = collect([{"kind": "files", "path": str(BUNDLED)}], limits)
    assert accepted
    assert rejected == []
    for structure in accepted:
        assert structure["name"] in structure["provenance"][0]["path"]
        labels = set(structure["site_labels"])
        assert {entry["site"] for entry in structure["measured"]} <= labels
