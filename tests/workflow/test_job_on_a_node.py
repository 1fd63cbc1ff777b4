"""A DFT job on a cluster node reads what belongs to it, not the crystals of the whole campaign."""

import os
from pathlib import Path

import pytest
import yaml
from campaign import CONFIGS, Campaign, new_folder

# Says which crystals of the screening Snakemake opens.
WATCH = """
import sys
from pathlib import Path


def watch(event, arguments):
    if event == "open" and Path(str(arguments[0])).parent.name == "accepted":
        print("READS", arguments[0], flush=True)


sys.addaudithook(watch)
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    watch = tmp_path / "watch"
    watch.mkdir()
    (watch / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    path = os.pathsep.join([str(watch), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    return Campaign(new_folder(tmp_path / "run"), environment={"PYTHONPATH": path})


@pytest.mark.parametrize(("per_job", "wildcard"), [(1, "structure"), (3, "bundle")])
def test_a_job_reads_its_own_crystals(campaign: Campaign, per_job: int, wildcard: str) -> None:
    settings = yaml.safe_load((CONFIGS / campaign.config).read_text(encoding="utf-8"))
    settings["gpaw"] = {"structures_per_job": per_job}
    config = campaign.folder / "node.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    made = ["write_crystal", *(["write_bundle"] if per_job > 1 else [])]
    campaign.finish("all_structures", "--configfile", str(config))
    campaign.finish("all_hyperfine", "--until", *made, "--configfile", str(config))
    results = campaign.folder / "results" / "stub"
    folder = results / ("structures/crystals" if per_job == 1 else "hyperfine/bundles")
    name = sorted(folder.iterdir())[0].stem

    job = ["--target-jobs", f"compute_hyperfine:{wildcard}={name}", "--force", "--nolock"]
    job += ["--allowed-rules", "compute_hyperfine", "--dry-run", "--configfile", str(config)]
    # As the executor starts Snakemake on a node.
    on_node = campaign.finish("--mode", "remote", *job)
    assert "compute_hyperfine" in on_node
    assert "READS" not in on_node
    # The hook sees them where they are read.
    assert "READS" in campaign.finish("--dry-run", "--forceall", "--configfile", str(config))
