"""Computed against measured on sites made up by hand."""

import math

import pandas as pd
import pytest

from dft2spectra.crystals.validation import compare, compare_measured, statistics
from dft2spectra.learning.cleaning import site_row
from dft2spectra.records import write_csv, write_json, write_table
from dft2spectra.units import splitting_per_vzz

CALIBRATION = {
    "reference": "Fe-1",
    "points": [
        {
            "structure_id": "FeAl-1",
            "site": "Fe1",
            "temperature_k": 295,
            "measured_isomer_shift_mm_s": 0.27,
            "left_out_error_mm_s": -0.03,
        }
    ],
    "field": {
        "points": [
            {
                "structure_id": "FeAl-1",
                "site": "Fe1",
                "temperature_k": 4.2,
                "measured_bhf_t": 20.0,
                "calibrated_bhf_t": -21.0,
                "left_out_error_t": -2.5,
            }
        ]
    },
    "gradient": {"left_out_rmse_mm_s": 0.03},
}
NOTHING_DROPPED = pd.DataFrame(columns=["structure_id", "site", "rule", "value"])


def site(**changes) -> dict:
    """A magnetic site with a gradient along c."""
    return {
        "structure_id": "FeAl-1",
        "site": "Fe1",
        "moment_mub": 1.9,
        "isomer_shift_mm_s": 0.25,
        "isomer_shift_error_mm_s": 0.02,
        "isomer_shift_extrapolated": False,
        "bhf_calibrated_t": -21.0,
        "bhf_calibrated_error_t": 2.0,
        "bhf_dipolar_orbit_t": [[0.0] * 6],
        "quadrupole_splitting_mm_s": -0.4,
        "vzz_1e21_v_m2": -0.4 / splitting_per_vzz(),
        "efg_orbit_1e21_v_m2": [[1.0, 1.0, -2.0, 0.0, 0.0, 0.0]],
        "ambiguous_state": False,
        "ionic_without_u": False,
    } | changes


def entry(**values) -> dict:
    return {"site": "Fe1", "trust": "S", "source": "made up", "temperature_k": 295} | values


def structure(*entries, **changes) -> dict:
    keys = {"structure_id": "FeAl-1", "name": "FeAl", "formula": "AlFe", "site_labels": ["Fe1"]}
    return keys | {"magnetic_order": "ferromagnetic", "measured": list(entries)} | changes


def compared(site_row: dict, *entries, dropped=NOTHING_DROPPED, **changes) -> list[dict]:
    table = pd.DataFrame([site_row])
    return compare(table, dropped, CALIBRATION, [structure(*entries, **changes)]).to_dict("records")


def test_value_error_and_deviation_by_hand():
    (row,) = compared(site(), entry(isomer_shift_mm_s=0.30))
    assert row["deviation"] == pytest.approx(-0.05)
    assert row["deviation_in_sigma"] == pytest.approx(-2.5)
    assert (row["counted"], row["in_calibration"], row["note"]) == (True, False, "")
    assert (row["trust"], row["source"]) == ("S", "made up")


def test_what_was_fitted_stands_at_its_left_out_value():
    shift = entry(isomer_shift_mm_s=0.27)
    field = entry(bhf_t=20.0, temperature_k=4.2)
    rows = compared(site(), shift, field)
    assert [row["in_calibration"] for row in rows] == [True, True]
    assert [row["computed"] for row in rows] == pytest.approx([0.24, 22.5])  # |−20 − 2.5|
    assert [row["deviation"] for row in rows] == pytest.approx([-0.03, 2.5])


def test_sizes_are_compared_where_spectra_give_no_sign():
    rows = compared(
        site(),
        entry(bhf_t=19.0, temperature_k=77, quadrupole_splitting_mm_s=0.5, moment_mub=2.0),
        entry(quadrupole_shift_mm_s=0.3),
    )
    values = {row["quantity"]: (row["computed"], row["measured"]) for row in rows}
    assert values["bhf_t"] == (21.0, 19.0)
    assert values["quadrupole_splitting_mm_s"] == (0.4, 0.5)
    assert values["moment_mub"] == (1.9, 2.0)
    computed, measured = values["quadrupole_shift_mm_s"]
    assert (computed, measured) == (pytest.approx(2.0 * splitting_per_vzz()), 0.3)
    sigma = {row["quantity"]: row["sigma"] for row in rows}
    assert sigma["quadrupole_splitting_mm_s"] == pytest.approx(0.05)  # 10 % of 0.4 and 0.03
    assert math.isnan(sigma["moment_mub"])


