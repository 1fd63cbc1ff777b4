"""For all tests: one thread per process, reproducible random examples, small file systems."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("reproducible", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("reproducible")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole campaigns first: a long file at the end leaves all workers but one idle."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)


@pytest.fixture
def mount() -> Iterator[Callable[[Path, str], None]]:
    """Function that puts a folder on a file system in memory with options such as ``size=1m``.

    Called again for the same folder it changes the options.
    """
    mounted: list[Path] = []

    def put(folder: Path, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if folder in mounted:
            command = ["mount", "-o", f"remount,{options}", str(folder)]
        folder.mkdir(exist_ok=True)
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            pytest.skip(f"mount cannot be run: {error}")
        if done.returncode:
            pytest.skip(f"mounting a file system needs root: {done.stderr.strip()}")
        if folder not in mounted:
            mounted.append(folder)

    yield put
    for folder in reversed(mounted):
        subprocess.run(["umount", str(folder)], check=True)
