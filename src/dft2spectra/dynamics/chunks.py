"""Stretches of a trajectory on disk, so that a killed run goes on where it was.

A chunk holds the samples of consecutive steps, step 0 in the first one, and the complete state
after its last step. Its file starts with the SHA-256 of the rest: whatever damaged it, it is
recognised. It names the run that made it (a hash of start, settings and calculator) and the chunk
before it; chunks that do not fit are removed and their steps computed again.
"""

import hashlib
import io
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dft2spectra.records import whole_file

# Arrays with one entry per step; diagnostics of the calculator join them under DIAGNOSTIC.
SERIES = (
    "step",
    "potential_energy_ev",
    "kinetic_energy_ev",
    "total_energy_ev",
    "temperature_k",
    "dipole_debye",
)
DIAGNOSTIC = "diagnostic_"
# Arrays with one entry per kept frame, and per frame that the calculator flagged.
FRAMES = ("frame_step", "positions_ang", "velocities_ang_per_fs")
FLAGGED = ("flagged_step", "flagged_reason", "flagged_positions_ang")
# State of the calculator, beside end_positions_ang, end_momenta, end_forces_ev_ang, end_rng.
CALCULATOR = "calculator_"

Arrays = dict[str, NDArray]

logger = logging.getLogger(__name__)


def chunk_folder(output: str | Path) -> Path:
    """Folder of the chunks of an output, beside it."""
    return Path(output).with_name(f"{Path(output).name}.chunks")


class ChunkBuffer:
    """Samples of the steps since the last chunk was written."""

    def __init__(self, first_step: int, n_atoms: int) -> None:
        self.first_step = first_step
        self.n_atoms = n_atoms
        self.rows: list[dict[str, Any]] = []
        self.frames: list[tuple[int, NDArray, NDArray]] = []
        self.flagged: list[tuple[int, str, NDArray]] = []

    def add(self, row: dict[str, Any]) -> None:
        """Append the numbers of a step; ``ValueError`` if their names are not those before."""
        if self.rows and set(row) != set(self.rows[0]):
            odd = sorted(set(row) ^ set(self.rows[0]))
            raise ValueError(f"diagnostics must be the same at every step, but not so: {odd}")
        self.rows.append(row)

    def arrays(self) -> Arrays:
        """All samples as arrays; shapes and types do not depend on how many there are."""
        shape = (-1, self.n_atoms, 3)
        arrays = {
            name: np.array([row[name] for row in self.rows], dtype=float).reshape(
                (-1, 3) if name == "dipole_debye" else (-1,)
            )
            for name in (self.rows[0] if self.rows else SERIES)
        }
        arrays["step"] = arrays["step"].astype(np.int64)
        for names, entries in ((FRAMES, self.frames), (FLAGGED, self.flagged)):
            for i, name in enumerate(names):
                column = [entry[i] for entry in entries]
                if name.endswith("_step"):
                    arrays[name] = np.array(column, dtype=np.int64)
                elif name.endswith("_reason"):
                    arrays[name] = np.array(column, dtype=np.str_)
                else:
                    arrays[name] = np.array(column, dtype=float).reshape(shape)
        return arrays


def write_chunk(folder: Path, run: str, first_step: int, previous: str, arrays: Arrays) -> Arrays:
    """Write a chunk; return it as :func:`read_chunks` would.

    Parameters
    ----------
    folder
        Made if it is not there.
    run
        Hash of what makes the trajectory.
    first_step
        First step of the chunk, also its name.
    previous
        ``digest`` of the chunk before, empty for the first.
    arrays
        Samples, state and how the chunk ended; no objects.
    """
    content = io.BytesIO()
    whole = arrays | {"run": np.array(run), "previous": np.array(previous)}
    np.savez(content, allow_pickle=False, **whole)
    payload = content.getvalue()
    digest = hashlib.sha256(payload).hexdigest()
    with whole_file(_path(folder, first_step)) as temporary:
        temporary.write_bytes(digest.encode() + b"\n" + payload)
    return whole | {"digest": np.array(digest)}


def read_chunks(folder: Path, run: str, next_step: int = 0) -> list[Arrays]:
    """Longest unbroken run of valid chunks from ``next_step``; all other files are removed.

    To be called under the lock of the output: a half-written file is then that of a dead process.
    """
    chunks: list[Arrays] = []
    valid: set[Path] = set()
    previous = ""
    while _path(folder, next_step).exists():
        path = _path(folder, next_step)
        chunk = _read(path)
        problem = _problem(chunk, run, previous, next_step)
        if problem:
            logger.warning("%s %s: computed again from step %d", path, problem, next_step)
            break
        chunks.append(chunk)
        valid.add(path)
        previous = str(chunk["digest"])
        next_step += len(chunk["step"])
        if str(chunk["status"]) != "":
            break
    for path in folder.glob("*"):
        if path not in valid:
            path.unlink()
    return chunks


def steps_on_disk(folder: Path) -> int:
    """Steps that a run would not compute again, at least: those before the last chunk."""
    stems = [path.stem for path in folder.glob("*.chunk")]
    return max((int(stem) for stem in stems if stem.isdigit()), default=0)


def remove_chunks(folder: Path) -> None:
    """Remove the folder with all chunks, if there is one."""
    if folder.exists():
        shutil.rmtree(folder)


def merged_samples(chunks: list[Arrays]) -> Arrays:
    """Samples of all chunks in one; steps are 0, 1, 2, … without a gap or repetition.

    Raises
    ------
    RuntimeError
        If they are not, or chunks hold different diagnostics.
    """
    names = [*SERIES, *sorted(n for n in chunks[0] if n.startswith(DIAGNOSTIC)), *FRAMES, *FLAGGED]
    # A chunk without steps (stopped before its first one) knows no diagnostics.
    parts = [chunk for chunk in chunks if len(chunk["step"])] or chunks[:1]
    for chunk in parts:
        if {n for n in chunk if n.startswith(DIAGNOSTIC)} - set(names):
            raise RuntimeError("the chunks of the trajectory hold different diagnostics")
    samples = {name: np.concatenate([chunk[name] for chunk in parts]) for name in names}
    if not np.array_equal(samples["step"], np.arange(len(samples["step"]))):
        raise RuntimeError(f"steps of the merged trajectory are not contiguous: {samples['step']}")
    return samples


def with_prefix(prefix: str, arrays: Mapping[str, Any]) -> Arrays:
    """The arrays under names that start with ``prefix``."""
    return {prefix + name: np.asarray(value) for name, value in arrays.items()}


def without_prefix(prefix: str, arrays: Mapping[str, NDArray]) -> Arrays:
    """The arrays whose names start with ``prefix``, under the rest of their names."""
    return {n.removeprefix(prefix): value for n, value in arrays.items() if n.startswith(prefix)}


def _path(folder: Path, first_step: int) -> Path:
    return folder / f"{first_step:010d}.chunk"


def _read(path: Path) -> Arrays:
    """Content of a chunk file; empty if it is damaged."""
    digest, _, payload = path.read_bytes().partition(b"\n")
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        return {}
    with np.load(io.BytesIO(payload), allow_pickle=False) as file:
        return dict(file) | {"digest": np.array(digest.decode())}


def _problem(chunk: Arrays, run: str, previous: str, first_step: int) -> str:
    if not chunk:
        return "is damaged"
    if str(chunk["run"]) != run:
        return "comes from another start, other settings or another calculator"
    steps = np.arange(first_step, first_step + len(chunk["step"]))
    if str(chunk["previous"]) != previous or not np.array_equal(chunk["step"], steps):
        return "does not follow the chunk before it"
    return ""
