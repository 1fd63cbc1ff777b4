"""Cleaning: every rule drops what it names, and no site is lost, invented or counted twice."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
from example_calibration import CALIBRATION, LIMITS, STATUSES

from dft2spectra.columns import Site
from dft2spectra.learning.cleaning import clean_sites, sort_out, spin_sign
from dft2spectra.learning.cleaning_rules import robust_score

GRADIENT = [
    *(f"efg_{part}_1e21_v_m2" for part in ("xx", "yy", "zz", "xy", "xz", "yz", "orbit")),
    "vzz_1e21_v_m2",
    "eta",
]


def site(**changes) -> dict:
    """A site of ordinary tetragonal iron; keywords replace entries."""
    tensor = [-0.5, -0.5, 1.0, 0.0, 0.0, 0.0]
    keys = ("xx", "yy", "zz", "xy", "xz", "yz")
    return {
        "site": "Fe1",
        "element": "Fe",
        "atom_indices": [0],
        "multiplicity": 1,
        "moment_mub": 2.0,
        "contact_density_e_per_bohr3": 14998.0,
        **{f"efg_{key}_1e21_v_m2": v for key, v in zip(keys, tensor, strict=True)},
        "vzz_1e21_v_m2": 1.0,
        "eta": 0.0,
        "efg_orbit_1e21_v_m2": [tensor],
        "efg_free_components": 1,
        "bhf_contact_t": -30.0,
        "bhf_core_t": -24.0,
        "bhf_valence_t": -6.0,
        "bhf_lorentz_t": 0.7,
        "bhf_orbital_t": 2.4,
        "orbital_moment_mub": 0.045,
        "bhf_dipolar_t": 0.5,
        "bhf_dipolar_orbit_t": [[-0.25, -0.25, 0.5, 0.0, 0.0, 0.0]],
        "bhf_t": -30.0,
        **dict.fromkeys(STATUSES, "converged"),
        "reasons": {},
    } | changes


def without_gradient(**changes) -> dict:
    """A site whose semicore run ended elsewhere."""
    kept = {key: value for key, value in site().items() if key not in GRADIENT}
    reason = {"vzz_status": "semicore run: went to another magnetic state"}
    return kept | {"vzz_status": "not_converged", "reasons": reason} | changes


def record(name="FeCo-1", **changes) -> dict:
    """A converged record of a tetragonal CsCl cell with one Fe site."""
    return {
        "structure_id": name,
        "formula": "FeCo",
        "spacegroup": 123,
        "parent": "123-x",
        "status": "converged",
        "reason": None,
        "settings_hash": "def",
        "method_hash": "abc",
        "chosen_start": "ferromagnetic",
        "states_within_mev": None,
        "ambiguous_state": False,
        "ionic_without_u": False,
        "cell_ang": [[2.8, 0, 0], [0, 2.8, 0], [0, 0, 3.36]],
        "symbols": ["Fe", "Co"],
        "scaled_positions": [[0, 0, 0], [0.5, 0.5, 0.5]],
        "site_labels": ["Fe1", "Co1"],
        "total_moment_mub": 3.6,
        "sites": [site()],
    } | changes


def only_drop(broken: dict) -> dict:
    """The one dropped row of a single record that keeps nothing."""
    kept, dropped = sort_out([broken], CALIBRATION, LIMITS)
    assert kept == []
    assert len(dropped) == 1
    return dropped[0]


def test_good_site_gets_derived_columns():
    (row,), dropped = sort_out([record()], CALIBRATION, LIMITS)
    assert dropped == []
    # −0.25 · (14998 − 15000) by hand.
    assert row[Site.ISOMER_SHIFT] == pytest.approx(0.50)
    # 1e21 V/m² ↔ 0.1664 mm/s (½ e Q Vzz, Q = 0.16 b).
    assert row[Site.QUADRUPOLE_SPLITTING] == pytest.approx(0.1664, abs=2e-4)
    assert row[Site.BHF_SCALED] == pytest.approx(-36.0)
    assert set(row) == set(Site)


@pytest.mark.parametrize(
    ("changes", "rule", "value"),
    [
        ({"contact_density_e_per_bohr3": 14990.0}, "isomer_shift_limit", 2.5),
        ({"vzz_1e21_v_m2": -31.0}, "vzz_limit", -31.0),
        ({"bhf_t": 61.0}, "bhf_limit", 61.0),
        ({"moment_mub": -4.6}, "moment_limit", -4.6),
        ({"efg_xx_1e21_v_m2": -0.4}, "efg_not_traceless", 0.1),
    ],
)
def test_limits_name_rule_and_value(changes, rule, value):
    drop = only_drop(record(sites=[site(**changes)]))
    assert (drop["structure_id"], drop["site"], drop["rule"]) == ("FeCo-1", "Fe1", rule)
    assert drop["value"] == pytest.approx(value)


@pytest.mark.parametrize(
    "changes",
    [
        {"moment_mub": None},
        {"eta": float("nan")},
        {"bhf_contact_t": float("inf")},
        {"orbital_moment_mub": float("nan")},
        {"efg_orbit_1e21_v_m2": []},
        {"efg_orbit_1e21_v_m2": [[0.0] * 6] * 2},
        {"bhf_dipolar_orbit_t": [[0.0, 0.0, 0.0, 0.0, 0.0, float("nan")]]},
    ],
)
def test_missing_or_non_finite_numbers_are_named(changes):
    drop = only_drop(record(sites=[site(**changes)]))
    assert (drop["rule"], drop["value"]) == ("not_finite", next(iter(changes)))


def test_missing_gradient_keeps_moment_shift_and_field():
    (row,), dropped = sort_out([record(sites=[without_gradient()])], CALIBRATION, LIMITS)
    assert dropped == []
    assert row[Site.VZZ] is row[Site.ETA] is row[Site.QUADRUPOLE_SPLITTING] is None
    assert row[Site.EFG_ORBIT] == []
    assert (row[Site.MOMENT], row[Site.ISOMER_SHIFT], row[Site.BHF]) == (2.0, 0.5, -30.0)
    assert row[Site.VZZ_STATUS] == "not_converged"
    # A gradient that is said to be there and is not is a fault.
    lying = without_gradient(vzz_status="converged")
    assert only_drop(record(sites=[lying]))["value"] == "efg_xx_1e21_v_m2"


def test_orbital_part_may_be_missing():
    """Where several processes shared the wave functions."""
    shared = {k: v for k, v in site().items() if k not in ("orbital_moment_mub", "bhf_orbital_t")}
    (row,), _ = sort_out([record(total_moment_mub=-3.6, sites=[shared])], CALIBRATION, LIMITS)
    assert row[Site.BHF_ORBITAL] is row[Site.ORBITAL_MOMENT] is None
    assert row[Site.BHF] == 30.0


def test_site_without_any_quantity_is_dropped():
    bare = {key: site()[key] for key in ("site", "element", "atom_indices", "multiplicity")}
    drop = only_drop(record(sites=[bare | dict.fromkeys(STATUSES, "failed")]))
    assert drop["rule"] == "not_finite"
    assert drop["value"].startswith("moment_status failed, ")


def test_parts_and_flags_reach_the_row():
    flagged = record(states_within_mev=7.5, ambiguous_state=True, ionic_without_u=True)
    (row,), _ = sort_out([flagged], CALIBRATION, LIMITS)
    assert (row[Site.BHF_CORE], row[Site.BHF_VALENCE]) == (-24.0, -6.0)
    assert (row[Site.BHF_LORENTZ], row[Site.BHF_ORBITAL]) == (0.7, 2.4)
    assert (row[Site.ORBITAL_MOMENT], row[Site.EFG_FREE_COMPONENTS]) == (0.045, 1)
    assert (row[Site.STATES_WITHIN], row[Site.AMBIGUOUS], row[Site.IONIC]) == (7.5, True, True)
    assert (row[Site.METHOD_HASH], row[Site.SETTINGS_HASH]) == ("abc", "def")


def test_values_at_the_limits_are_kept():
    at_limit = site(vzz_1e21_v_m2=30.0, moment_mub=4.5, bhf_t=-60.0)
    kept, _ = sort_out([record(sites=[at_limit])], CALIBRATION, LIMITS)
    assert len(kept) == 1


def test_field_gradient_at_cubic_site():
    """What symmetry allows is in the record: a magnetic order may have less than the crystal."""
    forbidden = site(efg_free_components=0)
    assert only_drop(record(sites=[forbidden]))["rule"] == "efg_at_cubic_site"
    small = site(efg_free_components=0, vzz_1e21_v_m2=0.1)
    assert len(sort_out([record(sites=[small])], CALIBRATION, LIMITS)[0]) == 1


def test_field_without_any_moment():
    nonmagnetic = site(moment_mub=0.01, bhf_t=-5.0)
    assert only_drop(record(total_moment_mub=0.0, sites=[nonmagnetic]))["rule"] == (
        "bhf_without_moment"
    )
    # Beside a magnetic neighbour a transferred field is real.
    kept, _ = sort_out([record(total_moment_mub=1.6, sites=[nonmagnetic])], CALIBRATION, LIMITS)
    assert len(kept) == 1


@pytest.mark.parametrize("status", ["not_converged", "failed", "rejected"])
def test_unconverged_records_lose_all_their_sites(status):
    broken = record(status=status, reason="why", sites=[])
    broken |= {"symbols": ["Fe", "Fe", "Fe"], "site_labels": ["Fe1", "Fe2", "Fe2"]}
    kept, dropped = sort_out([broken], CALIBRATION, LIMITS)
    assert kept == []
    assert [d["site"] for d in dropped] == ["Fe1", "Fe2"]
    assert {d["value"] for d in dropped} == {f"{status}: why"}


def test_rejected_record_without_structure_counts_once():
    bare = {"structure_id": "x", "status": "rejected", "reason": "no_fe", "sites": []}
    drop = only_drop(bare)
    assert (drop["site"], drop["rule"]) == ("", "not_converged")


def test_other_method_is_dropped_by_name():
    drop = only_drop(record(method_hash="zzz"))
    assert (drop["rule"], drop["value"]) == ("other_settings", "zzz")


def test_fe_atom_without_site_in_a_converged_record():
    torn = record(symbols=["Fe", "Fe"], site_labels=["Fe1", "Fe2"])
    kept, dropped = sort_out([torn], CALIBRATION, LIMITS)
    assert len(kept) == 1
    assert (dropped[0]["site"], dropped[0]["rule"]) == ("Fe2", "not_in_record")


def test_sites_split_by_their_moments_count_one_by_one():
    split = record(symbols=["Fe", "Fe"], site_labels=["Fe1", "Fe1"])
    split["sites"] = [
        site(site="Fe1a", atom_indices=[0]),
        site(site="Fe1b", atom_indices=[1], moment_mub=9.0),
    ]
    kept, dropped = sort_out([split], CALIBRATION, LIMITS)
    assert [row[Site.SITE] for row in kept] == ["Fe1a"]
    assert [d["site"] for d in dropped] == ["Fe1b"]


def test_sites_of_other_elements_are_no_rows():
    kept, dropped = sort_out(
        [record(sites=[site(), {"site": "Co1", "element": "Co", "atom_indices": [1]}])],
        CALIBRATION,
        LIMITS,
    )
    assert (len(kept), len(dropped)) == (1, 0)


def test_site_named_twice_is_an_error():
    with pytest.raises(ValueError, match="FeCo-1 has a site twice"):
        sort_out([record(sites=[site(), site(atom_indices=[0])])], CALIBRATION, LIMITS)


def test_structure_in_two_records_is_an_error():
    with pytest.raises(ValueError, match="two records of structure FeCo-1"):
        sort_out([record(), record()], CALIBRATION, LIMITS)


def flipped(original: dict) -> dict:
    """The same record with all spins turned."""
    turned = copy.deepcopy(original)
    turned["total_moment_mub"] *= -1
    for entry in turned["sites"]:
        signed = ["moment_mub", "orbital_moment_mub", "bhf_t"]
        signed += [f"bhf_{p}_t" for p in ("contact", "core", "valence", "dipolar", "lorentz")]
        for key in (*signed, "bhf_orbital_t"):
            entry[key] *= -1
        entry["bhf_dipolar_orbit_t"] = (-np.array(entry["bhf_dipolar_orbit_t"])).tolist()
    return turned


@pytest.mark.parametrize("total", [3.6, 0.0])
def test_turning_all_spins_changes_no_row(total):
    original = record(total_moment_mub=total)
    (row,), _ = sort_out([original], CALIBRATION, LIMITS)
    (other,), _ = sort_out([flipped(original)], CALIBRATION, LIMITS)
    assert row == other
    assert row[Site.MOMENT] == 2.0


def test_antiparallel_site_keeps_its_sign():
    ferrimagnet = record(total_moment_mub=1.0, sites=[site(moment_mub=-2.0, bhf_t=30.0)])
    assert spin_sign(ferrimagnet) == 1.0
    (row,), _ = sort_out([ferrimagnet], CALIBRATION, LIMITS)
    assert (row[Site.MOMENT], row[Site.BHF]) == (-2.0, 30.0)


def many(n=60) -> list[dict]:
    """Records with smoothly spread shifts and fields proportional to the moment."""
    return [
        record(
            f"s{i:02d}",
            sites=[
                site(
                    contact_density_e_per_bohr3=15000.0 - 0.02 * i,
                    moment_mub=1.0 + 0.02 * i,
                    bhf_t=-12.0 * (1.0 + 0.02 * i) + 0.3 * np.sin(i),
                )
            ],
        )
        for i in range(n)
    ]


def test_outliers_are_dropped_and_the_rest_kept():
    records = many()
    assert len(sort_out(records, CALIBRATION, LIMITS)[0]) == 60
    records[7]["sites"][0]["contact_density_e_per_bohr3"] = 14993.0
    records[8]["sites"][0]["bhf_t"] = 25.0
    kept, dropped = sort_out(records, CALIBRATION, LIMITS)
    assert len(kept) == 58
    assert {(d["structure_id"], d["rule"]) for d in dropped} == {
        ("s07", "outlier_isomer_shift"),
        ("s08", "outlier_bhf_per_moment"),
    }


def test_external_sites_neither_make_outliers_nor_are_any():
    records = many()
    records[7]["sites"][0]["contact_density_e_per_bohr3"] = 14993.0
    wild = many(40)
    for i, one in enumerate(wild):
        one["structure_id"] = f"x{i:02d}"
        one["sites"][0]["contact_density_e_per_bohr3"] = 14994.0 + 0.3 * i
    external = [one["structure_id"] for one in wild]
    kept, dropped = sort_out(records + wild, CALIBRATION, LIMITS, external)
    assert [(d["structure_id"], d["rule"]) for d in dropped] == [("s07", "outlier_isomer_shift")]
    roles = {row[Site.STRUCTURE_ID]: row[Site.ROLE] for row in kept}
    assert {name for name, role in roles.items() if role == "external"} == set(external)
    # As training rows some of them would go.
    assert len(sort_out(records + wild, CALIBRATION, LIMITS)[0]) < 99


def test_external_sites_obey_the_rules_on_a_site():
    broken = record("x", sites=[site(bhf_t=61.0)])
    kept, dropped = sort_out([record(), broken], CALIBRATION, LIMITS, ["x"])
    assert [row[Site.STRUCTURE_ID] for row in kept] == ["FeCo-1"]
    assert [(d["structure_id"], d["rule"]) for d in dropped] == [("x", "bhf_limit")]


def test_few_rows_have_no_outliers():
    records = many(12)
    records[7]["sites"][0]["contact_density_e_per_bohr3"] = 14993.0
    assert len(sort_out(records, CALIBRATION, LIMITS)[0]) == 12


def test_robust_score_by_hand():
    # Median 3, absolute deviations 2, 1, 0, 1, 97: median deviation 1.
    assert robust_score(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).tolist() == [2, 1, 0, 1, 97]
    assert robust_score(np.array([5.0, 5.0, 5.0, 9.0])).tolist() == [0, 0, 0, 0]
    assert robust_score(np.array([1.0, np.nan, 2.0, 3.0, 4.0, 100.0])).tolist() == (
        [2, 0, 1, 0, 1, 97]
    )


def test_missing_values_are_no_outliers_and_hide_none():
    records = many()
    records[3]["sites"] = [without_gradient(moment_mub=1.1, bhf_t=None, bhf_status="failed")]
    records[4]["sites"][0] |= {"contact_density_e_per_bohr3": None, "isomer_shift_status": "failed"}
    records[7]["sites"][0]["contact_density_e_per_bohr3"] = 14993.0
    records[8]["sites"][0]["bhf_t"] = 25.0
    _, dropped = sort_out(records, CALIBRATION, LIMITS)
    assert [d["structure_id"] for d in dropped] == ["s07", "s08"]


def write_case(folder, records) -> dict:
    """Files of a run; keywords for ``clean_sites``."""
    paths = []
    for i, content in enumerate(records):
        paths.append(folder / f"r{i}.json")
        paths[-1].write_text(json.dumps(content))
    (folder / "calibration.json").write_text(json.dumps(CALIBRATION))
    return {
        "record_paths": paths,
        "calibration_json": folder / "calibration.json",
        "rules": LIMITS,
        "sites_parquet": folder / "sites.parquet",
        "training_parquet": folder / "training.parquet",
        "dropped_csv": folder / "dropped.csv",
    }


def test_files_do_not_depend_on_the_order_of_records(tmp_path):
    case = write_case(tmp_path, [*many(3), record("bad", status="failed", sites=[])])
    clean_sites(**case)
    names = ("sites.parquet", "sites.csv", "dropped.csv")
    first = [(tmp_path / name).read_bytes() for name in names]
    clean_sites(**case | {"record_paths": case["record_paths"][::-1]})
    assert [(tmp_path / name).read_bytes() for name in names] == first
    table = pd.read_parquet(tmp_path / "sites.parquet")
    assert list(table.columns) == list(Site)
    assert np.stack(table[Site.EFG_ORBIT].iloc[0]).shape == (1, 6)
    assert Site.EFG_ORBIT not in pd.read_csv(tmp_path / "sites.csv")
    assert list(pd.read_csv(tmp_path / "dropped.csv")["structure_id"]) == ["bad"]


def test_columns_without_any_value_keep_their_type(tmp_path):
    clean_sites(**write_case(tmp_path, [record(sites=[without_gradient()])]))
    table = pd.read_parquet(tmp_path / "sites.parquet")
    missing = table[[Site.VZZ, Site.EFG_XX, Site.STATES_WITHIN]]
    assert {str(kind) for kind in missing.dtypes} == {"float64"}
    assert missing.isna().all(axis=None)
    assert table[Site.EFG_FREE_COMPONENTS].tolist() == [1]


def test_nothing_left_names_the_method(tmp_path):
    case = write_case(tmp_path, [record(method_hash="zzz")])
    with pytest.raises(ValueError, match=r"other_settings.*holds for method abc"):
        clean_sites(**case)
    assert list(pd.read_csv(tmp_path / "dropped.csv")["value"]) == ["zzz"]
    assert not (tmp_path / "sites.parquet").exists()


def test_sites_of_the_reference_set_join_the_training_table_alone(tmp_path):
    first, second, third = many(3)
    (tmp_path / "own").mkdir()
    (tmp_path / "set").mkdir()
    case = write_case(tmp_path / "own", [first, second])
    # The set holds a crystal of the campaign too, with other numbers, and one that is kept apart.
    of_set = [second | {"formula": "other"}, third, record("bad", status="failed", sites=[])]
    paths = write_case(tmp_path / "set", of_set)["record_paths"]
    external = [third["structure_id"]]
    clean_sites(**case, reference_paths=paths, external=external)
    own = pd.read_parquet(tmp_path / "own" / "sites.parquet")
    all_sites = pd.read_parquet(tmp_path / "own" / "training.parquet")
    names = [first["structure_id"], second["structure_id"]]
    assert own[Site.STRUCTURE_ID].tolist() == names
    assert all_sites[Site.STRUCTURE_ID].tolist() == [*names, third["structure_id"]]
    assert "other" not in set(all_sites[Site.FORMULA])
    assert all_sites[Site.ROLE].tolist() == ["train", "train", "external"]
    assert pd.read_csv(tmp_path / "own" / "dropped.csv").empty


def test_a_state_whose_total_moment_was_held_is_no_site():
    held = record("held", fixed_moment=True, note="the total moment is fixed at 1.20 µB")
    kept, dropped = sort_out([record("free"), held], CALIBRATION, LIMITS)
    assert [row[Site.STRUCTURE_ID] for row in kept] == ["free"]
    assert [(d["structure_id"], d["rule"]) for d in dropped] == [("held", "fixed_moment")]
    assert "1.20" in dropped[0]["value"]
