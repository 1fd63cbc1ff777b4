"""Canonical form, ids and merging on cases worked out by hand."""

import numpy as np
import pytest
import spglib
from ase.build import bulk
from ase.spacegroup import Spacegroup, crystal

from dft2spectra.structures.canonical import MIRROR_GROUPS, canonical_form
from dft2spectra.structures.identity import group_same, invariants, structure_id
from dft2spectra.structures.raw import RawStructure


def raw_of(atoms, **more) -> RawStructure:
    return RawStructure(
        cell=np.array(atoms.cell),
        symbols=atoms.get_chemical_symbols(),
        scaled_positions=atoms.get_scaled_positions(),
        **more,
    )


def described(atoms, origin="here", **more):
    structure = canonical_form(raw_of(atoms, **more))
    return structure | {"_origin": origin}


def ident(atoms) -> str:
    structure = described(atoms)
    return structure_id(structure, invariants(structure))


def cubic(symbols, basis, group, a):
    return crystal(symbols, basis, spacegroup=group, cellpar=[a, a, a, 90, 90, 90])


def test_invariants_of_b2_by_hand():
    """B2: A-B √3/2 a (8 neighbours), A-A a (6) and √2 a (2 of 12); spacing a/2^(1/3)."""
    numbers = invariants(described(cubic(["Fe", "Al"], [(0, 0, 0), (0.5,) * 3], 221, 2.909)))
    spacing = 2 ** (-1 / 3)
    like = ((6 * 1.0 + 2 * 2.0**-3) / 8) ** (-1 / 6) / spacing
    unlike = np.sqrt(3) / 2 / spacing
    assert numbers["shape"] == pytest.approx([like, unlike, like], abs=1e-6)
    assert numbers["lengths"] == pytest.approx([np.log(2.909)], abs=1e-8)
    assert numbers["exact"] == ["AlFe", 221, [["Al", 1, "-3mm"], ["Fe", 1, "-3mm"]]]


def test_iron_and_aluminium_exchanged_between_a_and_b():
    one = cubic(["Fe", "Al"], [(0, 0, 0), (0.5,) * 3], 221, 2.909)
    other = cubic(["Al", "Fe"], [(0, 0, 0), (0.5,) * 3], 221, 2.909)
    assert ident(one) == ident(other)
    assert described(one)["parent"] == described(other)["parent"]


def test_anti_perovskite_on_c_or_d():
    """Fe4N with N at the centre or at the origin: Wyckoff 3c becomes 3d, the crystal stays."""
    one = cubic(["Fe", "Fe", "N"], [(0, 0, 0), (0, 0.5, 0.5), (0.5,) * 3], 221, 3.795)
    other = cubic(["Fe", "Fe", "N"], [(0.5,) * 3, (0.5, 0, 0), (0, 0, 0)], 221, 3.795)
    assert ident(one) == ident(other)
    assert described(one)["parent"] == described(other)["parent"]


def test_relatives_share_the_parent_and_not_the_id():
    feal = cubic(["Fe", "Al"], [(0, 0, 0), (0.5,) * 3], 221, 2.909)
    feti = cubic(["Fe", "Ti"], [(0, 0, 0), (0.5,) * 3], 221, 2.976)
    fe3pt = cubic(["Pt", "Fe"], [(0, 0, 0), (0, 0.5, 0.5)], 221, 3.73)
    fept3 = cubic(["Fe", "Pt"], [(0, 0, 0), (0, 0.5, 0.5)], 221, 3.87)
    parents = [described(atoms)["parent"] for atoms in (feal, feti, fe3pt, fept3)]
    assert parents[0] == parents[1]
    assert parents[2] == parents[3]
    assert parents[0] != parents[2]
    assert len({ident(atoms) for atoms in (feal, feti, fe3pt, fept3)}) == 4


