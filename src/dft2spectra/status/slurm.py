"""Jobs of a campaign in the queue of SLURM, where there is one."""

import os
import shutil
import subprocess
from collections import Counter
from typing import Any

# A busy controller may take its time.
PATIENCE_S = 30.0
# What Snakemake's executor puts before the name of the rule in the comment of a job.
COMMENT = "rule_"


def queue_status() -> dict[str, Any] | None:
    """Jobs of the user that were submitted from the working folder; ``None`` without SLURM.

    ``jobs`` counts them by rule and SLURM's state (``RUNNING``, ``PENDING``); in place of it, a
    ``message`` says why they are not known.
    """
    program = shutil.which("squeue")
    if program is None:
        return None
    command = [program, "--me", "--noheader", "--format=%T|%Z|%k"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"message": f"squeue gives no answer: {error}"}
    if done.returncode:
        return {"message": f"squeue gives no answer: {' '.join(done.stderr.split())}"}
    here = os.path.realpath(os.curdir)
    rules: dict[str, Counter[str]] = {}
    for line in done.stdout.splitlines():
        state, _, rest = line.strip().partition("|")
        folder, _, comment = rest.rpartition("|")
        if comment.startswith(COMMENT) and os.path.realpath(folder) == here:
            rule = comment.removeprefix(COMMENT).split("_wildcards_")[0]
            rules.setdefault(rule, Counter())[state] += 1
    return {"jobs": {rule: dict(rules[rule].most_common()) for rule in sorted(rules)}}
