"""A campaign killed at any moment goes on where it was and ends in the same tables."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from campaign import CONFIGS, Campaign, new_folder, stub_library

from dft2spectra.records import TEMPORARY

CRYSTALS = ("all_structures", "all_hyperfine", "all_sites")
TARGETS = {"single": CRYSTALS, "bundled": CRYSTALS, "infrared": ("all_infrared",)}
# Long enough for most kills to hit a calculation.
SLOW = {"STUB_SECONDS": "1.5", "STUB_STEP_SECONDS": "0.01"}
# Seeds of the trials of each kind: 26 in all, of which the default suite has two.
SEEDS = {"single": range(10), "bundled": range(8), "infrared": range(8)}
QUICK = [("single", 0), ("bundled", 0)]


@dataclass
class Undisturbed:
    """What a campaign without a kill leaves, and how long it took."""

    files: dict[str, bytes]
    seconds: float


def results(campaign: Campaign) -> Path:
    return campaign.folder / "results" / "stub"


def files(campaign: Campaign) -> dict[str, bytes]:
    """Content of all tables and DFT records; times are those of the stubs, always the same."""
    found = [*results(campaign).rglob("*.csv"), *results(campaign).glob("hyperfine/*.json")]
    return {str(path.relative_to(results(campaign))): path.read_bytes() for path in found}


def leftovers(campaign: Campaign) -> list[str]:
    """What only a process that is at work may have beside the results."""
    kinds = (".lock", ".kept", ".chunks", ".parts", ".scratch")
    paths = results(campaign).rglob("*")
    return [
        str(path)
        for path in paths
        if path.name.endswith(kinds) or ".lock.dead-" in path.name or TEMPORARY.match(path.name)
    ]


def new_campaign(folder: Path, kind: str, library: Path) -> Campaign:
    """A slow campaign with stub DFT; one and three crystals per job are two kinds."""
    settings = yaml.safe_load((CONFIGS / "stub.yaml").read_text(encoding="utf-8"))
    if kind == "bundled":
        settings["gpaw"] = {"structures_per_job": 3, "job_minutes": 10000}
    campaign = Campaign(new_folder(folder), config=str(folder / "own.yaml"), library=library)
    (folder / "own.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (folder / "ledger").mkdir()
    campaign.environment |= SLOW | {"STUB_LEDGER": str(folder / "ledger")}
    return campaign


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stub_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, library: Path
) -> Callable[[str], Undisturbed]:
    """What a campaign of a kind leaves without a kill; how crystals share jobs changes nothing."""

    @cache
    def run(targets: tuple[str, ...]) -> Undisturbed:
        campaign = new_campaign(tmp_path_factory.mktemp("undisturbed") / "work", "single", library)
        begun = time.monotonic()
        campaign.finish("--cores", "2", *targets)
        left = Undisturbed(files(campaign), time.monotonic() - begun)
        assert len(left.files) > 3
        assert leftovers(campaign) == []
        return left

    return lambda kind: run(TARGETS[kind])


def trials() -> list[object]:
    return [
        pytest.param(kind, seed, marks=[] if (kind, seed) in QUICK else [pytest.mark.slow])
        for kind, seeds in SEEDS.items()
        for seed in seeds
    ]


@pytest.mark.parametrize(("kind", "seed"), trials())
def test_kill_9_at_a_random_time(
    tmp_path: Path,
    undisturbed: Callable[[str], Undisturbed],
    library: Path,
    kind: str,
    seed: int,
) -> None:
    """Of all processes at once or, every other time, of Snakemake alone, whose jobs then go on."""
    expected = undisturbed(kind)
    chance = random.Random(f"{kind} {seed}")
    delay_s, killed, number = chance.uniform(0.2, 0.9) * expected.seconds, False, 0
    while not killed:  # it may have been quicker than the undisturbed one
        campaign = new_campaign(tmp_path / str(number), kind, library)
        process = campaign.start(*TARGETS[kind])
        time.sleep(delay_s)
        killed = process.poll() is None
        # The trials of the default suite are one of each.
        alone = (seed + (kind == "bundled")) % 2 == 1
        if killed and alone:
            process.kill()
        elif killed:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        delay_s, number = 0.7 * delay_s, number + 1
    there = {name: data for name, data in files(campaign).items() if name in expected.files}
    assert there.items() <= expected.files.items(), "a file was there that was not whole"
    print(f"{kind} {seed}: killed after {delay_s / 0.7:.1f} s, {len(there)} files there", end="; ")

    campaign.finish("--unlock")
    campaign.finish("--cores", "2", *TARGETS[kind])
    assert files(campaign) == expected.files
    assert leftovers(campaign) == []
    assert campaign.planned(*TARGETS[kind]) == {}
    done = [len(p.read_text("utf-8").split()) for p in campaign.folder.glob("ledger/*.done")]
    print(f"calculations per crystal {sorted(done)}")
    assert len(done) == (0 if kind == "infrared" else 6)
    # Jobs that go on are waited for, not repeated; a kill of all costs what was in hand.
    assert sum(done) - len(done) <= (0 if alone else 2)
    assert not list(campaign.folder.glob("ledger/*.running")) or not alone


@pytest.mark.parametrize("kind", ["single", "bundled"])
def test_second_job_waits_for_the_first(tmp_path: Path, library: Path, kind: str) -> None:
    """Snakemake is killed, its job is not: the job of the next run takes that one's record."""
    campaign = new_campaign(tmp_path / "work", kind, library)
    ledger, gate = campaign.folder / "ledger", campaign.folder / "gate"
    campaign.environment |= {"STUB_SECONDS": "0", "STUB_GATE": str(gate)}

    def wait_until(process: subprocess.Popen[bytes], seen: Callable[[], bool]) -> None:
        end = time.monotonic() + 300
        while not seen():
            assert process.poll() is None, "the campaign ended too early"
            assert time.monotonic() < end
            time.sleep(0.05)

    def logs() -> list[str]:
        folder = results(campaign) / "logs" / "compute_hyperfine"
        return [path.read_text("utf-8") for path in folder.glob("*.log")]

    target = "results/stub/hyperfine/summary.csv"
    killed = campaign.start(target, "--cores", "1")
    wait_until(killed, lambda: bool(list(ledger.glob("*.running"))))
    killed.kill()
    killed.wait()
    (first,) = (path.stem for path in ledger.glob("*.running"))
    campaign.finish("--unlock")
    rerun = campaign.start(target)
    words = "waiting for process"
    wait_until(rerun, lambda: any(words in log and f".{first}.json.lock" in log for log in logs()))
    gate.touch()
    assert rerun.wait() == 0
    done = {path.stem: path.read_text("utf-8").split() for path in ledger.glob("*.done")}
    assert sorted(map(len, done.values())) == [1] * 6
    assert leftovers(campaign) == []


