"""The status command beside a running Snakemake, after a kill, and at the end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from campaign import CONFIGS, Campaign

from dft2spectra.config import read_config
from dft2spectra.status.__main__ import campaign_status

TARGETS = ("all_structures", "all_hyperfine")
STATUSES = ("converged", "not_converged", "failed", "rejected", "running", "waiting")


def shown(campaign: Campaign, *arguments: str) -> str:
    """What the command says."""
    command = [sys.executable, "-m", "dft2spectra.status"]
    done = subprocess.run(
        [*command, *arguments, "--configfile", str(CONFIGS / campaign.config)],
        cwd=campaign.folder,
        env=campaign.variables(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for(
    process: subprocess.Popen[bytes], campaign: Campaign, seen: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The first state that was waited for; none of them may lack a crystal."""
    config = read_config([CONFIGS / campaign.config])
    end = time.monotonic() + 300
    while time.monotonic() < end:
        assert process.poll() is None, "the campaign ended before it was seen at work"
        if (campaign.folder / "results" / "stub").is_dir():
            state = campaign_status(config)
            crystals = state["crystals"]
            if "message" not in crystals:
                assert sum(crystals[name] for name in STATUSES) == crystals["structures"]
            if seen(state):
                return state
        time.sleep(0.5)
    raise AssertionError("not seen in 300 s")


def test_beside_a_running_campaign(fresh: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fresh.folder)
    fresh.environment |= {"STUB_SECONDS": "4", "STUB_UNCONVERGED": "FeCo"}
    process = fresh.start(*TARGETS)
    try:

        def at_work(state: dict[str, Any]) -> bool:
            crystals = state["crystals"]
            # The screening goes first, so that the campaign is known as a whole.
            if not crystals.get("screening_complete"):
                return False
            done = crystals["converged"] + crystals["not_converged"]
            return 3 <= done < 6 and crystals["running"] >= 1

        state = wait_for(process, fresh, at_work)
        crystals = state["crystals"]
        (job, *_) = crystals["longest_running"]
        assert job["structure_id"] in {
            path.stem for path in fresh.folder.glob("results/stub/structures/accepted/*.json")
        }
        assert 0 <= job["elapsed_min"] < 5
        # Three records of the stub, which all say one second, tell the speed during the run.
        assert crystals["machine_records"] >= 3
        assert crystals["core_hours"]["used"] == pytest.approx(
            crystals["machine_records"] / 3600, abs=1e-4
        )
        assert crystals["end"]["hours"] is not None
        # Snakemake holds its lock; the command does not care.
        text = shown(fresh)
        assert text.startswith("results/stub, ")
        assert "core hours: used" in text
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    state = json.loads(shown(fresh, "--json"))
    assert state["crystals"]["running"] == 0
    assert state["crystals"]["end"]["why_not"] == "no crystal is being computed now"

    fresh.environment["STUB_SECONDS"] = "0"
    fresh.finish("--unlock")
    fresh.finish(*TARGETS)
    state = json.loads(shown(fresh, "--json"))["crystals"]
    assert [state[name] for name in STATUSES] == [5, 1, 0, 0, 0, 0]
    assert state["reasons"][0]["example"].startswith("FeCo-")
    assert state["core_hours"]["to_come"] == 0
    assert state["end"] == {"hours": 0.0, "at": None, "why_not": None}


def test_a_running_trajectory(fresh: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fresh.folder)
    fresh.environment["STUB_STEP_SECONDS"] = "0.1"
    target = "results/stub/molecules/water/trajectories/1.npz"
    process = fresh.start(target)
    try:

        def under_way(state: dict[str, Any]) -> bool:
            run = state["molecules"]["water"]["trajectories"]["runs"][0]
            return run["state"] == "running" and run["step"] > 50

        state = wait_for(process, fresh, under_way)
        water = state["molecules"]["water"]
        labels, trajectories = water["labels"], water["trajectories"]
        run = trajectories["runs"][0]
        # Training and validation, not the test set, which this target does not need.
        assert (labels["converged"], labels["wanted"]) == (7, 10)
        assert (trajectories["running"], trajectories["waiting"]) == (1, 1)
        assert water["thermostat"]["state"] == "finished"
        assert run["steps"] == 200
        assert run["seconds_per_step"] > 0.1
        assert 0 < run["minutes_left"] < 10
        assert state["crystals"]["message"]
        assert water["core_hours"]["used"] > 0
        assert "running: trajectory 1 " in shown(fresh)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    run = json.loads(shown(fresh, "--json"))["molecules"]["water"]["trajectories"]["runs"][0]
    assert run["state"] == "waiting"
    assert run["step"] >= 41
