"""Calibration of the isomer shift on synthetic records with a known answer."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from dft2spectra.calibrated import hyperfine_field, isomer_shift
from dft2spectra.crystals.calibration import calibrate, fit_fields, fit_quadrupole_moment
from dft2spectra.crystals.left_out import choose_form, fit_left_out
from dft2spectra.crystals.measured_points import measured_points
from dft2spectra.records import read_json, write_json
from dft2spectra.structures.compounds import read_compound
from dft2spectra.structures.raw import Rejected
from dft2spectra.units import QUADRUPOLE_MOMENT_BARN, splitting_per_vzz

ALPHA, RHO = -0.25, 12000.0


def campaign(folder, shifts, status="converged", settings=None, noise=0.0):
    """Reference and one-site compounds whose density follows δ = α Δρ exactly, up to noise."""
    rng = np.random.default_rng(0)
    records, structures = [], []
    for number, (name, delta) in enumerate({"Fe": 0.0, **shifts}.items()):
        identity = f"{name}-1-{number:08d}"
        measured = {"site": "Fe1", "isomer_shift_mm_s": delta, "calibration": True}
        if name == "Fe":
            measured |= {"bhf_t": 33.9, "temperature_k": 4.2}
        structure = {"structure_id": identity, "name": name, "formula": name}
        structure["measured"] = [measured]
        site = {
            "site": "Fe1",
            "contact_density_e_per_bohr3": RHO + delta / ALPHA + noise * rng.normal(),
            "bhf_t": -28.0,
            "moment_mub": 0.0 if name == "FeTi" else 2.2,
        }
        ended = status if name != "Fe" or status == "failed_reference" else "converged"
        record = {
            "structure_id": identity,
            "status": "failed" if ended == "failed_reference" else ended,
            "reason": "made up",
            "settings": settings or {},
            "settings_hash": "c",
            "method_hash": "a" if settings is None or name != "Fe" else "b",
            "datasets": {"Fe": "0"},
            "site_labels": ["Fe1"],
            "sites": [site],
        }
        for kind, data, paths in (("r", record, records), ("s", structure, structures)):
            paths.append(str(folder / f"{kind}-{name}.json"))
            write_json(paths[-1], data)
    return records, structures


def run(folder, *files, reference="Fe"):
    outputs = [folder / name for name in ("c.json", "c.csv", "c.png")]
    calibrate(*files, {"reference": reference}, *outputs)
    return json.loads(outputs[0].read_text()), pd.read_csv(outputs[1])


SHIFTS = {"FeAl": 0.27, "FeTi": -0.15, "FeCo": 0.02, "Fe2VAl": 0.06}


def test_known_slope_is_found(tmp_path):
    result, points = run(tmp_path, *campaign(tmp_path, SHIFTS))
    assert result["alpha_mm_s_bohr3"] == pytest.approx(ALPHA)
    assert result["isomer_shift"]["form"] == "origin"
    assert result["leave_one_out_rmse_mm_s"] < 1e-9
    assert result["bhf_scale"] == pytest.approx(33.9 / 28.0)
    assert result["n_points"] == len(points) == 4
    assert (result["method_hash"], result["settings_hash"]) == ("a", "c")
    assert (tmp_path / "c.svg").stat().st_size > 1000


def test_error_bar_covers_the_truth_as_often_as_it_says():
    # Repeated noisy campaigns: |α − truth| below one standard error in roughly two thirds.
    rng = np.random.default_rng(5)
    x = np.array([-1.1, 0.6, -0.1, -0.9, -0.3, 0.2, -0.7])
    groups = np.array(["a", "b", "c", "d", "e", "e", "f"])
    inside = 0
    for _ in range(400):
        y = ALPHA * x + 0.03 * rng.normal(size=len(x))
        fit = fit_left_out(x[:, None], y, groups)
        inside += abs(fit.coefficients[0] - ALPHA) < fit.errors[0]
    assert 0.5 < inside / 400 < 0.85


def test_left_out_error_is_larger_than_the_fit_error(tmp_path):
    result, _ = run(tmp_path, *campaign(tmp_path, SHIFTS, noise=0.2))
    assert result["leave_one_out_rmse_mm_s"] > result["fit_rmse_mm_s"] > 0


def test_two_sites_of_a_compound_are_left_out_together():
    x, y = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 6.0])
    fit = fit_left_out(x, y, np.array(["a", "a", "b"]))
    # Without a: slope 6/3; without b: (1 + 4)/5. All: (1 + 4 + 18)/14.
    np.testing.assert_allclose(fit.left_out, [1.0, 2.0, -3.0])
    np.testing.assert_allclose(fit.coefficients, [23 / 14])
    # Jackknife of two slopes 2 and 1: √(½ (¼ + ¼)).
    np.testing.assert_allclose(fit.errors, [0.5])


def test_few_compounds_give_no_second_coefficient():
    terms, names = np.column_stack([np.arange(5.0), np.ones(5)]), np.array(list("abcde"))
    assert fit_left_out(terms, np.arange(5.0), names) is not None
    assert fit_left_out(terms[:4], np.arange(4.0), names[:4]) is None
    # Five compounds, of which four are equal: not determined without the fifth.
    same = np.array([[1.0, 1.0]] * 4 + [[2.0, 1.0]])
    assert fit_left_out(same, np.arange(5.0), names) is None


def test_more_coefficients_have_to_be_worth_it():
    assert choose_form({"one": (1, 0.109), "two": (2, 0.1)}) == "one"
    assert choose_form({"one": (1, 0.111), "two": (2, 0.1)}) == "two"
    assert choose_form({"one": (1, 0.2), "two": (2, 0.1), "other": (2, 0.099)}) == "other"


MOMENT_TERM = -0.02
MOMENTS = {"Fe": 2.2, "A": 0.0, "B": 2.9, "C": 1.0, "D": 0.0, "E": 2.0, "F": 0.5}


def with_moments(folder):
    """Seven compounds whose shifts follow δ = α Δρ + β (m − m_Fe) exactly, one is antiparallel."""
    shifts = {"A": 0.3, "B": 0.1, "C": -0.1, "D": 0.2, "E": 0.0, "F": 0.4}
    records, structures = campaign(folder, shifts)
    for path, (name, moment) in zip(records, MOMENTS.items(), strict=True):
        record = read_json(path)
        site = record["sites"][0]
        extra = MOMENT_TERM * (moment - MOMENTS["Fe"])
        site["moment_mub"] = -moment if name == "C" else moment
        site["contact_density_e_per_bohr3"] -= extra / ALPHA
        write_json(path, record)
    return records, structures


def test_moment_term_is_found_and_gives_shift_error_and_flag(tmp_path):
    result, points = run(tmp_path, *with_moments(tmp_path))
    shift = result["isomer_shift"]
    assert shift["form"] == "moment"
    assert {form["form"] for form in shift["forms"]} == {"origin", "intercept", "moment"}
    np.testing.assert_allclose(shift["coefficients"], [ALPHA, MOMENT_TERM])
    np.testing.assert_allclose(
        points.fitted_isomer_shift_mm_s, points.measured_isomer_shift_mm_s, atol=1e-12
    )
    assert isomer_shift(result, RHO, 2.2)[::2] == (pytest.approx(0.0), False)
    # By hand: −0.25 · (−0.4) − 0.02 · (1.2 − 2.2) = 0.12.
    value, error, extrapolated = isomer_shift(result, RHO - 0.4, -1.2)
    assert (value, extrapolated) == (pytest.approx(0.12), False)
    assert error < 1e-6
    assert isomer_shift(result, RHO + 9.0, 1.2)[2]
    assert isomer_shift(result, RHO, 3.5)[2]


def test_error_of_a_shift_has_a_part_of_the_fit_and_one_of_the_scatter():
    fit = {"form": "origin", "coefficients": [-0.3], "covariance": [[0.04**2]]}
    fit |= {"left_out_rmse": 0.03, "range": {"density": [-1.0, 0.5]}}
    calibration = {"isomer_shift": fit | {"reference": {"density": 10.0, "moment": 2.0}}}
    value, error, extrapolated = isomer_shift(calibration, 9.0, 0.0)
    assert (value, error) == (pytest.approx(0.3), pytest.approx(0.05))  # √(0.04² + 0.03²)
    assert not extrapolated
    assert isomer_shift(calibration, 8.9, 0.0)[2]


def field_points(n=8, noise=0.0):
    """Fields that follow B = 1.4 core + 0.6 valence + Lorentz + orbital, of n compounds."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(n):
        core, valence = -5.0 - 4.0 * number, rng.uniform(-3.0, 12.0)
        row = {"bhf_core_t": core, "bhf_valence_t": valence}
        row |= {"bhf_lorentz_t": rng.uniform(0.3, 0.8), "bhf_orbital_t": rng.uniform(1.0, 5.0)}
        field = 1.4 * core + 0.6 * valence + row["bhf_lorentz_t"] + row["bhf_orbital_t"]
        point = {"structure_id": f"{number}", "compound": f"{number}", "site": "Fe1"}
        point |= {"quantity": "bhf_t", "measured": abs(field + noise * rng.normal()), "row": row}
        rows.append(point | {"temperature_k": 4.2, "trust": "S", "source": "made up"})
    return pd.DataFrame(rows)


