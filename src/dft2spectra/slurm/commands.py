"""Questions to SLURM's programs, with their answers as data and their complaints as words."""

import re
import subprocess
from dataclasses import dataclass

# A busy controller may take its time; after that it counts as away. [s]
PATIENCE_S = 60.0
# One line of squeue per job. A comment of Snakemake's executor holds no bar; a folder may.
COLUMNS = ("id", "state", "reason", "node", "elapsed", "name", "comment", "folder")
FORMAT = "%i|%T|%r|%N|%M|%j|%k|%Z"


class UnansweredError(RuntimeError):
    """A program of SLURM that is missing, silent or complains, with its own words."""


@dataclass(frozen=True)
class Job:
    """A job as SLURM shows it; what was not asked for is empty."""

    id: str
    state: str
    reason: str = ""
    node: str = ""
    elapsed: str = ""
    name: str = ""
    comment: str = ""
    folder: str = ""


def words(text: str) -> str:
    """What a program complained, on one line and without its name before it."""
    lines = [re.sub(r"^\w+: (error|fatal): ", "", line.strip()) for line in text.splitlines()]
    return "; ".join(line for line in lines if line)


def ask(*command: str, patience_s: float = PATIENCE_S) -> str:
    """What a program prints.

    Raises
    ------
    UnansweredError
        It is not there, takes longer than ``patience_s`` or ends with an error.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience_s,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnansweredError(f"{command[0]} gives no answer: {error}") from error
    if done.returncode:
        reason = words(done.stderr or done.stdout) or f"exit code {done.returncode}"
        raise UnansweredError(f"{command[0]} gives no answer: {reason}")
    return done.stdout


def queued_jobs(*selection: str) -> list[Job]:
    """Jobs that ``squeue`` shows; lines that describe none, such as a banner, are left out."""
    answer = ask("squeue", "--noheader", f"--format={FORMAT}", *selection)
    rows = [line.strip().split("|", len(COLUMNS) - 1) for line in answer.splitlines()]
    return [Job(*row) for row in rows if len(row) == len(COLUMNS) and row[0][:1].isdigit()]


def recorded_jobs(*selection: str) -> dict[str, Job]:
    """Jobs that the accounting knows by id, as they stand there."""
    columns = "--format=JobIDRaw,State,NodeList"
    answer = ask("sacct", "--allocations", "--parsable2", "--noheader", columns, *selection)
    rows = [line.strip().split("|") for line in answer.splitlines()]
    # "CANCELLED by 1000": who did it is no part of the state.
    return {
        row[0]: Job(row[0], row[1].split()[0], node=row[2])
        for row in rows
        if len(row) == 3 and row[0].isdigit() and row[1]
    }


def accounting_answers() -> str | None:
    """Why ``sacct`` cannot be asked how jobs ended; ``None`` if it can."""
    try:
        # Without slurmdbd sacct may read a file of its own, or nothing at all, and not complain.
        if not configuration().get("AccountingStorageType", "").endswith("slurmdbd"):
            return "this cluster keeps no accounts (AccountingStorageType is not slurmdbd)"
        ask("sacct", "--allocations", "--noheader", "--jobs=1")
    except UnansweredError as error:
        return str(error)
    return None


def configuration() -> dict[str, str]:
    """Configuration of the cluster, as ``scontrol show config`` prints it."""
    pairs = [line.split("=", 1) for line in ask("scontrol", "show", "config").splitlines()]
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def remembered_s(config: dict[str, str]) -> float | None:
    """How long SLURM remembers an ended job at least (``MinJobAge``) [s]; ``None`` if unknown."""
    found = re.match(r"\d+", config.get("MinJobAge", ""))
    return float(found[0]) if found else None
