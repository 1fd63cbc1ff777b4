"""Charge-density models of two kinds and the one-shot Kohn–Sham step that they feed."""

import atexit
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import numba


def _cache_of_this_version() -> str:
    """Folder for compiled kernels, another one for every state of the source.

    Numba keys its cache on the file of a kernel, not on those of the kernels that it calls, so that
    an update of the library could run old code.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    state = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(home) / "dft2spectra" / f"kernels-{state}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written, as of many services: compiled by each process
        own = tempfile.mkdtemp(prefix="dft2spectra-")
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        return own
    return str(folder)


if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = _cache_of_this_version()  # type: ignore[attr-defined]