def test_factors_of_core_and_valence_are_found():
    points = field_points()
    fit = fit_fields(points)
    assert fit["form"] == "core_valence_lorentz_orbital"
    np.testing.assert_allclose(fit["coefficients"], [1.4, 0.6])
    found = {form["form"]: form["left_out_rmse"] for form in fit["forms"]}
    assert len(found) == 5
    assert found["contact"] > found["core_valence"] > 1e-6 > fit["left_out_rmse"]
    value, error = hyperfine_field({"field": fit}, points.row[0])
    assert abs(value) == pytest.approx(points.measured[0])
    assert error < 1e-6


def test_field_without_spin_density_is_zero_and_a_missing_part_gives_none():
    fit = {"field": fit_fields(field_points(noise=2.0))}
    parts = dict.fromkeys(("core", "valence", "lorentz", "orbital"), 0.0)
    site = {f"bhf_{part}_t": value for part, value in parts.items()}
    assert hyperfine_field(fit, site) == (0.0, 0.0)
    error = hyperfine_field(fit, site | {"bhf_core_t": -20.0})[1]
    assert error > fit["field"]["left_out_rmse"] > 0.5
    assert hyperfine_field(fit, site | {"bhf_orbital_t": None}) is None
    assert hyperfine_field({"field": fit_fields(field_points().head(1))}, site) is None


