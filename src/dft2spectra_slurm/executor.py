"""The executor: looks after the jobs of a run until each has ended in Snakemake's books."""

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from dft2spectra.slurm import states
from dft2spectra.slurm.commands import UnansweredError, ask
from dft2spectra.slurm.nodes import IN_A_ROW
from dft2spectra_slurm.look import say_how
from dft2spectra_slurm.submission import name_of, note_path, read_note
from dft2spectra_slurm.submitter import Submitter
from dft2spectra_slurm.task import Task

# A job that SLURM has forgotten, and that left no word of its end, has failed after so long. [s]
FORGOTTEN_S = 180.0
# How often it is said what is waited for. [s]
TOLD_EVERY_S = 60.0
# Looks at the queue get rarer by so much while nothing happens, up to the longest pause. [s]
RARER_BY_S, LONGEST_PAUSE_S = 10.0, 180.0
# A job whose record another one is writing comes back after this, later the next times, up to so
# many times as long. [s]
COMES_BACK_S, COMES_BACK_AT_MOST = 60.0, 10


class Executor(Submitter):
    """Looks after jobs, and cancels them: the executor that Snakemake gets."""

    # When it was said last what is waited for; the thread that says it starts with the executor.
    _told = 0.0

    async def sleep(self) -> None:
        """Until the next look at the queue; meanwhile jobs that wait are submitted."""
        end = time.monotonic() + self.next_seconds_between_status_checks
        while self.wait and time.monotonic() < end:
            if self._ending.is_set():
                for job in self._waiting.take_all():
                    self._give_up(job, None)
            else:
                for job in self._waiting.take():
                    try:
                        self._job_submission_executor.submit(self._run, job, False)
                    except RuntimeError:  # closed meanwhile: the run ends
                        self._give_up(job, None)
            self._tell(end - time.monotonic())
            await asyncio.sleep(min(1.0, max(0.0, end - time.monotonic())))

    def _tell(self, next_look_s: float) -> None:
        """Say once a minute what is waited for."""
        self._told = self._told or time.monotonic()
        if time.monotonic() - self._told < TOLD_EVERY_S or not self._ready.is_set():
            return
        self._told = time.monotonic()
        with self.lock:
            numbers = {info.external_jobid: name_of(info.job) for info in self.active_jobs}
        line = say_how(numbers, self._looks.rows, self._waiting.reasons())
        if line:
            self.logger.info(f"{line}; next look at the queue in {next_look_s:.0f} s.")

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report the jobs that have ended; the others are given back."""
        first_s = self.workflow.executor_settings.init_seconds_before_status_checks
        numbers = {info.external_jobid for info in active_jobs}
        if not self._ready.is_set() or not (numbers or self._looks.earlier):
            self.next_seconds_between_status_checks = first_s
            return
        clusters = sorted(map(str, self._submitted_job_clusters))
        async with self.status_rate_limiter:
            seen = await asyncio.to_thread(self._looks.look, numbers, clusters)
        ended = False
        for info in active_jobs:
            if seen is not None and self._settle(info, seen):
                ended = True
            else:
                yield info
        if seen is not None:
            await asyncio.to_thread(self._drop_strangers)
        if ended:
            self._waiting.knock()
            self.next_seconds_between_status_checks = first_s
        else:
            later_s = self.next_seconds_between_status_checks + RARER_BY_S
            self.next_seconds_between_status_checks = min(
                later_s, max(first_s, min(LONGEST_PAUSE_S, self._looks.remembered_s / 3))
            )

    def _settle(self, info: SubmittedJobInfo, seen: dict[str, Any]) -> bool:
        """What follows from the state of a job; whether its wait is over."""
        job, number = info.job, info.external_jobid
        task, row = self._tasks[job], seen.get(number)
        code = None
        if row is None:
            code = read_note(note_path(job, self.slurm_logdir, number))
            if code is None:
                row = task.ended_by(info.aux["slurm_logfile"])
        if row is None:
            if code is None and time.monotonic() - task.missing_now() < FORGOTTEN_S:
                return False
            if code == 0:
                return self._succeed(info, task, "")
            how = f"with exit code {code}" if code else "without a word of its end"
            words = f"SLURM has forgotten job {number}, which ended {how}"
            return self._fail(info, task, "", "", words)
        task.missing_since = None
        result = states.outcome(row.state)
        if result is states.Outcome.WAITS:
            task.preempted = ""
            return False
        if result is states.Outcome.FINISHED:
            return self._succeed(info, task, row.node)
        if result is states.Outcome.AGAIN:
            # With slurm-requeue SLURM puts it back itself, unless it cancels what it preempts.
            if self.workflow.executor_settings.requeue and task.preempted != number:
                task.preempted = number
                return False
            self._again(job, f"SLURM job {number} was preempted by more urgent work")
            return True
        where = f" on {row.node}" if row.node else ""
        words = f"SLURM job {number}{where} ended as {row.state}"
        return self._fail(info, task, row.state, row.node, words)

    def _succeed(self, info: SubmittedJobInfo, task: Task, node: str) -> bool:
        self._nodes.worked(node)
        self._tasks.pop(info.job, None)
        note_path(info.job, self.slurm_logdir, info.external_jobid).unlink(missing_ok=True)
        if not self.workflow.executor_settings.keep_successful_logs:
            Path(info.aux["slurm_logfile"]).unlink(missing_ok=True)
        self.report_job_success(info)
        return True

    def _fail(self, info: SubmittedJobInfo, task: Task, state: str, node: str, words: str) -> bool:
        """A job that ended badly: again if it was not its fault, else for Snakemake to decide."""
        job, log = info.job, Path(info.aux["slurm_logfile"])
        note_path(job, self.slurm_logdir, info.external_jobid).unlink(missing_ok=True)
        # One of a bundle may have given way before the others took too much memory or time.
        if state in ("", "FAILED") and (line := task.gave_way(log)):
            words = f"another job writes its record, and it gave its cores back\n    {line}\n   "
            pause_s = min(task.gave_ways, COMES_BACK_AT_MOST) * COMES_BACK_S
            self._again(job, words, pause_s=pause_s)
            return True
        lost = states.outcome(state) is states.Outcome.LOST
        if node and (lost or (state == "FAILED" and not task.took_too_much(log))):
            began = task.began()
            if warning := self._nodes.failed(node, job, avoids=lost or not began):
                self.logger.error(warning)
            if not began and task.unbegun < IN_A_ROW:
                task.unbegun += 1
                self._again(job, f"{words} before it began its work{task.last_words(log)}")
                return True
        task.ended_as = state
        more = "" if task.began() and not lost else task.last_words(log)
        self.report_job_error(info, msg=f"{name_of(job)}: {words}{more or task.complaints(log)}")
        return True

    def _again(self, job: Any, words: str, pause_s: float = 0.0) -> None:
        self.logger.warning(
            f"{name_of(job)}: {words}. Submitted again as it was; does not count as an attempt."
        )
        self._waiting.put(job, words.splitlines()[0], pause_s=pause_s)

    def _drop_strangers(self) -> None:
        """Cancel jobs of this run that were taken after all, when their like is in the queue."""
        # Copies: other threads go on submitting.
        busy = {comment for comment, count in list(self._in_flight.items()) if count}
        busy |= {task.comment for task in list(self._tasks.values()) if task.lost_at is not None}
        for number in self._looks.strangers(self._numbers, busy):
            self.logger.warning(
                f"SLURM job {number} is there twice, as its submission seemed lost: cancelled."
            )
            self._numbers.add(number)
            try:
                ask("scancel", number)
            except UnansweredError as error:
                self.logger.warning(str(error))

    def print_job_error(self, job_info: Any, msg: str | None = None, **kwargs: Any) -> None:
        """Show why a job failed, and its log if this attempt has written it."""
        if not msg:
            return
        self.logger.error(msg)
        task = self._tasks.get(job_info.job)
        if task is not None and task.numbers and task.wrote_all_logs():
            job_info.job.log_error(msg, external_jobid=job_info.external_jobid)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel all jobs of this run by its name, also those that were submitted just now."""
        self._ending.set()
        self._job_submission_executor.shutdown(wait=True, cancel_futures=True)
        everywhere = ["--clusters=all"] if self._submitted_job_clusters else []
        try:
            ask("scancel", f"--name={self.run_uuid}", *everywhere)
        except UnansweredError as error:
            self.logger.error(
                f"The jobs could not be cancelled: {error}. When SLURM answers again:"
                f" scancel --name={self.run_uuid}"
            )

    def shutdown(self) -> None:
        """End: nothing is submitted any more."""
        self._ending.set()
        super().shutdown()
        if self._not_submitted:
            self.logger.warning(
                f"{self._not_submitted} jobs were not submitted, as Snakemake was ending."
            )
