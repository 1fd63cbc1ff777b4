"""Jobs of a campaign in the queue of SLURM, where there is one."""

import os
import shutil
from collections import Counter
from typing import Any

from dft2spectra.slurm.commands import UnansweredError, queued_jobs
from dft2spectra.slurm.states import why_pending

# What Snakemake's executor puts before the name of the rule in the comment of a job.
COMMENT = "rule_"


def queue_status() -> dict[str, Any] | None:
    """Jobs of the user that were submitted from the working folder; ``None`` without SLURM.

    ``jobs`` counts them by rule and SLURM's state (``RUNNING``, ``PENDING``), ``pending`` those
    that wait by the reason; in place of both, a ``message`` says why they are not known.
    """
    if shutil.which("squeue") is None:
        return None
    try:
        jobs = queued_jobs("--me")
    except UnansweredError as error:
        return {"message": str(error)}
    here = os.path.realpath(os.curdir)
    rules: dict[str, Counter[str]] = {}
    reasons: Counter[str] = Counter()
    for job in jobs:
        if job.comment.startswith(COMMENT) and os.path.realpath(job.folder) == here:
            rule = job.comment.removeprefix(COMMENT).split("_wildcards_")[0]
            rules.setdefault(rule, Counter())[job.state] += 1
            if job.state == "PENDING":
                reasons[why_pending(job.reason)] += 1
    return {
        "jobs": {rule: dict(rules[rule].most_common()) for rule in sorted(rules)},
        "pending": dict(reasons.most_common()),
    }
