"""Decorated parents and strained copies: numbers by hand, known crystals, no leak, clear errors."""

import itertools
import json
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase import Atoms

from dft2spectra.learning.splits import grouped_folds, site_groups
from dft2spectra.structures import pinned, prototypes
from dft2spectra.structures.canonical import canonical_form
from dft2spectra.structures.decorations import n_colourings, n_cycles, sublattices
from dft2spectra.structures.files import read_file
from dft2spectra.structures.identity import group_same
from dft2spectra.structures.parents import Parent, library, look_up, named_parents
from dft2spectra.structures.raw import RawStructure, Rejected
from dft2spectra.structures.sources import collect, fingerprint
from dft2spectra.structures.strains import MODES, deformation

BUNDLED = Path(__file__).parents[2] / "data" / "structures"
LIMITS = {"max_atoms": 12}


def source(*parents, **settings):
    return {"kind": "prototypes", "parents": list(parents), **settings}


def crystals(*parents, **settings):
    found = prototypes.enumerate_structures(source(*parents, **settings), LIMITS)
    return {origin.removeprefix("prototypes:"): result for origin, result, _ in found}


def parent_of(name) -> Parent:
    ((_, parent),) = named_parents([name], "")
    assert isinstance(parent, Parent)
    return parent


# --- names ---------------------------------------------------------------------------------------


def test_prototypes_answer_to_label_symbol_and_mineral():
    assert look_up("L1_2")["label"] == "AB3_cP4_221_a_c"
    assert look_up("L12") is look_up("AB3_cP4_221_a_c")
    assert look_up("marcasite")["label"] == "AB2_oP6_58_a_g-C18"
    assert look_up("AB_oP8_62_c_c-B27") is look_up("Iron Boride")


def test_every_prototype_can_be_named():
    labels = [entry["label"] for entry in library()]
    assert len(labels) == len(set(labels)) == 288
    assert all(look_up(entry["label"]) is entry for entry in library())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AB_oP8_62_c_c", ["4 prototypes", "AB_oP8_62_c_c-B27"]),
        ("Marcasit", ["is no prototype", "nearest: "]),
        ("no/such.cif", ["does not exist"]),
        ("no*such", ["no file matches"]),
        ("pinned:nothing", ["no pinned set", "retrieve it first"]),
    ],
)
def test_names_that_mean_nothing_say_what_would(name, words):
    with pytest.raises(ValueError, match=r"structures\.sources: ") as caught:
        list(prototypes.enumerate_structures(source(name), LIMITS))
    for word in words:
        assert word in str(caught.value)


# --- numbers -------------------------------------------------------------------------------------


def test_numbers_by_hand():
    """CsCl: Fe and one of three, exchange is no difference. Cu3Au: both ways round. L2_1: 12
    binary and 9 ternary, of 18 and 18, since the sites 4a and 4b are alike.
    """
    counted = prototypes.count(source("B2", "L1_2", "L2_1", elements=["Al", "Si", "Ti"]))
    rows = [(row["assignments"], row["allowed"], row["distinct"]) for row in counted["parents"]]
    assert rows == [(16, 6, 3), (16, 6, 6), (64, 36, 21)]
    assert counted["structures"] == 30


def test_colourings_by_brute_force():
    for places, others, number in itertools.product((1, 2, 4), (1, 2, 3), (1, 2, 3)):
        elements = ["Fe", "A", "B", "C"][: others + 1]
        found = [
            chosen
            for chosen in itertools.product(elements, repeat=places)
            if "Fe" in chosen and len(set(chosen)) == number
        ]
        assert n_colourings(places, others, range(number, number + 1)) == len(found)
    assert n_cycles((0, 2, 1, 4, 5, 3)) == 3


def test_count_is_what_is_enumerated_and_nothing_comes_twice():
    """All prototypes of up to six atoms, by species and by orbits."""
    limits = {"max_atoms": 6}
    for by in ("species", "orbits"):
        settings = source("aflow", elements=["Ti", "Al"], sublattices=by, at_most=5000)
        origins = [
            (origin, provenance["parent"])
            for origin, _, provenance in prototypes.enumerate_structures(settings, limits)
            if "sublattices" in provenance
        ]
        counted = prototypes.count(settings, limits)
        assert len(origins) == len(set(origins)) == counted["structures"] > 400
        for row in counted["parents"]:
            number = sum(parent == row["parent"] for _, parent in origins)
            assert number == row["structures"], row


