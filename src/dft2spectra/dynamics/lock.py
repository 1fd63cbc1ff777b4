"""One process per output: a lock file that a dead process does not keep.

The lock names host and process and is held in two ways. The kernel's advisory lock (flock) ends
with the process, however it dies, so a process on the same host knows at once whether the owner
lives. Other hosts may not see that lock on a shared file system, so the owner also touches the
file every ``TOUCH_S``; a lock of another host is watched for ``WATCH_S`` and taken over if nobody
touches it meanwhile. A job that the queue moved to another node thus waits two minutes and goes on.
Not covered: two other hosts that take over one dead lock in the same instant where flock does not
reach across hosts.
"""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOUCH_S = 20.0
# Longer than a network file system may show old attributes of a file (60 s) plus a missed touch.
WATCH_S = 120.0


class OutputLockedError(RuntimeError):
    """Another process writes the same output."""


@contextmanager
def output_lock(output: str | Path) -> Iterator[None]:
    """Hold ``.<name>.lock`` beside ``output`` for the length of the block.

    Raises
    ------
    OutputLockedError
        If a living process holds it.
    """
    path = Path(output).with_name(f".{Path(output).name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _acquire(path)
    done = threading.Event()

    def touch() -> None:
        while not done.wait(TOUCH_S):
            os.utime(handle)

    toucher = threading.Thread(target=touch, name=f"lock of {output}", daemon=True)
    toucher.start()
    try:
        yield
    finally:
        done.set()
        toucher.join()
        # Removed while still locked: who opened it before finds its file gone and opens a new one.
        if _is_current(path, handle):
            path.unlink()
        os.close(handle)


def _acquire(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(path, handle)
            if not _is_current(path, handle):
                os.close(handle)
                continue
            owner = _owner(handle)
            if owner["host"] not in ("", socket.gethostname()):
                _watch(path, handle, owner)
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(_myself()).encode(), 0)
            os.fsync(handle)
            return handle
        except BaseException:
            os.close(handle)
            raise


def _lock(path: Path, handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputLockedError(_refusal(path, _owner(handle))) from error


def _watch(path: Path, handle: int, owner: dict) -> None:
    """Return when nobody touched the lock for ``WATCH_S``; no clocks are compared."""
    touched = os.fstat(handle).st_mtime_ns
    end = time.monotonic() + WATCH_S
    while time.monotonic() < end:
        time.sleep(min(1.0, WATCH_S / 10))
        if not _is_current(path, handle) or os.fstat(handle).st_mtime_ns != touched:
            raise OutputLockedError(_refusal(path, owner))


def _is_current(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _myself() -> dict:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _owner(handle: int) -> dict:
    """Host and process in the lock file; empty if its owner died before writing them."""
    text = os.pread(handle, 4096, 0).decode(errors="replace")
    try:
        owner = json.loads(text)
        return {"host": str(owner["host"]), "pid": int(owner["pid"])}
    except (ValueError, TypeError, KeyError):
        return {"host": "", "pid": 0}


def _refusal(path: Path, owner: dict) -> str:
    return (
        f"{path}: process {owner['pid']} on {owner['host'] or 'this host'} writes this output."
        " Wait for it or end it; a lock of a process that is gone is taken over by itself."
    )
