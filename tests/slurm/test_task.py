"""What the logs of a job tell about one attempt, and not about those before."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from dft2spectra.locks import GAVE_WAY
from dft2spectra_slurm.submission import forbidden_folder
from dft2spectra_slurm.task import Task

# As slurmstepd 22.05 writes it.
CANCELLED = "slurmstepd-n1: error: *** JOB 17 ON n1 CANCELLED AT 2026-11-28T08:07:47"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Log of the rule; beside it, that of SLURM for job 17."""
    return tmp_path / "a.log"


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (" ***", "CANCELLED"),
        (" DUE TO TIME LIMIT ***", "TIMEOUT"),
        (" DUE TO PREEMPTION ***", "PREEMPTED"),
        (" DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***", "NODE_FAIL"),
    ],
)
def test_how_slurm_ended_a_job(log: Path, end: str, state: str) -> None:
    slurm_log = log.with_name("17.log")
    task = Task(SimpleNamespace(log=[log]), "rule_write_wildcards_a")
    assert task.ended_by(slurm_log) is None
    slurm_log.write_text(f"begun\n{CANCELLED}{end}\n", "utf-8")
    ended = task.ended_by(slurm_log)
    assert ended is not None
    assert (ended.state, ended.node) == (state, "n1")
    assert f"JOB 17 ON n1 CANCELLED AT 2026-11-28T08:07:47{end}" in task.complaints(slurm_log)
    # Another job's end, in the log of this one.
    other = log.with_name("18.log")
    slurm_log.rename(other)
    assert task.ended_by(other) is None


def test_words_of_an_earlier_attempt_do_not_count(log: Path) -> None:
    """A rule adds to its log: only what this attempt has added says that it gave way."""
    nothing = log.with_name("17.log")
    task = Task(SimpleNamespace(log=[log]), "rule_write_wildcards_a")
    task.remember_logs()
    assert not task.began()
    log.write_text(f"{GAVE_WAY}\n", "utf-8")
    assert task.began()
    assert task.wrote_all_logs()
    assert task.gave_way(nothing)
    task.remember_logs()
    assert not task.began()
    assert not task.gave_way(nothing)
    with log.open("a") as file:
        file.write("out of memory\n")
    assert task.began()
    assert not task.gave_way(nothing)
    log.unlink()
    log.write_text("a new file\n", "utf-8")
    assert task.began()
    assert "it left no log" in task.last_words(nothing)


def test_names_of_folders() -> None:
    assert forbidden_folder("/scratch/Müller und Söhne/run 1") is None
    for name in ("50%j", "$HOME", "a`b", 'say "x"', "back\\slash"):
        assert "Rename the folder" in str(forbidden_folder(f"/scratch/{name}"))
