"""Whether a folder can be written, and sentences that say what to do if not."""

import errno
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote

# Room for some records; below, a job would compute what it cannot write. [bytes]
LEAST_BYTES = 1 << 16

# Clocks of a file server and of its clients differ by less.
SKEW_S = 10.0

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)

MB = 1e6


def refusal(folder: str | Path) -> str | None:
    """Why nothing can be written in a folder and what to do, as a sentence; ``None`` if it can.

    The folder is made if it is not there, and a file of ``LEAST_BYTES`` written and removed.
    """
    try:
        _write(Path(folder, f".probe.{os.getpid()}-{secrets.token_hex(4)}"))
    except OSError as error:
        trouble = error
    else:
        return None
    return sentence(folder, trouble)  # its room is given back by now


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.unlink(path)  # a kill leaves nothing
        left = LEAST_BYTES
        while left:
            left -= os.write(handle, bytes(left))
        os.fsync(handle)
    finally:
        os.close(handle)


def forbidden(folder: str | Path) -> str | None:
    """As :func:`refusal` for rights alone: nothing is written, and a full disk is none of it."""
    if os.access(folder, os.W_OK):
        return None
    read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    number = errno.EROFS if read_only else errno.EACCES
    return sentence(folder, OSError(number, os.strerror(number)))


def crowded(folder: str | Path) -> str | None:
    """As :func:`refusal` for space alone, by what the file system says: nothing is written."""
    state = os.statvfs(folder)
    files_left = state.f_favail > 0 or state.f_files == 0
    if state.f_bavail * state.f_frsize >= LEAST_BYTES and files_left:
        return None
    return sentence(folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


def from_future(paths: Iterable[str | Path]) -> str | None:
    """What to do about a file that is dated in the future; ``None`` if none is.

    Snakemake takes every output for older than such a file: the job fails after its work, and what
    it made is deleted.
    """
    now = time.time()
    for path in paths:
        with suppress(OSError):
            ahead = os.stat(path).st_mtime - now
            if ahead > SKEW_S:
                return (
                    f"{path} is dated {_in_words(ahead)} in the future, so that nothing could be "
                    f"newer than it. Run `touch {quote(str(path))}`; if it was just written, "
                    "compare the clocks of this machine and of its file server."
                )
    return None


def _in_words(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def sentence(path: str | Path, error: OSError) -> str:
    """What an error of writing means for somebody who can mend it."""
    if error.errno in FULL:
        return (
            f"{path}: {error.strerror}; {_room(Path(path))}. Make room, or have the quota raised, "
            "then start again: what is finished stays, what was in hand is computed again."
        )
    if error.errno in FORBIDDEN:
        return (
            f"{path} cannot be written: {error.strerror}. Its file system is mounted read-only, or "
            "it belongs to somebody else. Make it writable, or run in another folder."
        )
    if (link := _dangling(Path(path))) is not None:
        return (
            f"{path} cannot be written: {link} is a link to {os.readlink(link)}, which is not "
            "there. Is its disk mounted? Mount it, or make the folder."
        )
    return f"{path} cannot be written: {error.strerror or error}."


def _dangling(path: Path) -> Path | None:
    """The first part of a path that is a link to nothing."""
    path = path.absolute()
    return next((one for one in (*reversed(path.parents), path) if _leads_nowhere(one)), None)


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _room(path: Path) -> str:
    """Free space and files, as the nearest folder that is there tells."""
    place = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
    state = os.statvfs(place)
    free = f"{state.f_bavail * state.f_frsize / MB:,.2f} MB"
    files = f" and {state.f_favail:,d} files (inodes)" if state.f_files else ""
    return f"its file system has {free}{files} left; a quota may leave less"


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Let an error of a full or read-only disk in the block say what to do about ``path``.

    It stays an ``OSError`` of the same number.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL + FORBIDDEN or isinstance(error, UnwritableError):
            raise
        raise UnwritableError(error.errno, sentence(path, error)) from error


class UnwritableError(OSError):
    """A file that cannot be written, with a sentence that says what to do."""

    def __str__(self) -> str:
        return str(self.strerror)
