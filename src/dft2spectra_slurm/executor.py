"""The plugin's executor with patience: what is submitted, when again, and how its end is known."""

import asyncio
import math
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_slurm import Executor as PluginExecutor
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from dft2spectra.slurm import states
from dft2spectra.slurm.answers import Kind, Refusal, names_no_limit, read_answer
from dft2spectra.slurm.commands import UnansweredError, ask, queued_jobs
from dft2spectra.slurm.nodes import IN_A_ROW, Nodes
from dft2spectra.slurm.waiting import Waiting
from dft2spectra_slurm.look import Look, say_how
from dft2spectra_slurm.requests import Requests
from dft2spectra_slurm.submission import (
    command_of,
    comment_of,
    forbidden_folder,
    log_folder,
    name_of,
    note_path,
    read_note,
    submit,
)
from dft2spectra_slurm.task import Task

# A job that SLURM has forgotten, and that left no word of its end, has failed after so long. [s]
FORGOTTEN_S = 180.0
# A submission without an answer is made again if the queue does not show its job for so long. [s]
LOST_S = 30.0
# How often it is said what is waited for. [s]
TOLD_EVERY_S = 60.0
# The same refusal is told again only after this; the line about waiting shows it meanwhile. [s]
SAID_AGAIN_S = 600.0
# Looks at the queue get rarer by so much while nothing happens, up to the longest pause. [s]
RARER_BY_S, LONGEST_PAUSE_S = 10.0, 180.0
# A job whose record another one is writing comes back after this. [s]
COMES_BACK_S = 60.0


