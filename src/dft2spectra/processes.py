"""Which processes are gone, as far as this machine can tell; and children that end with us."""

import ctypes
import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

# prctl(2): signal to a process whose parent has died.
PR_SET_PDEATHSIG = 1
# Loaded before any fork: the child of a process with threads should do as little as possible.
LIBC = ctypes.CDLL(None)

# Time for an MPI launcher to end its processes.
END_S = 10.0


@cache
def place() -> str:
    """Where process numbers mean the same: host, its last start and the namespace of numbers.

    Containers on one host count processes apart, and after a restart the count begins anew. Without
    ``/proc`` the host alone has to do.
    """
    words = [socket.gethostname()]
    try:
        words.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        words.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        pass  # not Linux, or hidden
    return " ".join(words)


@cache
def place_hash() -> str:
    """A word for :func:`place`."""
    return hashlib.sha256(place().encode()).hexdigest()[:8]


def unique_word() -> str:
    """A word for a file name: place and number of this process, and a random part."""
    return f"{place_hash()}-{os.getpid()}-{secrets.token_hex(4)}"


def started(pid: int) -> str:
    """When a process of this place started, in the kernel's count; empty if that is not known.

    A number is given again to another process; number and start together are unique.
    """
    fields = _stat(pid)
    return fields[19] if fields else ""


def processor_s(pid: int) -> float:
    """Processor time that a process of this place has used; zero if that is not known."""
    fields = _stat(pid)
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def is_gone(pid: int, start: str = "") -> bool:
    """Whether a process of this place has ended: its number is free, or another process has it.

    Parameters
    ----------
    pid
        Its number.
    start
        What :func:`started` said of it; empty if unknown.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # of another user, but there
    fields = _stat(pid)
    if not fields:
        return False
    # A zombie does nothing any more; its parent has only not asked how it ended.
    return fields[0] in "ZX" or (start != "" and fields[19] != start)


def run_child(command: Sequence[str], log: str | Path, variables: dict[str, str]) -> str:
    """Run a program that ends when this process ends; how it ended, in words.

    Parameters
    ----------
    command
        Program and arguments.
    log
        Its output is appended to this file.
    variables
        Added to the environment.
    """
    with (
        open(log, "a", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        ) as process,
    ):
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def _end_with_parent() -> None:
    """Ask the kernel to end this process with its parent: a second job must not meet it."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _stat(pid: int) -> list[str]:
    """Fields of ``/proc/<pid>/stat`` from the third on, see proc(5); empty if not to be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return []
    # The second field, the program's name in parentheses, may hold blanks and parentheses.
    return text.rpartition(")")[2].split()
