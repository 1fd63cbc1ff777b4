"""A finished campaign of 1,000 crystals and one more: one DFT job and what follows it.

The results are empty files under the names that Snakemake announces, and Snakemake itself marks
them as finished; ids, jobs and reasons to run are real. Records say whose they are, and no more.
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ase.io import write
from campaign import ROOT, Campaign, new_folder

from dft2spectra.campaign import Campaign as ProjectCampaign
from dft2spectra.config import read_config, split_gpaw
from dft2spectra.crystals.bundles import assign_bundles
from dft2spectra.crystals.cost import estimate
from dft2spectra.crystals.identity import identity
from dft2spectra.records import read_json, write_json
from dft2spectra.structures.design import PLACE_KEYS

FOLDERS = ("structures/accepted", "mossbauer/structures")
AFTER = {
    **{"screen_structures": 1, "write_crystal": 1, "compute_hyperfine": 1},
    **{"summarize_hyperfine": 1, "clean_sites": 1, "featurize_soap": 1},
    **{"select_representatives": 1, "evaluate_model": 1, "train_model": 1, "plot_mossbauer": 1},
    **{"compare_measured": 1, "identify_phases": 1, "evaluate_systems": 1},
}


def configure(campaign: Campaign, gpaw: dict[str, Any]) -> str:
    """Path of the config: strained copies of the bundled crystals from ``many``."""
    calibration = {"kind": "files", "path": "data/structures", "names": ["Fe", "FeAl", "FeTi"]}
    config = {
        "run": "many",
        "branches": ["mossbauer"],
        "structures": {"sources": [{"kind": "files", "path": "many"}], "max_atoms": 24},
        "calibration": {"sources": [calibration]},
        "candidates": {"sources": []},
        "learning": {"targets": ["bhf"]},
        "mossbauer": {"mixtures": []},
        "gpaw": gpaw,
    }
    path = campaign.folder / "many.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


def fake_results(campaign: Campaign, config: str) -> None:
    """An empty file for every output that Snakemake announces, but the lists of members."""
    table = campaign.finish("--summary", "--configfile", config)
    rows = [line.split("\t") for line in table.splitlines() if line.startswith("results/")]
    assert len(rows) > 100
    for row in rows:
        path = campaign.folder / row[0]
        if row[0].endswith(FOLDERS):
            path.mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}\n", encoding="utf-8")


def write_crystals(config: str) -> None:
    """The crystals and the measured compounds, which shell rules write, as these would."""
    settings = read_config([ROOT / "config.yaml", Path(config)])
    asked = ProjectCampaign(settings, say=lambda line: None)
    left_out = {
        "structures/crystals": ("measured", "provenance"),
        "calibration/measured": ("provenance",),
    }
    for folder, keys in left_out.items():
        for path in asked.results.glob(f"{folder}/*.json"):
            text = asked.crystals.as_json(path.stem, *keys, *PLACE_KEYS)
            path.write_text(f"{text}\n", encoding="utf-8")


def fake_records(campaign: Campaign, config: str, bundled: bool) -> int:
    """Number of records that are made, as good ones of the crystals."""
    settings, _ = split_gpaw(read_config([ROOT / "config.yaml", Path(config)]))
    results = campaign.folder / "results" / "many"
    paths = list(results.glob("structures/accepted/*.json"))
    for path in paths:
        structure = read_json(path)
        record = {
            "status": "converged",
            "structure_id": structure["structure_id"],
            **identity(structure, settings),
        }
        for folder in ("hyperfine", *(["hyperfine/bundles/records"] if bundled else [])):
            write_json(results / folder / path.name, record)
    return len(paths)


def write_members(campaign: Campaign, gpaw: dict[str, Any]) -> None:
    """Lists of the members of all bundles, as `write_bundle` would write them."""
    settings = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["gpaw"]
    results = campaign.folder / "results" / "many"
    minutes = {}
    for path in results.glob("structures/accepted/*.json"):
        minutes[path.stem] = estimate(read_json(path), settings).core_seconds / 60
    bundles = assign_bundles(minutes, {}, minutes.__getitem__, **gpaw)
    assert len(bundles) == -(-len(minutes) // gpaw["structures_per_job"])
    folder = results / "hyperfine" / "bundles"
    folder.mkdir(parents=True)
    for name, members in bundles.items():
        (folder / f"{name}.members").write_text("\n".join(members) + "\n", encoding="utf-8")


def mark_finished(campaign: Campaign, config: str) -> None:
    """`snakemake --touch` of everything, without its pause of 0.1 s after every job."""
    command = campaign.command("--cores", "1", "--touch", "--forceall", "--configfile", config)
    quick = "import snakemake.executors.touch as touch; touch.Executor.SLEEPING_TIME = 0.0; "
    command[1:3] = ["-c", quick + "from snakemake.cli import main; main()"]
    subprocess.run(
        command, cwd=campaign.folder, env=campaign.variables(), check=True, capture_output=True
    )


@pytest.mark.parametrize(("number", "per_job"), [(1000, 1), (200, 20)])
def test_one_more_crystal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, per_job: int
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from dry_run import strained_copies

    campaign = Campaign(new_folder(tmp_path / "work"))
    monkeypatch.chdir(campaign.folder)
    *copies, another = strained_copies(number + 1)
    Path("many").mkdir()
    write("many/all.xyz", copies, format="extxyz")
    gpaw = {"structures_per_job": per_job, "job_minutes": 1000}
    config = configure(campaign, gpaw)

    campaign.finish("results/many/structures/index.csv", "--configfile", config)
    expected = dict(AFTER)
    if per_job > 1:
        write_members(campaign, gpaw)
        expected |= {"write_bundle": 1, "write_record": 1}
    # And those for the calibration.
    assert number <= fake_records(campaign, config, per_job > 1) <= number + 3
    fake_results(campaign, config)
    write_crystals(config)
    mark_finished(campaign, config)
    assert campaign.planned("--configfile", config) == {}

    write("many/another.xyz", [another], format="extxyz")
    assert campaign.planned("--configfile", config) == expected
