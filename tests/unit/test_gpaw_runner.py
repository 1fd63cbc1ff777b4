"""The runner on real GPAW with a coarse mesh: records, ladder, starts, failures."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dft2spectra.crystals import gpaw_runner, starts
from dft2spectra.crystals.gpaw_runner import compute_hyperfine
from dft2spectra.crystals.starts import start_moments, to_atoms
from dft2spectra.locks import Lock, LockLostError, Owner, output_lock
from dft2spectra.records import content_hash, read_json, write_json

SETTINGS = {
    "cutoff_ev": 250,
    "kpoint_density_ang": 1.2,
    "xc": "PBE",
    "smearing_ev": 0.2,
    "starts": ["ferromagnetic"],
    "max_iterations": 60,
    "ladder": [{}],
    "convergence": {"energy_ev_per_electron": 1e-3, "density": 1e-3, "eigenstates": 1e-4},
    "efg_elements": ["Fe"],
    "semicore_efg": False,
    "keep_gpw": False,
}


def iron(n_atoms=1, **changes):
    cell = (2.8665 / 2 * (1 - 2 * np.eye(3))) if n_atoms == 1 else 2.8665 * np.eye(3)
    structure = {
        "structure_id": "Fe-229-00000000",
        "formula": "Fe",
        "spacegroup": 229,
        "cell_ang": cell.tolist(),
        "symbols": ["Fe"] * n_atoms,
        "scaled_positions": [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]][:n_atoms],
        "site_labels": ["Fe1"] * n_atoms,
        "initial_moments_mub": [2.3] * n_atoms,
        **changes,
    }
    structure["content_hash"] = content_hash(structure)
    return structure


def run(folder, structure, **changes):
    path, output = folder / "structure.json", folder / "record.json"
    write_json(path, structure)
    compute_hyperfine(path, SETTINGS | changes, output, folder / "run.log")
    return json.loads(output.read_text()), (folder / "run.log").read_text()


def test_converged_record_holds_what_is_needed_to_repeat_it(tmp_path):
    record, log = run(tmp_path, iron(), efg_elements=["all"])
    assert record["status"] == "converged"
    assert record["settings_hash"] == content_hash(record["settings"])
    assert record["versions"]["gpaw"] == "26.7.0"
    assert len(record["datasets"]["Fe"]) == 32  # md5 of the dataset's file
    (site,) = record["sites"]
    assert site["site"] == "Fe1"
    assert site["multiplicity"] == 1
    assert abs(site["vzz_1e21_v_m2"]) < 1e-6
    assert site["bhf_t"] == site["bhf_contact_t"]
    (attempt,) = record["starts"][0]["attempts"]
    assert log.count("  iteration ") == attempt["iterations"] > 3
    assert not (tmp_path / "record.scratch").exists()


def test_ladder_is_climbed_and_unconverged_is_a_record(tmp_path):
    ladder = [{}, {"mixer_beta": 0.1}, {"smearing_ev": 0.3, "start_moment_scale": 1.2}]
    record, _ = run(tmp_path, iron(), max_iterations=3, ladder=ladder)
    assert record["status"] == "not_converged"
    assert record["sites"] == []
    attempts = record["starts"][0]["attempts"]
    assert [a["changes"] for a in attempts] == ladder
    assert [a["iterations"] for a in attempts] == [3, 3, 3]
    assert record["reason"].startswith("no self-consistency in 3 iterations")
    scratch = tmp_path / "record.scratch"
    assert str(scratch) in record["reason"]
    assert len(list(scratch.glob("*.gpaw.txt"))) == 3


def test_nothing_is_written_over_the_record_of_who_took_the_lock_over(tmp_path, monkeypatch):
    record = {"status": "converged", "wall_time_s": 0.0}
    monkeypatch.setattr(gpaw_runner, "compute_record", lambda *_: record)
    write_json(tmp_path / "structure.json", iron())
    output = tmp_path / "record.json"
    arguments = tmp_path / "structure.json", SETTINGS, output, tmp_path / "log"
    with output_lock(output) as lock:
        with pytest.raises(LockLostError):
            compute_hyperfine(*arguments, Lock(lock.path, Owner(token="of an earlier job")))
        assert not output.exists()
        compute_hyperfine(*arguments, lock)
    assert read_json(output) == record


def test_second_rung_can_succeed(tmp_path):
    record, _ = run(tmp_path, iron(), max_iterations=3, ladder=[{}, {"max_iterations": 60}])
    assert record["status"] == "converged"
    attempts = record["starts"][0]["attempts"]
    assert [a["status"] for a in attempts] == ["not_converged", "converged"]


def test_lowest_start_is_kept_and_all_are_recorded(tmp_path):
    starts = ["nonmagnetic", "alternating", "ferromagnetic"]
    record, _ = run(tmp_path, iron(n_atoms=2), starts=starts)
    assert record["chosen_start"] == "ferromagnetic"  # bcc iron
    energies = {s["name"]: s["energy_ev"] for s in record["starts"]}
    assert list(energies) == starts
    assert record["energy_ev"] == min(energies.values())
    assert energies["nonmagnetic"] > energies["alternating"]
    (site,) = record["sites"]
    assert site["multiplicity"] == 2


def test_semicore_run_gives_the_gradient_and_is_recorded(tmp_path):
    cell = np.diag([2.8, 2.8, 3.1]).tolist()
    record, _ = run(tmp_path, iron(n_atoms=2, cell_ang=cell), semicore_efg=True)
    assert record["status"] == "converged"
    assert record["semicore"]["status"] == "converged"
    assert record["semicore"]["datasets"]["Fe"] != record["datasets"]["Fe"]
    (site,) = record["sites"]
    assert site["vzz_1e21_v_m2"] != site["vzz_frozen_core_1e21_v_m2"]
    assert math.isclose(
        site["vzz_1e21_v_m2"], site["vzz_frozen_core_1e21_v_m2"], rel_tol=0.5, abs_tol=0.3
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cell_ang": [[math.nan, 0, 0], [0, 3, 0], [0, 0, 3]]}, "not finite"),
        ({"cell_ang": [[3, 0, 0], [0, 3, 0], [3, 3, 0]]}, "holds no crystal"),
        ({"scaled_positions": [[0.1, math.inf, 0.0]]}, "not finite"),
    ],
)
def test_impossible_cell_never_reaches_gpaw(tmp_path, changes, reason, monkeypatch):
    monkeypatch.setattr(gpaw_runner, "attempt", lambda *a: pytest.fail("GPAW was called"))
    structure = iron() | changes
    with pytest.raises(ValueError, match=reason):
        to_atoms(structure)
    record = gpaw_runner.compute_record(structure, SETTINGS, print, tmp_path, None)
    assert record["status"] == "rejected"
    assert reason in record["reason"]


def test_colliding_atoms_end_as_a_failed_record(tmp_path):
    structure = iron(n_atoms=2, scaled_positions=[[0, 0, 0], [0, 0, 0.02]])
    record, _ = run(tmp_path, structure)
    assert record["status"] == "failed"
    assert "Error" in record["reason"]
    assert list((tmp_path / "record.scratch").glob("*.traceback"))


def test_semicore_run_in_another_magnetic_state_is_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(gpaw_runner, "SAME_STATE_MUB_PER_ATOM", 0.0)
    record, _ = run(tmp_path, iron(), semicore_efg=True)
    assert record["status"] == "not_converged"
    assert "another magnetic state" in record["reason"]
    assert record["sites"] == []


def test_start_moments():
    structure = iron(n_atoms=2, initial_moments_mub=[-2.0, 2.0])
    np.testing.assert_allclose(start_moments("ferromagnetic", structure), [2, 2])
    np.testing.assert_allclose(start_moments("nonmagnetic", structure), [0, 0])
    np.testing.assert_allclose(start_moments("given", structure), [-2, 2])
    assert start_moments("given", iron()) is None
    np.testing.assert_allclose(start_moments("alternating", structure), [2, -2])
    two_orbits = structure | {"site_labels": ["Fe1", "Fe2"]}
    np.testing.assert_allclose(start_moments("alternating", two_orbits), [2, -2])
    assert start_moments("alternating", iron()) is None


def test_semicore_dataset_is_what_its_command_makes(tmp_path):
    from gpaw.setup_data import SetupData

    command = "gpaw dataset Fe -f PBE -P 3s,4s,1.0s,3p,4p,1.0p,3d,1.0d,F -r 1.9 -w -t 3s3p"
    assert command in Path(starts.__file__).read_text(encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    made = SetupData("Fe", "PBE", name="3s3p", readxml=False)
    made.read_xml((tmp_path / "Fe.3s3p.PBE").read_bytes())
    ours = SetupData("Fe", "PBE", name="3s3p")
    np.testing.assert_allclose(made.phi_jg, ours.phi_jg, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made.vbar_g, ours.vbar_g, rtol=1e-5, atol=1e-6)
