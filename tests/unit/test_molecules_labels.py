"""Labels: consistent numbers, failures as data, batches that survive a kill."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from pyscf import dft, gto

from dft2spectra.molecules.labels import label_batch, label_geometry, read_labels
from dft2spectra.molecules.pyscf_input import SettingsError
from dft2spectra.units import BOHR_ANG, EBOHR_DEBYE

SETTINGS = {"xc": "PBE", "basis": "sto-3g", "grid_level": 1}
WATER = {"name": "water", "symbols": ["O", "H", "H"], "charge": 0}
POSITIONS = np.array([[0.0, 0.01, 0.12], [0.0, 0.78, -0.49], [0.05, -0.76, -0.46]])


def geometries(count):
    random = np.random.default_rng(0)
    return [
        {
            "frame": f"train-{number:04d}",
            "split": "train",
            "temperature_k": 300.0,
            "positions_ang": (POSITIONS + 0.03 * random.standard_normal((3, 3))).tolist(),
        }
        for number in range(count)
    ]


def silent(line):
    pass


def test_label_is_what_pyscf_gives_without_density_fitting():
    """Plain PySCF, exact Coulomb integrals: fitting costs less than 1e-4 Ha per atom."""
    label = label_geometry(WATER, POSITIONS, {**SETTINGS, "basis": "def2-svp"})
    atoms = list(zip(WATER["symbols"], POSITIONS / BOHR_ANG, strict=True))
    exact = dft.RKS(gto.M(atom=atoms, unit="Bohr", basis="def2-svp", verbose=0), xc="PBE")
    exact.grids.level = 1
    assert label["energy_ha"] == pytest.approx(exact.kernel(), abs=3e-4)
    assert label["dipole_debye"] == pytest.approx(exact.dip_moment(verbose=0), abs=2e-3)
    occupied = int((exact.mo_occ > 0).sum())
    assert label["homo_ha"] == pytest.approx(exact.mo_energy[occupied - 1], abs=1e-3)
    assert label["lumo_ha"] == pytest.approx(exact.mo_energy[occupied], abs=1e-3)
    assert label["gap_ev"] == pytest.approx(27.2114 * (label["lumo_ha"] - label["homo_ha"]))


def test_numbers_of_a_label_belong_together():
    label = label_geometry(WATER, POSITIONS, SETTINGS)
    assert label["status"] == "converged"
    assert label["reason"] == ""
    molecule = gto.M(
        atom=list(zip(WATER["symbols"], POSITIONS, strict=True)), basis="sto-3g", verbose=0
    )
    density = label["density_matrix"]
    overlap = molecule.intor("int1e_ovlp")
    assert np.trace(density @ overlap) == pytest.approx(10.0, abs=1e-9)
    # Two electrons per orbital: D S D = 2 D.
    np.testing.assert_allclose(density @ overlap @ density, 2 * density, atol=1e-9)
    electrons = -np.einsum("xpq,pq->x", molecule.intor("int1e_r"), density)
    dipole = electrons + molecule.atom_charges() @ molecule.atom_coords()
    np.testing.assert_allclose(label["dipole_debye"], dipole * EBOHR_DEBYE, atol=1e-5)
    # A moving grid leaves no net force.
    assert np.abs(label["forces_ha_per_bohr"].sum(axis=0)).max() < 1e-8


def test_forces_are_the_gradient_of_the_energy():
    settings = {**SETTINGS, "conv_tol": 1e-12}
    direction = np.random.default_rng(2).standard_normal((3, 3))
    step = 2e-4
    energies = [
        label_geometry(WATER, POSITIONS + sign * step * BOHR_ANG * direction, settings)["energy_ha"]
        for sign in (1, -1)
    ]
    forces = label_geometry(WATER, POSITIONS, settings)["forces_ha_per_bohr"]
    slope = (energies[0] - energies[1]) / (2 * step)
    assert slope == pytest.approx(-(forces * direction).sum(), abs=2e-6)


@pytest.mark.parametrize(
    ("positions", "status", "reason"),
    [
        (np.full((3, 3), np.nan), "failed", "not finite"),
        (np.zeros((3, 3)), "failed", "atoms 0 and 1 collide"),
        (POSITIONS * 0.1, "failed", "collide"),
        (POSITIONS[:2], "failed", "positions of shape"),
    ],
)
def test_impossible_geometry_is_a_status(positions, status, reason):
    label = label_geometry(WATER, positions, SETTINGS)
    assert label["status"] == status
    assert reason in label["reason"]
    assert np.isnan(label["energy_ha"])
    assert np.isnan(label["forces_ha_per_bohr"]).all()


def test_unconverged_is_a_status_and_wrong_settings_are_an_error():
    label = label_geometry(WATER, POSITIONS, {**SETTINGS, "max_cycles": 2})
    assert (label["status"], label["cycles"]) == ("not_converged", 2)
    assert label["reason"] == "not converged in 2 cycles"
    assert np.isnan(label["energy_ha"])
    with pytest.raises(SettingsError, match="exact exchange"):
        label_geometry(WATER, POSITIONS, {**SETTINGS, "xc": "PBE0"})
    with pytest.raises(SettingsError, match="unknown basis"):
        label_geometry(WATER, POSITIONS, {**SETTINGS, "basis": "nonsense"})


def test_batch_holds_what_single_labels_hold(tmp_path):
    frames = geometries(4)
    # One geometry of the batch that fails leaves the others as they are.
    frames[1]["positions_ang"] = np.zeros((3, 3)).tolist()
    label_batch(WATER, frames[:3], SETTINGS, tmp_path / "a.npz", silent)
    label_batch(WATER, frames[3:], SETTINGS, tmp_path / "b.npz", silent)
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "b.npz"]
    labels = read_labels([tmp_path / "a.npz", tmp_path / "b.npz"])
    assert [label["frame"] for label in labels] == [frame["frame"] for frame in frames]
    assert [label["status"] for label in labels] == ["converged", "failed"] + 2 * ["converged"]
    assert labels[0]["symbols"] == ["O", "H", "H"]
    for frame, label in zip(frames, labels, strict=True):
        single = label_geometry(WATER, frame["positions_ang"], SETTINGS)
        np.testing.assert_array_equal(label["positions_ang"], frame["positions_ang"])
        for key in ("density_matrix", "energy_ha", "forces_ha_per_bohr", "dipole_debye", "gap_ev"):
            np.testing.assert_array_equal(label[key], single[key])
        assert label["split"] == "train"
        assert isinstance(label["temperature_k"], float)


def test_batch_of_failures_alone_is_written(tmp_path):
    frames = geometries(2)
    for frame in frames:
        frame["positions_ang"] = np.full((3, 3), np.inf)
    label_batch(WATER, frames, SETTINGS, tmp_path / "a.npz", silent)
    assert [label["status"] for label in read_labels([tmp_path / "a.npz"])] == ["failed"] * 2


def test_batches_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no geometry"):
        label_batch(WATER, [], SETTINGS, tmp_path / "a.npz", silent)
    with pytest.raises(ValueError, match="same name"):
        label_batch(WATER, geometries(1) * 2, SETTINGS, tmp_path / "a.npz", silent)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    frames = geometries(2)
    label_batch(WATER, frames[:1], SETTINGS, tmp_path / "a.npz", silent)
    label_batch(WATER, frames[1:], {**SETTINGS, "xc": "BLYP"}, tmp_path / "b.npz", silent)
    with pytest.raises(ValueError, match="other settings"):
        read_labels([tmp_path / "a.npz", tmp_path / "b.npz"])
    with pytest.raises(ValueError, match="two label files"):
        read_labels([tmp_path / "a.npz", tmp_path / "a.npz"])


JOB = """
import sys
sys.path.insert(0, {tests!r})
import test_molecules_labels as t
frames = t.geometries(6)
t.label_batch(t.WATER, frames, t.SETTINGS, {output!r}, lambda line: print(line, flush=True))
"""


def start(tmp_path):
    folder = os.path.dirname(os.path.abspath(__file__))
    code = JOB.format(tests=folder, output=str(tmp_path / "batch.npz"))
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_killed_batch_goes_on(tmp_path):
    """SIGKILL after the third geometry; the second run computes the other ones only."""
    job = start(tmp_path)
    for _ in range(3):
        assert "converged" in job.stdout.readline()
    job.send_signal(signal.SIGKILL)
    job.communicate()
    parts = tmp_path / "batch.npz.parts"
    finished = {path.name: path.stat().st_mtime_ns for path in parts.glob("train-*.npz")}
    assert 3 <= len(finished) < 6
    assert not (tmp_path / "batch.npz").exists()

    second = start(tmp_path)
    lines, errors = second.communicate()
    assert second.returncode == 0, errors
    assert len(lines.splitlines()) == 6 - len(finished)
    assert not parts.exists()
    labels = read_labels([tmp_path / "batch.npz"])
    label_batch(WATER, geometries(6), SETTINGS, tmp_path / "whole.npz", silent)
    for label, whole in zip(labels, read_labels([tmp_path / "whole.npz"]), strict=True):
        assert label["energy_ha"] == whole["energy_ha"]
        np.testing.assert_array_equal(label["density_matrix"], whole["density_matrix"])


def test_parts_of_other_geometries_or_settings_are_computed_again(tmp_path):
    frames = geometries(2)
    lines = []

    def stop(line):
        lines.append(line)
        if len(lines) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label_batch(WATER, frames, SETTINGS, tmp_path / "a.npz", stop)
    # Both parts are there; one geometry changes.
    frames[1]["positions_ang"] = geometries(3)[2]["positions_ang"]
    again = []
    label_batch(WATER, frames, SETTINGS, tmp_path / "a.npz", again.append)
    assert len(again) == 1
    assert "train-0001" in again[0]
    energy = read_labels([tmp_path / "a.npz"])[1]["energy_ha"]
    assert energy == label_geometry(WATER, frames[1]["positions_ang"], SETTINGS)["energy_ha"]
    lines.clear()
    with pytest.raises(KeyboardInterrupt):
        label_batch(WATER, frames, SETTINGS, tmp_path / "b.npz", stop)
    again.clear()
    label_batch(WATER, frames, {**SETTINGS, "grid_level": 0}, tmp_path / "b.npz", again.append)
    assert len(again) == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_damaged_part_is_computed_again(tmp_path, content):
    parts = tmp_path / "a.npz.parts"
    parts.mkdir()
    (parts / "train-0000.npz").write_bytes(content)
    lines = []
    label_batch(WATER, geometries(1), SETTINGS, tmp_path / "a.npz", lines.append)
    assert len(lines) == 1
    assert os.listdir(tmp_path) == ["a.npz"]


def test_finished_batch_is_taken_as_it_is(tmp_path):
    """Unless it is of other geometries or settings, or an empty file."""
    frames, output = geometries(2), tmp_path / "a.npz"
    label_batch(WATER, frames, SETTINGS, output, silent)
    written = output.stat().st_mtime_ns
    # What a process leaves that is killed right after the batch is written.
    (tmp_path / "a.npz.parts").mkdir()
    (tmp_path / "a.npz.parts" / "train-0000.npz").touch()
    label_batch(WATER, frames, SETTINGS, output, pytest.fail)
    assert output.stat().st_mtime_ns == written
    assert os.listdir(tmp_path) == ["a.npz"]

    again = []
    label_batch(WATER, frames, {**SETTINGS, "grid_level": 0}, output, again.append)
    label_batch(WATER, frames[:1], SETTINGS, output, again.append)
    output.write_bytes(b"")
    label_batch(WATER, frames[:1], SETTINGS, output, again.append)
    assert len(again) == 2 + 1 + 1


def test_second_job_of_a_batch_waits_for_the_first(tmp_path):
    first = start(tmp_path)
    assert "converged" in first.stdout.readline()
    first.send_signal(signal.SIGSTOP)
    second = start(tmp_path)
    assert f"waiting for process {first.pid}" in second.stdout.readline()
    first.send_signal(signal.SIGCONT)
    lines, errors = first.communicate()
    assert first.returncode == 0, errors
    assert lines.count("converged") == 5
    lines, errors = second.communicate()
    assert second.returncode == 0, errors
    assert lines == ""
    assert os.listdir(tmp_path) == ["batch.npz"]
