"""From trajectories to files: contents, headers, stopped trajectories, refusals."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

from dft2spectra.columns import Band
from dft2spectra.molecules.equilibrium import relax
from dft2spectra.molecules.harmonic import harmonic_reference
from dft2spectra.molecules.sources import read_molecule
from dft2spectra.spectra.infrared import write_infrared

CM1_FS = 2.99792458e-5
SETTINGS = {
    "window": "gaussian",
    "resolution_cm1": 20.0,
    "padding": 4,
    "quantum_correction": "harmonic",
    "undo_verlet_shift": True,
    "maximum_cm1": 4500.0,
    "prominence": 0.01,
    "assignment_cm1": 100.0,
}
HARMONIC = {
    "name": "water",
    "frequencies_cm1": [1610.0, 3690.0, 3800.0],
    "intensities_km_mol": [70.0, 4.0, 45.0],
}
MEASURED = """
name: water
formula: H2O
phase: gas
source: "a table"
trust: read in the source
bands:
  - {position_cm1: 1595, label: bend, intensity_km_mol: [54, 72]}
  - {position_cm1: 3756, label: stretch, relative_intensity: 70}
  - {position_cm1: 1388, label: of Raman spectra, infrared: false}
"""


def save(path, seed=0, n=12001, step=0.5, **changes):
    """Water of two modes with energies near kT at 300 K (bend 70, stretch 45 km/mol)."""
    rng = np.random.default_rng(seed)
    time = step * np.arange(n)
    dipole = np.tile([0.0, 0.0, 1.85], (n, 1))
    for position, intensity, axis in ((1600.0, 70.0, 2), (3780.0, 45.0, 1)):
        omega = 2.0 * np.pi * CM1_FS * position
        # ⟨Q'²⟩ = kT = 8.3145e-7 u Å²/fs² per kelvin, and 42.2561 km/mol for 1 D²/(Å² u).
        size = np.sqrt(2.0 * 8.3145e-7 * 300.0 * intensity / 42.2561) / omega
        energy = rng.uniform(0.5, 1.5)
        dipole[:, axis] += size * np.sqrt(energy) * np.cos(omega * time + rng.uniform(0, 6))
    arrays = {
        "time_fs": time,
        "dipole_debye": dipole,
        "total_energy_ev": np.zeros(n),
        "temperature_k": np.full(n, 290.0 + seed),
        "timestep_fs": np.array(step),
        "status": np.array("finished"),
        "reason": np.array(""),
    } | changes
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


@pytest.fixture
def run(tmp_path):
    (tmp_path / "harmonic.json").write_text(json.dumps(HARMONIC))
    (tmp_path / "water.yaml").write_text(MEASURED)

    def call(paths, measured=True, **changes):
        outputs = [tmp_path / n for n in ("spectrum.csv", "peaks.csv", "spectrum.png", "e.json")]
        write_infrared(
            paths,
            tmp_path / "harmonic.json",
            tmp_path / "water.yaml" if measured else None,
            300.0,
            SETTINGS | changes,
            *outputs,
        )
        return [
            pd.read_csv(outputs[0], comment="#"),
            pd.read_csv(outputs[1]),
            outputs[2],
            json.loads(outputs[3].read_text()),
        ]

    return call


def several(tmp_path, count=4, **changes):
    return [save(tmp_path / f"{i}.npz", seed=i, **changes) for i in range(count)]


def test_files_of_water(tmp_path, run):
    spectrum, bands, png, evaluation = run(several(tmp_path))
    assert list(spectrum.columns) == ["wavenumber_cm1", "absorption_km_mol_per_cm1"]
    assert spectrum.wavenumber_cm1.is_monotonic_increasing
    assert spectrum.wavenumber_cm1.iloc[-1] <= 4500.0
    area = np.trapezoid(spectrum.absorption_km_mol_per_cm1, spectrum.wavenumber_cm1)
    assert area == pytest.approx(evaluation["total_km_mol"])
    assert area == pytest.approx(115.0, rel=0.4)
    # The series is exact; undoing a Verlet shift that it does not have moves 3780 by −20 cm⁻¹.
    assert bands[Band.POSITION].dropna().tolist() == pytest.approx([1598.5, 3759.8], abs=1.5)
    assert bands[Band.HARMONIC_MODES].tolist() == ["1", "2", "3"] or len(bands) == 3
    assert bands[Band.MEASURED_POSITION].tolist()[0] == 1595.0
    assert bands[Band.MEASURED_INTENSITY].tolist()[0] == 63.0
    assert 1388.0 not in bands[Band.MEASURED_POSITION].tolist()
    assert evaluation["status"] == "computed"
    assert evaluation["harmonic"]["matched"] == 2
    assert evaluation["measured"]["matched"] == 2
    assert evaluation["harmonic_total_km_mol"] == 119.0
    assert evaluation["mean_temperature_k"] == pytest.approx(291.5)
    assert [t["duration_ps"] for t in evaluation["trajectories"]] == [6.0] * 4
    for path in (png, png.with_suffix(".svg")):
        assert path.stat().st_size > 10_000
    each = pd.read_csv(tmp_path / "spectrum.trajectories.csv")
    own = each[[f"trajectory_{i}" for i in range(1, 5)]].to_numpy()
    np.testing.assert_allclose(own.mean(axis=1), spectrum.absorption_km_mol_per_cm1, atol=1e-12)
    np.testing.assert_allclose(own.std(axis=1, ddof=1) / 2.0, each.standard_error, atol=1e-12)


def test_every_choice_stands_in_the_header(tmp_path, run):
    run(several(tmp_path, 2), window="hann", quantum_correction="standard", padding=3)
    lines = (tmp_path / "spectrum.csv").read_text().splitlines()
    header = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    assert header["window"].startswith("hann")
    assert header["quantum_correction"].startswith("standard")
    assert header["resolution_cm1"].startswith("20 ")
    assert header["correlation_ps"] == "1.668"
    assert header["padding"] == "3"
    assert header["verlet_shift"] == "undone, timestep 0.5 fs"
    assert header["trajectories"] == "2"
    assert header["durations_ps"] == "6, 6"
    assert header["temperature_k"] == "300"
    assert header["dipole_jumps"] == "0"


def test_equal_input_gives_equal_files(tmp_path, run):
    paths = several(tmp_path, 2)
    names = ("spectrum.csv", "spectrum.png", "spectrum.svg", "peaks.csv", "e.json")
    contents = []
    for _ in range(2):
        run(paths)
        contents.append([(tmp_path / name).read_bytes() for name in names])
    assert contents[0] == contents[1]


def test_verlet_shift_left_in(tmp_path, run):
    _, bands, _, _ = run(several(tmp_path, 2), undo_verlet_shift=False)
    assert bands[Band.POSITION].dropna().tolist() == pytest.approx([1600.0, 3780.0], abs=1.0)
    assert "# verlet_shift: left in" in (tmp_path / "spectrum.csv").read_text()


def test_one_trajectory_without_measured_bands(tmp_path, run):
    _, bands, png, evaluation = run(several(tmp_path, 1), measured=False)
    assert bands[Band.INTENSITY_ERROR].isna().all()
    assert evaluation["total_error_km_mol"] is None
    assert evaluation["measured"]["matched"] == 0
    assert png.exists()


def test_lengths_may_differ(tmp_path, run):
    paths = [save(tmp_path / "a.npz", n=12001), save(tmp_path / "b.npz", seed=1, n=9001)]
    assert [t["duration_ps"] for t in run(paths)[3]["trajectories"]] == [6.0, 4.5]


def test_stopped_trajectories_are_left_out_and_named(tmp_path, run, caplog):
    good = several(tmp_path, 2)
    status = {"status": np.array("stopped"), "reason": np.array("gap closed")}
    bad = save(tmp_path / "bad.npz", n=50, **status)
    with caplog.at_level(logging.WARNING):
        spectrum, _, _, evaluation = run([*good, bad])
    assert evaluation["left_out"] == {f"{tmp_path.name}/bad.npz": "gap closed"}
    assert len(evaluation["trajectories"]) == 2
    assert "gap closed" in caplog.text
    pd.testing.assert_frame_equal(spectrum, run(good)[0])


def test_nothing_but_stopped_trajectories_still_gives_every_file(tmp_path, run):
    bad = save(tmp_path / "bad.npz", n=50, status=np.array("stopped"))
    spectrum, bands, png, evaluation = run([bad])
    assert spectrum.empty
    assert list(spectrum.columns) == ["wavenumber_cm1", "absorption_km_mol_per_cm1"]
    assert bands[Band.POSITION].isna().all()
    assert len(bands) == 5  # three harmonic, two measured
    assert evaluation["status"] != "computed"
    assert png.exists()
    assert png.with_suffix(".svg").exists()
    assert (tmp_path / "spectrum.trajectories.csv").exists()


@pytest.mark.parametrize(("name", "frequency"), [("N2", 2495.2), ("H2", 4713.0)])
def test_a_molecule_without_infrared_activity_is_a_result_in_words(tmp_path, run, name, frequency):
    """The harmonic intensity is what PBE/def2-SVP gives; the dipole is the noise of a model."""
    harmonic = {"name": name, "frequencies_cm1": [frequency], "intensities_km_mol": [1.6e-13]}
    (tmp_path / "harmonic.json").write_text(json.dumps(harmonic))
    rng = np.random.default_rng(0)
    noise = [1e-5 * rng.standard_normal((12001, 3)).cumsum(axis=0) / 100.0 for _ in range(2)]
    paths = [
        save(tmp_path / f"{i}.npz", seed=i, dipole_debye=dipole) for i, dipole in enumerate(noise)
    ]
    spectrum, bands, png, evaluation = run(paths, measured=False)
    assert evaluation["status"] == "no infrared-active vibration"
    assert bands.empty
    assert list(bands.columns) == list(Band)
    assert len(spectrum) > 100
    assert "# status: no infrared-active vibration" in (tmp_path / "spectrum.csv").read_text()
    words = png.with_suffix(".svg").read_text()
    assert "No infrared-active vibration" in words
    assert "does not absorb in the infrared" in words
    assert evaluation["harmonic"]["matched"] == 0
    assert evaluation["harmonic"]["found_without_partner"] == 0


def test_nitrogen_by_density_functional_theory_is_inactive(tmp_path, run):
    """From the name to the words: the intensity that symmetry forbids, not one set to zero."""
    settings = {"xc": "PBE", "basis": "sto-3g", "grid_level": 0}
    start = read_molecule({"name": "nitrogen"})
    minimum = relax(start, settings, tmp_path / "r.json", progress=str)
    reference = harmonic_reference(minimum, settings, progress=str)
    assert max(reference["intensities_km_mol"]) < 1e-6
    (tmp_path / "harmonic.json").write_text(json.dumps(reference))
    noise = 1e-6 * np.random.default_rng(0).standard_normal((12001, 3))
    _, bands, png, evaluation = run([save(tmp_path / "a.npz", dipole_debye=noise)], measured=False)
    assert evaluation["status"] == "no infrared-active vibration"
    assert bands.empty
    assert "does not absorb in the infrared" in png.with_suffix(".svg").read_text()


NEAR = {"isomer": "F/C=C/F", "above_ev": 0.05}
FAR = {"isomer": "F/C=C/F", "above_ev": 0.09}


def test_isomer_and_what_is_populated_beside_it_are_said(tmp_path, run, caplog):
    """3 kT at 300 K is 0.0776 eV."""
    about = {"isomer": "F/C=C\\F", "notes": ["one is computed"], "conformers": [NEAR, FAR]}
    (tmp_path / "harmonic.json").write_text(json.dumps(HARMONIC | about))
    with caplog.at_level(logging.WARNING):
        _, _, _, evaluation = run([save(tmp_path / "a.npz")], measured=False)
    assert evaluation["isomer"] == "F/C=C\\F"
    assert evaluation["notes"] == ["one is computed"]
    assert evaluation["within_3_kt"] == [NEAR]
    assert "water: one is computed" in caplog.text
    assert "a conformer of F/C=C/F only 0.050 eV above is populated" in caplog.text


def test_a_jump_is_said(tmp_path, run, caplog):
    path = save(tmp_path / "a.npz")
    dipole = np.load(path)["dipole_debye"].copy()
    dipole[6000] += 0.7
    with caplog.at_level(logging.WARNING):
        _, _, _, evaluation = run([save(tmp_path / "a.npz", dipole_debye=dipole)])
    assert evaluation["trajectories"][0]["dipole_jumps_fs"] == pytest.approx([3000.0], abs=0.51)
    assert "# dipole_jumps: 1" in (tmp_path / "spectrum.csv").read_text()
    assert "jumps 1 times" in caplog.text


def test_unequal_steps_within_a_trajectory_are_refused(tmp_path, run):
    time = 0.5 * np.arange(12001)
    time[7000:] += 0.5
    with pytest.raises(ValueError, match=r"not equally spaced, steps from 0\.5 to 1 fs"):
        run([save(tmp_path / "a.npz", time_fs=time)])


def test_trajectories_of_different_steps_are_refused(tmp_path, run):
    other = save(tmp_path / "b.npz", step=1.0, timestep_fs=np.array(0.5))
    paths = [save(tmp_path / "a.npz"), other]
    with pytest.raises(ValueError, match=r"differ in their time step: 0\.5 and 1 fs"):
        run(paths)


def test_integrators_of_different_steps_are_refused(tmp_path, run):
    other = save(tmp_path / "b.npz", timestep_fs=np.array(0.25))
    with pytest.raises(ValueError, match=r"differ in their time step: 0\.5 and 0\.25 fs"):
        run([save(tmp_path / "a.npz"), other])


def test_an_interval_off_the_integrator_is_refused(tmp_path, run):
    with pytest.raises(ValueError, match="do not fall on the steps"):
        run([save(tmp_path / "a.npz", timestep_fs=np.array(0.4))])


@pytest.mark.parametrize("name", ["dipole_debye", "time_fs", "temperature_k"])
def test_a_missing_array_is_named(tmp_path, run, name):
    with pytest.raises(ValueError, match=f"no array {name}"):
        run([save(tmp_path / "a.npz", **{name: None})])


@pytest.mark.parametrize("name", ["dipole_debye", "time_fs", "temperature_k"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, run, name):
    values = np.load(save(tmp_path / "a.npz"))[name].copy()
    values[77] = np.nan
    with pytest.raises(ValueError, match=r"not finite|not equally spaced"):
        run([save(tmp_path / "a.npz", **{name: values})])


def test_times_without_dipoles_are_refused(tmp_path, run):
    with pytest.raises(ValueError, match="12001 times for 100 dipoles"):
        run([save(tmp_path / "a.npz", dipole_debye=np.zeros((100, 3)))])
