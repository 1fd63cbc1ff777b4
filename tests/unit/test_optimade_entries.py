"""Entries as databases send them, and as they should not.

The shapes of the databases were read in public sources, named at each. Numbers of cells and atoms
are made up where the source shows names only.
"""

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest

from dft2spectra.structures.optimade_entries import KEPT, read_entry
from dft2spectra.structures.optimade_pages import _fault_of
from dft2spectra.structures.pinned import Retrieved, write
from dft2spectra.structures.raw import Reason

URL = "https://example.org/optimade/v1/structures"

# B2 FeAl, a = 2.909 Å: Fe at the corner, Al in the centre.
A = 2.909
FEAL: dict[str, Any] = {
    "lattice_vectors": [[A, 0, 0], [0, A, 0], [0, 0, A]],
    "cartesian_site_positions": [[0, 0, 0], [A / 2, A / 2, A / 2]],
    "species_at_sites": ["Fe", "Al"],
    "species": [
        {"name": "Fe", "chemical_symbols": ["Fe"], "concentration": [1.0]},
        {"name": "Al", "chemical_symbols": ["Al"], "concentration": [1.0]},
    ],
    "nsites": 2,
    "dimension_types": [1, 1, 1],
    "nperiodic_dimensions": 3,
    "structure_features": [],
    "chemical_formula_reduced": "AlFe",
    "last_modified": "2026-01-02T03:04:05Z",
}


def read(identifier: Any = "feal", **changes: Any) -> tuple[dict[str, Any], bool]:
    attributes = copy.deepcopy(FEAL) | changes
    return read_entry({"id": identifier, "type": "structures", "attributes": attributes}, URL)


def without(*names: str) -> tuple[dict[str, Any], bool]:
    attributes = {name: value for name, value in FEAL.items() if name not in names}
    return read_entry({"id": "feal", "attributes": attributes}, URL)


def test_a_complete_entry():
    entry, malformed = read()
    assert not malformed
    assert entry == {
        "id": "feal",
        "url": f"{URL}/feal",
        "last_modified": "2026-01-02T03:04:05Z",
        "formula": "AlFe",
        "cell_ang": [[A, 0, 0], [0, A, 0], [0, 0, A]],
        "symbols": ["Fe", "Al"],
        "scaled_positions": [[0, 0, 0], [0.5, 0.5, 0.5]],
        "moments_mub": None,
        "properties": {},
    }


def test_scaled_positions_of_an_oblique_cell():
    # Hexagonal, a = 2 and c = 4: ⅓ a1 + ⅔ a2 + ½ a3 = (⅔ − ⅔, ⅔ √3, 2).
    root = math.sqrt(3.0)
    cell = [[2.0, 0.0, 0.0], [-1.0, root, 0.0], [0.0, 0.0, 4.0]]
    positions = [[0.0, 0.0, 0.0], [0.0, 2.0 * root / 3.0, 2.0]]
    entry, _ = read(lattice_vectors=cell, cartesian_site_positions=positions)
    np.testing.assert_allclose(
        entry["scaled_positions"], [[0, 0, 0], [1 / 3, 2 / 3, 1 / 2]], atol=1e-9
    )


# --- what differs between databases and costs nothing --------------------------------------------


