"""What ``sbatch`` answers: the job's number, or why there is none and what to do about it."""

import re
from dataclasses import dataclass
from enum import Enum

from dft2spectra.slurm.commands import words


class Kind(Enum):
    """What a refusal asks for."""

    LATER = "the same may be taken in a while"
    LOST = "the answer did not come: SLURM may have taken the job"
    NODES = "no node is left that may be used"
    USER = "nothing with this account, partition or QOS will be taken"
    JOB = "this job will never be taken as it is"


@dataclass(frozen=True)
class Refusal:
    """A submission without a number of a job, in the words of the scheduler."""

    kind: Kind
    words: str


# Texts of SLURM's src/common/slurm_errno.c and of the limits in src/slurmctld/acct_policy.c, lower
# case; the first that is found counts. What is not here ends this job with its words.
TEXTS = (
    (
        Kind.LATER,
        (
            "maxsubmitjob",  # AssocMaxSubmitJobLimit, QOSMaxSubmitJobPerUserLimit …
            "grpsubmitjob",  # AssocGrpSubmitJobsLimit, QOSGrpSubmitJobsLimit
            "temporarily unable to accept job",
            "too many jobs",
            "maximum number of jobs",
            "rate limit",
            "try again",
            "not responding",
            "i/o error writing script",  # the disk of the controller is full
            "resource temporarily unavailable",
            "unable to contact slurm controller",
            "connection refused",
            "communication connection failure",
            "no route to host",
            "network is unreachable",
            "name or service not known",
            "temporary failure in name resolution",
            "backup controller",
            "standby",
            "authentication",  # munged is away: "Protocol authentication error"
            "munge",
            "slurmdbd",
            "database",
            "required partition not available",
            "partition in an unusable state",
            "cannot allocate memory",
            "too many open files",
        ),
    ),
    (
        Kind.LOST,
        (
            "timed out",
            "zero bytes were transmitted",
            "connection reset",
            "connection aborted",
            "communication shutdown failure",
            "communication receive failure",
            "communication send failure",
            "unexpected message",
            "end of file",
            "insane message length",
        ),
    ),
    (
        Kind.NODES,
        (
            "requested node configuration is not available",
            "required node not available",
            "nodes required for job are down",
            "invalid node name specified",
        ),
    ),
    (
        Kind.USER,
        (
            "invalid partition",
            "invalid account",
            "invalid qos",
            "invalid user",
            "user's group not permitted",
            "user not permitted",
            "account not permitted",
            "access/permission denied",
            "reservation is invalid",
            "invalid reservation",
            "unrecognized option",
            "invalid option",
            "invalid wckey",
        ),
    ),
)
# Says nothing of which limit it was: of the number of jobs, or of the size of this one.
SOME_LIMIT = "job violates accounting/qos policy"


def read_answer(code: int | None, out: str, err: str) -> str | Refusal:
    """The number of the job that was submitted, or the refusal.

    Parameters
    ----------
    code
        Exit code of ``sbatch --parsable``; ``None`` if it never ended.
    out, err
        What it printed. A site's wrapper may print more, numbers among it.
    """
    said = words(err) or words(out)
    if code is None:
        return Refusal(Kind.LOST, f"sbatch gave no answer; {said}" if said else "sbatch hung")
    if code == 0:
        numbers = re.findall(r"^\s*(\d+)(?:;[\w.-]+)?\s*$", out, re.MULTILINE)
        numbers = numbers or re.findall(r"Submitted batch job (\d+)", out)
        if len(set(numbers)) == 1:
            return numbers[0]
        return Refusal(Kind.LOST, f"no number of a job can be told in the answer {out.strip()!r}")
    text = said.lower()
    for kind, parts in TEXTS:
        if any(part in text for part in parts):
            return Refusal(kind, said)
    return Refusal(Kind.JOB, said or f"sbatch ended with code {code} and no word")


def names_no_limit(refusal: Refusal) -> bool:
    """Whether a limit was met and it is not said which: too many jobs pass, too large ones stay."""
    text = refusal.words.lower()
    return SOME_LIMIT in text and not re.search(r"(assoc|qos|grp)\w*(max|min|grp)\w*", text)
