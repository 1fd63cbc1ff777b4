"""Files of strangers, read in a child process with limits of memory, time and what it can send.

A few bytes can ask a parser for all the memory of a login node, or for hours. So whatever reads
foreign formats runs in one child that reads file after file and sends what it found, one item at a
time, while the parent works on the item before. A child that needs more than it may is ended, its
file gets a sentence, and another child goes on with the next file.

``python -m dft2spectra.foreign module:function`` is the child: paths come in on its standard input,
items go out on its standard output, both pickled; what libraries print goes nowhere. The parent
takes numbers, text, arrays and the classes of :data:`ALLOWED` out of it, nothing else.
"""

import atexit
import importlib
import io
import os
import pickle
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from dft2spectra.processes import processor_s

# Bytes that the child may use beside what it needs for itself.
MEMORY_BYTES = 320_000_000
# Processor time for one item.
CPU_S = 3.0
# No answer for this long, and no processor time used meanwhile: the file server hangs. A child that
# gets little of an overloaded machine is waited for: what it reads must not depend on that.
WALL_S = 60.0
# Of one item; a crystal has kilobytes.
MAX_ITEM_BYTES = 50_000_000
# Requests sent ahead, so that the child never waits for the parent.
AHEAD = 8
# Classes that an item may hold, by module and name.
ALLOWED = frozenset(
    {
        ("dft2spectra.structures.raw", "RawStructure"),
        ("dft2spectra.structures.raw", "Rejected"),
        ("dft2spectra.structures.raw", "Reason"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    }
)
# Written to a child's standard error before it is ready: a broken environment, to be shown.
MAX_WRITTEN_BYTES = 1_000_000


class TooMuchError(Exception):
    """A file whose reading was ended; the message says by what limit."""


class Reader:
    """A child that reads files with one function, started when it is first needed.

    Parameters
    ----------
    function
        ``module:function`` of a function that takes a path and yields items.
    """

    def __init__(self, function: str) -> None:
        self.function = function
        self._child: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child, if there is one."""
        child, self._child = self._child, None
        if child is None or self._pid != os.getpid():
            return
        assert child.stdin
        assert child.stdout
        child.kill()
        child.stdin.close()
        child.stdout.close()
        child.wait()

    def read(self, paths: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """Pairs of a path and an item, in the order of the paths; each path ends in ``None``.

        An item is an exception, :class:`TooMuchError`, where reading was ended.
        """
        left = iter(paths)
        asked: deque[str] = deque()
        while True:
            child = self._running()
            for path in left:
                asked.append(path)
                self._ask(child, path)
                if len(asked) >= AHEAD:
                    break
            if not asked:
                return
            path = asked[0]
            try:
                while (item := self._answer(child)) is not None:
                    yield path, item[0]
            except TooMuchError as error:
                yield path, error
                self.close()
                asked.popleft()
                if asked:
                    child = self._running()
                    for other in asked:
                        self._ask(child, other)
            except BaseException:
                # Left in the midst of a file: what the child still says belongs to no other.
                self.close()
                raise
            else:
                asked.popleft()
            yield path, None

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._child is None or self._pid != os.getpid():
            self._child, self._pid = _start(self.function), os.getpid()
        return self._child

    @staticmethod
    def _ask(child: "subprocess.Popen[bytes]", path: str) -> None:
        assert child.stdin
        # Ended by an earlier file: its answer says so, and the path is asked for again.
        with suppress(BrokenPipeError):
            _send(child.stdin, os.fsencode(path))

    @staticmethod
    def _answer(child: "subprocess.Popen[bytes]") -> tuple[Any] | None:
        """One item as a tuple of it, or ``None`` after the last one of a file."""
        assert child.stdout
        content = _receive(child.stdout, child.pid)
        if content is None:
            raise TooMuchError(_why(child))
        try:
            item = _Unpickler(io.BytesIO(content)).load()
        except pickle.UnpicklingError as error:
            raise TooMuchError(f"its reader gave what nobody asked for: {error}") from None
        if isinstance(item, str):
            raise TooMuchError(item)
        assert item is None or isinstance(item, tuple)
        return item


def _start(function: str) -> "subprocess.Popen[bytes]":
    """A child that is ready to read.

    Raises
    ------
    RuntimeError
        It cannot start, with what it wrote.
    """
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "dft2spectra.foreign", function],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env={**os.environ, **one_thread},
            bufsize=0,
        )
        assert child.stdout
        ready = _receive(child.stdout, child.pid)
        if ready is None:
            child.kill()
            child.wait()
            said.seek(0)
            text = said.read(MAX_WRITTEN_BYTES).decode(errors="replace").strip()
            raise RuntimeError(f"the reader of foreign files does not start: {text[-2000:]}")
    return child


def _why(child: "subprocess.Popen[bytes]") -> str:
    """Why a child sends nothing any more."""
    try:
        code = child.wait(1.0)
    except subprocess.TimeoutExpired:
        return f"reading it did nothing for {WALL_S:.0f} s"
    if code == -signal.SIGPROF:
        return f"reading it takes more than {CPU_S:g} s of processor time"
    if code < 0:
        return f"its reader was ended by {signal.Signals(-code).name}"
    return f"its reader ended with code {code}"


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected")
        return super().find_class(module, name)


def _send(stream: BinaryIO | Any, content: bytes) -> None:
    view = memoryview(struct.pack("<Q", len(content)) + content)
    while view:
        view = view[stream.write(view) :]


def _receive(stream: BinaryIO | Any, sender: int | None) -> bytes | None:
    """One message; ``None`` at the end of the stream, or when its sender does nothing any more."""
    size = _exactly(stream, 8, sender)
    if size is None:
        return None
    (length,) = struct.unpack("<Q", size)
    return None if length > MAX_ITEM_BYTES else _exactly(stream, length, sender)


def _exactly(stream: BinaryIO | Any, number: int, sender: int | None) -> bytes | None:
    content = bytearray()
    used = -1.0
    while len(content) < number:
        if sender is not None and not select.select([stream], [], [], WALL_S)[0]:
            before, used = used, processor_s(sender)
            if used <= before:
                return None
            continue
        part = stream.read(min(number - len(content), 1 << 20))
        if not part:
            return None
        content += part
    return bytes(content)


# --- one reader for single files -----------------------------------------------------------------

_SHARED: dict[str, Reader] = {}


def read_one(function: str, path: str) -> Iterator[Any]:
    """Items of one file; the child stays for the next one, until the program ends."""
    if function not in _SHARED:
        _SHARED[function] = Reader(function)
        atexit.register(_SHARED[function].close)
    for _, item in _SHARED[function].read([path]):
        if item is not None:
            yield item


# --- the child -----------------------------------------------------------------------------------


def main() -> None:
    """Read paths from standard input until it ends, with limits on what each may take."""
    module, _, name = sys.argv[1].partition(":")
    read = getattr(importlib.import_module(module), name)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    _send(answers, b"ready")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    _limit()
    while (path := _receive(requests, None)) is not None:
        try:
            items = iter(read(os.fsdecode(path)))
            while True:
                signal.setitimer(signal.ITIMER_PROF, CPU_S)
                content = _next(items)
                signal.setitimer(signal.ITIMER_PROF, 0.0)
                if content is None:
                    break
                _send(answers, content)
        except MemoryError:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            text = f"reading it takes more than {MEMORY_BYTES / 1e6:.0f} MB of memory"
            _send(answers, pickle.dumps(text))
            return  # what is left of it is not given back for sure
        _send(answers, pickle.dumps(None))


def _next(items: Iterator[Any]) -> bytes | None:
    """The next item as a message."""
    for item in items:
        content = pickle.dumps((item,))
        if len(content) > MAX_ITEM_BYTES:
            raise MemoryError
        return content
    return None


def _limit() -> None:
    """Limit memory by what is used now, and forbid large files."""
    used = 0
    try:
        status = Path("/proc/self/status").read_text("ascii", errors="replace")
        used = int(status.partition("VmData:")[2].split()[0]) * 1024
        kind = resource.RLIMIT_DATA
    except (OSError, ValueError, IndexError):  # not Linux
        used, kind = 2_000_000_000, resource.RLIMIT_AS
    for limit, size in ((kind, used + MEMORY_BYTES), (resource.RLIMIT_FSIZE, MAX_WRITTEN_BYTES)):
        _, hard = resource.getrlimit(limit)
        if hard == resource.RLIM_INFINITY or size < hard:
            # macOS refuses limits below what is mapped already; those of time remain.
            try:
                resource.setrlimit(limit, (size, hard))
            except ValueError:
                if kind == resource.RLIMIT_DATA:
                    raise
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


if __name__ == "__main__":
    main()