def test_deleted_record_is_computed_again_after_a_failed_run(tmp_path: Path, library: Path) -> None:
    """What Snakemake has seen finished is not taken back, whether or not all else went well."""
    campaign = new_campaign(tmp_path / "work", "single", library)
    ledger = campaign.folder / "ledger"
    campaign.environment |= {"STUB_SECONDS": "0", "STUB_KILLED": "FeCo"}
    assert campaign.run("all_hyperfine").returncode != 0
    record = next(results(campaign).glob("hyperfine/AlFe-*.json"))
    record.unlink()
    del campaign.environment["STUB_KILLED"]
    campaign.finish("all_hyperfine")
    done = {path.stem: len(path.read_text("utf-8").split()) for path in ledger.glob("*.done")}
    assert done.pop(record.stem) == 2
    assert sorted(done.values()) == [1] * 5
    assert leftovers(campaign) == []


def test_kill_9_of_a_trajectory(fresh: Campaign) -> None:
    """Snakemake keeps what a trajectory has behind it: the next attempt goes on from there."""
    fresh.environment["STUB_STEP_SECONDS"] = "0.05"
    chunks = results(fresh) / "molecules" / "water" / "trajectories" / "1.npz.chunks"
    process = fresh.start("all_infrared")
    end = time.monotonic() + 300
    while len(list(chunks.glob("*.chunk"))) < 3 and time.monotonic() < end:
        assert process.poll() is None, "the campaign ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    fresh.environment["STUB_STEP_SECONDS"] = "0"
    fresh.finish("--unlock")
    fresh.finish("all_infrared")
    log = (results(fresh) / "logs" / "run_trajectory" / "water" / "1.log").read_text("utf-8")
    (step,) = re.findall(r"goes on after step (\d+)", log)
    assert 40 <= int(step) < 200
    with np.load(chunks.with_name("1.npz")) as run:
        np.testing.assert_array_equal(run["step"], np.arange(201))
    assert not chunks.exists()
