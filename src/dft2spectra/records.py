"""Files that are whole or absent: written under a temporary name, then renamed."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Temporary path beside ``path`` that takes its name when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
