"""The job of one record: computed once, whoever else wants it, and whatever dies meanwhile.

In place of DFT stands the launcher: a program that gets the command line of the calculation.
"""

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dft2spectra.crystals import run_record
from dft2spectra.crystals.identity import identity
from dft2spectra.crystals.run_record import current_record, obtain_record
from dft2spectra.locks import GAVE_WAY, GIVE_WAY, lock_path
from dft2spectra.processes import is_gone
from dft2spectra.records import drop_kept, kept_path, read_json, write_json

NAME = "Fe-229-00000000"
SETTINGS = {"cutoff_ev": 400, "xc": "PBE", "semicore_efg": True}
STRUCTURE = {"structure_id": NAME, "content_hash": "1" * 16, "symbols": ["Fe"]}
# Notes that it runs, then waits until the file "go" is there.
DFT = """
import os, pathlib, sys, time
here = pathlib.Path(__file__).parent
with open(here / "calculations", "a") as file:
    file.write(f"{os.getpid()}\\n")
end = time.monotonic() + 60
while not (here / "go").exists() and time.monotonic() < end:
    time.sleep(0.02)
if (here / "broken").exists():
    sys.exit(3)
from dft2spectra.locks import Lock, Owner, lock_path
output = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
Lock(lock_path(output), Owner(token=sys.argv[sys.argv.index("--lock-token") + 1])).check()
output.with_name("new").write_text((here / "result.json").read_text())
os.replace(output.with_name("new"), output)
"""


class Job:
    """A folder with the structure, the stand-in for DFT and the record that it writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "hyperfine" / f"{NAME}.json"
        self.launcher = [sys.executable, str(folder / "dft.py")]
        write_json(folder / "structure.json", STRUCTURE)
        self.result = {
            "structure_id": NAME,
            "status": "converged",
            **identity(STRUCTURE, SETTINGS),
        }
        write_json(folder / "result.json", self.result)
        (folder / "dft.py").write_text(DFT, encoding="utf-8")
        (folder / "go").touch()

    def obtain(self, store: Path | None = None) -> tuple[Any, str]:
        paths = self.output, self.folder / "log"
        structure = self.folder / "structure.json"
        return obtain_record(structure, SETTINGS, *paths, self.launcher, store=store)

    def start(self, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dft2spectra.crystals.run_job"]
        command += ["--structures", str(self.folder / "structure.json"), "--output", self.output]
        command += ["--settings", json.dumps(SETTINGS), "--logs", str(self.folder / "logs")]
        command += ["--launcher", " ".join(self.launcher), *more]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self) -> str:
        process = self.start()
        said = process.communicate()[0]
        assert process.returncode == 0, said
        return said

    def calculations(self) -> list[int]:
        path = self.folder / "calculations"
        return [int(word) for word in path.read_text().split()] if path.exists() else []

    def wait_for_calculation(self, number: int = 1) -> int:
        end = time.monotonic() + 60
        while len(self.calculations()) < number:
            assert time.monotonic() < end, "no calculation begins"
            time.sleep(0.02)
        return self.calculations()[-1]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_computed_and_then_taken(job: Job) -> None:
    assert job.obtain() == (job.result, "computed")
    (job.folder / "broken").touch()
    assert job.obtain() == (job.result, "is there")
    assert len(job.calculations()) == 1
    assert list(job.output.parent.iterdir()) == [job.output]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", {"settings_hash": "0" * 16}, {"structure_hash": "0" * 16}, {"status": ...}],
)
def test_what_is_out_of_date_is_computed_again(job: Job, content: Any) -> None:
    if isinstance(content, dict):
        changed = {k: v for k, v in (job.result | content).items() if v is not ...}
        content = json.dumps(changed)
    job.output.parent.mkdir()
    job.output.write_text(content)
    assert job.obtain() == (job.result, "computed")


def test_calculation_that_dies(job: Job) -> None:
    """No record, an old one neither, and a message."""
    (job.folder / "broken").touch()
    write_json(job.output, job.result | {"settings_hash": "old"})
    assert job.obtain() == (None, "its process ended with code 3")
    assert list(job.output.parent.iterdir()) == []
    process = job.start()
    assert f"{job.output}: its process ended with code 3; run again" in process.communicate()[0]
    assert process.returncode == 1


def test_second_job_waits_and_takes_the_record(job: Job) -> None:
    (job.folder / "go").unlink()
    first = job.start()
    job.wait_for_calculation()
    second = job.start()
    said = second.stdout.readline()
    assert f"waiting for process {first.pid} on" in said
    (job.folder / "go").touch()
    assert first.communicate()[0] == f"{job.output}: converged, computed\n"
    assert second.communicate()[0] == f"{job.output}: converged, is there\n"
    assert len(job.calculations()) == 1
    assert sorted(job.output.parent.iterdir()) == [kept_path(job.output), job.output]


def test_second_job_of_a_queue_gives_way(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at once, and says so in words that the executor knows."""
    (job.folder / "go").unlink()
    first = job.start()
    job.wait_for_calculation()
    monkeypatch.setenv(GIVE_WAY, "1")
    second = job.start()
    said = second.communicate()[0]
    assert second.returncode == 1
    assert f"process {first.pid} on" in said
    assert GAVE_WAY in said
    (job.folder / "go").touch()
    assert first.communicate()[0] == f"{job.output}: converged, computed\n"
    assert len(job.calculations()) == 1


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_job_that_is_ended_takes_its_calculation_along(job: Job, end: signal.Signals) -> None:
    """The second job goes on at once, and the first one's calculation does not meet it."""
    (job.folder / "go").unlink()
    first = job.start()
    calculation = job.wait_for_calculation()
    first.send_signal(end)
    first.communicate()
    assert first.returncode != 0
    # After SIGKILL the kernel tells the calculation, after the others the job has waited for it.
    limit = time.monotonic() + 20
    while not is_gone(calculation):
        assert time.monotonic() < limit, "the calculation goes on"
        time.sleep(0.01)
    assert lock_path(job.output).exists() == (end == signal.SIGKILL)
    (job.folder / "go").touch()
    assert job.run() == f"{job.output}: converged, computed\n"
    assert len(job.calculations()) == 2
    assert not lock_path(job.output).exists()


