"""Volume of least energy: known curves, curves without a minimum, and processes that end badly."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from ase.eos import birchmurnaghan
from ase.units import GPa

from dft2spectra.crystals import relaxation
from dft2spectra.crystals.equation_of_state import NoMinimum, lowest_volume
from dft2spectra.structures import pinned, prototypes, retrieval
from dft2spectra.structures.retrieval import check_current, query, retrieve

SOURCE = {"kind": "prototypes", "name": "cscl", "parents": ["B2"], "elements": ["Al"]}
SOURCE |= {"relax_volume": True, "strains": {"tetragonal": [0.02]}}
LIMITS = {"max_atoms": 4}


def curve(volume, modulus_gpa=180.0):
    return lambda v: float(birchmurnaghan(v, -8.0, modulus_gpa * GPa, 4.5, volume))


@pytest.mark.parametrize("start", [0.75, 0.9, 0.99, 1.0, 1.04, 1.2, 1.3])
def test_minimum_is_found_from_afar(start):
    record = lowest_volume(curve(23.4), start * 23.4)
    assert record["volume_ang3"] == pytest.approx(23.4, rel=2e-4)
    assert record["bulk_modulus_gpa"] == pytest.approx(180.0, rel=0.01)
    assert len(record["volumes_ang3"]) == len(record["energies_ev"]) <= 12
    assert record["volumes_ang3"] == sorted(record["volumes_ang3"])


def test_five_energies_suffice_near_the_minimum():
    assert len(lowest_volume(curve(23.4), 23.4)["energies_ev"]) == 5


@pytest.mark.parametrize(
    ("energy", "words"),
    [
        (lambda v: -v, "still falls at 1"),
        (lambda v: v, "still falls at 0"),
        (curve(23.4, 900.0), "a bulk modulus of 9.. GPa is that of no solid"),
        (curve(23.4, 0.1), "a bulk modulus of 0 GPa is that of no solid"),
    ],
)
def test_curves_of_no_solid_are_refused(energy, words):
    with pytest.raises(NoMinimum, match=words):
        lowest_volume(energy, 23.4)


def pretend_python(folder, script):
    """A program in the place of Python, so that the child process ends as the script says."""
    path = folder / "python"
    path.write_text("#!/bin/sh\n" + script, encoding="utf-8")
    os.chmod(path, path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def fetched(tmp_path, lines, source=SOURCE):
    return relaxation.fetch(
        source, lines.append, limits=LIMITS, scratch=tmp_path / "scratch", processes=2
    )


@pytest.mark.parametrize(
    ("script", "words"),
    [("kill -9 $$", "was ended by SIGKILL"), ("exit 3", "ended with code 3")],
)
def test_a_process_that_ends_badly_is_no_result(tmp_path, monkeypatch, script, words):
    """It stops the retrieval after the other crystals, and says nothing about its own."""
    record = tmp_path / "relaxed.json"
    record.write_text(json.dumps({"volume_ang3": 24.0, "bulk_modulus_gpa": 170.0}))
    script = f"""if grep -q '"Al"' "$4"; then {script}; fi
    while [ "$1" != --output ]; do shift; done; cp {record} "$2"
    """
    monkeypatch.setattr(sys, "executable", pretend_python(tmp_path, script))
    lines = []
    with pytest.raises(pinned.RetrievalError, match="1 of 2 crystals died") as failure:
        fetched(tmp_path, lines, SOURCE | {"elements": ["Al", "Ti"], "n_elements": [2, 2]})
    assert f"Cl=Al,Cs=Fe {words}, see {tmp_path / 'scratch'}" in str(failure.value)
    assert sum(words in line for line in lines) == 1
    assert len(list((tmp_path / "scratch").glob("*.record.json"))) == 1  # not done again


JOB = """
import sys
from pathlib import Path
from test_relaxation import SOURCE, fetched
sys.executable = sys.argv[2]
fetched(Path(sys.argv[1]), [], SOURCE | {"elements": ["Al", "Ti"], "n_elements": [2, 2]})
"""


def test_sigterm_leaves_no_lock(tmp_path):
    """As a queue sends it: to the job and to the processes that it has started."""
    sleeper = pretend_python(tmp_path, "exec sleep 30")
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, str(tmp_path), sleeper],
        cwd=os.path.dirname(__file__),
        start_new_session=True,
    )
    scratch, end = tmp_path / "scratch", time.monotonic() + 60
    while len(list(scratch.glob("*.log"))) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(list(scratch.glob(".*.lock"))) == 2
    os.killpg(job.pid, signal.SIGTERM)
    assert job.wait(60) == 128 + signal.SIGTERM
    assert list(scratch.glob(".*.lock")) == []


def test_nothing_is_pinned_if_a_process_dies(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", pretend_python(tmp_path, "kill -9 $$"))
    fetch = partial(relaxation.fetch, limits=LIMITS, scratch=tmp_path / "scratch", processes=1)
    path = tmp_path / "cscl.json"
    with pytest.raises(pinned.RetrievalError, match="run the same command again"):
        retrieve(SOURCE, path, lambda line: None, fetch)
    assert not path.exists()


def test_a_crystal_without_a_minimum_is_a_reason(tmp_path, monkeypatch):
    record = tmp_path / "relaxed.json"
    record.write_text(json.dumps({"reason": "the energy still falls"}))
    script = f'while [ "$1" != --output ]; do shift; done; cp {record} "$2"'
    monkeypatch.setattr(sys, "executable", pretend_python(tmp_path, script))
    (entry,) = fetched(tmp_path, []).entries
    assert entry["reason"] == "no_volume: the energy still falls"


def test_limits_of_the_source_come_before_dft(tmp_path, monkeypatch):
    """B2 with Al, Ti and V and one copy each: 2 × 3 structures."""
    monkeypatch.setattr(sys, "executable", pretend_python(tmp_path, "exit 3"))
    three = SOURCE | {"elements": ["Al", "Ti", "V"], "n_elements": [2, 2]}
    lines = []
    with pytest.raises(ValueError, match=r"prototypes:cscl of B2: 6 structures \(2 copies"):
        fetched(tmp_path, lines, three | {"at_most": 5})
    assert "decorations × copies = 3 × 2 = 6 structures, at most 5 are allowed" in lines[0]
    excluded = three | {"exclude_elements": ["Al", "Ti", "V"], "at_most": 6}
    entries = fetched(tmp_path, [], excluded).entries
    assert {entry["reason"].split(":")[0] for entry in entries} == {"filtered"}
    assert not (tmp_path / "scratch").exists()


def test_a_set_of_another_functional_or_method_is_refused(tmp_path, monkeypatch):
    retrieved = pinned.Retrieved([], {}, 0)
    pinned.write(tmp_path / "cscl.json", query(SOURCE, "PBE"), retrieved)
    check_current(SOURCE, tmp_path, "PBE")
    with pytest.raises(ValueError, match='xc: "PBE" then, "LDA" now'):
        check_current(SOURCE, tmp_path, "LDA")
    monkeypatch.setattr(retrieval, "method_versions", lambda *modules: {modules[0]: 99})
    with pytest.raises(ValueError, match="method_version: 2 then, 99 now"):
        check_current(SOURCE, tmp_path, "PBE")
    assert "xc" not in query(SOURCE | {"relax_volume": False}, "PBE")


def test_relaxed_crystals_are_pinned_and_strained_afterwards(tmp_path, monkeypatch):
    record = tmp_path / "relaxed.json"
    record.write_text(json.dumps({"volume_ang3": 24.0, "bulk_modulus_gpa": 170.0}))
    count = tmp_path / "count"
    script = f'while [ "$1" != --output ]; do shift; done; cp {record} "$2"; echo . >> {count}'
    monkeypatch.setattr(sys, "executable", pretend_python(tmp_path, script))
    lines = []
    retrieved = fetched(tmp_path, lines)
    assert lines[1].startswith("1 of 1  prototypes:AB_cP2_221_b_a:Cl=Al,Cs=Fe  24.00 Å³, predicted")
    pinned.write(tmp_path / "cscl.json", {"kind": "prototypes"}, retrieved)
    limits = LIMITS | {"pinned": str(tmp_path)}
    found = list(prototypes.enumerate_structures(SOURCE, limits))
    assert len(found) == 2
    for _, raw, provenance in found:
        assert abs(np.linalg.det(raw.cell)) == pytest.approx(24.0, rel=1e-6)
        assert provenance["relaxed_volume_ang3"] == 24.0
        assert "300 eV" in provenance["volume_method"]
    (_, first, _), (_, copy, _) = found
    assert first.prototype == "B2"
    assert copy.parent.startswith("221-")
    with pytest.raises(ValueError, match=r"cscl of B2: 2 structures \(2 copies.*most 1 "):
        list(prototypes.enumerate_structures(SOURCE | {"at_most": 1}, limits))
    fetched(tmp_path, lines)
    assert count.read_text().count(".") == 1  # the second time its record is taken over


def test_every_crystal_has_one_thread(tmp_path, monkeypatch):
    """Whatever number of cores Snakemake told the job's libraries."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "8")
    script = f"env > {tmp_path / 'environment'}; exit 3"
    monkeypatch.setattr(sys, "executable", pretend_python(tmp_path, script))
    with pytest.raises(pinned.RetrievalError, match="1 of 1 crystals died"):
        fetched(tmp_path, [])
    given = (tmp_path / "environment").read_text(encoding="utf-8").splitlines()
    threads = {line for line in given if "NUM_THREADS" in line}
    assert {"OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1"} <= threads
    assert not any(line.endswith("=8") for line in threads)


def test_what_the_limits_refuse_is_not_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", pretend_python(tmp_path, "exit 3"))
    lines = []
    entries = relaxation.fetch(
        SOURCE | {"elements": ["Al", "Tc"], "parents": ["B2", "C15"]},
        lines.append,
        limits=LIMITS | {"min_distance_ang": 3.0},
        scratch=tmp_path / "scratch",
        processes=1,
    ).entries
    codes = {entry["id"]: entry["reason"].split(":")[0] for entry in entries}
    assert codes == {
        "AB_cP2_221_b_a:Cl=Al,Cs=Fe": "overlapping_atoms",
        "AB_cP2_221_b_a:Cl=Fe,Cs=Tc": "no_paw_dataset",
        "A2B_cF24_227_d_a": "too_many_atoms",
    }
    assert not (tmp_path / "scratch").exists()