def test_oqmd_shape():
    """wolverton-research-group/qmpy, qmpy/web/serializers/optimade.py: ids are numbers, elements
    a text, last_modified and other unknown values empty, species an empty list."""
    entry, malformed = read(
        identifier=4061139,
        elements="Fe,Al",
        last_modified="",
        chemical_formula_reduced="Al1Fe1",
        chemical_formula_anonymous="AB",
        chemical_formula_descriptive="",
        elements_ratios=[],
        species=[],
        _oqmd_entry_id=12345,
        _oqmd_calculation_id=54321,
        _oqmd_icsd_id=None,
        _oqmd_band_gap=0.0,
        _oqmd_delta_e=-0.3269,
        _oqmd_stability=0.0,
        _oqmd_volume=24.6,
        _oqmd_prototype="CsCl",
        _oqmd_spacegroup="Pm-3m",
    )
    assert not malformed
    assert entry["id"] == "4061139"
    assert entry["url"] == f"{URL}/4061139"
    assert entry["last_modified"] is None
    assert entry["symbols"] == ["Fe", "Al"]
    assert entry["properties"] == {
        "_oqmd_band_gap": 0.0,
        "_oqmd_delta_e": -0.3269,
        "_oqmd_entry_id": 12345,
        "_oqmd_prototype": "CsCl",
        "_oqmd_spacegroup": "Pm-3m",
        "_oqmd_stability": 0.0,
        "energy_above_hull_ev_per_atom": 0.0,
        "formation_energy_ev_per_atom": -0.3269,
    }


def test_oqmd_shape_without_attributes_is_not_optimade():
    """wolverton-research-group/qmpy, issue 115: type 'structure' and everything at the top."""
    flat = {"id": 4061139, "type": "structure", "nelements": 4, "lattice_vectors": []}
    assert _fault_of(flat) == "the entry 4061139 without attributes"
    assert _fault_of({**flat, "attributes": {}}) is None


def test_materials_project_shape():
    """Energies as public code reads them from optimade.materialsproject.org: by functional and
    mixing scheme in _mp_stability; the numbers are those of mp-165."""
    stability = {
        "gga_gga+u": {"energy_above_hull": 0.01342025, "formation_energy_per_atom": 0.01342025},
        "r2scan": {"energy_above_hull": 0.01360687, "formation_energy_per_atom": 0.01360687},
        "gga_gga+u_r2scan": {
            "energy_above_hull": 0.01360687,
            "formation_energy_per_atom": 0.01360687,
        },
    }
    properties = read(_mp_stability=stability, _mp_chemical_system="Al-Fe")[0]["properties"]
    assert properties == {
        "_mp_stability": stability,
        "energy_scheme": "gga_gga+u_r2scan",
        "energy_above_hull_ev_per_atom": 0.01360687,
        "formation_energy_ev_per_atom": 0.01360687,
    }
    only = {"gga_gga+u": stability["gga_gga+u"], "gga_gga+u_r2scan": None}
    properties = read(_mp_stability=only)[0]["properties"]
    assert properties["energy_scheme"] == "gga_gga+u"
    assert properties["energy_above_hull_ev_per_atom"] == 0.01342025
    # Not every entry has its energies.
    for nothing in (None, {}, {"gga_gga+u": {}}, {"energy_above_hull": "N/A"}, "N/A", [1]):
        assert "energy_above_hull_ev_per_atom" not in read(_mp_stability=nothing)[0]["properties"]


def test_alexandria_shape():
    """ml-evs/alexandria-optimade, optimade_config.json, and names in public code that asks it."""
    entry, _ = read(
        identifier="agm003198273",
        _alexandria_hull_distance=0.012,
        _alexandria_formation_energy_per_atom=-0.31,
        _alexandria_magnetization=0.72,
        _alexandria_magnetic_moments=[0.74, -0.02],
        _alexandria_space_group=221,
        _alexandria_xc_functional="PBE",
        _alexandria_prototype_id="CsCl",
        _alexandria_band_gap=0.0,
        _alexandria_stress_tensor=[[0.0] * 3] * 3,
        _alexandria_forces=[[0.0] * 3] * 2,
    )
    assert entry["moments_mub"] == [0.74, -0.02]
    properties = entry["properties"]
    assert properties["energy_above_hull_ev_per_atom"] == 0.012
    assert properties["formation_energy_ev_per_atom"] == -0.31
    assert properties["total_moment_mub"] == 0.72
    assert properties["_alexandria_space_group"] == 221
    assert not any("stress" in name or "forces" in name for name in properties)
    for moments in ([0.74], [0.74, None], [[0, 0, 1], [0, 0, 1]], "0.74", None, [math.nan, 1.0]):
        assert read(_alexandria_magnetic_moments=moments)[0]["moments_mub"] is None