@pytest.mark.parametrize(
    ("name", "by", "twins"),
    [
        *[
            ("B1", "species", 0),
            ("B2", "species", 0),
            ("C1_b", "species", 0),
            ("C15", "species", 0),
        ],
        *[("E2_1", "species", 0), ("L1_0", "species", 0)],
        # CsCl comes in two ways, with either element on 8c and the other on 4a and 4b.
        *[("L2_1", "species", 2), ("D0_3", "orbits", 2)],
    ],
)
def test_decorations_are_all_crystals_that_there_are(name, by, twins):
    """Every assignment made by force and told apart by ids: as many crystals as decorations, but
    for twins that no exchange of sublattices shows.
    """
    parent = parent_of(name)
    places = sublattices(parent, by)
    scale = np.cbrt(14.0 * parent.n_atoms / abs(np.linalg.det(parent.raw.cell)))
    made = []
    for elements in itertools.product(["Fe", "Al", "Ti"], repeat=len(places.names)):
        if "Fe" not in elements or len(set(elements)) not in (2, 3):
            continue
        element_of = dict(zip(places.names, elements, strict=True))
        symbols = [element_of[place] for place in places.of_atoms]
        raw = RawStructure(parent.raw.cell * scale, symbols, parent.raw.scaled_positions)
        made.append(canonical_form(raw) | {"_origin": str(elements)})
    distinct = places.sizes(["Al", "Ti"], range(2, 4))["distinct"]
    assert len(group_same(made)) == distinct - twins
    assert len(list(places.decorations(["Al", "Ti"], range(2, 4)))) == distinct


def test_too_many_are_refused_with_the_numbers_of_the_parents():
    settings = source("L2_1", "B2", elements=["Al", "Si", "Ti"], strains={"shear": [0.01]})
    words = r"prototypes of L2_1, B2: 48 structures \(2 copies.*at most 40 are"
    with pytest.raises(ValueError, match=words):
        list(prototypes.enumerate_structures(settings | {"at_most": 40}, LIMITS))
    with pytest.raises(ValueError, match=r"AB2C_cF16_225_a_c_b 42, AB_cP2_221_b_a 6; name fewer"):
        list(prototypes.enumerate_structures(settings | {"at_most": 40}, LIMITS))


def test_enumeration_that_would_never_end_is_refused_at_once():
    elements = [*"BCNPSVY", "Al", "Si", "Ti", "Cr", "Mn", "Co", "Ni", "Cu", "Zn"]
    settings = source("aflow", elements=elements, n_elements=[2, 8], sublattices="orbits")
    with pytest.raises(ValueError, match="at most 2,000 are allowed"):
        list(prototypes.enumerate_structures(settings, {"max_atoms": 12}))


# --- crystals ------------------------------------------------------------------------------------


def test_known_compounds_come_out_with_their_symmetry():
    """FeAl, Fe3Al (D0_3), TiFe2 (C14): space group, structure type and volume of the bundled."""
    made = source("B2", "D0_3", "C14", elements=["Al", "Ti"], n_elements=[2, 2])
    accepted, _ = collect([made], LIMITS)
    bundled, _ = collect([{"kind": "files", "path": str(BUNDLED)}], LIMITS)
    for name in ("FeAl", "Fe3Al", "TiFe2"):
        known = next(s for s in bundled if s["name"] == name)
        alike = [s for s in accepted if s["formula"] == known["formula"]]
        (same,) = [s for s in alike if s["parent"] == known["parent"]]
        assert same["spacegroup"] == known["spacegroup"]
        volume, measured = (abs(np.linalg.det(s["cell_ang"])) for s in (same, known))
        assert 0.92 < volume / measured < 1.09
        provenance = same["provenance"][0]
        assert provenance["source"] == "prototypes"
        assert set(provenance["sublattices"].values()) == {"Fe", *same["symbols"]} - {""}
        assert provenance["volume_error_percent"] == [-7, 6]
        assert "Mehl" in provenance["citation"]


def test_every_decoration_has_iron_and_only_chosen_elements():
    for origin, result in crystals("L2_1", "C15", "B27", elements=["Si", "Fe", "Co"]).items():
        assert "Fe" in result.symbols, origin
        assert set(result.symbols) <= {"Fe", "Si", "Co"}
        assert 2 <= len(set(result.symbols)) <= 3


