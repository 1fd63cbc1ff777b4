"""Phases of measured and simulated spectra: found, fitted, certain or not, and written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mossbauer_counts import MAXIMUM_MM_S, OFFSET_MM_S, simulate, write_counts

from dft2spectra.measured.fit import Fit
from dft2spectra.measured.identify import strange, unresolved
from dft2spectra.measured.library import bundled_phases, choose, hyperfine_priors
from dft2spectra.measured.measure import measure, write_measured
from dft2spectra.measured.phases import PhasePrior
from dft2spectra.measured.tables import phase_table, runs_test

ROOT = Path(__file__).parents[2]
SPECTRA = ROOT / "data" / "spectra"
LIBRARY, LEFT_OUT = bundled_phases()


def phases(*names: str) -> list[PhasePrior]:
    return choose(LIBRARY, names)


def test_library_holds_what_is_measured():
    assert len(LIBRARY) >= 40
    assert {"Fe-hcp", "NbFe2", "FeGe-B20"} == set(LEFT_OUT)
    (iron,) = phases("Fe")
    assert iron.sites[0].field.mean == pytest.approx(33.0, abs=0.1)
    (nitride,) = phases("Fe4N")
    assert [site.weight for site in nitride.sites] == [1.0, 2.0, 1.0]
    with pytest.raises(ValueError, match="candidate 'unobtainium' is none of"):
        phases("unobtainium")


def test_measured_goes_before_computed_and_predicted():
    (iron,) = phases("Fe")
    computed = PhasePrior("Fe", "Fe", iron.sites, "computed", crystal="Fe-229-a")
    other = PhasePrior("mine", "Fe2Si", iron.sites, "computed", crystal="Fe2Si-1-b")
    guess = PhasePrior("Fe2Si-1-b", "Fe2Si", iron.sites, "predicted", crystal="Fe2Si-1-b")
    found = hyperfine_priors([iron], [computed, other], [guess])
    assert [(phase.name, phase.origin) for phase in found] == [
        ("Fe", "measured"),
        ("mine", "computed"),
    ]


def test_cold_values_are_taken_at_low_temperature():
    cold, _ = bundled_phases(4.2)
    (hematite,) = choose(cold, ["Fe2O3"])
    assert hematite.sites[0].field.mean == pytest.approx(54.17)


def test_commercial_magnetite(tmp_path):
    """Truth: 49.9 and 46.0 T, δ 0.29 and 0.63 mm/s, 0.70(3) of the area from the A site."""
    velocity = {"calibration": SPECTRA / "alpha-iron.adt"}
    source = {"isomer_shift_mm_s": -0.109}
    found = measure(SPECTRA / "magnetite.adt", LIBRARY, velocity, source)
    write_measured(found, tmp_path, "magnetite", 295.0, SPECTRA / "magnetite.adt")
    table = pd.read_csv(tmp_path / "phases.csv")
    assert table.phase[0] == "Fe3O4"
    assert table.probability[0] > 0.9
    assert table.area_fraction[0] > 0.9
    sites = pd.read_csv(tmp_path / "components.csv").set_index("site")
    assert sites.loc["Fe1", "bhf_t"] == pytest.approx(49.9, abs=0.15)
    assert sites.loc["Fe2", "bhf_t"] == pytest.approx(46.0, abs=0.15)
    assert sites.loc["Fe1", "isomer_shift_mm_s"] == pytest.approx(0.29, abs=0.025)
    assert sites.loc["Fe2", "isomer_shift_mm_s"] == pytest.approx(0.63, abs=0.04)
    assert sites.loc["Fe1", "area_fraction"] == pytest.approx(0.70, abs=0.03)
    record = json.loads((tmp_path / "calibration.json").read_text("utf-8"))
    assert record["maximum_mm_s"] == pytest.approx(12.010, abs=0.004)
    assert record["velocity_sign_from"] == "the shift of the source"
    curves = pd.read_csv(tmp_path / "fit.csv")
    assert curves.velocity_mm_s.is_monotonic_increasing
    assert curves.used.sum() == 511
    fit = json.loads((tmp_path / "fit.json").read_text("utf-8"))
    assert fit["chi2_reduced"] < 1.3
    assert fit["error_factor"] > 1.0  # residuals go together; the errors say so
    assert (tmp_path / "spectrum.png").stat().st_size > 20_000


def test_mixture_with_a_phase_that_the_library_lacks(tmp_path):
    """Fe3Si and ilmenite are known, the carbonate is left out: it comes back as unknown."""
    rng = np.random.default_rng(11)
    contents = phases("Fe3Si", "FeTiO3", "FeCO3")
    spectrum, _, _ = simulate(contents, [0.12, 0.05, 0.04], rng, counts=5e5)
    path = write_counts(tmp_path / "mixture.adt", spectrum.counts)
    library = phases("Fe3Si", "FeTiO3", "Fe", "Fe2O3", "Fe3O4", "FeAl", "FeS2-pyrite", "goethite")
    velocity = {"maximum_mm_s": MAXIMUM_MM_S, "sign": 1}
    found = measure(path, library, velocity, {"isomer_shift_mm_s": OFFSET_MM_S})
    table = phase_table(found.result, 295.0).set_index("phase")
    assert set(table.index) == {"Fe3Si", "FeTiO3", "unknown 1 (doublet)"}
    truth = np.array([0.12, 0.05, 0.04]) / 0.21
    for name, share in zip(("Fe3Si", "FeTiO3", "unknown 1 (doublet)"), truth, strict=True):
        error = table.area_fraction_error[name]
        assert error < 0.02
        assert table.area_fraction[name] == pytest.approx(share, abs=4.0 * error)
    assert table.fe_atom_fraction.sum() == pytest.approx(1.0)
    assert table.weight_fraction.sum() == pytest.approx(1.0)
    assert np.isnan(table.weight_fraction["unknown 1 (doublet)"])


def test_phase_off_its_values_or_under_another_is_none():
    iron, alloy = phases("Fe", "FeCo")
    _, model, values = simulate([iron, alloy], [0.1, 0.1], np.random.default_rng(0), 1e5, False)
    n = len(values)
    empty = np.zeros((n, n))
    fitted = Fit(model, values, np.ones(1), np.ones(1), 1.0, 1.0, empty, empty, empty, 1.0)
    assert not strange(fitted)
    assert not unresolved(fitted)
    values[model.index["1.0.field"]] = 33.3
    assert unresolved(fitted)
    values[model.index["0.0.field"]] = 30.0
    assert strange(fitted)


def test_runs_test_knows_drifts():
    rng = np.random.default_rng(3)
    noise = rng.normal(size=400)
    assert abs(runs_test(noise)["z"]) < 2.5
    assert runs_test(noise + 2.0 * np.sin(np.arange(400) / 30.0))["z"] < -5.0


def test_command_line_refuses_with_the_reason(tmp_path):
    command = [sys.executable, "-m", "dft2spectra.measured", "--output", str(tmp_path)]
    for arguments, reason in (
        ([SPECTRA / "magnetite.adt"], "holds channels and no velocities"),
        ([ROOT / "README.md", "--velocity-max", "12"], "README.md"),
    ):
        done = subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert reason in done.stderr
        assert "Traceback" not in done.stderr


def test_command_line_writes_all_files(tmp_path):
    rng = np.random.default_rng(2)
    spectrum, _, _ = simulate(phases("FeCO3"), [0.1], rng, counts=2e5)
    path = write_counts(tmp_path / "siderite.adt", spectrum.counts)
    options = ["--velocity-max", "12.0", "--folding-channel", "256", "--source-shift", "-0.109"]
    options += ["--sign", "1", "--candidates", "FeCO3", "Fe", "FeTiO3"]
    command = [sys.executable, "-m", "dft2spectra.measured", str(path)]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "out"), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "FeCO3" in done.stdout
    names = {"phases.csv", "components.csv", "calibration.json", "fit.csv", "fit.json"}
    assert names | {"spectrum.png", "spectrum.svg"} == {
        p.name for p in (tmp_path / "out").iterdir()
    }
