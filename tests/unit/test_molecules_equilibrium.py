"""Relaxation: where it ends, that it goes on after a stop, that it refuses to end early."""

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms

from dft2spectra.dynamics.rigid import is_linear
from dft2spectra.molecules.equilibrium import relax
from dft2spectra.molecules.harmonic import harmonic_reference
from dft2spectra.molecules.shape import inertia
from dft2spectra.molecules.sources import read_molecule
from dft2spectra.records import read_json

SETTINGS = {"xc": "PBE", "basis": "sto-3g", "grid_level": 1}


@pytest.fixture
def water():
    return read_molecule({"name": "water"})


def distances(molecule):
    positions = np.array(molecule["positions_ang"])
    first, second = np.triu_indices(len(positions), k=1)
    return np.linalg.norm(positions[first] - positions[second], axis=1)


def run(molecule, path, settings=SETTINGS, **keywords):
    """Relaxed molecule and the lines it printed, one per computed step."""
    lines = []
    return relax(molecule, settings, path, progress=lines.append, **keywords), lines


def test_water_ends_near_the_measured_geometry(water, tmp_path):
    """0.9572 Å and 104.5° (Benedict, Gailar, Plyler 1956); PBE/def2-SVP is within 3 %."""
    settings = {**SETTINGS, "basis": "def2-svp"}
    relaxed, lines = run(water, tmp_path / "r.json", settings)
    to_first, to_second, between = distances(relaxed)
    assert to_first == pytest.approx(to_second, abs=1e-3)
    assert to_first == pytest.approx(0.9572, rel=0.02)
    angle = 2 * np.degrees(np.arcsin(between / 2 / to_first))
    assert angle == pytest.approx(104.5, rel=0.03)
    assert relaxed["max_force_ev_ang"] < 0.005
    assert len(lines) == relaxed["n_steps"] + 1
    assert relaxed["settings"]["auxiliary_basis"] == "def2-universal-jfit"
    assert relaxed["name"] == "water"


def test_forces_are_the_gradient_of_the_energy(water, tmp_path):
    """The path itself: between steps the energy falls by what the forces say."""
    settings = {**SETTINGS, "grid_level": 0, "conv_tol": 1e-11}
    run(water, tmp_path / "r.json", settings)
    steps = read_json(tmp_path / "r.json")["steps"][2:]
    assert len(steps) >= 3
    for first, second in pairwise(steps):
        moved = np.array(second["positions_ang"]) - np.array(first["positions_ang"])
        mean = np.array(first["forces_ev_ang"]) + np.array(second["forces_ev_ang"])
        # Trapezoidal rule, good to the third order of the (by now small) step.
        work = 0.5 * (mean * moved).sum()
        change = second["energy_ev"] - first["energy_ev"]
        assert change == pytest.approx(-work, rel=0.02, abs=1e-7)


def test_stopped_relaxation_goes_on_where_it_was(water, tmp_path):
    whole, all_lines = run(water, tmp_path / "whole.json")
    assert len(all_lines) >= 4
    path = tmp_path / "stopped.json"
    lines = []

    def stop(line):
        lines.append(line)
        if len(lines) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        relax(water, SETTINGS, path, progress=stop)
    # The step in hand is lost, the two before are recorded.
    assert len(read_json(path)["steps"]) == 2
    continued, later = run(water, path)
    assert len(later) == len(all_lines) - 2
    assert continued["n_steps"] == whole["n_steps"]
    np.testing.assert_allclose(continued["positions_ang"], whole["positions_ang"], atol=1e-5)
    assert run(water, path) == (continued, [])


JOB = """
import json, sys
from ase import Atoms

from dft2spectra.dynamics.rigid import is_linear
from dft2spectra.molecules.equilibrium import relax
from dft2spectra.molecules.harmonic import harmonic_reference
from dft2spectra.molecules.shape import inertia
from dft2spectra.molecules.sources import read_molecule
water = read_molecule({"name": "water"})
relax(water, json.loads(sys.argv[2]), sys.argv[1], progress=lambda line: print(line, flush=True))
"""


def test_second_job_waits_and_takes_the_steps_of_the_first(tmp_path):
    command = [sys.executable, "-c", JOB, str(tmp_path / "r.json"), json.dumps(SETTINGS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert "step 0" in first.stdout.readline()
        first.send_signal(signal.SIGSTOP)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
            assert f"waiting for process {first.pid}" in second.stdout.readline()
            first.send_signal(signal.SIGCONT)
            assert first.communicate()[0].count("step") >= 3
            assert second.communicate()[0] == ""
    assert (first.returncode, second.returncode) == (0, 0)
    assert os.listdir(tmp_path) == ["r.json"]


def test_record_of_other_settings_is_not_used(water, tmp_path):
    path = tmp_path / "r.json"
    run(water, path)
    _, lines = run(water, path, {**SETTINGS, "xc": "BLYP"})
    assert len(lines) >= 3
    other = {**water, "positions_ang": (1.02 * np.array(water["positions_ang"])).tolist()}
    assert len(run(other, path, {**SETTINGS, "xc": "BLYP"})[1]) >= 3


def test_unconverged_ends_are_refused(water, tmp_path):
    with pytest.raises(ValueError, match=r"left after 2 steps \(wanted 1e-06\); raise"):
        run(water, tmp_path / "a.json", fmax_ev_ang=1e-6, max_steps=2)
    with pytest.raises(ValueError, match=r"step 0 not converged in 2 cycles; raise"):
        run(water, tmp_path / "b.json", {**SETTINGS, "max_cycles": 2})
    with pytest.raises(ValueError, match="must be positive"):
        run(water, tmp_path / "c.json", fmax_ev_ang=0.0)


@pytest.mark.parametrize("seed", range(2))
def test_linear_molecule_from_a_rough_start_is_linear(seed, tmp_path):
    """HCN has two bending modes of equal wavenumber, however it was found."""
    straight = np.array([[0.0, 0.0, -1.06], [0.0, 0.0, 0.0], [0.0, 0.0, 1.16]])
    rough = straight + np.random.default_rng(seed).normal(0.0, 0.08, (3, 3))
    start = {"name": "HCN", "formula": "CHN", "symbols": ["H", "C", "N"], "charge": 0}
    relaxed, _ = run({**start, "positions_ang": rough.tolist()}, tmp_path / "r.json")
    masses = [1.008, 12.011, 14.007]
    assert inertia(masses, relaxed["positions_ang"])[0][0] < 1e-12
    assert relaxed["max_force_ev_ang"] < 0.005
    harmonic = harmonic_reference(relaxed, SETTINGS, progress=lambda line: None)
    wavenumbers = harmonic["frequencies_cm1"]
    assert len(wavenumbers) == 4
    assert wavenumbers[0] == pytest.approx(wavenumbers[1], abs=15.0)
    assert 600 < wavenumbers[0] < 900
    atoms = Atoms(relaxed["symbols"], relaxed["positions_ang"])
    assert is_linear(atoms)
