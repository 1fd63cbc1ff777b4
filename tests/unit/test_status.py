"""The state of a campaign from what lies in its folder, whole, half-written or damaged."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from snakemake.utils import update_config

from dft2spectra.columns import Status
from dft2spectra.config import ConfigError, complete_config, read_config, split_gpaw
from dft2spectra.crystals.cost import STARTUP_S, estimate
from dft2spectra.crystals.identity import identity
from dft2spectra.dynamics.progress import Progress, read_progress
from dft2spectra.locks import Owner, lock_path, output_lock
from dft2spectra.molecules import labels
from dft2spectra.processes import place, started
from dft2spectra.records import read_json, write_json
from dft2spectra.status.__main__ import campaign_status
from dft2spectra.status.crystals import crystals_status, reasons
from dft2spectra.status.molecules import molecule_status
from dft2spectra.status.slurm import queue_status
from dft2spectra.status.text import HEIGHT, WIDTH, as_text
from dft2spectra.structures.sources import collect, write_structures

ROOT = Path(__file__).parents[2]
NAMES = ["Fe", "FeAl", "FeCo", "Fe4N", "FeSi", "Fe3C"]
CONFIG = read_config([ROOT / "config.yaml"])
SETTINGS, _ = split_gpaw(CONFIG)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A screened campaign in the working folder: five crystals, one too large."""
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(ROOT / "data")
    shutil.copy(ROOT / "config.yaml", "config.yaml")
    source = {"kind": "files", "path": str(ROOT / "data" / "structures"), "names": NAMES}
    folder = Path("results") / "demo"
    write_structures(*collect([source], {"max_atoms": 8}), folder / "structures")
    return folder


def structures(results: Path) -> dict[str, dict[str, Any]]:
    """The crystals by name."""
    paths = results.glob("structures/accepted/*.json")
    return {structure["name"]: structure for structure in map(read_json, paths)}


def add_record(
    results: Path, structure: dict[str, Any], seconds: float = 60.0, **other: Any
) -> Path:
    """A record as a calculation on two processes leaves it."""
    path = results / "hyperfine" / f"{structure['structure_id']}.json"
    record = {
        "structure_id": structure["structure_id"],
        **identity(structure, SETTINGS),
        "status": "converged",
        "reason": None,
        "wall_time_s": seconds,
        "mpi_ranks": 2,
    }
    write_json(path, record | other)
    return path


