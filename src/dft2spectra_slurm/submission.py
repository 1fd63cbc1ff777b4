"""How a job is submitted: its command for ``sbatch``, and the note that it leaves at its end."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import get_job_wildcards, set_gres_string
from snakemake_executor_plugin_slurm.validation import validate_slurm_extra

from dft2spectra.locks import GIVE_WAY

# sbatch itself gives up earlier; a wrapper of the site may not. [s]
PATIENCE_S = 300.0
# Longest command line, with room to the 128 KiB that Linux allows one word. [bytes]
LONGEST = 120_000
# Characters that SLURM or the shell of a job replaces in the name of a folder.
REPLACED = '%$`"\\\n'

# A job says itself how it ended, for the case that SLURM forgets it.
SCRIPT = """export {give_way}=1
{command}
code=$?
echo $code > {note}.$SLURM_JOB_ID.part && mv {note}.$SLURM_JOB_ID.part {note}.$SLURM_JOB_ID
exit $code
"""


def forbidden_folder(folder: str | Path) -> str | None:
    """Why jobs cannot be submitted from a folder, as a sentence; ``None`` if they can."""
    found = sorted({character for character in str(folder) if character in REPLACED})
    if not found:
        return None
    shown = " and ".join(repr(character) for character in found)
    return (
        f"{folder}: SLURM and the shells of its jobs replace {shown} in the name of a folder, so"
        " that logs and results would go astray. Rename the folder, or run in another one."
    )


def comment_of(job: Any) -> str:
    """Rule and wildcards of a job as squeue shows them (``%k``)."""
    wildcards = get_job_wildcards(job)
    kind = "group" if job.is_group() else "rule"
    return f"{kind}_{job.name}" + (f"_wildcards_{wildcards}" if wildcards else "")


def name_of(job: Any) -> str:
    """Rule and wildcards of a job for a reader."""
    wildcards = get_job_wildcards(job)
    return f"{job.name} {wildcards}" if wildcards else str(job.name)


def log_folder(job: Any, logs: Path) -> Path:
    """Folder of what SLURM and Snakemake say about a job."""
    kind = "group" if job.is_group() else "rule"
    return logs / f"{kind}_{job.name}" / get_job_wildcards(job)


def note_path(job: Any, logs: Path, number: str) -> Path:
    """Where a job leaves its exit code."""
    return log_folder(job, logs) / f".ended.{number}"


def command_of(
    job: Any, parameters: dict[str, Any], settings: Any, avoided: set[str], limits: str
) -> str:
    """The words of ``sbatch`` for a job, for a shell, without what it is to run.

    Parameters
    ----------
    job
        Job of Snakemake.
    parameters
        As the plugin's ``get_submit_command`` takes them.
    settings
        Settings of the plugin.
    avoided
        Nodes that the job must not go to.
    limits
        Options that come last and count.
    """
    validate_slurm_extra(job)
    call = get_submit_command(job, parameters, settings=settings, failed_nodes=avoided)
    return f"{call}{set_gres_string(job)} {limits}".rstrip()


def submit(call: str, command: str, note: Path, by_stdin: bool) -> tuple[int | None, str, str]:
    """Run ``sbatch``; its exit code, ``None`` if it does not end, and what it printed.

    Parameters
    ----------
    call
        See :func:`command_of`.
    command
        What the job runs.
    note
        Beginning of the path of its note; ``.`` and its number follow.
    by_stdin
        Hand it over as a script, as is done anyway where the command line would be too long.
    """
    script = SCRIPT.format(give_way=GIVE_WAY, command=command, note=shlex.quote(str(note)))
    if by_stdin or len(f"{call}{shlex.quote(script)}".encode()) > LONGEST:
        full, text = f"{call} /dev/stdin", f"#!/bin/sh\n{script}"
    else:
        full, text = f"{call} --wrap={shlex.quote(script)}", ""
    try:
        done = subprocess.run(
            full,
            shell=True,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired as error:
        return None, _text(error.stdout), _text(error.stderr)
    return done.returncode, done.stdout, done.stderr


def _text(stream: Any) -> str:
    return stream.decode(errors="replace") if isinstance(stream, bytes) else stream or ""


def read_note(path: Path) -> int | None:
    """Exit code that a job has left; ``None`` if it left none."""
    try:
        text = path.read_text("utf-8")
    except OSError:
        return None
    return int(text) if re.fullmatch(r"\d+\n", text) else None
