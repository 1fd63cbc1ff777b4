"""What jobs ask for beside what their partitions allow."""

import logging
import math
import os
from collections.abc import Iterable
from typing import Any

from snakemake_executor_plugin_slurm.partitions import get_best_partition
from snakemake_interface_common.exceptions import WorkflowError

from dft2spectra.slurm.commands import UnansweredError
from dft2spectra.slurm.limits import Partition, partitions, working_nodes
from dft2spectra_slurm.task import Task

# The plugin says for every job which partition it takes; here it is only asked.
QUIET = logging.getLogger("dft2spectra_slurm.quiet")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


class Requests:
    """Compares time, memory and cores of jobs with the limits of partitions.

    Where SLURM does not tell, or a QOS may allow more, nothing is held against a job.
    """

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._limits: dict[str, Partition] = {}
        self._nodes: dict[str, set[str]] = {}

    def check(self, jobs: Iterable[Any]) -> None:
        """Stop a run before its first job if a job asks for more than its partition allows.

        Raises
        ------
        WorkflowError
            With the rules, how many of their jobs, and by how much.
        """
        found: dict[tuple[str, str], list[list[str]]] = {}
        for job in jobs:
            if job.is_local or job.is_group():
                continue
            partition = self._partition(job)
            if partition is not None and (excess := partition.excess(*request(job))):
                found.setdefault((job.rule.name, partition.name), []).append(excess)
            # Forgets the resources of the many that cannot run yet; they are made when needed.
            job.attempt = job.attempt
        if not found:
            return
        lines = [
            f"{rule}: {len(many)} job{'s' if len(many) > 1 else ''} for partition {name}, such as"
            f" {' and '.join(max(many))}"
            for (rule, name), many in found.items()
        ]
        rule = next(iter(found))[0]
        raise WorkflowError(
            "Some jobs ask for more than their partition allows, and would wait for ever:\n  "
            + "\n  ".join(lines)
            + "\nTake another partition (slurm_partition, or a partitions file; see `sinfo`),"
            f" or ask for less: --set-resources {rule}:runtime=<minutes>"
            f" {rule}:mem_mb=<MB>. Nothing was submitted."
        )

    def fitted(self, job: Any, task: Task) -> tuple[str, str]:
        """Why a job must not be submitted, or options that keep its growth within the partition."""
        partition = self._partition(job)
        minutes, memory_mb, cpus = request(job)
        excess = partition.excess(minutes, memory_mb, cpus) if partition is not None else []
        if partition is None or not excess:
            task.asked = (minutes, memory_mb)
            return "", ""
        asks = f"it asks for {' and '.join(excess)} (partition {partition.name})"
        if job.attempt == 1 or cpus > partition.node_cpus:
            return asks, ""
        minutes, memory_mb = min(minutes, partition.minutes), min(memory_mb, partition.node_mb)
        short = task.ended_as == "TIMEOUT" and minutes <= task.asked[0]
        if short or (task.ended_as == "OUT_OF_MEMORY" and memory_mb <= task.asked[1]):
            return f"{asks}, and had all of that already", ""
        task.asked = (minutes, memory_mb)
        options = f"-t {math.floor(minutes)}"
        if not job.resources.get("mem_mb_per_cpu"):
            options += f" --mem {math.floor(memory_mb)}"
        return "", options

    def avoidable(self, job: Any, nodes: set[str]) -> set[str]:
        """Nodes that a job can avoid: none, if no other one works."""
        if not nodes:
            return nodes
        partition = self._partition(job)
        try:
            working = working_nodes(partition.name if partition else "")
        except UnansweredError:
            return nodes
        return nodes if working - nodes else set()

    def words(self, job: Any) -> str:
        """What a job asks for, for a reader."""
        minutes, memory_mb, cpus = request(job)
        return f"{minutes:.0f} minutes, {memory_mb:.0f} MB and {cpus} cores"

    def _partition(self, job: Any) -> Partition | None:
        """The partition that a job goes to; ``None`` if that, or what it allows, is not known."""
        settings = self._executor.workflow.executor_settings
        elsewhere = any(job.resources.get(key) for key in ("cluster", "clusters", "slurm_cluster"))
        qos = settings.qos or job.resources.get("qos") or os.environ.get("SBATCH_QOS")
        if elsewhere or qos:
            return None
        if not self._limits:
            try:
                self._limits = partitions()
            except UnansweredError:
                return None
        name = job.resources.get("slurm_partition")
        if not name and self._executor._partitions:
            name = get_best_partition(self._executor._partitions, job, QUIET)
        # As sbatch takes it from the environment.
        name = name or os.environ.get("SBATCH_PARTITION")
        if name:
            known = [self._limits.get(one) for one in str(name).split(",")]
        else:
            known = [one for one in self._limits.values() if one.is_default]
        if not known or None in known:
            return None
        wanted = request(job)
        return min(
            (one for one in known if one is not None),
            key=lambda one: (len(one.excess(*wanted)), -one.minutes),
        )


def request(job: Any) -> tuple[float, float, int]:
    """Time [minutes], memory on a node [MB] and cores of a task; zero where it is not said yet."""
    resources = job.resources
    cpus = _number(resources.get("cpus_per_task")) or _number(job.threads) or 1.0
    memory_mb = cpus * _number(resources.get("mem_mb_per_cpu")) or _number(resources.get("mem_mb"))
    return _number(resources.get("runtime")), memory_mb, int(cpus)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
