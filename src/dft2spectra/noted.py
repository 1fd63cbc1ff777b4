"""What Snakemake has seen the end of: the second names of those results go.

See :mod:`dft2spectra.records` for what they are for. Snakemake tells its logger what happens, with
an ``event`` that its logger plugins read; nothing else of it is used.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress

from dft2spectra.records import drop_kept


class NotedJobs(logging.Handler):
    """Handler for Snakemake's logger that drops the second names of the results of finished jobs.

    The end of a job is told after Snakemake has written it down: what is deleted or forced from
    then on is computed anew. What a driver that was killed has not seen is kept for the next job.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._outputs: dict[int, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Note the start of a job with its outputs, or drop their second names at its end."""
        event = getattr(getattr(record, "event", None), "name", None)
        if event == "JOB_INFO":
            # An output that is updated is told as "<path> (update)".
            self._outputs[record.__dict__["jobid"]] = [
                str(path).split(" (")[0] for path in record.__dict__["output"]
            ]
        elif event == "JOB_FINISHED":
            _drop(self._outputs.pop(record.__dict__["job_id"], []))

    def drop_all(self) -> None:
        """Drop those of all jobs that began: they have ended well, told or not (``--quiet``)."""
        for outputs in self._outputs.values():
            _drop(outputs)
        self._outputs.clear()


def _drop(outputs: Iterable[str]) -> None:
    with suppress(OSError):  # of a file system that is read-only by now; the result itself is there
        drop_kept(outputs)
