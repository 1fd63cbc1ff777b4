"""What is known of a job of Snakemake through all its attempts."""

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dft2spectra.locks import GAVE_WAY
from dft2spectra.slurm.commands import Job

# Lines of a log that are shown, and how much of its end is read. [bytes]
LINES, END_BYTES = 6, 16384
# What SLURM's daemons write into the log of a job, and how they say that they ended it:
# *** JOB 3 ON n1 CANCELLED AT 2026-11-28T08:07:47 DUE TO TIME LIMIT ***
COMPLAINT = re.compile(r"^slurm(?:stepd|d)(?:-\S+)?: (?:error: )?(.*)$", re.MULTILINE)
# Its own need, whatever it had begun: no fault of the node.
MEMORY = re.compile(r"memory limit|oom[-_ ]kill|out of memory", re.IGNORECASE)
ENDED = re.compile(r"\*\*\* JOB (\d+) ON (\S+) CANCELLED AT \S+(?: DUE TO ([A-Z ]+))?")
CAUSES = {
    "": "CANCELLED",
    "TIME LIMIT": "TIMEOUT",
    "PREEMPTION": "PREEMPTED",
    "NODE FAILURE": "NODE_FAIL",
}


class Identity(NamedTuple):
    """What tells a file from what stands at its path later: inode, time of change [ns] and size."""

    number: int
    changed_ns: int
    size: int


@dataclass
class Task:
    """A job of Snakemake; its attempts as jobs of SLURM have the numbers in ``numbers``."""

    job: Any
    comment: str
    numbers: list[str] = field(default_factory=list)
    # Failures on nodes on which its work had not begun.
    unbegun: int = 0
    # How often it gave way to another job.
    gave_ways: int = 0
    # Since when it is not known whether SLURM took it, and why.
    lost_at: float | None = None
    reason: str = ""
    # Since when SLURM does not know its present number.
    missing_since: float | None = None
    # Number under which it was preempted.
    preempted: str = ""
    # Time and memory that it got [minutes, MB], and how that ended.
    asked: tuple[float, float] = (0.0, 0.0)
    ended_as: str = ""
    _logs: dict[Path, Identity | None] = field(default_factory=dict)

    def submitted(self, number: str) -> None:
        """It is in the queue under this number."""
        self.numbers.append(number)
        self.lost_at, self.missing_since, self.reason = None, None, ""

    def missing_now(self) -> float:
        """Since when SLURM does not know it, by the clock of ``time.monotonic``."""
        if self.missing_since is None:
            self.missing_since = time.monotonic()
        return self.missing_since

    def remember_logs(self) -> None:
        """Note the state of its logs: what differs from it later is of the attempt that comes."""
        self._logs = {path: _identity(path) for path in map(Path, self._paths())}

    def began(self) -> bool:
        """Whether this attempt has come to its work: it writes its log first of all."""
        return not self._logs or any(self._is_new(path) for path in self._logs)

    def wrote_all_logs(self) -> bool:
        """Whether all its logs are there and of this attempt."""
        return all(map(self._is_new, self._logs))

    def gave_way(self, slurm_log: Path) -> str:
        """The line by which it said that another job writes the same record; empty if none does."""
        new = {path: before for path, before in self._logs.items() if self._is_new(path)}
        for path, before in {**new, slurm_log: None}.items():
            for line in _end_of(path, before).splitlines():
                if GAVE_WAY in line:
                    self.gave_ways += 1
                    return line.strip()
        return ""

    def ended_by(self, slurm_log: Path) -> Job | None:
        """How SLURM's daemons ended it, as its log says; ``None`` if they did not."""
        for number, node, cause in ENDED.findall(_end_of(slurm_log)):
            if number == slurm_log.stem and cause.strip() in CAUSES:
                return Job(number, CAUSES[cause.strip()], node=node)
        return None

    def last_words(self, slurm_log: Path) -> str:
        """The end of what SLURM and Snakemake said about it, to follow a sentence."""
        lines = [line.rstrip() for line in _end_of(slurm_log).splitlines() if line.strip()]
        if not lines:
            return f"; it left no log ({slurm_log})"
        return "; its last words:\n    " + "\n    ".join(lines[-LINES:])

    def complaints(self, slurm_log: Path) -> str:
        """What SLURM's daemons complained about it, to follow a sentence."""
        found = COMPLAINT.findall(_end_of(slurm_log))
        return "".join(f"\n    {line}" for line in dict.fromkeys(found[-LINES:]))

    def took_too_much(self, slurm_log: Path) -> bool:
        """Whether SLURM's daemons ended it for its memory."""
        return any(MEMORY.search(line) for line in COMPLAINT.findall(_end_of(slurm_log)))

    def _paths(self) -> list[str]:
        return [str(path) for path in getattr(self.job, "log", None) or []]

    def _is_new(self, path: Path) -> bool:
        now = _identity(path)
        return now is not None and now != self._logs.get(path)


def _identity(path: Path) -> Identity | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return Identity(status.st_ino, status.st_mtime_ns, status.st_size)


def _end_of(path: Path, before: Identity | None = None) -> str:
    """The end of a file, without what was in it before."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            known = before.size if before is not None and before.number == status.st_ino else 0
            file.seek(max(known, status.st_size - END_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