def test_numbers_of_elements_are_kept():
    assert {len(set(c.symbols)) for c in crystals("E2_1", elements=["N", "Ni"]).values()} == {2, 3}
    ternary = crystals("E2_1", elements=["N", "Ni"], n_elements=[3, 3])
    assert len(ternary) == 6
    iron = crystals("L1_2", elements=["N"], n_elements=[1, 1])
    assert [set(c.symbols) for c in iron.values()] == [{"Fe"}]


def test_order_of_names_does_not_matter():
    one = collect([source("L1_2", "B2", elements=["Al", "Ti"])], LIMITS)
    other = collect([source("B2", "L1_2", elements=["Ti", "Al"])], LIMITS)
    assert one == other


def test_parents_from_files_and_pinned_sets(tmp_path):
    path = str(BUNDLED / "FeSi.yaml")
    made = crystals(path, elements=["Ge"])
    assert sorted(made) == [f"{path}:Fe=Fe,Si=Ge", f"{path}:Fe=Ge,Si=Fe"]
    (raw,) = read_file(str(BUNDLED / "FeTi.yaml"))
    entry = {"id": "x-1", "formula": "FeTi", "cell_ang": raw.cell.tolist(), "properties": {}}
    entry |= {"symbols": raw.symbols, "scaled_positions": raw.scaled_positions.tolist()}
    entry |= {"moments_mub": None}
    broken = {"id": "x-2", "formula": None, "reason": "partial_occupancy: site 1 is a mixture"}
    retrieved = pinned.Retrieved([entry, broken], {"name": "x"}, 1)
    pinned.write(tmp_path / "x.json", {"kind": "optimade"}, retrieved)
    limits = LIMITS | {"pinned": str(tmp_path)}
    settings = source("pinned:x", elements=["Al"], n_elements=[2, 2])
    found = list(prototypes.enumerate_structures(settings, limits))
    assert [origin for origin, _, _ in found] == [
        "prototypes:pinned:x/x-1:Fe=Al,Ti=Fe",
        "prototypes:pinned:x/x-2",
    ]
    assert isinstance(found[1][1], Rejected)
    assert prototypes.input_files(settings, limits) == [str(tmp_path / "x.json")]


def test_a_changed_parent_file_changes_the_fingerprint(tmp_path):
    path = tmp_path / "parent.yaml"
    path.write_bytes((BUNDLED / "FeTi.yaml").read_bytes())
    before = fingerprint([source(str(path), elements=["Al"])], LIMITS)
    path.write_bytes((BUNDLED / "FeAl.yaml").read_bytes())
    assert fingerprint([source(str(path), elements=["Al"])], LIMITS) != before


def test_parents_that_cannot_be_one_are_rejected_with_a_reason(tmp_path):
    empty = tmp_path / "empty.cif"
    empty.touch()
    sources = [source(str(empty), "D8_4", "B21", "B2", elements=["Al"])]
    accepted, rejected = collect(sources, LIMITS)
    assert [structure["formula"] for structure in accepted] == ["AlFe"]
    reasons = {row["origin"]: row["reason"].split(":")[0] for row in rejected}
    assert reasons == {
        f"prototypes:{empty}": "empty_file",
        "prototypes:A6B23_cF116_225_e_acfh": "too_many_atoms",
        "prototypes:AB_cP8_198_a_a-B21:C=Al,O=Fe": "no_volume",
        "prototypes:AB_cP8_198_a_a-B21:C=Fe,O=Al": "no_volume",
    }


# --- strains -------------------------------------------------------------------------------------

STRAINS = {"isotropic": [-0.03, 0.03], "tetragonal": [0.02], "orthorhombic": [0.02]}
STRAINS |= {"shear": [0.02]}


