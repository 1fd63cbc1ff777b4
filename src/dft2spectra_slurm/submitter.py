"""Submission of jobs: one that is refused for now waits, one whose answer is lost is looked for."""

import math
import os
import shlex
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from snakemake_executor_plugin_slurm import Executor as PluginExecutor
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from dft2spectra.slurm.answers import Kind, Refusal, names_no_limit, read_answer
from dft2spectra.slurm.commands import UnansweredError, queued_jobs
from dft2spectra.slurm.nodes import Nodes
from dft2spectra.slurm.waiting import Waiting
from dft2spectra_slurm.look import Look
from dft2spectra_slurm.requests import Requests
from dft2spectra_slurm.submission import (
    command_of,
    comment_of,
    forbidden_folder,
    log_folder,
    name_of,
    note_path,
    submit,
)
from dft2spectra_slurm.task import Task

# A submission without an answer is made again if the queue does not show its job for so long; looks
# for it are this far apart. [s]
LOST_S, LOOKED_FOR_EVERY_S = 30.0, 5.0
# The same refusal is told again only after this; the line about waiting shows it meanwhile. [s]
SAID_AGAIN_S = 600.0


class Submitter(PluginExecutor):
    """Submits jobs; what SLURM does not take now waits, and costs no attempt."""

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
        self._checked = False
        # When a refusal was told last, by its words.
        self._said: dict[str, float] = {}
        self._ready = threading.Event()
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
        # The real name of the folder, or one that was given for the logs.
        if reason := forbidden_folder(self.slurm_logdir):
            raise WorkflowError(reason)
        # SLURM itself knows the default partition.
        self._fallback_partition = ""
        self._requests = Requests(self)
        self._looks = Look(self.run_uuid, self.workflow.workdir_init, settings, self.logger)
        self._ready.set()

    def run_jobs(self, jobs: list[Any]) -> None:
        """Submit jobs, in the plugin's threads; before the first, see whether all of them fit."""
        self._watch_sigterm()
        if not self._checked:
            self._checked = True
            self._requests.check(self.workflow.dag.needrun_jobs())
        super().run_jobs(jobs)

    def run_job(self, job: Any) -> None:
        """Submit one job, or let it wait where others of its partition wait."""
        self._run(job, joins=True)

    def get_account_arg(self, job: Any) -> Iterator[str]:
        """Option with the account, if one is given: sbatch knows the default and what is wrong."""
        accounts = str(job.resources.get("slurm_account") or "").replace(",", " ").split()
        yield f" -A {shlex.quote(accounts[0])}" if accounts else ""

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
            self._waiting.put(
                job, f"job {earlier} of another run does the same", pause_s=LOOKED_FOR_EVERY_S
            )
            return
        if task.lost_at is not None:
            if self._take_over(job, task):
                return
            if time.monotonic() - task.lost_at < LOST_S:
                self._waiting.put(job, task.reason, pause_s=LOOKED_FOR_EVERY_S)
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
                self._waiting.put(job, refusal.words, pause_s=LOOKED_FOR_EVERY_S)
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
