"""The runner on real GPAW with a coarse mesh: records, ladder, starts, failures."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gpaw import fftw
from scipy.spatial.transform import Rotation

from dft2spectra.crystals import gpaw_input, gpaw_runner, scf, starts
from dft2spectra.crystals.gpaw_runner import compute_hyperfine
from dft2spectra.crystals.identity import record_is_current
from dft2spectra.crystals.starts import to_atoms
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
    "eigensolver": "davidson",
    "hubbard_u_ev": {},
    "keep_gpw": False,
}
# For comparisons of one state computed in two ways.
TIGHT = {"energy_ev_per_electron": 1e-6, "density": 1e-5, "eigenstates": 1e-8}


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


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Well converged iron."""
    return run(tmp_path_factory.mktemp("iron"), iron(), convergence=TIGHT)[0]


def assert_same_values(record, reference, energy_ev=1e-4):
    assert record["status"] == "converged"
    assert record["energy_ev"] == pytest.approx(reference["energy_ev"], abs=energy_ev)
    for site, expected in zip(record["sites"], reference["sites"], strict=True):
        for column, atol in (
            ("moment_mub", 1e-3),
            ("contact_density_e_per_bohr3", 1e-3),
            ("bhf_t", 0.01),
            ("bhf_orbital_t", 0.02),
            ("vzz_1e21_v_m2", 2e-3),
        ):
            assert site[column] == pytest.approx(expected[column], abs=atol), column


def test_converged_record_holds_what_is_needed_to_repeat_it(tmp_path):
    record, log = run(tmp_path, iron(), efg_elements=["all"], semicore_efg=True)
    assert record["status"] == "converged"
    assert record_is_current(record, iron(), record["settings"])
    assert record["settings_hash"] == content_hash(record["settings"])
    assert record["gpaw"] == record["versions"]["gpaw"] == "26.7.0"
    assert set(record["versions"]["gpaw_build"]) == {"fftw", "blas", "libxc", "mpi"}
    assert (record["states_within_mev"], record["ambiguous_state"]) == (None, False)
    # A cubic site needs no second run.
    assert "semicore" not in record
    assert "semicore" not in log
    assert len(record["datasets"]["Fe"]) == 32  # md5 of the dataset's file
    (site,) = record["sites"]
    assert site["site"] == "Fe1"
    assert site["multiplicity"] == 1
    assert abs(site["vzz_1e21_v_m2"]) < 1e-6
    assert site["efg_free_components"] == 0
    assert site["bhf_t"] == site["bhf_contact_t"]
    assert site["bhf_t"] == pytest.approx(site["bhf_core_t"] + site["bhf_valence_t"])
    assert site["bhf_core_t"] == pytest.approx(-11.6 * site["moment_mub"], rel=0.06)
    assert {site[f"{name}_status"] for name in ("moment", "isomer_shift", "vzz", "bhf")} == {
        "converged"
    }
    # µ0 M / 3 of the moment of the cell: 0.70 to 0.75 T in α-Fe.
    assert site["bhf_lorentz_t"] == pytest.approx(0.33 * record["total_moment_mub"], abs=0.01)
    (attempt,) = record["starts"][0]["attempts"]
    assert log.count("  iteration ") == attempt["iterations"] > 3
    assert not (tmp_path / "record.scratch").exists()


def test_ladder_is_climbed_and_unconverged_is_a_record(tmp_path):
    ladder = [{}, {"mixer": "pulay", "mixer_beta": 0.1}, {"start_moment_scale": 0.4}]
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


def test_fixed_moments_lead_to_the_free_state(tmp_path, reference):
    """The first rung is cut off: total moments of iron at 0, 0.6, 1.3 and 1.9 µB, then free."""
    record, _ = run(tmp_path, iron(), ladder=[{"max_iterations": 2}, {"fixed_moments": True}])
    assert record["status"] == "converged"
    assert record["note"] is None
    cut, paired, *fixed, free = record["starts"][0]["attempts"]
    assert cut["status"] == "not_converged"
    assert "fixed_total_moment_mub" not in paired
    totals = [a["fixed_total_moment_mub"] for a in fixed]
    assert totals == pytest.approx([0.625, 1.25, 1.875])
    energies = [a["energy_ev"] for a in (paired, *fixed, free)]
    assert energies == sorted(energies, reverse=True)
    assert record["total_moment_mub"] == pytest.approx(reference["total_moment_mub"], abs=0.02)


def test_fftw_and_scipy_give_the_same(tmp_path, reference, monkeypatch):
    assert fftw.have_fftw() == reference["versions"]["gpaw_build"]["fftw"]
    monkeypatch.setattr(fftw, "have_fftw", lambda: False)
    fftw._plan_cache.clear()
    used = []
    rfftn = fftw.NumpyFFTPlans.fft
    monkeypatch.setattr(fftw.NumpyFFTPlans, "fft", lambda plan: used.append(1) or rfftn(plan))
    record, _ = run(tmp_path, iron(), convergence=TIGHT)
    fftw._plan_cache.clear()
    assert used
    assert_same_values(record, reference)