def test_decorations_of_one_lattice_have_different_ids():
    """Fe2CoSi, four fcc lattices in 216: the element opposite to Si makes two crystals."""
    places = [(0, 0, 0), (0.25,) * 3, (0.5,) * 3, (0.75,) * 3]
    inverse = cubic(["Si", "Fe", "Fe", "Co"], places, 216, 5.65)
    mirrored = cubic(["Si", "Co", "Fe", "Fe"], places, 216, 5.65)
    full = cubic(["Si", "Fe", "Co", "Fe"], places, 216, 5.65)
    assert ident(inverse) == ident(mirrored)
    assert described(full)["spacegroup"] == 225
    assert ident(full) != ident(inverse)
    quaternary = cubic(["Si", "Fe", "Mn", "Co"], places, 216, 5.65)
    other = cubic(["Si", "Mn", "Fe", "Co"], places, 216, 5.65)
    assert described(quaternary)["spacegroup"] == described(other)["spacegroup"] == 216
    assert ident(quaternary) != ident(other)


@pytest.mark.parametrize("pair", MIRROR_GROUPS.items())
def test_mirror_images_have_one_id(pair):
    high, low = pair
    atoms = crystal(
        ["Fe", "Si"],
        [(0.13, 0.21, 0.07), (0.36, 0.42, 0.31)],
        spacegroup=high,
        cellpar=[11, 11, 11, 90, 90, 90 if high < 143 or high > 194 else 120],
    )
    mirror = atoms.copy()
    mirror.set_scaled_positions(-atoms.get_scaled_positions())
    found = [described(a)["spacegroup"] for a in (atoms, mirror)]
    assert found == [high, low]
    assert ident(atoms) == ident(mirror)
    assert described(atoms)["parent"] == described(mirror)["parent"]


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
def test_mirror_groups_are_all_there_are():
    """Inversion takes an operation (R, t) to (R, -t); where that is another group, it is a pair."""
    pairs = {}
    for number in range(1, 231):
        rotations, translations = Spacegroup(number).get_op()
        mirrored = spglib.get_spacegroup_type_from_symmetry(rotations, -np.array(translations))
        if mirrored.number < number:
            pairs[number] = mirrored.number
    assert pairs == MIRROR_GROUPS


def test_hands_of_b20_have_one_id():
    def fesi(u_fe, u_si):
        return cubic(["Fe", "Si"], [(u_fe,) * 3, (u_si,) * 3], 198, 4.489)

    assert ident(fesi(0.137, 0.842)) == ident(fesi(0.863, 0.158))
    assert ident(fesi(0.137, 0.842)) != ident(fesi(0.137, 0.80))


def test_labels_are_kept_only_where_unique():
    d03 = cubic(["Fe", "Fe", "Si"], [(0.25,) * 3, (0.5,) * 3, (0, 0, 0)], 225, 5.65)
    own = np.repeat(["A", "B", "Si"], [8, 4, 4]).tolist()
    assert sorted(described(d03, labels=own)["site_labels"]) == ["A", "A", "B", "Si"]
    same = ["Fe"] * 12 + ["Si"] * 4  # one label for two orbits
    assert sorted(described(d03, labels=same)["site_labels"]) == ["Fe1", "Fe2", "Fe2", "Si"]
    each = [f"Fe{i}" for i in range(12)] + ["Fe1b"] * 4  # a label per atom
    found = described(d03, labels=each)["site_labels"]
    assert sorted(found) == ["Fe1", "Fe1b", "Fe2", "Fe2"]


def test_measured_follows_the_label():
    bcc = cubic(["Fe", "Fe"], [(0, 0, 0), (0.5,) * 3], 221, 2.866)  # as if it were B2
    structure = described(
        bcc,
        labels=["corner", "centre"],
        measured=[{"site": "corner", "bhf_t": 33.0}, {"site": "centre", "bhf_t": 33.0}],
    )
    assert structure["spacegroup"] == 229
    assert structure["site_labels"] == ["Fe1"]
    assert [entry["site"] for entry in structure["measured"]] == ["Fe1", "Fe1"]