def test_deformations_keep_the_volume_and_the_strain():
    assert np.linalg.det(deformation("isotropic", 0.03)) == pytest.approx(1.03**3)
    for mode in MODES[1:]:
        for strain in (-0.05, 0.02):
            matrix = deformation(mode, strain)
            assert np.linalg.det(matrix) == pytest.approx(1.0, abs=1e-12)
            assert np.allclose(matrix, matrix.T)
    assert deformation("tetragonal", 0.02)[2, 2] == pytest.approx(1.02)
    assert deformation("orthorhombic", 0.02)[0, 0] == pytest.approx(1.02)
    sheared = deformation("shear", 0.02)
    x, y = sheared[:, 0], sheared[:, 1]
    angle = np.arccos(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    assert np.pi / 2 - angle == pytest.approx(2 * 0.02, rel=1e-3)
    with pytest.raises(ValueError, match="known are isotropic"):
        deformation("twist", 0.1)


def test_strained_copies_are_other_crystals_of_one_family():
    accepted, rejected = collect([source("B2", elements=["Al"], strains=STRAINS)], LIMITS)
    assert rejected == []
    assert len({structure["structure_id"] for structure in accepted}) == 6
    assert len({structure["parent"] for structure in accepted}) == 1
    groups = {s["provenance"][0].get("strain", {}).get("mode"): s["spacegroup"] for s in accepted}
    assert groups == {None: 221, "isotropic": 221, "tetragonal": 123} | {
        "orthorhombic": 47,
        "shear": 65,
    }
    strained = next(s for s in accepted if s["spacegroup"] == 123)
    assert strained["provenance"][0]["strain"] == {
        "mode": "tetragonal",
        "strain": 0.02,
        "strained": "prototypes:AB_cP2_221_b_a:Cl=Al,Cs=Fe",
    }


def test_strained_copies_never_face_their_crystal_in_a_split():
    """Sites of strained FeAl, Fe3Al and FeSi: whatever the folds, a family is in one of them."""
    names = ("FeAl", "Fe3Al", "FeSi")
    paths = [str(BUNDLED / f"{name}.yaml") for name in names]
    accepted, _ = collect(
        [{"kind": "files", "path": path} for path in paths] + [source(*paths, strains=STRAINS)],
        LIMITS,
    )
    assert len(accepted) == 3 * 6
    assert len({structure["spacegroup"] for structure in accepted}) > 4
    sites = pd.DataFrame([{key: s[key] for key in ("structure_id", "parent")} for s in accepted])
    groups = site_groups(sites)
    assert len(set(groups)) == 3
    for seed in range(10):
        folds = grouped_folds(groups, 3, seed)
        for name in {structure["formula"] for structure in accepted}:
            of_family = [
                fold for fold, s in zip(folds, accepted, strict=True) if s["formula"] == name
            ]
            assert len(set(of_family)) == 1


def test_undecorated_parents_keep_volume_and_moments():
    path = str(BUNDLED / "Fe3Si.yaml")
    made = crystals(path, strains={"isotropic": [0.01]})
    assert sorted(made) == [path, f"{path}:isotropic+0.01"]
    volumes = [abs(np.linalg.det(raw.cell)) for raw in made.values()]
    assert volumes[0] == pytest.approx(5.655**3 / 4)  # 16 atoms in the conventional cell, 4 here
    assert volumes[1] == pytest.approx(volumes[0] * 1.01**3)
    assert made[path].moments_mub == made[f"{path}:isotropic+0.01"].moments_mub
    assert max(made[path].moments_mub) > 1.0


def test_a_crystal_of_a_file_is_preferred_to_its_strained_twin(tmp_path):
    """Its family is then its own: no strained copy of it is left that could leak."""
    made = crystals("B2", elements=["Al"], strains={"tetragonal": [0.05]})
    copy = made["AB_cP2_221_b_a:Cl=Al,Cs=Fe:tetragonal+0.05"]
    atoms = Atoms(copy.symbols, cell=copy.cell, scaled_positions=copy.scaled_positions, pbc=True)
    ase.io.write(tmp_path / "own.cif", atoms)
    sources = [source("B2", elements=["Al"], strains={"tetragonal": [0.05]})]
    sources.append({"kind": "files", "path": str(tmp_path / "own.cif")})
    accepted, rejected = collect(sources, LIMITS)
    own = next(structure for structure in accepted if structure["spacegroup"] == 123)
    assert [p["source"] for p in own["provenance"]] == ["files", "prototypes"]
    assert own["parent"].startswith("123-")
    assert len(rejected) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"elements": ["Xx"]}, "'Xx' is not an element"),
        ({"strains": {"twist": [0.1]}}, "'twist' is not a mode"),
        ({"strains": {"shear": [3]}}, "shear 3 is not a strain"),
        ({"strains": {"shear": [0]}}, "shear 0 is not a strain"),
        ({"strains": {"shear": [float("nan")]}}, "shear nan is not a strain"),
        ({"n_elements": [3, 2]}, "3 at least and 2 at most"),
    ],
)
def test_impossible_settings_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        prototypes.check(source("B2", **settings))


def test_provenance_can_be_written_as_json():
    accepted, _ = collect([source("B2", elements=["Al"], strains=STRAINS)], LIMITS)
    assert json.loads(json.dumps(accepted)) == accepted