def test_cod_shape():
    """Materials-Consortia/optimade-tutorial-exercises, README.md, entry 1000000: no reduced
    formula and no nsites; numbers as text beside numbers."""
    entry = read_entry(
        {
            "id": "1000000",
            "type": "structures",
            "links": {"self": "https://www.crystallography.net/cod/optimade/v1.0.0/structures/1"},
            "relationships": {"references": {"data": [{"id": "1000000", "type": "references"}]}},
            "attributes": {
                **{name: FEAL[name] for name in ("lattice_vectors", "cartesian_site_positions")},
                **{name: FEAL[name] for name in ("species_at_sites", "species")},
                "chemical_formula_hill": "AlFe",
                "dimension_types": [1, 1, 1],
                "nperiodic_dimensions": 3,
                "last_modified": "2020-10-21T18:00:00Z",
                **{"_cod_celltemp": 296, "_cod_doi": "10.1107/S0108270100008532"},
                **{"_cod_duplicateof": "2011331", "_cod_flags": "has coordinates"},
                **{"_cod_sg": "P m -3 m", "_cod_year": "2000", "_cod_Z": "1"},
            },
        },
        URL,
    )[0]
    assert entry["formula"] == "AlFe"
    assert entry["properties"] == {
        "_cod_celltemp": 296,
        "_cod_doi": "10.1107/S0108270100008532",
        "_cod_duplicateof": "2011331",
        "_cod_sg": "P m -3 m",
    }


def test_cod_marks_of_entries_that_should_not_be_used():
    """Public code asks COD for _cod_status other than errors and retracted."""
    for mark in ("errors", "retracted"):
        entry, malformed = read(_cod_status=mark)
        assert entry["reason"] == f"withdrawn: the database marks the entry with '{mark}'"
        assert not malformed
    assert "reason" not in read(_cod_status=None)[0]


def test_cod_shape_of_disorder():
    """Public test of a COD reader: assemblies, disorder, and a vacancy as a species."""
    species = [
        *FEAL["species"],
        {"name": "vac", "chemical_symbols": ["vacancy"], "concentration": [1.0]},
    ]
    entry, malformed = read(
        species=species,
        species_at_sites=["Fe", "vac"],
        structure_features=["assemblies", "disorder"],
        assemblies=[{"sites_in_groups": [[0], [1]], "group_probabilities": [0.7, 0.3]}],
        chemical_formula_reduced=None,
    )
    assert entry["reason"] == (
        "partial_occupancy: the database marks the entry as having assemblies"
    )
    assert not malformed
    hidden, _ = read(species=species, species_at_sites=["Fe", "vac"], chemical_formula_reduced=None)
    assert hidden["reason"] == "partial_occupancy: species 'vac' is vacancy 1.0"


def test_species_by_name_and_by_list_are_the_same():
    """Version 0.9 of the specification had a mapping."""
    mapping = {
        one["name"]: {k: v for k, v in one.items() if k != "name"} for one in FEAL["species"]
    }
    assert read(species=mapping) == read()


@pytest.mark.parametrize("name", sorted(set(FEAL) - {"last_modified"}))
def test_optional_keys_may_be_missing_or_null(name):
    whole = read()[0]
    if name in ("lattice_vectors", "cartesian_site_positions", "species_at_sites"):
        entry, malformed = without(name)
        assert entry["reason"] == f"unreadable: the database sends no {name}"
        assert malformed
        entry, malformed = read(**{name: None})
        assert entry["reason"] == f"unreadable: the database has no {name}"
        assert not malformed
    else:
        assert without(name) == (whole, False)
        assert read(**{name: None}) == (whole, False)


def test_species_may_have_names_that_are_no_elements():
    species = [
        {"name": "Fe1", "chemical_symbols": ["Fe"], "concentration": [1.0], "mass": [55.8]},
        {"name": "Al1", "chemical_symbols": ["Al"], "concentration": [0.9999999]},
    ]
    assert read(species=species, species_at_sites=["Fe1", "Al1"])[0]["symbols"] == ["Fe", "Al"]


