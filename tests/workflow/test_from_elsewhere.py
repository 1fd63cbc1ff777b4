"""The workflow is found and finds its bundled data from wherever it is run or imported."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from campaign import ROOT, job_counts

# Three bundled compounds and one of the user's, seen from the working folder.
OWN: dict[str, Any] = {
    "run": "mine",
    "branches": ["mossbauer"],
    "structures": {
        "sources": [
            {"kind": "files", "path": "data/structures", "names": ["Fe", "FeAl", "FeTi"]},
            {"kind": "files", "path": "mine/*.yaml"},
        ]
    },
    "calibration": {
        "sources": [{"kind": "files", "path": "data/structures", "names": ["Fe", "FeAl", "FeTi"]}]
    },
    "candidates": {"sources": []},
    "mossbauer": {"mixtures": []},
}
PROFILE = str(ROOT / "profiles" / "default")
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--workflow-profile", PROFILE, "--dry-run"]


@pytest.fixture
def away(tmp_path: Path) -> Path:
    """A folder without data, with a compound and a configuration of the user's."""
    folder = tmp_path / "away"
    (folder / "mine").mkdir(parents=True)
    shutil.copy(ROOT / "data" / "structures" / "FeCo.yaml", folder / "mine" / "alloy.yaml")
    (folder / "own.yaml").write_text(yaml.safe_dump(OWN), "utf-8")
    return folder


def planned(folder: Path, *arguments: str) -> str:
    """What a dry-run says, started in a folder."""
    done = subprocess.run(
        [*SNAKEMAKE, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def check(said: str, folder: Path) -> None:
    jobs = job_counts(said)
    assert jobs["compute_hyperfine"] == jobs["write_crystal"] == 4
    assert jobs["identify_phases"] == 1, "the bundled spectrum is found"
    assert not (folder / "results").exists()
    assert not (folder / "data").exists()


SNAKEFILE = ("--snakefile", str(ROOT / "Snakefile"), "--configfile", "own.yaml")


def test_snakefile_from_another_folder(away: Path) -> None:
    check(planned(away, *SNAKEFILE), away)


def test_directory(away: Path, tmp_path: Path) -> None:
    """Results and paths of the user's are seen from there; the configuration from here."""
    (tmp_path / "here").mkdir()
    (away / "own.yaml").rename(tmp_path / "here" / "own.yaml")
    check(planned(tmp_path / "here", *SNAKEFILE, "--directory", "../away"), away)


def test_module_with_a_short_configuration(away: Path) -> None:
    """What the configuration of the importer does not say is as in config.yaml."""
    (away / "Snakefile").write_text(
        "configfile: 'own.yaml'\n\n"
        f"module spectra:\n    snakefile: {str(ROOT / 'Snakefile')!r}\n    config: config\n\n"
        "use rule * from spectra\n\n"
        "rule everything:\n    default_target: True\n    input: rules.all.input\n",
        "utf-8",
    )
    check(planned(away), away)


def test_path_that_is_nowhere(away: Path) -> None:
    """The message shows what the user wrote, and where."""
    own = OWN | {"structures": {"sources": [{"kind": "files", "path": "data/structure"}]}}
    (away / "own.yaml").write_text(yaml.safe_dump(own), "utf-8")
    done = subprocess.run(
        [*SNAKEMAKE, *SNAKEFILE],
        cwd=away,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    words = 'structures.sources[0].path = "data/structure" in own.yaml: '
    assert words in " ".join((done.stdout + done.stderr).split())