# --- decorations one by one ----------------------------------------------------------------------


def test_listed_decorations_are_made_and_no_others():
    """Fe3AlC and Fe3SnN, antiperovskites, and one that is none of them."""
    listed = [
        {"Ca": "Al", "Ti": "C", "O": "Fe"},
        {"Ca": "Sn", "Ti": "N", "O": "Fe"},
        {"Ca": "Fe", "Ti": "N", "O": "Ni"},
    ]
    counted = prototypes.count(source("E2_1", decorations=listed))
    assert (counted["structures"], counted["copies"]) == (3, 1)
    made = crystals("E2_1", decorations=listed)
    formulas = {canonical_form(raw)["formula"] for raw in made.values()}
    assert formulas == {"AlFe3C", "Fe3SnN", "FeNi3N"}
    assert any(origin.endswith(":Ca=Al,O=Fe,Ti=C") for origin in made)
    elements = crystals("E2_1", elements=["Al", "C"], n_elements=[3, 3])
    (same,) = [raw for origin, raw in elements.items() if origin.endswith("Ca=Al,O=Fe,Ti=C")]
    (listed_one,) = [raw for origin, raw in made.items() if origin.endswith("Ca=Al,O=Fe,Ti=C")]
    assert np.allclose(same.cell, listed_one.cell)


def test_orbits_can_be_listed_too():
    """A7B in the Ca7Ge type: only the two orbits of Ca are told apart."""
    label = "A7B_cF32_225_bd_a"
    names = sublattices(parent_of(label), "orbits").names
    assert len(names) == 3
    made = crystals(
        label, sublattices="orbits", decorations=[dict.fromkeys(names, "Fe") | {names[0]: "Al"}]
    )
    (raw,) = made.values()
    assert sorted(set(raw.symbols)) == ["Al", "Fe"]


def test_a_decoration_names_the_sublattices_of_every_parent():
    listed = [{"Au": "Al", "Cu": "Fe"}]
    with pytest.raises(ValueError, match=r"Au=Al,Cu=Fe does not name .*, Ca, O, Ti, each once"):
        prototypes.count(source("L1_2", "E2_1", decorations=listed))
    assert prototypes.count(source("L1_2", decorations=listed))["structures"] == 1


def test_only_the_strained_copies():
    settings = {"elements": ["Al"], "strains": {"tetragonal": [-0.06, 0.08]}}
    both = crystals("B2", **settings)
    copies = crystals("B2", **settings, unstrained=False)
    assert len(both) == 3
    assert set(copies) == {origin for origin in both if ":tetragonal" in origin}
    assert {raw.parent for raw in copies.values()} == {canonical_form(both.popitem()[1])["parent"]}
    counted = prototypes.count(source("B2", **settings, unstrained=False))
    assert (counted["structures"], counted["copies"]) == (2, 2)


def test_volume_scale_is_a_factor_on_the_predicted_volume_and_in_the_provenance():
    settings = source("L1_0", elements=["Co"], volume_scale=1.05)
    ((origin, raw, provenance),) = prototypes.enumerate_structures(settings, LIMITS)
    (plain,) = crystals("L1_0", elements=["Co"]).values()
    ratio = np.linalg.det(raw.cell) / np.linalg.det(plain.cell)
    assert ratio == pytest.approx(1.05, rel=1e-12)
    assert np.allclose(raw.cell / np.cbrt(1.05), plain.cell)
    assert provenance["volume_scale"] == 1.05
    assert origin.endswith(":volume*1.05")
    accepted, _ = collect([settings, source("L1_0", elements=["Co"])], LIMITS)
    assert len(accepted) == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"decorations": [{"A": "Fe", "B": "Qq"}]}, "decorations: 1: B: 'Qq' is not an element"),
        ({"decorations": [{"A": "Al", "B": "Si"}]}, "decorations: 1: Fe is on no sublattice"),
        ({"decorations": [{"A": "Fe"}], "elements": ["Al"]}, "elements: allowed without decor"),
        ({"decorations": [{"A": "Fe"}], "n_elements": [2, 2]}, "n_elements: allowed without"),
        ({"elements": ["Al"], "unstrained": False}, "unstrained: false leaves nothing"),
        ({"volume_scale": 1.1}, "volume_scale: allowed with elements or decorations"),
        ({"elements": ["Al"], "volume_scale": 1.1, "relax_volume": True}, "volume_scale: allowed"),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        prototypes.check(source("B2", **settings))
