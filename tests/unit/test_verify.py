"""Files that a crash or a bad disk has changed are named, with what to do."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from snakemake.iocontainers import InputFiles, OutputFiles, Params

from dft2spectra.provenance import provenance_path, write_provenance
from dft2spectra.records import write_json
from dft2spectra.verify import in_words, verify

ROOT = Path(__file__).parents[2]
RESULTS = Path("results/toy")
KNOWN = {
    "model": RESULTS / "molecules" / "water" / "model.npz",
    "table": RESULTS / "sites" / "sites.parquet",
    "folder": RESULTS / "structures" / "accepted",
}
OLDER = {
    "record": RESULTS / "hyperfine" / "Fe-229-b24716a3.json",
    "labels": RESULTS / "molecules" / "water" / "labels" / "train-000.npz",
}


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Results that say what they should hold, and some of an older version."""
    monkeypatch.chdir(tmp_path)
    for path in (*KNOWN.values(), *OLDER.values()):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npz":
            np.savez(path, numbers=np.arange(1000.0), name="water")
        elif path.suffix:
            write_json(path, {"status": "converged", "sites": [1, 2]})
        else:
            path.mkdir()
            write_json(path / "Fe.json", {"symbols": ["Fe"]})
    for path in KNOWN.values():
        outputs = OutputFiles([str(path)])
        write_provenance(SimpleNamespace(input=InputFiles(), output=outputs, params=Params()))
    (RESULTS / "logs").mkdir()
    (RESULTS / "logs" / "tool.json").write_text("{")
    return KNOWN | OLDER


def damage(path: Path, how: str) -> None:
    """Change a file, or one in a folder, and leave its date."""
    if path.is_dir():
        path /= "Fe.json"
    content, when = path.read_bytes(), path.stat()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    path.write_bytes({"cut": content[:middle], "empty": b"", "bit": flipped}[how])
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))


def test_whole_campaign(campaign: dict[str, Path]) -> None:
    verdict = verify(RESULTS)
    assert (verdict.compared, verdict.read, verdict.damaged) == (3, 2, [])
    assert in_words(verdict) == (
        "3 results are compared with what their jobs have left, 2 others read to their end: all"
        " are whole."
    )


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, how) for name in KNOWN for how in ("cut", "empty", "bit")),
        *((name, how) for name in OLDER for how in ("cut", "empty")),
        ("labels", "bit"),
    ],
)
def test_damaged_file(campaign: dict[str, Path], name: str, how: str) -> None:
    damage(campaign[name], how)
    verdict = verify(RESULTS)
    assert [one.path for one in verdict.damaged] == [campaign[name]]
    said = in_words(verdict, ["my campaign.yaml"])
    assert f"  {campaign[name]}: it" in said or f"  {campaign[name]}: cannot be used: " in said
    assert said.splitlines()[-2:] == [
        f"  rm -r {campaign[name]}",
        "  snakemake --configfile 'my campaign.yaml'",
    ]


def test_missing_output_is_made_anyway(campaign: dict[str, Path]) -> None:
    campaign["model"].unlink()
    assert verify(RESULTS).damaged == []


def test_damaged_provenance(campaign: dict[str, Path]) -> None:
    provenance_path(campaign["table"]).write_text("{")
    (found,) = verify(RESULTS).damaged
    assert found.path == provenance_path(campaign["table"])
    assert found.why == "it does not say what its job has left"


def test_command(campaign: dict[str, Path]) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dft2spectra.verify", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert "There is no config.yaml in" in run().stderr
    Path("over.yaml").write_text("run: toy\n")
    done = run("--configfile", str(ROOT / "config.yaml"), "over.yaml")
    assert (done.returncode, done.stdout.rstrip()[-14:]) == (0, "all are whole.")
    damage(campaign["labels"], "cut")
    done = run("--configfile", str(ROOT / "config.yaml"), "over.yaml")
    assert done.returncode == 1
    assert f"rm -r {campaign['labels']}" in done.stdout
    Path("over.yaml").write_text("run: elsewhere\n")
    done = run("--configfile", str(ROOT / "config.yaml"), "over.yaml")
    assert done.returncode == 1
    assert "results/elsewhere is not there" in done.stderr
