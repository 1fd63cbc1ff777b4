"""One process per output: a lock file that a second process waits for and a dead one does not keep.

The lock of ``<folder>/<name>`` is the file ``<folder>/.<name>.lock``. It is created with O_EXCL,
which is atomic on network file systems too, and says who made it: host, process and its start, the
time, and a random token. The owner touches it every ``TOUCH_S``.

When does a lock lie there for nothing? Where process numbers tell (same host, no container
between), as soon as its owner has ended; a stopped owner lives. From anywhere else, when nobody has
touched it for ``STALE_S`` of watching; no clocks are compared, so they may differ. A job that the
queue moved to another node thus waits three minutes and goes on.

Taking over is a rename: of several that try, one gets it. They take turns by flock on the very file
that is to go; where a file system has no flock, what was renamed is looked at again and put back if
it is not the dead lock. An owner that was silent for too long (suspended, cut off) and is back
finds another token in its lock: :meth:`Lock.check` tells it before it writes. SIGTERM, by which a
queue ends a job, releases the lock, so that another host need not watch it first.

A job of a queue does not wait with its cores in its hands: with the variable ``GIVE_WAY`` set, it
ends with :class:`OutputBusyError` as soon as the owner is seen to live.
"""

import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from dft2spectra.disk import explained
from dft2spectra.processes import is_gone, place, started, unique_word

TOUCH_S = 20.0
# A network file system may show old attributes of a file for 60 s; add two missed touches.
STALE_S = 180.0
# Pauses between looks at the lock of another: short at first, then polite to the file server.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
# More than enough for two renames.
PUT_BACK_S = 2.0
# Variable of the environment of a job that is started again later when it finds a lock.
GIVE_WAY = "DFT2SPECTRA_GIVE_WAY"
# What such a job says; whoever started it knows it by these words.
GAVE_WAY = "this job gives its cores back"

logger = logging.getLogger(__name__)


class OutputLockedError(RuntimeError):
    """This process holds the lock already: to wait for it would never end."""


class OutputBusyError(RuntimeError):
    """Another process that lives holds the lock, and this one must not wait for it."""


class LockLostError(RuntimeError):
    """Another process took the lock over while this one was silent."""


@dataclass(frozen=True)
class Owner:
    """Who made a lock: all of it is in the file; empty if its maker died before it wrote that."""

    host: str = ""
    pid: int = 0
    place: str = ""
    process_started: str = ""
    locked_at: str = ""
    token: str = ""


class Lock:
    """A lock that this process holds."""

    def __init__(self, path: Path, owner: Owner) -> None:
        self.path = path
        self.owner = owner

    def check(self) -> None:
        """Raise ``LockLostError`` if another process has taken the lock over."""
        found = read_owner(self.path)
        if found is None:  # or somebody looks at it aside, and puts it back, see _remove
            time.sleep(PUT_BACK_S)
            found = read_owner(self.path)
        if found is None or found.token != self.owner.token:
            by = f"process {found.pid} on {found.host}" if found else "somebody, who has removed it"
            raise LockLostError(
                f"{self.path}: taken over by {by}, as this process was silent for longer than"
                f" {STALE_S:.0f} s. Nothing is written any more; run again."
            )

    def touch(self) -> None:
        """Show that the owner lives; a lock that is another's by now is left alone."""
        try:
            handle = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            if _read(handle).token == self.owner.token:
                os.utime(handle)
        finally:
            os.close(handle)


def lock_path(output: str | Path) -> Path:
    """The lock file of an output, beside it."""
    return Path(output).with_name(f".{Path(output).name}.lock")


def read_owner(path: str | Path) -> Owner | None:
    """Who made a lock file; ``None`` if there is none."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return _read(handle)
    finally:
        os.close(handle)


def running_owner(path: str | Path) -> Owner | None:
    """Owner of a lock file that lives, as far as a look can tell; ``None`` without one.

    Of another host's lock, the time of the last touch is compared with the clock here.
    """
    owner = read_owner(path)
    if owner is None:
        return None
    if owner.place == place():
        return None if is_gone(owner.pid, owner.process_started) else owner
    try:
        silent_s = time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return None
    return owner if silent_s < STALE_S else None


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Within the block SIGTERM raises ``SystemExit``, so that what is held is released.

    Not in other threads than the main one, which may set no handler, nor where the program, or a
    block around this one, has set one.
    """
    free = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not free or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> NoReturn:
        # A second one would cut the way out short.
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def output_lock(
    output: str | Path, say: Callable[[str], object] = logger.warning
) -> Iterator[Lock]:
    """Hold the lock of ``output`` for the length of the block; wait for another process before.

    In the main thread, unless the program has a handler of its own, SIGTERM raises ``SystemExit``.

    Parameters
    ----------
    output
        Its folder is made if it is not there.
    say
        Takes a sentence about who is waited for.

    Raises
    ------
    OutputLockedError
        This process holds the lock already.
    OutputBusyError
        Another process holds it and lives, and ``GIVE_WAY`` is set.
    """
    with sigterm_raises():
        path = lock_path(output)
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = Lock(path, _acquire(path, say))
        try:
            with _touched(lock):
                yield lock
        finally:
            _remove(path, lock.owner.token)


