"""A campaign killed at any moment goes on where it was and ends in the same tables."""

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from campaign import Campaign

TABLES = ("sites/sites.csv", "hyperfine/summary.csv", "structures/index.csv")
TARGETS = ("all_structures", "all_hyperfine", "all_sites")
STUB_SECONDS = 0.7


def tables(campaign: Campaign) -> dict[str, pd.DataFrame]:
    """The tables that a person reads, without times."""
    folder = campaign.folder / "results" / "stub"
    return {
        name: pd.read_csv(folder / name).drop(columns="wall_time_s", errors="ignore")
        for name in TABLES
    }


def kill_after(campaign: Campaign, seconds: float) -> None:
    """Start Snakemake and kill -9 it with all its jobs."""
    process = subprocess.Popen(
        campaign.command("--cores", "2", *TARGETS),
        cwd=campaign.folder,
        env=campaign.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def records(campaign: Campaign) -> dict[Path, bytes]:
    """Content of the DFT records that are on disk."""
    return {
        path: path.read_bytes() for path in campaign.folder.glob("results/stub/hyperfine/*.json")
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_9(fresh: Campaign, seed: int) -> None:
    fresh.environment["STUB_SECONDS"] = str(STUB_SECONDS)
    chance = random.Random(seed)
    found = []
    for _ in range(3):
        kill_after(fresh, chance.uniform(3.0, 8.0))
        found.append(records(fresh))
        for earlier in found[:-1]:
            assert earlier.items() <= found[-1].items(), "a finished record was lost or rewritten"
        fresh.finish("--unlock")
    assert found[-1], "nothing was computed before the last kill; let the test wait longer"
    fresh.finish(*TARGETS)
    assert found[-1].items() <= records(fresh).items()
    disturbed = tables(fresh)

    undisturbed = Campaign(fresh.folder.parent / "again", library=fresh.library)
    undisturbed.folder.mkdir()
    (undisturbed.folder / "data").symlink_to(fresh.folder / "data")
    undisturbed.finish(*TARGETS)
    for name, table in tables(undisturbed).items():
        pd.testing.assert_frame_equal(table, disturbed[name])
    assert undisturbed.planned(*TARGETS) == {}


def test_kill_9_of_a_trajectory(fresh: Campaign) -> None:
    """Snakemake keeps what a trajectory has behind it: the next attempt goes on from there."""
    fresh.environment["STUB_STEP_SECONDS"] = "0.05"
    folder = fresh.folder / "results" / "stub"
    chunks = folder / "molecules" / "water" / "trajectories" / "1.npz.chunks"
    process = subprocess.Popen(
        fresh.command("--cores", "1", "all_infrared"),
        cwd=fresh.folder,
        env=fresh.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 300
    while len(list(chunks.glob("*.chunk"))) < 3 and time.monotonic() < end:
        assert process.poll() is None, "the campaign ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    fresh.environment["STUB_STEP_SECONDS"] = "0"
    fresh.finish("--unlock")
    fresh.finish("all_infrared")
    log = (folder / "logs" / "run_trajectory" / "water" / "1.log").read_text("utf-8")
    assert re.search(r"goes on after step [4-9]\d", log)
    with np.load(chunks.with_name("1.npz")) as run:
        np.testing.assert_array_equal(run["step"], np.arange(201))
    assert not chunks.exists()
