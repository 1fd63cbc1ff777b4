"""Looks at the queue: the jobs of a run, those of another one, and what there is to be told."""

import os
import time
from collections import Counter
from typing import Any

from dft2spectra.slurm import states
from dft2spectra.slurm.commands import (
    Job,
    UnansweredError,
    accounting_answers,
    configuration,
    queued_jobs,
    recorded_jobs,
    remembered_s,
)

# How long SLURM remembers an ended job if it does not say. [s]
USUALLY_REMEMBERED_S = 300.0


class Look:
    """Asks squeue or sacct, as the profile says, and the other one for what the first omits.

    Attributes
    ----------
    rows
        What squeue showed last, by the numbers of the jobs.
    earlier
        Jobs of another run in this folder that are in the queue: their numbers by what they do.
    remembered_s
        How long SLURM remembers an ended job. [s]
    """

    def __init__(self, run: str, folder: str, settings: Any, logger: Any) -> None:
        self._run, self._folder, self._logger = run, os.path.realpath(folder), logger
        self._since = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 3600))
        self.rows: dict[str, Job] = {}
        self.earlier: dict[str, str] = {}
        self._suspects: set[str] = set()
        self._silent = False
        self.remembered_s = USUALLY_REMEMBERED_S
        # Why there is no second source.
        self.no_accounts = accounting_answers()
        self.by_sacct = settings.status_command == "sacct"
        first_s = settings.init_seconds_before_status_checks
        try:
            self.remembered_s = remembered_s(configuration()) or USUALLY_REMEMBERED_S
            self._find_earlier()
        except UnansweredError as error:
            logger.warning(f"{error}. Jobs are submitted when SLURM answers.")
        if self.by_sacct and self.no_accounts:
            logger.warning(
                f"slurm-status-command is sacct, but {self.no_accounts}: squeue is asked instead."
                " `make slurm-profile` tells which one is right here."
            )
            self.by_sacct = False
        if not self.by_sacct and self.remembered_s < 3 * first_s:
            instead = "what a job has left at its end counts"
            logger.warning(
                f"SLURM forgets ended jobs after {self.remembered_s:.0f} s (MinJobAge), less than"
                f" three times slurm-init-seconds-before-status-checks ({first_s} s): for those"
                f" it has forgotten, {instead if self.no_accounts else 'sacct is asked'}."
            )
        if self.earlier:
            logger.warning(
                f"{len(self.earlier)} jobs of another run in this folder are in the queue, such as"
                " one that was killed. What they do is submitted when they have ended, and taken"
                f" over then; scancel ends them sooner: {' '.join(self.earlier.values())}"
            )

    def look(self, numbers: set[str], clusters: list[str]) -> dict[str, Job] | None:
        """The jobs with these numbers, as far as SLURM knows them; ``None`` if it is silent."""
        try:
            seen = self._ask(numbers, clusters)
            if self.earlier:
                self._find_earlier()
        except UnansweredError as error:
            if not self._silent:
                self._logger.warning(f"{error}. Its jobs go on; asked again until it answers.")
            self._silent = True
            return None
        if self._silent:
            self._logger.info("SLURM answers again.")
        self._silent = False
        return seen

    def _ask(self, numbers: set[str], clusters: list[str]) -> dict[str, Job]:
        there = [f"--clusters={','.join(clusters)}"] if clusters else []
        seen = self._recorded(there) if self.by_sacct else {}
        rows = queued_jobs(f"--name={self._run}", "--states=all", *there)
        self.rows = {row.id: row for row in rows}
        seen = seen | self.rows  # what slurmdbd missed runs there for ever
        if numbers - seen.keys() and not self.by_sacct and not self.no_accounts:
            try:
                seen = self._recorded(there) | seen
            except UnansweredError as error:
                self._logger.debug(str(error))  # those who are forgotten are waited for
        return seen

    def _recorded(self, there: list[str]) -> dict[str, Job]:
        return recorded_jobs(f"--name={self._run}", f"--starttime={self._since}", *there)

    def _find_earlier(self) -> None:
        self.earlier = {
            job.comment: job.id
            for job in queued_jobs("--me")
            if job.name != self._run
            and job.comment.startswith(("rule_", "group_"))
            and os.path.realpath(job.folder) == self._folder
        }

    def strangers(self, known: set[str], busy: set[str]) -> list[str]:
        """Numbers of jobs of this run that nobody waits for, seen twice.

        Parameters
        ----------
        known
            Numbers of the jobs that were submitted.
        busy
            What is being submitted now, as comments: their numbers are not known yet.
        """
        unknown = {
            row.id
            for row in self.rows.values()
            if row.id not in known
            and row.comment not in busy
            and states.outcome(row.state) is states.Outcome.WAITS
        }
        twice, self._suspects = self._suspects & unknown, unknown
        return sorted(twice)


def say_how(names: dict[str, str], rows: dict[str, Job], refused: Counter[str]) -> str:
    """What is waited for, on one line; empty if nothing is.

    Parameters
    ----------
    names
        What the jobs in the queue do, by their numbers.
    rows
        What squeue showed of them.
    refused
        How many jobs wait for their submission, by the reason.
    """
    states_now: dict[str, list[Job]] = {}
    for number in names:
        row = rows.get(number, Job(number, "not in squeue"))
        states_now.setdefault(row.state, []).append(row)
    parts = []
    for state, jobs in sorted(states_now.items(), reverse=True):
        words = f"{len(jobs)} {state.lower()}"
        if state == "PENDING":
            reasons = Counter(states.why_pending(job.reason) for job in jobs)
            words += f" ({'; '.join(f'{count} {why}' for why, count in reasons.most_common(3))})"
        elif state == "RUNNING":
            job = max(jobs, key=lambda job: (len(job.elapsed), job.elapsed))
            words += f" (longest {names[job.id]} on {job.node}, {job.elapsed})"
        parts.append(words)
    for why, count in refused.most_common(3):
        parts.append(f"{count} not submitted ({why})")
    total = len(names) + sum(refused.values())
    return (
        f"Waiting for {total} job{'s' if total != 1 else ''}: {', '.join(parts)}" if total else ""
    )