def test_too_few_fields_and_splittings_say_so():
    assert fit_fields(pd.DataFrame()) == {
        "form": None,
        "unit": "T",
        "reason": "0 measured fields of 0 compounds are too few",
        "points": [],
    }
    gradient = fit_quadrupole_moment(splittings([0.16, 0.17]), pd.DataFrame())
    assert gradient["q_barn"] is None
    assert gradient["reason"] == "2 measured splittings of 2 compounds are too few"


def splittings(q_barn):
    """Doublets of Vzz = −3e21 V/m², η = 0, by a quadrupole moment each."""
    rows = []
    for number, q in enumerate(q_barn):
        row = {"vzz_1e21_v_m2": -3.0, "eta": 0.0}
        measured = 3.0 * splitting_per_vzz() * q / QUADRUPOLE_MOMENT_BARN
        point = {"structure_id": f"{number}", "compound": f"{number}", "site": "Fe1", "row": row}
        rows.append(point | {"quantity": "quadrupole_splitting_mm_s", "measured": measured})
    return pd.DataFrame(rows)


def test_quadrupole_moment_by_hand():
    gradient = fit_quadrupole_moment(splittings([0.15, 0.16, 0.20]), pd.DataFrame())
    assert gradient["q_barn"] == pytest.approx(0.17)
    # Without each: 0.18, 0.175, 0.155 around 0.17; √(2/3 · (1e-4 + 0.25e-4 + 2.25e-4)).
    assert gradient["q_error_barn"] == pytest.approx(np.sqrt(2 / 3 * 3.5e-4))
    assert gradient["used_q_barn"] == 0.16
    # Fe4N: one face atom of three has its axis along the field; sizes only, nearest first.
    row = {"efg_orbit_1e21_v_m2": [[1, 1, -2, 0, 0, 0], [-2, 1, 1, 0, 0, 0], [1, -2, 1, 0, 0, 0]]}
    shifts = [
        {"structure_id": "x", "site": "Fe2", "quantity": "quadrupole_shift_mm_s", "row": row}
        | {"measured": measured}
        for measured in (0.40, -0.20)
    ]
    both = fit_quadrupole_moment(splittings([0.16, 0.16]), pd.DataFrame(shifts))
    computed = [point["computed_mm_s"] for point in both["points"]]
    np.testing.assert_allclose(computed[2:], splitting_per_vzz() * np.array([2.0, 1.0]))