@pytest.mark.parametrize(
    ("changes", "measured", "of_structure", "reason"),
    [
        ({"ionic_without_u": True}, {"isomer_shift_mm_s": 1.0}, {}, "ionic without U"),
        ({}, {"bhf_t": 0.0}, {}, "above the ordering temperature"),
        ({}, {"bhf_t": 0.0, "quadrupole_splitting_mm_s": 0.5}, {}, "above the ordering"),
        ({"moment_mub": 0.0}, {"bhf_t": 9.0}, {}, "computed without moment"),
        ({}, {"bhf_t": 9.0}, {"magnetic_order": "antiferromagnetic"}, "antiferromagnetic"),
        ({}, {"isomer_shift_mm_s": 0.4, "temperature_k": 77}, {}, "measured cold"),
        ({"bhf_calibrated_t": None}, {"bhf_t": 9.0}, {}, "not computed"),
        ({"vzz_1e21_v_m2": float("nan")}, {"quadrupole_shift_mm_s": 0.1}, {}, "not computed"),
        ({"structure_id": "Fe-1"}, {"isomer_shift_mm_s": 0.0}, {"structure_id": "Fe-1"}, "by def"),
        ({"quadrupole_splitting_mm_s": 0.0}, {"quadrupole_splitting_mm_s": 0.0}, {}, "symmetry"),
    ],
)
def test_what_says_nothing_is_shown_and_not_counted(changes, measured, of_structure, reason):
    rows = compared(site(**changes), entry(**measured), **of_structure)
    assert rows
    for row in rows:
        assert reason in row["note"]
        assert not row["counted"]


def test_remarks_leave_a_row_counted():
    (row,) = compared(site(ambiguous_state=True), entry(bhf_t=19.0))
    assert row["counted"]
    assert row["note"] == "ambiguous state; measured field not reduced to 0 K"
    (row,) = compared(site(isomer_shift_extrapolated=True), entry(isomer_shift_mm_s=0.3))
    assert (row["counted"], row["note"]) == (True, "extrapolated")
    split = site(bhf_dipolar_orbit_t=[[0, 0, -3.5, 0, 0, 0], [0, 0, 1.75, 0, 0, 0]])
    (row,) = compared(split, entry(bhf_t=19.0, temperature_k=4))
    assert row["note"] == "mean of an orbit that the computed dipolar field splits by 5.2 T"


def test_sites_of_a_split_orbit_share_the_measured_value():
    table = pd.DataFrame([site(site="Fe1a"), site(site="Fe1b")])
    rows = compare(table, NOTHING_DROPPED, CALIBRATION, [structure(entry(bhf_t=9.0))])
    assert rows.site.tolist() == ["Fe1a", "Fe1b"]


def test_dropped_site_keeps_its_row_with_the_rule():
    lost = [["FeAl-1", "Fe1", "not_converged", "x"], ["FeAl-1", "Fe2", "bhf_limit", "70"]]
    dropped = pd.DataFrame(lost, columns=NOTHING_DROPPED.columns)
    other = site(structure_id="other")
    (row,) = compared(other, entry(bhf_t=9.0), dropped=dropped)
    assert row["note"] == "left out in the cleaning: not_converged"
    assert math.isnan(row["computed"])
    (row,) = compared(other, entry(bhf_t=9.0))
    assert row["note"] == "not in the table of sites"


def test_one_value_of_a_site_counts_and_statistics_are_by_hand():
    entries = [
        entry(bhf_t=23.0),
        entry(bhf_t=24.0, temperature_k=77),
        entry(bhf_t=20.0, temperature_k=4.2),  # that of the calibration
        entry(moment_mub=2.0, trust="R?"),
        entry(moment_mub=1.8, trust="R+"),
        entry(quadrupole_shift_mm_s=0.3),
        entry(quadrupole_shift_mm_s=-0.2),
    ]
    table = compare(pd.DataFrame([site()]), NOTHING_DROPPED, CALIBRATION, [structure(*entries)])
    assert table.counted.tolist() == [False, False, True, False, True, True, True]
    assert table.note[1] == "another value of the site counts"
    rows = statistics(table).set_index("quantity")
    assert rows.loc["bhf_t", ["compared", "not_compared", "rmse"]].tolist() == [1, 2, 2.5]
    assert rows.loc["moment_mub", "mean_deviation"] == pytest.approx(0.1)
    shift = 2.0 * splitting_per_vzz()
    expected = math.sqrt(((shift - 0.3) ** 2 + (shift - 0.2) ** 2) / 2)
    assert rows.loc["quadrupole_shift_mm_s", "rmse"] == pytest.approx(expected)
    assert rows.loc["isomer_shift_mm_s", "compared"] == 0


