"""What partitions allow, and whether a job fits."""

import math
from dataclasses import dataclass

from dft2spectra.slurm.commands import ask

# Nodes that can take jobs now or when others end.
WORKING = "idle,mixed,allocated,completing"


@dataclass(frozen=True)
class Partition:
    """What the largest nodes of a partition have, and the longest time of a job."""

    name: str
    is_default: bool
    minutes: float
    node_mb: float
    node_cpus: int

    def excess(self, minutes: float, memory_mb: float, cpus: int) -> list[str]:
        """How a request goes beyond the partition, in words; none if it fits.

        Parameters
        ----------
        minutes
            Time. [minutes]
        memory_mb
            Memory of the job on one node. [MB]
        cpus
            Cores of one task.
        """
        found = []
        if minutes > self.minutes:
            found.append(f"{minutes:.0f} minutes, and it allows {self.minutes:.0f}")
        if memory_mb > self.node_mb:
            found.append(f"{memory_mb:.0f} MB, and its largest node has {self.node_mb:.0f}")
        if cpus > self.node_cpus:
            found.append(f"{cpus} cores, and its largest node has {self.node_cpus}")
        return found


def partitions() -> dict[str, Partition]:
    """The partitions that a user may submit to, by name.

    Raises
    ------
    UnansweredError
        ``sinfo`` gives no answer.
    """
    return read_partitions(ask("sinfo", "--noheader", "--exact", "--format=%P|%l|%m|%c"))


def read_partitions(text: str) -> dict[str, Partition]:
    """Partitions out of lines ``name|time|MB|cores`` of ``sinfo``, one per kind of node."""
    found: dict[str, Partition] = {}
    for row in (line.strip().split("|") for line in text.splitlines()):
        if len(row) != 4 or not row[2].rstrip("+").isdigit() or not row[3].rstrip("+").isdigit():
            continue
        name, memory, cpus = row[0].rstrip("*"), int(row[2].rstrip("+")), int(row[3].rstrip("+"))
        before = found.get(name)
        found[name] = Partition(
            name,
            row[0].endswith("*"),
            minutes_of(row[1]),
            # A node that was configured without its memory has 1 MB; then memory is no limit.
            max(math.inf if memory <= 1 else memory, before.node_mb if before else 0.0),
            max(cpus, before.node_cpus if before else 0),
        )
    return found


def minutes_of(time: str) -> float:
    """SLURM's ``days-hours:minutes:seconds`` in minutes; without end if it is no time.

    ``30:00`` are minutes and seconds, ``1-00`` days and hours, by the manual page of ``sbatch``.
    """
    days, dash, rest = time.rpartition("-")
    try:
        parts = [int(part) for part in rest.split(":")]
        before = 1440.0 * int(days) if dash else 0.0
    except ValueError:  # infinite, n/a
        return math.inf
    units = [60.0, 1.0, 1 / 60]
    if not dash and len(parts) < 3:
        units = units[1:]
    return before + sum(part * unit for part, unit in zip(parts, units, strict=False))


def working_nodes(partition: str) -> set[str]:
    """Names of the nodes of a partition that work; of all partitions if it has no name.

    Raises
    ------
    UnansweredError
        ``sinfo`` gives no answer.
    """
    chosen = [f"--partition={partition}"] if partition else []
    answer = ask("sinfo", "--noheader", "--Node", f"--states={WORKING}", "--format=%N", *chosen)
    return set(answer.split())
