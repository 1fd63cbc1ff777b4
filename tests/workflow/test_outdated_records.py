"""A record is taken for what it says itself, whatever Snakemake remembers of its job."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from campaign import CONFIGS, ROOT, Campaign, job_counts
from test_rerun import ALL_DFT, DYNAMICS, MODELS, MOLECULE, SITES, SPECTRA, SPECTRUM
from test_rerun import edited as with_config


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


@pytest.fixture(scope="module")
def forgetful(finished: Campaign, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """A copy of the finished campaign without what Snakemake remembers; it is not changed."""
    folder = tmp_path_factory.mktemp("forgetful") / "work"
    shutil.copytree(finished.folder, folder, symlinks=True)
    shutil.rmtree(folder / ".snakemake")
    return Campaign(folder, library=folder / "library")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"dynamics": {"temperature_k": 350}, "learning": {"seed": 1}},
            DYNAMICS | MODELS,
        ),
        (
            {"infrared": {"resolution_cm1": 700}, "mossbauer": {"width_mm_s": 0.3}},
            SPECTRUM | SPECTRA,
        ),
        ({"pyscf": {"xc": "BLYP"}, "cleaning": {"outlier_mad": 9}}, MOLECULE | SITES),
        (
            {"sampling": {"test": 5}, "infrared": {"measured": None}},
            {"sample_geometries": 1, "label_densities": 1, "evaluate_density_model": 1, **SPECTRUM},
        ),
        (
            {"molecules": [{"name": "water", "smiles": "O"}], "dynamics": {"chunk_steps": 7}},
            {"write_molecule": 1, **MOLECULE},
        ),
    ],
    ids=["temperature", "resolution", "functional", "test geometries", "molecule"],
)
def test_edit_without_the_memory_of_snakemake(
    forgetful: Campaign, changes: dict[str, Any], expected: dict[str, int]
) -> None:
    """As with it: results say themselves what they were made with."""
    assert forgetful.planned("--configfile", with_config(forgetful, changes)) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["molecules/water/trajectories/2.npz", "models/moment/model.ubj"],
            {"run_trajectory": 1, **SPECTRUM, "train_model": 1, "predict_candidates": 1},
        ),
        (
            ["molecules/water/model.npz", "sites/sites.parquet"],
            {"fit_density_model": 1, "evaluate_density_model": 1, **DYNAMICS, **SITES},
        ),
        (
            ["molecules/water/labels/test-000.npz", "infrared/water/spectrum.csv"],
            {"label_densities": 1, "evaluate_density_model": 1, **SPECTRUM},
        ),
    ],
    ids=["trajectory", "model", "labels"],
)
def test_results_cut_short_with_old_dates(
    forgetful: Campaign, names: list[str], expected: dict[str, int]
) -> None:
    files = [str(ROOT / "config.yaml"), str(CONFIGS / forgetful.config)]
    whole = {}
    try:
        for name in names:
            path = forgetful.folder / "results" / "stub" / name
            whole[path] = path.read_bytes(), path.stat().st_mtime_ns
            path.write_bytes(whole[path][0][:-20])
            os.utime(path, ns=(whole[path][1],) * 2)
        assert forgetful.planned() == expected
        said = forgetful.execute(
            [sys.executable, "-m", "dft2spectra.verify", "--configfile", *files]
        )
        assert said.returncode == 1
        assert all(f"  results/stub/{name}: it is not what" in said.stdout for name in names)
    finally:
        for path, (content, when) in whole.items():
            path.write_bytes(content)
            os.utime(path, ns=(when, when))


def test_report_after_an_edit_says_what_was_and_what_is_outdated(forgetful: Campaign) -> None:
    report = forgetful.folder / "report.html"
    config = with_config(forgetful, {"dynamics": {"temperature_k": 350}})
    try:
        forgetful.finish("--report", report.name, "--configfile", config)
        text = report.read_text("utf-8")
    finally:
        report.unlink(missing_ok=True)
    assert "water at 300 K" in text
    assert "water at 350 K" not in text
    assert "equilibrate: thermostat.temperature_k was 300, is 350" in text