# --- what cannot be used, with the reason --------------------------------------------------------


def species(**changes: Any) -> list[dict[str, Any]]:
    return [{**FEAL["species"][0], **changes}, FEAL["species"][1]]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"species": species(chemical_symbols=["Fe", "Ni"], concentration=[0.75, 0.25])},
            "partial_occupancy: species 'Fe' is Fe 0.75, Ni 0.25",
        ),
        (
            {"species": species(concentration=[0.9])},
            "partial_occupancy: species 'Fe' is Fe 0.9",
        ),
        (
            {"species": species(chemical_symbols=["Fe", "vacancy"], concentration=[0.9, 0.1])},
            "partial_occupancy: species 'Fe' is Fe 0.9, vacancy 0.1",
        ),
        (
            {"species": species(chemical_symbols=["X"])},
            "unknown_element: species 'Fe' is 'X', not an element",
        ),
        (
            {"species": species(attached=["H"], nattached=[3])},
            "unreadable: species 'Fe' has atoms attached without positions: ['H']",
        ),
        (
            {"structure_features": ["implicit_atoms"]},
            "unreadable: the database marks the entry as having implicit_atoms",
        ),
        (
            {"structure_features": ["disorder"]},
            "partial_occupancy: the database marks the entry as having disorder",
        ),
        (
            {"nperiodic_dimensions": 2, "dimension_types": [1, 1, 0]},
            "not_periodic: periodic in 2 of 3 directions (dimension_types [1, 1, 0])",
        ),
        (
            {"dimension_types": [0, 0, 0], "nperiodic_dimensions": None},
            "not_periodic: periodic in 0 of 3 directions (dimension_types [0, 0, 0])",
        ),
        (
            {"lattice_vectors": [[A, 0, 0], [0, A, 0], [None, None, None]]},
            "not_periodic: a lattice vector is null, not a crystal",
        ),
        (
            {"lattice_vectors": [[A, 0, 0], [0, A, 0], [A, A, 0]]},
            "not_periodic: the cell has no volume (0 Å³)",
        ),
        (
            {"cartesian_site_positions": [[0, 0, 0], [None, None, None]]},
            "unreadable: cartesian_site_positions has a row of null: an unknown position",
        ),
        (
            {"cartesian_site_positions": [[0, 0, 0], [math.nan, 1, 1]]},
            "not_finite: a number of the positions is not finite",
        ),
        (
            {"lattice_vectors": [[math.inf, 0, 0], [0, A, 0], [0, 0, A]]},
            "not_finite: a number of the cell is not finite",
        ),
        (
            {"lattice_vectors": [[10**400, 0, 0], [0, A, 0], [0, 0, A]]},
            "not_finite: lattice_vectors holds a number beyond all bounds",
        ),
        (
            {"species_at_sites": ["Fe", "Aluminium"], "species": None},
            "unknown_element: species 'Aluminium' is 'Aluminium', not an element",
        ),
        ({"cartesian_site_positions": []}, "unreadable: the database has no cartesian_site_pos"),
    ],
)
def test_entries_that_describe_no_simple_crystal(changes, reason):
    entry, malformed = read(**changes)
    assert entry["reason"].startswith(reason)
    assert not malformed
    assert set(entry) == {"id", "url", "last_modified", "formula", "reason"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nsites": 3}, "2 positions, 2 species_at_sites and nsites = 3"),
        ({"species_at_sites": ["Fe"]}, "2 positions, 1 species_at_sites"),
        ({"chemical_formula_reduced": "Fe3Al"}, "the sites are AlFe, the formula is Fe3Al"),
        ({"chemical_formula_reduced": "FeSi"}, "the sites are AlFe, the formula is FeSi"),
        ({"chemical_formula_reduced": "Fe0.5Al0.5"}, "chemical_formula_reduced is 'Fe0.5Al0.5'"),
        ({"lattice_vectors": [[A, 0, 0], [0, A, 0]]}, "lattice_vectors has 2 rows"),
        ({"lattice_vectors": [[A, 0], [0, A], [0, 0]]}, "not a list of rows of three numbers"),
        ({"lattice_vectors": {"a": A}}, "lattice_vectors is not a list"),
        ({"lattice_vectors": [["2.9", 0, 0], [0, A, 0], [0, 0, A]]}, "something else than numbers"),
        ({"lattice_vectors": [[True, 0, 0], [0, A, 0], [0, 0, A]]}, "something else than numbers"),
        ({"cartesian_site_positions": "0 0 0"}, "cartesian_site_positions is not a list"),
        ({"species": "Fe"}, "species is a str"),
        ({"species": ["Fe", "Al"]}, "a species is 'Fe', not a mapping"),
        ({"species": FEAL["species"][:1]}, "names 'Al', which species does not describe"),
        ({"species": species(chemical_symbols=None)}, "'Fe' has no chemical_symbols"),
        ({"species": species(concentration=[0.5, 0.5])}, "1 chemical_symbols and [0.5, 0.5]"),
        ({"structure_features": "disorder"}, "structure_features is 'disorder', not a list"),
        ({"dimension_types": 3}, "dimension_types is '3', not a list"),
    ],
)
def test_entries_that_break_the_specification(changes, sentence):
    entry, malformed = read(**changes)
    assert entry["reason"].startswith("unreadable: ")
    assert sentence in entry["reason"]
    assert malformed