def test_moments_of_a_ferrimagnet_and_of_an_order_that_does_not_fit():
    feco = bulk("FeCo", "cesiumchloride", a=2.85)
    structure = described(feco, moments_mub=[2.8, -1.7])
    moments = dict(zip(structure["symbols"], structure["initial_moments_mub"], strict=True))
    assert moments == {"Fe": 2.8, "Co": -1.7}
    chain = bulk("Fe", a=2.866, cubic=True)
    structure = described(chain, moments_mub=[2.2, -2.2])
    assert structure["initial_moments_mub"] == [2.2]
    assert any("does not fit" in note for note in structure["_notes"])


def test_order_that_fits_the_primitive_cell_is_kept():
    hcp = bulk("Fe", "hcp", a=2.45, c=3.93)
    structure = described(hcp, moments_mub=[1.5, -1.5])
    assert sorted(structure["initial_moments_mub"]) == [-1.5, 1.5]
    assert structure["_notes"] == []


def test_near_twins_across_an_edge_are_one_and_a_series_stays_apart():
    lengths = [2.8 * 1.003**n for n in range(12)]
    names = {round(a, 4): ident(bulk("Fe", a=a)) for a in lengths}
    changes = [
        i for i in range(11) if names[round(lengths[i], 4)] != names[round(lengths[i + 1], 4)]
    ]
    assert changes, "steps of 0.3 % must cross an edge of 0.5 % bins"
    first = changes[0]
    twins = [bulk("Fe", a=lengths[first]), bulk("Fe", a=lengths[first + 1])]
    structures = [described(atoms, origin=str(i)) for i, atoms in enumerate(twins)]
    assert len(group_same(structures)) == 1
    series = [described(bulk("Fe", a=2.8 * 1.01**n), origin=str(n)) for n in range(6)]
    assert len(group_same(series)) == 6
    # a fine series does not chain into one: its ends are 3.3 % apart
    fine = [described(bulk("Fe", a=a), origin=str(i)) for i, a in enumerate(lengths)]
    groups = group_same(fine)
    assert 6 <= len(groups) <= 7
    for _, members in groups:
        sizes = [member["_numbers"]["lengths"][0] for member in members]
        assert max(sizes) - min(sizes) < 2 * 0.005


def test_same_bins_and_no_match_get_two_ids(monkeypatch):
    """Whatever shares all bins by accident is still two structures."""
    from dft2spectra.structures import identity

    monkeypatch.setattr(identity, "LENGTH_BIN", 0.5)
    monkeypatch.setattr(identity, "same_crystal", lambda first, second: False)
    structures = [described(bulk("Fe", a=a), origin=str(a)) for a in (2.8, 2.9)]
    names = [name for name, _ in group_same(structures)]
    assert len(set(names)) == 2
    again = [name for name, _ in group_same(structures[::-1])]
    assert names == again


def test_matching_agrees_with_measured_displacements():
    """Pyrite with u changed: 0.02 of 5.4 Å is another crystal, 0.001 the same."""

    def pyrite(u, origin):
        return described(cubic(["Fe", "S"], [(0, 0, 0), (u,) * 3], 205, 5.416), origin=origin)

    assert len(group_same([pyrite(0.385, "a"), pyrite(0.386, "b")])) == 1
    assert len(group_same([pyrite(0.385, "a"), pyrite(0.405, "b")])) == 2


def test_compound_with_measured_values_comes_first():
    plain = described(bulk("Fe", a=2.866), origin="a")
    measured = described(
        bulk("Fe", a=2.867),
        origin="z",
        labels=["Fe1"],
        measured=[{"site": "Fe1", "bhf_t": 33.0}],
    )
    for order in ([plain, measured], [measured, plain]):
        [(_, members)] = group_same(order)
        assert [member["_origin"] for member in members] == ["z", "a"]
