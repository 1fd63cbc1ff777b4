"""``make slurm-profile``: the profile of ``snakemake --profile slurm``, fitted to the cluster.

It is written once and belongs to the user from then on. Where SLURM answers, it is asked what the
profile has to know; where it does not, as away from the cluster, the profile is written as it is.
"""

import argparse
import difflib
import re
import sys
from getpass import getuser
from pathlib import Path

from dft2spectra.slurm.commands import (
    UnansweredError,
    accounting_answers,
    ask,
    configuration,
    remembered_s,
)
from dft2spectra.slurm.limits import Partition, partitions

# The line of the profile that depends on the cluster, and the one that it is compared with.
STATUS = re.compile(r"^slurm-status-command: *(\w+)", re.MULTILINE)
FIRST_LOOK = re.compile(r"^slurm-init-seconds-before-status-checks: *(\d+)", re.MULTILINE)


def status_command(no_accounts: str | None) -> str:
    """How Snakemake should learn of the end of jobs: by ``sacct`` where slurmdbd answers."""
    return "squeue" if no_accounts else "sacct"


def fitted(template: str, command: str) -> str:
    """The profile with the right ``slurm-status-command``."""
    return STATUS.sub(f"slurm-status-command: {command}", template, count=1)


def contradictions(profile: str, no_accounts: str | None, memory_s: float | None) -> list[str]:
    """What in a profile does not fit the cluster, as sentences.

    Parameters
    ----------
    profile
        Its text.
    no_accounts
        Why ``sacct`` cannot be asked; ``None`` if it can.
    memory_s
        How long SLURM remembers an ended job; ``None`` if that is not known. [s]
    """
    found = []
    command, first = STATUS.search(profile), FIRST_LOOK.search(profile)
    if command and command[1] == "sacct" and no_accounts:
        found.append(f"slurm-status-command has to be squeue: {no_accounts}.")
    short = memory_s is not None and first is not None and memory_s < 3 * int(first[1])
    if command and command[1] == "squeue" and short and not no_accounts:
        found.append(
            f"slurm-status-command should be sacct: SLURM forgets ended jobs after {memory_s:.0f} s"
            f" (MinJobAge), less than three times {first[1] if first else '?'} s."
        )
    requeue = [
        re.search(rf"^slurm-{no}requeue: *true", profile, re.MULTILINE) for no in ("", "no-")
    ]
    if all(requeue):
        found.append("slurm-requeue and slurm-no-requeue exclude each other: leave one of them.")
    return found


def partition_lines(known: dict[str, Partition]) -> list[str]:
    """The partitions as a table for a reader."""
    lines = [f"  {'partition':20}{'minutes':>10}{'MB a node':>12}{'cores':>7}"]
    for partition in known.values():
        name = f"{partition.name}{' (default)' if partition.is_default else ''}"
        lines.append(
            f"  {name:20}{partition.minutes:10.0f}{partition.node_mb:12.0f}{partition.node_cpus:7d}"
        )
    return lines


def accounts() -> list[str]:
    """Accounts of the user, with the number of jobs that may be submitted if there is a limit."""
    columns = "format=Account,MaxSubmitJobs"
    try:
        answer = ask("sacctmgr", "-nP", "show", "associations", f"user={getuser()}", columns)
    except UnansweredError:
        return []
    rows = [line.split("|") for line in answer.splitlines() if "|" in line]
    return [
        f"{account} (at most {limit} jobs)" if limit.strip() else account for account, limit in rows
    ]


def main() -> None:
    """Write the profile, or compare the one that is there; say what the cluster is like."""
    parser = argparse.ArgumentParser(prog="make slurm-profile", description=__doc__)
    parser.add_argument("template", type=Path, help="the profile of the project")
    parser.add_argument("folder", type=Path, help="where Snakemake looks for it")
    arguments = parser.parse_args()
    text, path = arguments.template.read_text("utf-8"), arguments.folder / "profile.yaml"
    cluster: list[str] = []
    try:
        memory_s, no_accounts = remembered_s(configuration()), accounting_answers()
        text = fitted(text, status_command(no_accounts))
        cluster = partition_lines(partitions())
        if no_accounts is None and (known := accounts()):
            cluster.append(f"  your accounts: {', '.join(known)}")
    except UnansweredError as error:
        memory_s, no_accounts = None, "SLURM does not answer here"
        print(f"SLURM does not answer here ({error}): run this again on the cluster.")
    if path.exists():
        mine_now = path.read_text("utf-8")
        print(f"Kept your {path}; what {arguments.template} would change:")
        mine, new = mine_now.splitlines(keepends=True), text.splitlines(keepends=True)
        names = str(path), str(arguments.template)
        sys.stdout.writelines(difflib.unified_diff(mine, new, *names))
        for sentence in contradictions(mine_now, no_accounts, memory_s) if cluster else []:
            print(f"Change this: {sentence}")
    else:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print(f"Written: {path}. Put account and partition into it, then:")
        print("snakemake --profile slurm")
    for line in cluster:
        print(line)


if __name__ == "__main__":
    main()
