"""A record is taken for what it says itself, whatever Snakemake remembers of its job."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from campaign import CONFIGS, Campaign, job_counts
from test_rerun import ALL_DFT


def record(campaign: Campaign, formula: str) -> Path:
    (path,) = (campaign.folder / "results" / "stub" / "hyperfine").glob(f"{formula}-*.json")
    return path


def edited(**entries: object) -> Callable[[Path], None]:
    """Function that writes these entries into a record."""

    def edit(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | entries), "utf-8")

    return edit


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    "spoil",
    [
        edited(structure_hash="0123456789abcdef"),
        edited(settings_hash="0123456789abcdef"),
        edited(method_versions={"crystals.gpaw_runner": 0}),
        edited(datasets={"Fe": "0" * 32, "Co": "0" * 32}),
        edited(gpaw="25.1.0"),
        edited(structure_id="Fe-1-00000000"),
        cut,
    ],
    ids=[
        "another crystal",
        "other settings",
        "older method",
        "other datasets",
        "other GPAW",
        "another name",
        "damaged",
    ],
)
def test_spoilt_record_is_computed_again(copied: Campaign, spoil: Callable[[Path], None]) -> None:
    path = record(copied, "FeCo")
    good = path.read_bytes()
    when = path.stat().st_mtime_ns
    spoil(path)
    os.utime(path, ns=(when, when))
    if spoil is not cut:
        shutil.rmtree(copied.folder / ".snakemake")
    said = copied.finish("--dry-run", "all_hyperfine")
    assert "are computed again" in said
    assert job_counts(said).items() >= {"compute_hyperfine": 1, "summarize_hyperfine": 1}.items()
    if spoil is cut:
        copied.finish()
        assert path.read_bytes() == good
        assert copied.planned() == {}


def test_results_alone_in_another_folder(copied: Campaign) -> None:
    """Without what Snakemake remembers: nothing to do, or what an edited value asks for."""
    shutil.rmtree(copied.folder / ".snakemake")
    assert copied.planned() == {}
    own = copied.folder / "own.yaml"
    text = (CONFIGS / copied.config).read_text("utf-8")
    settings = yaml.safe_load(text)
    settings.setdefault("gpaw", {})["cutoff_ev"] = 420
    own.write_text(yaml.safe_dump(settings), "utf-8")
    jobs = copied.planned("--configfile", str(own))
    assert jobs == ALL_DFT


@pytest.mark.parametrize("left", [0, 40], ids=["empty", "cut off"])
def test_a_crystal_that_a_crash_has_spoilt_is_written_again(copied: Campaign, left: int) -> None:
    """Without a newer date, so that only the content tells."""
    folder = copied.folder / "results" / "stub" / "structures"
    (path,) = (folder / "crystals").glob("FeCo-*.json")
    good = path.read_bytes()
    when = path.stat().st_mtime_ns
    path.write_bytes(good[:left])
    os.utime(path, ns=(when, when))
    said = copied.finish("all_hyperfine")
    assert f"{path.name} is cut off and is written again" in said
    assert path.read_bytes() == good
    assert copied.planned("all_hyperfine") == {}

    screened = folder / "accepted" / path.name
    screened.write_bytes(screened.read_bytes()[:left])
    assert copied.planned("all_structures")["screen_structures"] == 1