def test_eigensolvers_agree(tmp_path, reference):
    record, _ = run(tmp_path, iron(), convergence=TIGHT, eigensolver="ppcg")
    assert "ppcg" in record["settings"]["eigensolver"]
    assert_same_values(record, reference)


def test_translations_that_are_no_lattice_vectors_change_nothing(tmp_path, monkeypatch):
    """Hexagonal close-packed iron with all its operations, and with the symmorphic half."""
    third, cell = 1 / 3, [[2.46, 0, 0], [-1.23, 2.13042249, 0], [0, 0, 3.96]]
    positions = [[third, 2 * third, 0.25], [2 * third, third, 0.75]]
    hcp = iron(n_atoms=2, cell_ang=cell, scaled_positions=positions, initial_moments_mub=[0, 0])
    changes = {"starts": ["nonmagnetic"], "convergence": TIGHT, "kpoint_density_ang": 1.6}
    whole, _ = run(tmp_path, hcp, **changes)
    found = gpaw_input.operations

    def symmorphic(*crystal):
        rotations, translations, images = found(*crystal)
        kept = ~translations.any(axis=1)
        assert (len(kept), kept.sum()) == (24, 12)
        return rotations[kept], translations[kept], images[kept]

    monkeypatch.setattr(gpaw_input, "operations", symmorphic)
    half, _ = run(tmp_path, hcp, **changes)
    assert half["n_kpoints"] > whole["n_kpoints"]
    assert abs(whole["sites"][0]["vzz_1e21_v_m2"]) > 0.05
    # Translations by halves ask for another grid; at 250 eV the energy sees it.
    assert_same_values(whole, half, energy_ev=1e-3)


def test_orbital_moment_and_field_of_iron(tmp_path, reference):
    """0.045 µB and 2.4 T at a dense mesh; this one is coarse.

    As spin–orbit coupling is weak, the mean over three directions is that of any three: the crystal
    may be turned.
    """
    (site,) = reference["sites"]
    assert 0.02 < site["orbital_moment_mub"] < 0.08
    assert 1.0 < site["bhf_orbital_t"] < 4.5
    assert reference["spin_orbit"]["axes"] == [[0, 1, 2]]
    turn = Rotation.from_euler("zyx", [31, 47, -20], degrees=True).as_matrix()
    turned = iron(cell_ang=(np.array(iron()["cell_ang"]) @ turn.T).tolist())
    record, _ = run(tmp_path, turned, convergence=TIGHT)
    assert record["spin_orbit"]["axes"] == [[0], [1], [2]]
    (other,) = record["sites"]
    for column in ("orbital_moment_mub", "bhf_orbital_t"):
        assert other[column] == pytest.approx(site[column], rel=0.05)


def test_hubbard_term_localises_the_moment(tmp_path, reference):
    record, _ = run(tmp_path, iron(), hubbard_u_ev={"Fe": {"d": 3.0}})
    assert record["status"] == "converged"
    plain = reference["sites"][0]["moment_mub"]
    assert record["sites"][0]["moment_mub"] > plain + 0.2
    assert record["settings_hash"] != reference["settings_hash"]
    assert record["method_hash"] != reference["method_hash"]


def test_failed_semicore_run_costs_the_gradient_alone(tmp_path, monkeypatch):
    problem = "semicore run: went to another magnetic state, 0.40 µB away at one atom"
    outcome = {"status": "not_converged", "reason": problem, "attempts": []}
    monkeypatch.setattr(gpaw_runner, "semicore_run", lambda *_: (None, outcome))
    cell = np.diag([2.8, 2.8, 3.1]).tolist()
    record, _ = run(tmp_path, iron(n_atoms=2, cell_ang=cell), semicore_efg=True)
    assert (record["status"], record["semicore"]) == ("converged", outcome)
    (site,) = record["sites"]
    assert (site["vzz_status"], site["reasons"]) == ("not_converged", {"vzz_status": problem})
    assert "vzz_1e21_v_m2" not in site
    assert site["efg_free_components"] == 1
    assert abs(site["vzz_frozen_core_1e21_v_m2"]) > 0.1
    assert (site["isomer_shift_status"], site["bhf_status"]) == ("converged", "converged")
    assert site["moment_mub"] > 1.5
    assert site["bhf_t"] < -15.0
    assert site["contact_density_e_per_bohr3"] > 12000.0
    # GPAW's output may tell why.
    assert (tmp_path / "record.scratch").is_dir()


def test_nothing_is_written_over_the_record_of_who_took_the_lock_over(tmp_path, monkeypatch):
    record = {"status": "converged", "wall_time_s": 0.0, "sites": []}
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
    assert record["semicore"]["attempts"][0]["fixed_total_moment_mub"] == pytest.approx(
        record["total_moment_mub"], abs=0.01
    )
    assert record["datasets"]["Fe.3s3p"] != record["datasets"]["Fe"]
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
    monkeypatch.setattr(scf, "attempt", lambda *a: pytest.fail("GPAW was called"))
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
