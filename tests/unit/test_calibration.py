"""Calibration of the isomer shift on synthetic records with a known answer."""

import json

import numpy as np
import pandas as pd
import pytest

from dft2spectra.crystals.calibration import calibrate, jackknife_error, leave_one_out
from dft2spectra.records import read_json, write_json

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
    assert result["leave_one_out_rmse_mm_s"] < 1e-9
    assert result["bhf_scale"] == pytest.approx(33.9 / 28.0)
    assert result["n_points"] == len(points) == 4
    assert (result["method_hash"], result["settings_hash"]) == ("a", "c")
    assert (tmp_path / "c.svg").stat().st_size > 1000


def test_error_bar_covers_the_truth_as_often_as_it_says(tmp_path):
    # Repeated noisy campaigns: |α − truth| below one standard error in roughly two thirds.
    rng = np.random.default_rng(5)
    x = np.array([-1.1, 0.6, -0.1, -0.9, -0.3, 0.2, -0.7])
    groups = np.array(["a", "b", "c", "d", "e", "e", "f"])
    inside = 0
    for _ in range(400):
        y = ALPHA * x + 0.03 * rng.normal(size=len(x))
        slopes, _ = leave_one_out(x, y, groups)
        alpha = x @ y / (x @ x)
        inside += abs(alpha - ALPHA) < jackknife_error(slopes)
    assert 0.5 < inside / 400 < 0.85


def test_left_out_error_is_larger_than_the_fit_error(tmp_path):
    result, _ = run(tmp_path, *campaign(tmp_path, SHIFTS, noise=0.2))
    assert result["leave_one_out_rmse_mm_s"] > result["fit_rmse_mm_s"] > 0


def test_two_sites_of_a_compound_are_left_out_together():
    x, y = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0])
    slopes, errors = leave_one_out(x, y, np.array(["a", "a", "b"]))
    np.testing.assert_allclose(slopes, [2.0, 1.0])
    np.testing.assert_allclose(errors, [1.0, 2.0, -3.0])


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
