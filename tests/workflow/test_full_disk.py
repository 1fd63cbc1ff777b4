"""A disk that fills up, and results that cannot be written: it is said, and nothing is lost."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from campaign import CONFIGS, ROOT, Campaign, stub_library

from dft2spectra.config import read_config
from dft2spectra.finished import last_results

TARGETS = ("all_structures", "all_hyperfine")
CRYSTALS = 6
Mount = Callable[[Path, str], None]


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    """A campaign whose folder takes no room: the data stay where they are."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Campaign(folder, library=stub_library(tmp_path))


def populate(campaign: Campaign) -> None:
    (campaign.folder / "data").symlink_to(ROOT / "data")


def results(campaign: Campaign) -> Path:
    return campaign.folder / "results" / "stub"


def records(campaign: Campaign) -> dict[str, bytes]:
    """Content of the records, which are whole."""
    found = {
        path.name: path.read_bytes() for path in results(campaign).glob("hyperfine/[!.]*.json")
    }
    assert all(json.loads(content)["status"] == "converged" for content in found.values())
    return found


@pytest.mark.parametrize("where", ["everything", "results"])
def test_a_disk_fills_up(campaign: Campaign, mount: Mount, where: str) -> None:
    """It has room for some of the records; Snakemake's own state may lie on it or not."""
    disk = campaign.folder / ("results" if where == "results" else "")
    mount(disk, "size=270k" if where == "everything" else "size=185k")
    populate(campaign)
    done = campaign.run(*TARGETS)
    assert done.returncode != 0
    assert "results/stub: No space left on device" in done.stdout
    assert "Make room" in done.stdout
    before = records(campaign)
    assert 0 < len(before) < CRYSTALS, "take another size: it was not full in the middle"

    mount(disk, "size=16m")
    campaign.finish(*TARGETS)
    after = records(campaign)
    assert before.items() <= after.items()
    assert len(after) == CRYSTALS
    summary = pd.read_csv(results(campaign) / "hyperfine" / "summary.csv")
    assert list(summary.status) == ["converged"] * CRYSTALS
    for path in results(campaign).glob("structures/*/[!.]*.json"):
        assert json.loads(path.read_text("utf-8"))["structure_id"] == path.stem
    left = [path.name for path in results(campaign).rglob("*") if path.name.endswith(".part")]
    assert left == []
    assert campaign.planned(*TARGETS) == {}


@pytest.mark.parametrize("where", ["everything", "results"])
def test_read_only(campaign: Campaign, mount: Mount, where: str) -> None:
    """It is said before the first job, in a sentence."""
    disk = campaign.folder / ("results" if where == "results" else "")
    mount(disk, "size=16m")
    populate(campaign)
    mount(disk, "ro")
    done = campaign.run(*TARGETS)
    assert done.returncode != 0
    assert "cannot be written: Read-only file system" in done.stdout
    assert "Make it writable, or run in another folder" in done.stdout
    assert "Traceback" not in done.stdout
    assert "Failed" not in done.stdout.replace("Failed to setup log file", "")
    mount(disk, "rw")
    assert not results(campaign).exists()
    # Nothing keeps the next run from starting.
    campaign.finish("results/stub/structures/index.csv")


def test_full_before_the_first_job(campaign: Campaign, mount: Mount) -> None:
    """Nothing is started that could not be written; a dry-run still shows the jobs."""
    disk = campaign.folder / "results"
    mount(disk, "size=8k")
    populate(campaign)
    done = campaign.run(*TARGETS)
    assert done.returncode != 0
    assert "results/stub: No space left on device" in done.stdout
    assert not (results(campaign) / "logs").exists()
    assert campaign.planned(*TARGETS)["compute_hyperfine"] == CRYSTALS


def test_read_only_after_the_end(campaign: Campaign, mount: Mount) -> None:
    """A campaign that was finished and put away is no mistake: nothing is to be done."""
    mount(campaign.folder, "size=16m")
    populate(campaign)
    files = [str(CONFIGS.parents[1] / "config.yaml"), str(CONFIGS / campaign.config)]
    for path in last_results(read_config(files)):
        (campaign.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (campaign.folder / path).touch()
    mount(campaign.folder, "ro")
    for arguments in ((), ("--dry-run",)):
        done = campaign.run(*arguments)
        assert done.returncode == 0
        assert "Nothing to be done: results/stub has all" in done.stdout
        assert "Read-only file system" in done.stdout
        assert "Traceback" not in done.stdout
