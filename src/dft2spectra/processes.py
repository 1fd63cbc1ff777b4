"""Which processes are gone: told at once on the same machine, unknown from another one."""

import os
import socket
from functools import cache
from pathlib import Path


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


def started(pid: int) -> str:
    """When a process of this place started, in the kernel's count; empty if that is not known.

    A number is given again to another process; number and start together are unique.
    """
    fields = _stat(pid)
    return fields[19] if fields else ""


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


def _stat(pid: int) -> list[str]:
    """Fields of ``/proc/<pid>/stat`` from the third on, see proc(5); empty if not to be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return []
    # The second field, the program's name in parentheses, may hold blanks and parentheses.
    return text.rpartition(")")[2].split()