HOSTILE = [
    *(
        None,
        True,
        False,
        0,
        -1,
        3,
        1.5,
        math.nan,
        math.inf,
        10**400,
        "",
        "x",
        "Fe",
        "\ud800",
        [],
        {},
    ),
    *([None], [[]], [{}], ["Fe", "Al"], [[1, 2, 3]] * 2, [[1e308] * 3] * 3, [["a"] * 3] * 2),
    *({"Fe": None}, {"name": "Fe"}, [0, 0, 1], [[0, 0, 0]] * 3, [1, [1]]),
]


def test_no_value_of_any_key_raises_or_gives_an_entry_that_cannot_be_pinned(tmp_path):
    """Every key with every hostile value, whole and inside the first item."""
    extra = {"_mp_stability": {}, "_alexandria_magnetic_moments": [], "_cod_status": None}
    entries, n_usable = [], 0
    cases = itertools.product([*FEAL, *extra], HOSTILE, (False, True))
    for number, (name, value, inside) in enumerate(cases):
        attributes = copy.deepcopy(FEAL) | extra
        if inside and isinstance(attributes[name], list) and attributes[name]:
            attributes[name][0] = value
        else:
            attributes[name] = value
        entry, malformed = read_entry({"id": f"e{number}", "attributes": attributes}, URL)
        assert malformed <= ("reason" in entry)
        if "reason" in entry:
            assert entry["reason"].partition(":")[0] in set(Reason)
        n_usable += "reason" not in entry
        entries.append(entry)
    assert write(tmp_path / "set.json", {}, Retrieved(entries, {}, 1))["n_entries"] == len(entries)
    # Of the optional keys most values do no harm: the crystal itself is given.
    assert 100 < n_usable < len(entries) / 2


def test_properties_kept_are_those_to_compare():
    for name in (
        *("_mp_stability", "_alexandria_hull_distance", "_oqmd_delta_e", "_jarvis_ehull"),
        *("_gnome_hull_distance", "_jarvis_formation_energy_peratom", "_cod_cellpressure"),
        *("_alexandria_scan_magnetization", "_jarvis_spg_space_group", "_oqmd_icsd_id"),
    ):
        assert KEPT.search(name), name
    for name in (
        "_alexandria_forces",
        "_cod_authors",
        "_nmd_upload_id",
        "_cod_sgHall",
        "_oqmd_volume",
    ):
        assert not KEPT.search(name), name