@contextmanager
def _touched(lock: Lock) -> Iterator[None]:
    """Touch a lock from time to time during the block."""
    done = threading.Event()

    def keep_touching() -> None:
        while not done.wait(TOUCH_S):
            try:
                lock.touch()
            except OSError as error:
                # The file server may be back next time; if not, the write itself will fail.
                logger.warning("%s: cannot be touched (%s)", lock.path, error)

    toucher = threading.Thread(target=keep_touching, name=f"touches {lock.path}", daemon=True)
    toucher.start()
    try:
        yield
    finally:
        done.set()
        toucher.join()


def _acquire(path: Path, say: Callable[[str], object]) -> Owner:
    mine = Owner(
        host=socket.gethostname(),
        pid=os.getpid(),
        place=place(),
        process_started=started(os.getpid()),
        locked_at=datetime.now(UTC).isoformat(timespec="seconds"),
        token=secrets.token_hex(8),
    )
    watched, since, waits_for, pause_s = None, 0.0, "", SHORTEST_PAUSE_S
    while not _create(path, mine):
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            owner, status = _read(handle), os.fstat(handle)
        finally:
            os.close(handle)
        alive = False
        if watched != (owner.token, status.st_ino, status.st_mtime_ns):
            alive = watched is not None  # touched, or taken over by another process, meanwhile
            watched, since = (owner.token, status.st_ino, status.st_mtime_ns), time.monotonic()
        if owner.place == mine.place:
            dead = is_gone(owner.pid, owner.process_started)
            alive = not dead
            if owner.pid == mine.pid and not dead:
                raise OutputLockedError(f"{path}: this process holds the lock already.")
        else:
            dead = time.monotonic() - since > STALE_S
        if dead:
            _remove(path, owner.token)
            continue
        if alive and os.environ.get(GIVE_WAY):
            raise OutputBusyError(
                f"{path}: process {owner.pid} on {owner.host} writes this output; {GAVE_WAY}."
            )
        if waits_for != (owner.token or "nobody"):
            waits_for = owner.token or "nobody"
            say(
                f"{path}: waiting for process {owner.pid or 'without a number'} on"
                f" {owner.host or 'an unknown host'}, which writes this output. A lock of a process"
                f" that is gone is taken over by itself, from another host after {STALE_S:.0f} s."
            )
        time.sleep(pause_s)
        pause_s = min(1.5 * pause_s, LONGEST_PAUSE_S)
    return mine


def _create(path: Path, owner: Owner) -> bool:
    """Make the lock file; ``False`` if there is one."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        os.write(handle, json.dumps(asdict(owner)).encode())
        os.fsync(handle)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(handle)
    return True


def _remove(path: Path, token: str) -> None:
    """Remove the lock file with this token; if another is there meanwhile, it stays."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        with suppress(OSError):  # no flock on this file system
            fcntl.flock(handle, fcntl.LOCK_EX)
        if _read(handle).token != token or not _is_at(path, handle):
            return
        # A name of its own: what another one moves away at this moment is not met. And that of a
        # temporary file, which goes if this process is killed before it has removed it.
        grave = path.with_name(f"{path.name}.{unique_word()}")
        with suppress(FileNotFoundError):
            os.rename(path, grave)
            found = read_owner(grave)
            if found is not None and found.token != token:
                with suppress(FileExistsError):
                    os.link(grave, path)
            os.unlink(grave)
    finally:
        os.close(handle)


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _read(handle: int) -> Owner:
    """Content of a lock file; an empty ``Owner`` if it is none of ours."""
    text = os.pread(handle, 4096, 0).decode(errors="replace")
    try:
        entries = json.loads(text)
        known = {name: entries[name] for name in Owner.__dataclass_fields__}
        owner = Owner(**{**known, "pid": int(known["pid"])})
    except (ValueError, TypeError, KeyError):
        return Owner()
    return owner
