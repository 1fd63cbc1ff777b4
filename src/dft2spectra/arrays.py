"""Files of arrays (``.npz``), read with limits; a damaged one is named, with what to do.

NumPy takes the shape in the head of an array for granted and asks for its memory before it reads a
number. A damaged file, or one made for the purpose, so fills the memory or ends in an error of the
archive that names no file. Here sizes are compared first, and nothing pickled is ever run.
"""

import math
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

# Of all arrays of a file together; trajectories and labels of the largest molecules have 1 GB.
MAX_BYTES = 8_000_000_000
# The largest density models have some hundreds.
MAX_MEMBERS = 10_000
MAX_AXES = 8


class DamagedFileError(ValueError):
    """A file that does not hold what this project writes; the message says what to do."""

    def __init__(self, path: str | Path, why: str) -> None:
        self.why = why
        super().__init__(
            f"{path} cannot be used: {why}. It is damaged or not of this project: remove it and "
            "start again, and it is made anew"
        )


def read_arrays(path: str | Path, names: Iterable[str] | None = None) -> dict[str, NDArray]:
    """Arrays of a ``.npz`` file by name; all of them, or those that are named.

    Raises
    ------
    DamagedFileError
        The file is cut off or no archive, lacks an array, holds pickled objects, or more than
        ``MAX_BYTES`` or ``MAX_MEMBERS``; or the size of an array is not that of its shape.
    OSError
        The file is not there or cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read(archive, names)
        # What the archive and NumPy raise for files that are cut off or of another kind.
        except (
            *(zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, OSError),
            *(NotImplementedError, RuntimeError, MemoryError, UnicodeError, OverflowError),
        ) as error:
            why = str(error).strip("'\"").rstrip(".") or type(error).__name__
            raise DamagedFileError(path, why.splitlines()[0]) from error


def refuse_not_finite(path: str | Path, arrays: dict[str, NDArray], names: Iterable[str]) -> None:
    """Stop where one of these arrays, which a model is made of, holds NaN or infinity.

    Raises
    ------
    DamagedFileError
        Naming the array.
    """
    for name in names:
        if arrays[name].dtype.kind in "fc" and not np.isfinite(arrays[name]).all():
            raise DamagedFileError(path, f"{name} holds a number that is not finite")


def _read(archive: zipfile.ZipFile, names: Iterable[str] | None) -> dict[str, NDArray]:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise ValueError(f"it has {len(members):,d} members, at most {MAX_MEMBERS:,d} are read")
    size = sum(member.file_size for member in members)
    if size > MAX_BYTES:
        raise ValueError(f"it unpacks to {size / 1e9:.3g} GB, at most {MAX_BYTES / 1e9:g} are read")
    found = {member.filename.removesuffix(".npy"): member for member in members}
    wanted = list(found) if names is None else list(names)
    if missing := [name for name in wanted if name not in found]:
        raise ValueError(f"it has no array {', '.join(missing)}")
    arrays = {}
    for name in wanted:
        with archive.open(found[name]) as stream:
            arrays[name] = _array(name, cast(BinaryIO, stream), found[name].file_size)
    return arrays


def _array(name: str, stream: BinaryIO, size: int) -> NDArray:
    """One array, of whose file nothing is believed that its size does not bear out."""
    version = npy.read_magic(stream)
    head = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = head(stream)
    if dtype.hasobject:
        raise ValueError(f"{name} holds pickled objects, which are not read")
    if len(shape) > MAX_AXES or any(length < 0 for length in shape):
        raise ValueError(f"{name} has the impossible shape {shape}")
    if math.prod(shape) * dtype.itemsize != size - stream.tell():
        raise ValueError(f"{name} has the shape {shape}, which is not its size")
    stream.seek(0)
    return cast(NDArray, npy.read_array(stream, allow_pickle=False))