def add_lock(output: Path, minutes: float, **other: Any) -> None:
    """The lock of an output that this process has held for so long."""
    mine = Owner(
        host="node7",
        pid=os.getpid(),
        place=place(),
        process_started=started(os.getpid()),
        locked_at=(datetime.now(UTC) - timedelta(minutes=minutes)).isoformat(),
        token="1234",
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    lock_path(output).write_text(json.dumps(vars(mine) | other), encoding="utf-8")


def status(results: Path) -> dict[str, Any]:
    return crystals_status(results, SETTINGS)


# --- crystals -------------------------------------------------------------------------------------


def test_before_anything_ran(results: Path) -> None:
    state = status(results)
    counts = [state[str(name)] for name in Status]
    assert (state["structures"], state["waiting"], state["running"], counts) == (5, 5, 0, [0] * 4)
    assert state["left_out"] == {"too_many_atoms": 1}
    alone = [estimate(one, SETTINGS).core_seconds for one in structures(results).values()]
    assert state["core_hours"]["to_come"] == pytest.approx(sum(alone) / 3600, abs=1e-4)
    assert state["core_hours"]["used"] == 0.0
    assert state["end"]["why_not"] == "no crystal is being computed now"


def test_hours_and_end_by_hand(results: Path) -> None:
    """Three records took three times their estimate on two processes: factor 6 for the others."""
    found = structures(results)
    alone = {name: estimate(one, SETTINGS).core_seconds for name, one in found.items()}
    for name in ("Fe", "FeAl", "FeCo"):
        add_record(results, found[name], 3.0 * alone[name])
    path = results / "hyperfine" / f"{found['FeSi']['structure_id']}.json"
    add_lock(path, minutes=0.2)
    state = status(results)
    assert (state["converged"], state["running"], state["waiting"]) == (3, 1, 1)
    assert state["machine_factor"] == pytest.approx(6.0)
    predicted = {name: 6.0 * (alone[name] - STARTUP_S) + STARTUP_S for name in ("Fe4N", "FeSi")}
    used = 6.0 * sum(alone[name] for name in ("Fe", "FeAl", "FeCo")) / 3600
    hours = state["core_hours"]
    assert hours["used"] == pytest.approx(used, abs=1e-4)
    assert hours["running"] == pytest.approx(2 * 0.2 / 60, abs=2e-3)
    left = sum(predicted.values()) / 3600 - hours["running"]
    assert hours["to_come"] == pytest.approx(left, abs=2e-4)
    assert hours["in_all"] == pytest.approx(used + sum(predicted.values()) / 3600, abs=3e-4)
    (job,) = state["longest_running"]
    assert (job["structure_id"], job["host"]) == (found["FeSi"]["structure_id"], "node7")
    assert job["elapsed_min"] == pytest.approx(0.2, abs=0.05)
    assert job["predicted_min"] == pytest.approx(predicted["FeSi"] / 2 / 60, abs=0.01)
    # One at a time, each on two processes.
    assert state["end"]["hours"] == pytest.approx(hours["to_come"] / 2, abs=1e-3)
    until = datetime.fromisoformat(state["end"]["at"]) - datetime.now(UTC)
    assert until.total_seconds() == pytest.approx(3600 * state["end"]["hours"], abs=10)


def test_a_late_job_has_nothing_to_come_and_the_longest_decides(results: Path) -> None:
    found = structures(results)
    for name in ("Fe", "FeAl", "FeCo", "Fe4N"):
        add_record(results, found[name], mpi_ranks=1)
    add_lock(results / "hyperfine" / f"{found['FeSi']['structure_id']}.json", minutes=600)
    state = status(results)
    assert state["core_hours"]["to_come"] == 0.0
    assert state["core_hours"]["running"] == pytest.approx(10.0, abs=0.01)
    assert state["end"]["hours"] == 0.0
    add_lock(results / "hyperfine" / f"{found['FeSi']['structure_id']}.json", minutes=0)
    (results / "hyperfine" / f"{found['Fe4N']['structure_id']}.json").unlink()
    add_lock(results / "hyperfine" / f"{found['Fe4N']['structure_id']}.json", minutes=0)
    state = status(results)
    longest = max(job["predicted_min"] for job in state["longest_running"])
    assert state["end"]["hours"] == pytest.approx(longest / 60, abs=2e-3)


def test_the_end_is_not_guessed(results: Path) -> None:
    """Two records do not tell the speed of a machine."""
    found = structures(results)
    for name in ("Fe", "FeAl"):
        add_record(results, found[name])
    add_lock(results / "hyperfine" / f"{found['FeSi']['structure_id']}.json", minutes=1)
    end = status(results)["end"]
    assert end["at"] is None
    assert end["why_not"].startswith("fewer than 3 records")


def test_reasons_are_grouped(results: Path) -> None:
    found = structures(results)
    unconverged = "no self-consistency in 120 iterations; GPAW's output kept in {}.scratch"
    for name in ("Fe", "FeAl"):
        add_record(results, found[name], status="not_converged", reason=unconverged.format(name))
    add_record(results, found["FeCo"], status="failed", reason="LinAlgError: singular")
    add_record(results, found["Fe4N"], status="rejected", reason="no such cell")
    state = status(results)
    assert (state["not_converged"], state["failed"], state["rejected"]) == (2, 1, 1)
    first = state["reasons"][0]
    assert (first["count"], first["status"]) == (2, "not_converged")
    assert first["reason"] == "no self-consistency in 120 iterations"
    assert {"failed", "rejected"} == {one["status"] for one in state["reasons"][1:]}
    # What a calculation cost is spent whatever came of it.
    assert state["core_hours"]["used"] == pytest.approx(4 * 2 * 60 / 3600, abs=1e-4)


def test_numbers_do_not_make_another_reason() -> None:
    moved = "semicore run: went to another magnetic state, {:.2f} µB away at one atom"
    given = [("not_converged", moved.format(x), f"s{i}") for i, x in enumerate((0.5, -1.25, 12.0))]
    assert [one["count"] for one in reasons(given)] == [3]
    # Names with digits do.
    given = [("failed", "3s of Fe", "a"), ("failed", "3p of Fe", "b"), ("failed", None, "c")]
    assert [one["count"] for one in reasons(given)] == [1, 1, 1]


def test_records_that_do_not_count(results: Path) -> None:
    """Of other settings, of another crystal, damaged, a table in its place: all wait."""
    found = structures(results)
    add_record(results, found["Fe"], settings_hash="other")
    add_record(results, found["FeAl"], structure_hash="other")
    add_record(results, found["FeCo"]).write_text('{"status": "conv', encoding="utf-8")
    add_record(results, found["Fe4N"]).write_bytes(b"\xff\xfe\x00")
    write_json(add_record(results, found["FeSi"]), [1, 2])
    state = status(results)
    assert (state["waiting"], state["converged"]) == (5, 0)
    counts = {name: group["count"] for name, group in state["without_record"].items()}
    assert counts == {"outdated": 3, "unreadable": 2, "interrupted": 0}
    assert state["core_hours"]["used"] == 0.0


def test_a_bundle_keeps_the_good_record(results: Path) -> None:
    """The damaged one of a job of its own does not hide that of a bundle."""
    structure = structures(results)["Fe"]
    path = add_record(results, structure)
    record = read_json(path)
    path.write_text("", encoding="utf-8")
    write_json(path.parent / "bundles" / "records" / path.name, record)
    assert status(results)["converged"] == 1


def test_locks_of_the_dead(results: Path) -> None:
    """A process that is gone, another host that was silent, an empty file: nothing runs."""
    names = ["Fe", "FeAl", "FeCo", "Fe4N"]
    paths = [
        results / "hyperfine" / f"{structures(results)[name]['structure_id']}.json"
        for name in names
    ]
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    add_lock(paths[0], 1.0, pid=process.pid)
    add_lock(paths[1], 1.0, place="elsewhere")
    add_lock(paths[2], 1.0, process_started="1")
    lock_path(paths[3]).write_bytes(b"\xff")
    for path in paths:
        os.utime(lock_path(path), (1e9, 1e9))
    assert status(results)["running"] == 0
    os.utime(lock_path(paths[1]))
    os.utime(lock_path(paths[3]))
    state = status(results)
    assert state["running"] == 2
    assert {job["elapsed_min"] is None for job in state["longest_running"]} == {True, False}
    assert as_text(screen(state)).count("process") == 2


def test_a_lock_of_today(results: Path) -> None:
    path = results / "hyperfine" / f"{structures(results)['Fe']['structure_id']}.json"
    with output_lock(path):
        assert status(results)["running"] == 1
        # A second writer of a record that is there is no calculation.
        add_record(results, structures(results)["Fe"])
        assert (status(results)["running"], status(results)["converged"]) == (0, 1)
    assert status(results)["running"] == 0


def test_a_crystal_of_a_bundle(results: Path) -> None:
    """A bundle computes one crystal after the other: the others of it wait."""
    name = structures(results)["Fe"]["structure_id"]
    with output_lock(results / "hyperfine" / "bundles" / "records" / f"{name}.json"):
        state = status(results)
    assert (state["running"], state["waiting"]) == (1, 4)
    assert state["longest_running"][0]["structure_id"] == name


def test_the_newest_records_tell_the_speed(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign moved to a slower machine: two old records of five no longer count."""
    monkeypatch.setattr("dft2spectra.status.crystals.NEWEST", 3)
    for number, (_, structure) in enumerate(sorted(structures(results).items())):
        alone = estimate(structure, SETTINGS).core_seconds
        path = add_record(results, structure, alone * (1 if number < 2 else 4), mpi_ranks=1)
        os.utime(path, (1e9 + number, 1e9 + number))
    state = status(results)
    assert (state["machine_factor"], state["machine_records"]) == (pytest.approx(4.0), 3)


def test_killed_before_a_record(results: Path) -> None:
    """The log of a job that ended long ago without a record; one that just starts is left alone."""
    found = structures(results)
    logs = results / "logs" / "compute_hyperfine"
    logs.mkdir(parents=True)
    for name in ("Fe", "FeAl", "FeCo"):
        (logs / f"{found[name]['structure_id']}.log").write_text("iteration 1\n", "utf-8")
    for name in ("FeAl", "FeCo"):
        os.utime(logs / f"{found[name]['structure_id']}.log", (1e9, 1e9))
    add_record(results, found["FeCo"])
    group = status(results)["without_record"]["interrupted"]
    assert group["count"] == 1
    assert group["example"].endswith(f"{found['FeAl']['structure_id']}.log")


def test_while_the_screening_is_not_written(results: Path) -> None:
    """What is known of the campaign by the crystals that were written for jobs."""
    folder = results / "structures" / "crystals"
    write_json(folder / "one.json", structures(results)["Fe"])
    (folder / "two.json").write_text('{"struct', encoding="utf-8")
    (results / "structures" / "accepted" / ".half.json").write_text("{", encoding="utf-8")
    assert status(results)["structures"] == 5
    for path in (results / "structures" / "accepted").iterdir():
        path.unlink()
    state = status(results)
    assert (state["structures"], state["screening_complete"]) == (1, False)
    assert "known so far" in as_text(screen(state))
    (folder / "one.json").unlink()
    with pytest.raises(FileNotFoundError, match="snakemake all_structures"):
        status(results)


# --- the text -------------------------------------------------------------------------------------


def screen(crystals: dict[str, Any] | None = None, **other: Any) -> dict[str, Any]:
    """A state to be shown."""
    state = {"results": "results/demo", "time": datetime.now(UTC).isoformat(), **other}
    return state | ({"crystals": crystals} if crystals else {})


def test_one_screen_whatever_happens(results: Path) -> None:
    """Dozens of reasons, jobs and molecules, with long names, fit in 24 lines of 100 columns."""
    found = structures(results)
    for name in NAMES[:3]:
        add_record(results, found[name], status="failed", reason=f"{name}: " + "very bad " * 40)
    state = status(results)
    job = {"structure_id": "x" * 60, "host": "node" * 20, "pid": 1}
    job |= {"elapsed_min": 1.0, "predicted_min": 2e6}
    group = {"count": 123456, "example": "results/" + "x" * 200}
    state |= {
        "reasons": [state["reasons"][0] | {"count": 1000 + i} for i in range(30)],
        "longest_running": [job] * 300,
        "left_out": {f"reason_{i}": 10**i for i in range(20)},
        "without_record": dict.fromkeys(("outdated", "interrupted", "unreadable"), group),
    }
    molecules = {}
    for i in range(20):
        name = f"{'long-name-' * 12}{i}"
        molecules[name] = molecule_status(results, name, CONFIG)
        run = molecules[name]["thermostat"] | {"state": "running", "minutes_left": 1e5}
        molecules[name]["trajectories"]["runs"] = [run] * 100
        molecules[name]["trajectories"]["reasons"] = state["reasons"]
    queue = {"jobs": {f"rule_{i}": {"PENDING": 10**i} for i in range(20)}}
    queue["pending"] = {f"reason {i}": 10**i for i in range(20)}
    lines = as_text(screen(state, molecules=molecules, queue=queue)).splitlines()
    assert len(lines) <= HEIGHT == 24
    assert max(map(len, lines)) <= WIDTH == 100
    message = as_text(screen({"message": "many words " * 60})).splitlines()
    assert max(map(len, message)) <= WIDTH


def test_what_a_person_reads(results: Path) -> None:
    found = structures(results)
    for name in ("Fe", "FeAl", "FeCo"):
        add_record(results, found[name])
    add_record(results, found["FeCo"], status="not_converged", reason="no self-consistency in 9")
    add_lock(results / "hyperfine" / f"{found['FeSi']['structure_id']}.json", minutes=90)
    text = as_text(screen(status(results)))
    assert "converged 2   not_converged 1   failed 0   rejected 0   running 1   waiting 1" in text
    assert f"not_converged 1, such as {found['FeCo']['structure_id']}: no self-cons" in text
    assert "left out by the screening: too_many_atoms 1" in text
    assert "used 3.1," in text  # 3 × 2 × 60 s and 2 × 90 min
    assert "end of the DFT: in " in text


# --- molecules ------------------------------------------------------------------------------------


def test_a_line_of_progress_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``Progress`` writes, for slow and fast steps; nothing else in a log is taken for it."""
    log = tmp_path / "1.log"
    assert read_progress(log) is None
    log.write_text("model read\n12/13 [\n", encoding="utf-8")
    assert read_progress(log) is None
    for seconds in (0.004, 0.6, 2.5, 70.0):
        stream = StringIO()
        clock = iter([0.0, 25 * seconds])
        monkeypatch.setattr("time.monotonic", lambda clock=clock: next(clock))
        meter = Progress(stream, "trajectory", 20000, initial=75)
        meter.interval_s = 0.0
        meter.update(100, "300 K, energy +0.001 meV/atom")
        monkeypatch.undo()
        log.write_text("x" * 9000 + "\n" + stream.getvalue() + "half a li", encoding="utf-8")
        line = read_progress(log)
        assert line is not None
        assert (line.step, line.steps) == (100, 20000)
        assert line.seconds_per_step == pytest.approx(seconds, rel=0.01)


def small() -> dict[str, Any]:
    """A configuration of ten geometries and two trajectories of 200 steps."""
    return read_config([ROOT / "config.yaml", ROOT / "tests" / "configs" / "stub.yaml"])


def write_trajectory(path: Path, **other: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"status": "finished", "reason": "", "timestep_fs": 0.5, "step": np.arange(201)}
    np.savez(path, **(arrays | other))


def test_trajectories(tmp_path: Path) -> None:
    config = small()
    config["dynamics"]["trajectories"] = 6
    folder = tmp_path / "molecules" / "water" / "trajectories"
    write_trajectory(folder / "1.npz")
    write_trajectory(folder / "2.npz", status="stopped", reason="atoms collide", step=np.arange(9))
    write_trajectory(folder / "3.npz", timestep_fs=0.25)  # of other settings
    (folder / "4.npz").write_bytes(b"PK half")
    chunks = folder / "5.npz.chunks"
    chunks.mkdir()
    for step in (0, 21, 41):
        (chunks / f"{step:010d}.chunk").touch()
    (chunks / ".0000000061.chunk.17.chunk").touch()
    add_lock(folder / "5.npz", minutes=3)
    log = tmp_path / "logs" / "run_trajectory" / "water" / "5.log"
    log.parent.mkdir(parents=True)
    log.write_text("trajectory:  30%|##  | 60/200 [00:30<01:10,  2.00 steps/s, 300 K]\n", "utf-8")
    state = molecule_status(tmp_path, "water", config)
    runs = {run["name"]: run for run in state["trajectories"]["runs"]}
    states = [runs[str(number)]["state"] for number in range(1, 7)]
    assert states == ["finished", "stopped", "waiting", "waiting", "running", "waiting"]
    assert (runs["2"]["step"], runs["2"]["reason"]) == (8, "atoms collide")
    assert (runs["5"]["step"], runs["5"]["seconds_per_step"]) == (60, 0.5)
    assert runs["5"]["minutes_left"] == pytest.approx(140 * 0.5 / 60, abs=0.01)
    # Labels have not told what they take.
    assert state["core_hours"]["to_come"] is None
    assert "trajectory 5 30 %" in as_text(screen(molecules={"water": state}))
    log.unlink()
    state = molecule_status(tmp_path, "water", config)
    assert state["trajectories"]["runs"][4]["step"] == 41


def test_labels_and_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch of three is there, two geometries of the next; those of other settings are not."""
    config = small()
    molecule = {"name": "water", "symbols": ["O", "H", "H"], "charge": 0}
    positions = [[0.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.8, 0.6, 0.0]]
    frame = {"split": "train", "temperature_k": 300.0, "positions_ang": positions}
    made: list[str] = []

    def stub(molecule: Any, positions: Any, settings: Any) -> dict[str, Any]:
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append("one")
        label = labels._failure(Status.FAILED, "it collapsed", 3, 1, 0.0)
        good = {"status": "converged", "reason": ""} if len(made) != 2 else {}
        return label | good | {"seconds": 36.0}

    monkeypatch.setattr(labels, "label_geometry", stub)
    folder = tmp_path / "molecules" / "water"
    write_json(folder / "molecule.json", molecule)
    for batch in ("train-000", "train-001"):
        frames = [frame | {"frame": f"{batch}-{i}"} for i in range(3)]
        write_json(folder / "geometries" / f"{batch}.json", frames)
        output = folder / "labels" / f"{batch}.npz"
        try:
            labels.label_batch(molecule, frames, config["pyscf"], output)
        except KeyboardInterrupt:
            assert batch == "train-001"
    for number in (1, 2):
        write_trajectory(folder / "trajectories" / f"{number}.npz")
    steps = np.arange(121)
    write_trajectory(folder / "thermostat.npz", step=steps)
    benchmark = tmp_path / "benchmarks" / "run_trajectory" / "water" / "1.jsonl"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text('{"s": 1800.0}\n{"s": 18', encoding="utf-8")

    add_lock(folder / "labels" / "train-001.npz", minutes=1)
    state = molecule_status(tmp_path, "water", config)
    assert (state["labels"]["wanted"], state["labels"]["converged"]) == (10, 4)
    assert state["labels"]["failed"] == 1
    assert state["labels"]["reasons"][0]["reason"] == "it collapsed"
    assert state["core_hours"] == {"used": 0.5, "to_come": pytest.approx(5 * 36 / 3600)}
    assert state["labels"]["batches_running"] == 1
    assert "labels 5 of 10; 1 failed; batches running 1" in as_text(
        screen(molecules={"water": state})
    )

    config["pyscf"]["xc"] = "LDA,VWN"
    state = molecule_status(tmp_path, "water", config)
    assert state["labels"]["converged"] + state["labels"]["failed"] == 0
    assert state["core_hours"]["to_come"] is None
    (folder / "labels" / "train-000.npz").write_bytes(b"PK")
    (folder / "molecule.json").unlink()
    assert molecule_status(tmp_path, "water", small())["labels"]["converged"] == 0


# --- the command ----------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dft2spectra.status", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_writes_nothing_and_says_the_same_twice(results: Path) -> None:
    add_record(results, structures(results)["Fe"])
    own = Path("own.yaml")
    own.write_text("branches: [mossbauer]\n", encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    shown, told = command("--configfile", "own.yaml"), command("--configfile", "own.yaml", "--json")
    assert (shown.returncode, told.returncode) == (0, 0), shown.stderr + told.stderr
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    state = json.loads(told.stdout)
    assert (state["run"], state["crystals"]["converged"]) == ("demo", 1)
    assert "molecules" not in state
    assert "converged 1 " in shown.stdout
    assert len(shown.stdout.splitlines()) <= HEIGHT


def test_messages_instead_of_a_state(results: Path) -> None:
    Path("other.yaml").write_text("run: other\n", encoding="utf-8")
    for file, words in (("other.yaml", "start the campaign"), ("none.yaml", "cannot be read")):
        done = command("--configfile", file)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    Path("results/other").mkdir()
    config = CONFIG | {"run": "other"}
    state = campaign_status(config)
    assert "snakemake all_structures" in state["crystals"]["message"]
    assert state["molecules"]["water"]["labels"]["wanted"] > 0
    assert "all_structures" in as_text(state)
    Path("config.yaml").unlink()
    (line,) = command().stderr.splitlines()
    assert line.endswith("go where you start Snakemake.")


def test_reader_that_has_seen_enough(results: Path) -> None:
    """As `| head -1`: no word on standard error."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dft2spectra.status", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()  # type: ignore[union-attr]
    assert process.stderr.read() == ""  # type: ignore[union-attr]
    assert process.wait() == -signal.SIGPIPE


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_configurations_are_read_as_snakemake_reads_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    merged: dict[str, Any] = {}
    for file in (ROOT / "config.yaml", path):
        update_config(merged, yaml.safe_load(file.read_text("utf-8")))
    assert read_config([ROOT / "config.yaml", path]) == complete_config(merged)


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    for text, words in (
        ("- a\n", "holds no keys"),
        ("a: [", "cannot be read"),
        ("runn: x", "runn"),
    ):
        (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=words):
            read_config([tmp_path / "c.yaml"])


def test_jobs_in_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were submitted from here, by rule and state; trouble is told, not raised."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert queue_status() is None
    here = tmp_path.resolve()
    program = tmp_path / "squeue"
    lines = [
        f"1|RUNNING|None|n1|1:00|run|rule_compute_hyperfine_wildcards_Fe-229-b24716a3|{here}",
        f"2|PENDING|Priority||0:00|run|rule_compute_hyperfine_wildcards_2|{here}",
        f"3|PENDING|PartitionTimeLimit||0:00|run|rule_compute_hyperfine_wildcards_3|{here}",
        f"4|PENDING|Priority||0:00|run|rule_fit_density_model_wildcards_water|{here}",
        "5|RUNNING|None|n1|1:00|run|rule_compute_hyperfine_wildcards_other|/elsewhere",
        f"6|RUNNING|None|n1|1:00|run|(null)|{here}",
        "nonsense",
    ]
    program.write_text("#!/bin/sh\nprintf '%s\\n' " + " ".join(f"'{line}'" for line in lines))
    program.chmod(0o755)
    queue = queue_status()
    assert queue == {
        "jobs": {
            "compute_hyperfine": {"PENDING": 2, "RUNNING": 1},
            "fit_density_model": {"PENDING": 1},
        },
        "pending": {
            "Priority": 2,
            "PartitionTimeLimit: asks for more time than its partition allows": 1,
        },
    }
    text = as_text(screen(queue=queue))
    assert "SLURM   compute_hyperfine 2 pending, 1 running; fit_density_model 1 pending" in text
    assert "  pending 1: PartitionTimeLimit: asks for more time than its partition allows" in text
    program.write_text("#!/bin/sh\necho 'Unable to contact controller' >&2; exit 1\n")
    queue = queue_status()
    assert queue is not None
    assert "Unable to contact controller" in as_text(screen(queue=queue))


def test_every_key_is_documented(results: Path) -> None:
    add_lock(results / "hyperfine" / f"{structures(results)['Fe']['structure_id']}.json", minutes=1)
    add_record(results, structures(results)["FeAl"], status="failed", reason="singular")
    text = (ROOT / "docs" / "status.md").read_text(encoding="utf-8")

    def keys(value: Any, where: str = "") -> set[str]:
        if isinstance(value, list):
            return set().union(*(keys(item, where) for item in value))
        if not isinstance(value, dict):
            return set()
        # Names of molecules and causes are no keys of ours.
        named = where in ("molecules", "left_out")
        below = set().union(*(keys(item, key) for key, item in value.items()))
        return below | (set() if named else set(value))

    found = keys(campaign_status(CONFIG))
    assert {"machine_factor", "elapsed_min", "trajectories", "why_not"} <= found
    # The table names the first and the last of the statuses.
    missing = {key for key in found if not re.search(rf"[`.]{key}[`.\[]", text)}
    assert missing == {"not_converged", "failed"}