def test_only_flagged_values_of_the_right_kind_are_points():
    entries = [
        {"site": "Fe1", "temperature_k": 295, "bhf_t": 30.0, "calibration": True},
        {"site": "Fe1", "temperature_k": 4.2, "bhf_t": 31.0, "calibration": ["bhf_t"]},
        {"site": "Fe1", "temperature_k": 1.5, "bhf_t": 31.5},
        {"site": "Fe1", "temperature_k": 1.5, "bhf_t": 0.0, "calibration": True},
        {"site": "Fe1", "isomer_shift_mm_s": 0.1, "bhf_t": 9.0, "calibration": ["bhf_t"]},
    ]
    structure = {"structure_id": "x", "name": None, "formula": "FeX", "measured": entries[:4]}
    parts = dict.fromkeys(("core", "valence", "lorentz", "orbital"), 1.0)
    site = {"site": "Fe1"} | {f"bhf_{part}_t": value for part, value in parts.items()}
    record = {"structure_id": "x", "status": "converged", "site_labels": ["Fe1"], "sites": [site]}
    points, left_out = measured_points([record], [structure], "bhf_t")
    assert points.measured.tolist() == [31.0]
    assert [row["reason"] for row in left_out] == [
        "not flagged for the calibration",
        "zero measured",
    ]
    for change, reason in (
        ({"ionic_without_u": True}, "ionic without U"),
        ({"ambiguous_state": True}, "ambiguous magnetic state"),
        ({"status": "failed", "sites": []}, "computed crystal failed"),
        ({"sites": [{"site": "Fe1"}]}, "not computed"),
    ):
        points, left_out = measured_points([record | change], [structure], "bhf_t")
        assert points.empty
        assert left_out[0]["reason"] == reason
    structure["measured"] = entries[4:]
    assert measured_points([record], [structure], "isomer_shift_mm_s")[0].empty


def test_missing_reference_says_what_to_do(tmp_path):
    files = campaign(tmp_path, SHIFTS)
    with pytest.raises(ValueError, match="no structure named 'iron'"):
        run(tmp_path, *files, reference="iron")
    files = campaign(tmp_path, SHIFTS, status="failed_reference")
    with pytest.raises(ValueError, match=r"reference .* ended as failed .*gpaw.ladder"):
        run(tmp_path, *files)


def test_too_few_points_stop(tmp_path):
    with pytest.raises(ValueError, match="at least 3 points"):
        run(tmp_path, *campaign(tmp_path, {"FeAl": 0.27, "FeTi": -0.15}))
    with pytest.raises(ValueError, match="0 calibration points"):
        run(tmp_path, *campaign(tmp_path, SHIFTS, status="not_converged"))


def test_site_without_density_is_no_point(tmp_path):
    records, structures = campaign(tmp_path, SHIFTS | {"FeNi": 0.1})
    for name in ("FeNi", "Fe"):
        path = tmp_path / f"r-{name}.json"
        record = read_json(path)
        del record["sites"][0]["contact_density_e_per_bohr3"]
        record["sites"][0]["reasons"] = {"isomer_shift_status": "core not self-consistent"}
        write_json(path, record)
        if name == "FeNi":
            assert run(tmp_path, records, structures)[0]["n_points"] == len(SHIFTS)
    with pytest.raises(ValueError, match=r"no contact density: .*core not self-consistent"):
        run(tmp_path, records, structures)


def test_mixed_methods_and_positive_slope_stop(tmp_path):
    with pytest.raises(ValueError, match="different settings"):
        run(tmp_path, *campaign(tmp_path, SHIFTS, settings={"cutoff_ev": 300}))
    records, structures = campaign(tmp_path, SHIFTS)
    for path in records:
        record = read_json(path)
        site = record["sites"][0]
        site["contact_density_e_per_bohr3"] = 2 * RHO - site["contact_density_e_per_bohr3"]
        write_json(path, record)
    with pytest.raises(ValueError, match="not negative"):
        run(tmp_path, records, structures)


COMPOUND = """
name: x
formula: Fe
spacegroup: 229
lattice: {a: 2.87}
sites: [{label: Fe1, element: Fe, wyckoff: 2a, position: [0, 0, 0]}]
measured:
  - {site: Fe1, temperature_k: 295, bhf_t: 33.0, quadrupole_shift_mm_s: -0.1, calibration: FLAG}
"""


@pytest.mark.parametrize("flag", ["true", "[bhf_t]", "[quadrupole_shift_mm_s, bhf_t]"])
def test_flag_for_the_calibration_is_read(flag):
    (entry,) = read_compound(COMPOUND.replace("FLAG", flag)).measured
    assert entry["quadrupole_shift_mm_s"] == -0.1
    assert entry["calibration"] == yaml.safe_load(flag)


@pytest.mark.parametrize("flag", ["bhf_t", "[isomer_shift_mm_s]", "1"])
def test_flag_that_names_nothing_of_the_entry_is_refused(flag):
    with pytest.raises(Rejected, match="not true, false or a list of quantities of the entry"):
        read_compound(COMPOUND.replace("FLAG", flag))
