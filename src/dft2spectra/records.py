"""Files that are whole or absent: written under a temporary name, then renamed.

Snakemake deletes the output of a job when the job starts, also where a driver that was killed never
learned that the output was finished. A result that took long is therefore :func:`kept` under a
second name, a hard link, from which the next job takes it back. When Snakemake has noted the end of
a job, the second names of its results go (:mod:`dft2spectra.noted`): what is deleted or forced from
then on is computed anew.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.disk import UnwritableError, explained
from dft2spectra.processes import is_gone, place_hash, unique_word

# Name of a temporary file: place and number of the process that writes it, and a random part.
TEMPORARY = re.compile(r"^\..+\.(?P<place>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}(\.[^.]*)?\Z")
# From elsewhere nobody can tell whether its writer lives; writing takes minutes at most.
LEFT_AFTER_S = 86400.0

logger = logging.getLogger(__name__)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Temporary path beside ``path`` that takes its name when the block ends without an error.

    What killed processes have left in the folder is removed, once per process. An error of a full
    or read-only disk says what to do.
    """
    path = Path(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent.resolve(), place_hash())
        temporary = path.with_name(f".{path.name}.{unique_word()}{path.suffix}")
        try:
            yield temporary
            with open(temporary, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@cache
def _remove_leftovers(folder: Path, here: str) -> None:
    """Remove temporary files of dead processes; from other places, those that are a day old."""
    for entry in os.scandir(folder):
        name = TEMPORARY.match(entry.name)
        if name is None:
            continue
        # Finished or removed meanwhile, or of another user.
        with suppress(FileNotFoundError, PermissionError):
            if name["place"] == here:
                left = is_gone(int(name["pid"]))
            else:
                left = time.time() - entry.stat().st_mtime > LEFT_AFTER_S
            if left:
                os.unlink(entry.path)


@contextmanager
def kept(path: str | Path) -> Iterator[Path]:
    """The path; a result that was kept is taken back before the block, and kept again after it.

    Whether what was taken back is still right is for the block to judge.
    """
    path = Path(path)
    if kept_path(path).exists():
        with suppress(FileExistsError, FileNotFoundError):
            _link(kept_path(path), path)
    yield path
    if not path.exists():
        return  # no result, or removed meanwhile
    try:
        with whole_file(kept_path(path)) as temporary:
            _link(path, temporary)
    except UnwritableError as error:
        # The result itself is there. To fail for its second name would make Snakemake delete it.
        logger.warning("%s", error)


def kept_path(path: str | Path) -> Path:
    """Second name of a result, beside it."""
    return Path(path).with_name(f".{Path(path).name}.kept")


def drop_kept(paths: Iterable[str | Path]) -> None:
    """Remove the second names of these results, where there are any."""
    for path in paths:
        kept_path(path).unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    """Give a file a new name, whole or not at all; a file that has this name already stays."""
    try:
        os.link(source, target)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # no hard links on this file system
        with whole_file(target) as temporary:
            shutil.copyfile(source, temporary)


def is_cut_off(path: str | Path) -> bool:
    """Whether a text file lacks its end, as after a crash of the machine; of a folder, any JSON.

    What was written ends a line: a file that a crash has emptied, or cut off, does not.
    """
    path = Path(path)
    if path.is_dir():
        return any(is_cut_off(file) for file in path.glob("*.json"))
    if not path.is_file():
        return False
    *before, last, end = [b"", *path.read_bytes().split(b"\n")]
    if end or not last:
        return True
    # A cut may fall on the end of a line: JSON of several ends with its outermost bracket.
    whole = last in (b"}", b"]") or (len(before) == 1 and last.endswith((b"}", b"]")))
    return path.suffix == ".json" and not whole


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def write_json(path: str | Path, data: Any) -> None:
    """Write ``data`` as indented JSON; NaN and infinity are refused with ``ValueError``."""
    text = json.dumps(data, indent=1, default=_plain, allow_nan=False, ensure_ascii=False)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Parse a JSON file; the error names the file."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error


def content_hash(data: Any) -> str:
    """First 16 hexadecimal digits of the SHA-256 of ``data`` as canonical JSON."""
    text = json.dumps(data, sort_keys=True, default=_plain, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_table(path: str | Path, table: pd.DataFrame, csv_twin: bool = True) -> None:
    """Write a Parquet table and, beside it, the same as CSV for a person to open."""
    with whole_file(path) as temporary:
        table.to_parquet(temporary, index=False)
    if csv_twin:
        write_csv(Path(path).with_suffix(".csv"), table)


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a CSV table with a header and no index."""
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False)