def test_files_are_written_and_nothing_measured_stops(tmp_path):
    inputs = [tmp_path / name for name in ("s.parquet", "d.csv", "c.json")]
    write_table(inputs[0], pd.DataFrame([site()]), csv_twin=False)
    write_csv(inputs[1], NOTHING_DROPPED)
    write_json(inputs[2], CALIBRATION)
    crystal = tmp_path / "m.json"
    write_json(crystal, structure(entry(bhf_t=19.0, isomer_shift_mm_s=0.3)))
    outputs = [tmp_path / name for name in ("v.csv", "t.csv", "p.png")]
    compare_measured(*inputs, [str(crystal)], *outputs)
    assert pd.read_csv(outputs[0]).quantity.tolist() == ["isomer_shift_mm_s", "bhf_t"]
    assert (tmp_path / "p.svg").stat().st_size > 1000
    write_json(crystal, structure())
    with pytest.raises(ValueError, match=r"no structure .* has a measured value"):
        compare_measured(*inputs, [str(crystal)], *outputs)


def test_row_of_a_site_has_shift_and_field_with_errors_and_the_sign_of_the_spins():
    fit = {"form": "moment", "coefficients": [-0.3, -0.02], "left_out_rmse": 0.03}
    fit |= {"covariance": [[0.0, 0.0], [0.0, 0.02**2]]}
    fit |= {"reference": {"density": 10.0, "moment": 2.0}}
    fit |= {"range": {"density": [-1.0, 1.0], "moment": [-2.0, 1.0]}}
    field = {"form": "core_valence_lorentz_orbital", "coefficients": [1.5, 0.5]}
    field |= {"covariance": [[0.01, 0.0], [0.0, 0.0]], "left_out_rmse": 1.5}
    calibration = {"isomer_shift": fit, "field": field, "bhf_scale": 1.2}
    calibration |= {"alpha_mm_s_bohr3": -0.3, "reference_density_e_per_bohr3": 10.0}
    computed = {
        **{"site": "Fe1", "element": "Fe", "multiplicity": 1, "atom_indices": [0]},
        **{"moment_mub": -1.0, "contact_density_e_per_bohr3": 9.0, "vzz_1e21_v_m2": 0.0},
        **{"bhf_core_t": 20.0, "bhf_valence_t": -4.0, "bhf_lorentz_t": -0.5},
        **{"bhf_orbital_t": -2.5, "bhf_t": 16.0, "bhf_contact_t": 16.0, "bhf_dipolar_t": 0.0},
        **{"eta": 0.0, "orbital_moment_mub": -0.03, "efg_free_components": 0},
        **dict.fromkeys(
            ("moment_status", "isomer_shift_status", "vzz_status", "bhf_status"), "converged"
        ),
    }
    record = {"structure_id": "x", "formula": "Fe", "spacegroup": 1, "parent": "1-x"}
    record |= {"status": "converged", "settings_hash": "a", "method_hash": "b"}
    record |= {"states_within_mev": None, "ambiguous_state": False, "ionic_without_u": False}
    record |= {"total_moment_mub": -1.0, "sites": [computed]}
    row = site_row(record, computed, calibration)
    # 0.3 − 0.02 · (1 − 2); error √(0.02² + 0.03²) of the moment term and the scatter.
    assert row["isomer_shift_mm_s"] == pytest.approx(0.32)
    assert row["isomer_shift_error_mm_s"] == pytest.approx(math.hypot(0.02, 0.03))
    assert row["isomer_shift_extrapolated"] is False
    # 1.5 · 20 − 0.5 · 4 − 3 = 25, turned with the total moment; error √((0.1 · 20)² + 1.5²).
    assert row["bhf_calibrated_t"] == pytest.approx(-25.0)
    assert row["bhf_calibrated_error_t"] == pytest.approx(2.5)
    assert row["bhf_scaled_t"] == pytest.approx(-19.2)
    del computed["bhf_orbital_t"], computed["contact_density_e_per_bohr3"]
    row = site_row(record, computed, calibration)
    assert row["isomer_shift_mm_s"] is None
    assert row["isomer_shift_error_mm_s"] is None
    assert row["bhf_calibrated_t"] is None
