"""Nodes on which jobs fail one after another: avoided for a while and named."""

import time
from collections import Counter
from collections.abc import Callable

# Failures in a row, without a job in between that ended well, before a node is avoided by all jobs.
IN_A_ROW = 3
# How long a node is avoided, by one job or by all. [s]
AVOIDED_S = 1800.0


class Nodes:
    """What the jobs of a run found out about the nodes, forgotten after ``AVOIDED_S``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: Counter[str] = Counter()
        self._until: dict[tuple[object, str], float] = {}

    def worked(self, node: str) -> None:
        """A job ended well on a node."""
        self._failures.pop(node, None)
        self._until.pop((None, node), None)

    def failed(self, node: str, job: object, avoids: bool = True) -> str | None:
        """A job failed on a node, which it avoids from now on; a sentence if all jobs do."""
        until = self._clock() + AVOIDED_S
        if avoids:
            self._until[job, node] = until
        self._failures[node] += 1
        if self._failures[node] % IN_A_ROW:
            return None
        self._until[None, node] = until
        return (
            f"Node {node}: {self._failures[node]} jobs in a row failed there. No job goes there for"
            f" {AVOIDED_S / 60:.0f} minutes. Tell the administrators of the cluster if it goes on."
        )

    def avoided(self, job: object) -> set[str]:
        """Nodes that a job should not be sent to."""
        now = self._clock()
        self._until = {key: until for key, until in self._until.items() if until > now}
        return {node for who, node in self._until if who is None or who is job}

    def forget(self, job: object) -> None:
        """Let a job go everywhere again: nothing else is left."""
        for key in [key for key in self._until if key[0] is None or key[0] is job]:
            del self._until[key]