class Executor(PluginExecutor):
    """Submits, looks after and cancels the jobs of a run; every job ends in Snakemake's books."""

    _looks: Look
    _requests: Requests
    _before_sigterm: Any

    def __init__(self, workflow: Any, logger: Any) -> None:
        # Before the thread starts that looks after the jobs.
        self._waiting = Waiting()
        self._nodes = Nodes()
        self._tasks: dict[Any, Task] = {}
        self._numbers: set[str] = set()
        self._in_flight: Counter[str] = Counter()
        self._ending = threading.Event()
        self._not_submitted = 0
        # When a refusal was told last, by its words.
        self._said: dict[str, float] = {}
        self._ready = threading.Event()
        self._told = time.monotonic()
        super().__init__(workflow, logger)

    def __post_init__(self, test_mode: bool = False) -> None:
        if reason := forbidden_folder(self.workflow.workdir_init):
            raise WorkflowError(reason)
        settings = self.workflow.executor_settings
        if settings.array_jobs:
            raise WorkflowError(
                "slurm-array-jobs: with plugin 2.8 a failing task of a job array deletes good"
                " output of others. Leave it away: crystals share jobs by gpaw.structures_per_job."
            )
        # What the plugin says about squeue and sacct does not hold here.
        chosen, settings.status_command = settings.status_command, None
        super().__post_init__(test_mode)
        settings.status_command = chosen
        # SLURM itself knows the default partition.
        self._fallback_partition = ""
        self._requests = Requests(self)
        self._looks = Look(self.run_uuid, self.workflow.workdir_init, settings, self.logger)
        self._ready.set()

    # --- submission -------------------------------------------------------------------------------

    def run_jobs(self, jobs: list[Any]) -> None:
        """Submit jobs, in the plugin's threads; before the first, see whether all of them fit."""
        self._watch_sigterm()
        if not self._tasks:
            self._requests.check(self.workflow.dag.needrun_jobs())
        super().run_jobs(jobs)

    def run_job(self, job: Any) -> None:
        """Submit one job, or let it wait where others of its partition wait."""
        self._run(job, joins=True)

    def get_account_arg(self, job: Any) -> Any:
        """Option with the account, if one is given: sbatch knows the default and what is wrong."""
        accounts = str(job.resources.get("slurm_account") or "").replace(",", " ").split()
        yield f" -A {accounts[0]!r}" if accounts else ""

    def _run(self, job: Any, joins: bool) -> None:
        comment = comment_of(job)
        self._in_flight[comment] += 1
        try:
            self._submit(job, self._tasks.setdefault(job, Task(job, comment)), joins)
        except Exception as error:  # nothing may get lost in a thread
            self.logger.debug("submission failed", exc_info=True)
            self._give_up(job, f"{name_of(job)} could not be submitted: {error}")
        finally:
            self._in_flight[comment] -= 1

    def _submit(self, job: Any, task: Task, joins: bool) -> None:
        partition = self.get_partition_arg(job)
        if self._ending.is_set():
            self._give_up(job, None)
            return
        if earlier := self._looks.earlier.get(task.comment):
            self._waiting.put(job, f"job {earlier} of an earlier run does the same", pause_s=5.0)
            return
        if task.lost_at is not None:
            if self._take_over(job, task):
                return
            if time.monotonic() - task.lost_at < LOST_S:
                self._waiting.put(job, task.reason, pause_s=5.0)
                return
            task.lost_at = None
        if joins and self._waiting.joins(job, partition):
            return
        excess, limits = self._requests.fitted(job, task)
        if excess:
            self._give_up(job, f"{name_of(job)} is not submitted: {excess}")
            return
        answer = self._sbatch(job, task, partition, limits)
        if isinstance(answer, str):
            self._waiting.let_in(partition)
            self._accept(job, task, answer)
        else:
            self._refuse(job, task, partition, answer)

    def _sbatch(self, job: Any, task: Task, partition: str, limits: str) -> str | Refusal:
        """Submit a job; once more everywhere if no node is left for it."""
        task.remember_logs()
        folder = log_folder(job, self.slurm_logdir)
        folder.mkdir(parents=True, exist_ok=True)
        parameters = {
            "run_uuid": self.run_uuid,
            "slurm_logfile": folder / "%j.log",
            "comment_str": task.comment,
            "account": next(self.get_account_arg(job)),
            "partition": partition,
            "workdir": self.workflow.workdir_init,
        }
        settings = self.workflow.executor_settings
        command = self.format_job_exec(job)
        avoided = self._requests.avoidable(job, self._nodes.avoided(job))
        while True:
            call = command_of(job, parameters, settings, avoided | self._failed_nodes, limits)
            self.logger.debug(f"sbatch call: {call}")
            note = note_path(job, self.slurm_logdir, "").with_name(".ended")
            said = submit(call, command, note, settings.pass_command_as_script)
            answer = read_answer(*said)
            if isinstance(answer, str) or answer.kind is not Kind.NODES or not avoided:
                return answer
            self.logger.warning(
                f"{name_of(job)}: without {', '.join(sorted(avoided))}, where jobs failed, no node"
                f" is left ({answer.words}); it may go everywhere again."
            )
            self._nodes.forget(job)
            avoided = set()

    def _accept(self, job: Any, task: Task, number: str) -> None:
        self._numbers.add(number)
        task.submitted(number)
        log = log_folder(job, self.slurm_logdir) / f"{number}.log"
        self.logger.info(
            f"Job {job.jobid} has been submitted with SLURM jobid {number} (log: {log})."
        )
        cluster = [job.resources.get(key) for key in ("cluster", "clusters", "slurm_cluster")]
        self._submitted_job_clusters.update(filter(None, cluster))
        self._report_job_submission_threadsafe(
            SubmittedJobInfo(job, external_jobid=number, aux={"slurm_logfile": log})
        )

    def _refuse(self, job: Any, task: Task, partition: str, refusal: Refusal) -> None:
        kind = refusal.kind
        if names_no_limit(refusal) and self._has_others():
            kind = Kind.LATER
        if kind is Kind.LATER:
            pause_s = self._waiting.refuse(job, refusal.words, partition)
            now = time.monotonic()
            if now - self._said.get(refusal.words, -math.inf) > SAID_AGAIN_S:
                self._said[refusal.words] = now
                self.logger.warning(
                    f"{name_of(job)}: SLURM takes it not now: {refusal.words}. Tried again in"
                    f" {pause_s:.0f} s, with all others that wait; no attempt is counted."
                )
        elif kind is Kind.LOST:
            task.reason = refusal.words
            self.logger.warning(
                f"{name_of(job)}: {refusal.words}. SLURM may have taken it: looking for it in the"
                f" queue for {LOST_S:.0f} s before it is submitted again; no attempt is counted."
            )
            if not self._take_over(job, task):
                self._waiting.put(job, refusal.words, pause_s=5.0)
        elif kind is Kind.USER and self._ending.is_set():
            self._give_up(job, None)
        elif kind is Kind.USER:
            self._give_up(
                job,
                f"{name_of(job)}: SLURM refuses it, and would refuse all others: {refusal.words}."
                " No more jobs are submitted; those that run are waited for. Mend the profile"
                " (account, partition, QOS) and start again.",
            )
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._give_up(
                job,
                f"{name_of(job)}: SLURM refuses it: {refusal.words}. It asked for"
                f" {self._requests.words(job)}; it is not tried again.",
            )

    def _has_others(self) -> bool:
        """Whether the user has jobs in the queue, whose end may make room under a limit."""
        try:
            return bool(queued_jobs("--me"))
        except UnansweredError:
            return True

    def _take_over(self, job: Any, task: Task) -> bool:
        """Look for a job whose submission got no answer; whether it is there, and ours now."""
        try:
            rows = queued_jobs(f"--name={self.run_uuid}", "--states=all")
        except UnansweredError as error:
            task.reason, task.lost_at = str(error), time.monotonic()
            return False
        if task.lost_at is None:
            task.lost_at = time.monotonic()
        for row in rows:
            if row.comment == task.comment and row.id not in self._numbers:
                self.logger.info(f"{name_of(job)}: SLURM had taken it, as job {row.id}.")
                self._accept(job, task, row.id)
                return True
        return False

    def _give_up(self, job: Any, reason: str | None) -> None:
        """Let a job fail that was not submitted, for good: nothing is gained by another attempt."""
        job.attempt = max(job.attempt, job.restart_times + 1)
        if reason is None:
            self._not_submitted += 1
        self._report_job_error_threadsafe(SubmittedJobInfo(job), reason or "")

    # --- waiting ----------------------------------------------------------------------------------

    async def sleep(self) -> None:
        """Until the next look at the queue; meanwhile jobs that wait are submitted."""
        end = time.monotonic() + self.next_seconds_between_status_checks
        while self.wait and time.monotonic() < end:
            if self._ending.is_set():
                for job in self._waiting.take_all():
                    self._give_up(job, None)
            else:
                for job in self._waiting.take():
                    self._job_submission_executor.submit(self._run, job, False)
            self._tell(end - time.monotonic())
            await asyncio.sleep(min(1.0, max(0.0, end - time.monotonic())))

    def _tell(self, next_look_s: float) -> None:
        """Say once a minute what is waited for."""
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
        if row is None:
            row = task.ended_by(info.aux["slurm_logfile"])
        if row is None:
            code = read_note(note_path(job, self.slurm_logdir, number))
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
        if task.gave_way(log):
            words = "another job writes its record, and it gave its cores back"
            self._again(job, words, pause_s=COMES_BACK_S)
            return True
        lost = states.outcome(state) is states.Outcome.LOST
        if node and (lost or state == "FAILED"):
            if warning := self._nodes.failed(node, job):
                self.logger.error(warning)
            if not task.began() and task.unbegun < IN_A_ROW:
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
        busy = {comment for comment, count in self._in_flight.items() if count}
        busy |= {task.comment for task in self._tasks.values() if task.lost_at is not None}
        for number in self._looks.strangers(self._numbers, busy):
            self.logger.warning(
                f"SLURM job {number} is there twice, as its submission seemed lost: cancelled."
            )
            self._numbers.add(number)
            try:
                ask("scancel", number)
            except UnansweredError as error:
                self.logger.warning(str(error))

    # --- the end ----------------------------------------------------------------------------------

    def _watch_sigterm(self) -> None:
        """Let jobs that wait for their submission go when Snakemake is asked to end."""
        before = signal.getsignal(signal.SIGTERM)
        main = threading.current_thread() is threading.main_thread()
        if not main or getattr(before, "__self__", None) is self:
            return
        self._before_sigterm = before
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, number: int, frame: Any) -> None:
        self._ending.set()
        if callable(self._before_sigterm):
            self._before_sigterm(number, frame)

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