def test_suspended_job_does_not_write_over_the_record_of_its_successor(job: Job) -> None:
    (job.folder / "go").unlink()
    late = job.start()
    job.wait_for_calculation()
    owner = json.loads(lock_path(job.output).read_text())
    lock_path(job.output).write_text(json.dumps(owner | {"token": "of another"}))
    other = job.result | {"wall_time_s": 1.0}
    write_json(job.output, other)
    (job.folder / "go").touch()
    late.communicate()
    assert "Nothing is written any more" in (job.folder / "logs" / f"{NAME}.log").read_text()
    assert read_json(job.output) == other
    assert lock_path(job.output).exists()


def test_record_that_snakemake_removes(job: Job) -> None:
    """A driver that was killed did not learn of the record: it is kept until one has."""
    job.run()
    job.output.unlink()
    assert job.run() == f"{job.output}: converged, is there\n"
    assert len(job.calculations()) == 1
    assert read_json(job.output) == job.result

    drop_kept([job.output, job.folder / "nowhere" / "else.json"])
    job.output.unlink()
    assert job.run() == f"{job.output}: converged, computed\n"

    job.output.unlink()
    write_json(kept_path(job.output), job.result | {"structure_hash": "old"})
    assert job.run() == f"{job.output}: converged, computed\n"
    assert len(job.calculations()) == 3
    assert read_json(kept_path(job.output)) == job.result


def test_current_record_of_a_store_is_taken(job: Job) -> None:
    store = job.folder / "store"
    write_json(store / f"{NAME}.json", job.result)
    assert job.obtain(store) == (job.result, f"taken from {store}")
    assert read_json(job.output) == job.result
    job.output.unlink()
    said = job.start("--store", str(store)).communicate()[0]
    assert said == f"{job.output}: converged, taken from {store}\n"
    assert job.calculations() == []


@pytest.mark.parametrize("changes", [{"gpaw": "25.1.0"}, {"structure_hash": "2" * 16}, None])
def test_record_of_a_store_that_answers_something_else_is_not_taken(
    job: Job, changes: dict[str, str] | None
) -> None:
    store = job.folder / "store"
    if changes is not None:
        write_json(store / f"{NAME}.json", job.result | changes)
    assert job.obtain(store) == (job.result, "computed")
    assert len(job.calculations()) == 1


def test_record_that_cannot_be_read_is_not_computed_again(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that comes and goes is no reason to throw a result away."""
    write_json(job.output, job.result)

    def stale(path: Path) -> Any:
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    monkeypatch.setattr(run_record, "read_json", stale)
    with pytest.raises(OSError, match="Stale file handle"):
        current_record(job.output, STRUCTURE, SETTINGS)
    monkeypatch.undo()
    (job.folder / "store").write_text("a file where the folder should be", encoding="utf-8")
    assert job.obtain(job.folder / "store") == (job.result, "is there")
    job.output.unlink()
    assert job.obtain(job.folder / "store") == (job.result, "computed")
