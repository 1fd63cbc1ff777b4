"""A writer that is killed at any of its steps leaves what was there before, or what it wrote.

Each step that a process takes on its disk, from a folder that is made to a name that is removed, is
once the place where it ends without a word; so is each of some lengths of a file, in the middle of
a write. What follows then is what follows in a campaign: the same job once more.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from snakemake.iocontainers import InputFiles, OutputFiles, Params

from dft2spectra import locks, provenance, records
from dft2spectra.arrays import read_arrays
from dft2spectra.dynamics.chunks import read_chunks, write_chunk
from dft2spectra.molecules import labels
from dft2spectra.records import (
    TEMPORARY,
    drop_kept,
    kept,
    kept_path,
    read_json,
    write_json,
    write_table,
)

KILLED, FAILED = 86, 87
# What Python tells its audit hooks before it does it; fsync, of which it tells nothing, joins them.
STEPS = {"os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.truncate"}
OLD, NEW = {"content": "old"}, {"content": "new " * 40}

Job = Callable[[Path], None]


def child(job: Job, folder: Path, step: int | None = None, length: int | None = None) -> int:
    """Run a job in a process of its own that ends before a step, or when a file has a length.

    Returns
    -------
    int
        Steps that it took, -1 if it was killed.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            count = _count_steps(step)
            records._remove_leftovers.cache_clear()
            # Nobody else is there who could need longer, also not for a lock without an owner.
            locks.PUT_BACK_S, locks.STALE_S = 0.01, 0.3
            if length is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (length, length))
            job(folder)
            os.write(writer, str(len(count)).encode())
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(FAILED)
    os.close(writer)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reader) as pipe:
        steps = pipe.read()
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGXFSZ
        return -1
    assert os.WEXITSTATUS(status) in (0, KILLED), "the job has failed"
    return -1 if os.WEXITSTATUS(status) == KILLED else int(steps)


def _count_steps(last: int | None) -> list[str]:
    """List that grows by every step of this process; the process ends before one of them."""
    steps: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if event in STEPS or (opened and not str(arguments[0]).startswith("/dev/")):
            if len(steps) == last:
                os._exit(KILLED)
            steps.append(event)

    fsync = os.fsync

    def noted_fsync(descriptor: int) -> None:
        note("os.rename", ())
        fsync(descriptor)

    os.fsync = noted_fsync
    sys.addaudithook(note)
    return steps


def content(folder: Path) -> dict[str, bytes]:
    """Every file that is no trace of a dead process, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not TEMPORARY.match(path.name) and path.suffix != ".lock"
    }


def write_new_json(folder: Path) -> None:
    write_json(folder / "record.json", NEW)


def json_is_whole(folder: Path) -> None:
    assert read_json(folder / "record.json") in (OLD, NEW)


def write_new_table(folder: Path) -> None:
    write_table(folder / "sites" / "sites.parquet", pd.DataFrame({"moment_mub": np.arange(50.0)}))


def table_is_whole(folder: Path) -> None:
    for path, read in (("sites.parquet", pd.read_parquet), ("sites.csv", pd.read_csv)):
        if (folder / "sites" / path).exists():
            assert len(read(folder / "sites" / path)) == 50


def keep_new(folder: Path) -> None:
    """A job that takes long: what it finds is kept, and else computed; then its end is noted."""
    path = folder / "result.json"
    with kept(path):
        if not path.exists() or read_json(path) != NEW:
            (folder / "computed").mkdir(exist_ok=True)
            write_json(path, NEW)
    drop_kept([path])


def kept_is_whole(folder: Path) -> None:
    for path in (folder / "result.json", kept_path(folder / "result.json")):
        assert not path.exists() or read_json(path) == NEW


def label_three(folder: Path) -> None:
    """A batch whose DFT notes, in a file of its own, that it ran."""

    def label_geometry(molecule: Any, positions: Any, settings: Any) -> dict[str, Any]:
        with open(folder / "ran", "a") as file:  # opened once a geometry
            file.write(f"{positions[0][2]}\n")
        numbers = dict.fromkeys(("energy_ha", "homo_ha", "lumo_ha", "gap_ev", "seconds"), 1.0)
        matrix, forces = np.full((2, 2), 2.0), np.zeros((1, 3))
        arrays = {"density_matrix": matrix, "forces_ha_per_bohr": forces, "dipole_debye": forces[0]}
        return {**arrays, **numbers, "cycles": 1, "status": "converged", "reason": ""}

    labels.label_geometry = label_geometry
    molecule = {"name": "helium", "symbols": ["He"], "charge": 0}
    geometries = [
        {"frame": f"f{n}", "split": "train", "temperature_k": 300.0, "positions_ang": [[0, 0, n]]}
        for n in range(3)
    ]
    settings = {"xc": "PBE", "basis": "sto-3g", "grid_level": 1}
    with kept(folder / "batch.npz") as output:
        labels.label_batch(molecule, geometries, settings, output, lambda line: None)


def labels_are_whole(folder: Path) -> None:
    for path in (*folder.rglob("*.npz"), *folder.rglob("*.npz.kept")):
        if not TEMPORARY.match(path.name):
            read_arrays(path)
    ran = (folder / "ran").read_text().split() if (folder / "ran").exists() else []
    assert len(ran) <= 4, "more than the geometry in hand was computed twice"


def write_two_chunks(folder: Path) -> None:
    """What a trajectory does: it reads what is there and goes on."""
    chunks = read_chunks(folder / "1.npz.chunks", "run")
    for number in range(len(chunks), 2):
        previous = str(chunks[-1]["digest"]) if chunks else ""
        arrays = {"step": np.arange(5) + 5 * number, "status": np.array("")}
        where = folder / "1.npz.chunks", "run", 5 * number, previous
        chunks.append(write_chunk(*where, arrays))


def chunks_are_whole(folder: Path) -> None:
    before = content(folder)
    chunks = read_chunks(folder / "1.npz.chunks", "run")
    assert content(folder) == before
    whole = [path for path in before if path.endswith(".chunk")]
    assert [list(chunk["step"]) for chunk in chunks] == [
        list(range(5 * n, 5 * n + 5)) for n in range(len(whole))
    ]


def note_provenance(folder: Path) -> None:
    output = folder / "results" / "toy" / "model.npz"
    write_json(output, NEW)
    outputs = OutputFiles([str(output)])
    provenance.write_provenance(
        SimpleNamespace(input=InputFiles(), output=outputs, params=Params(fromdict={"seed": 2}))
    )


def provenance_is_whole(folder: Path) -> None:
    """With old notes beside a new result, the job runs again."""
    output = folder / "results" / "toy" / "model.npz"
    known = provenance.Provenance(folder / "results" / "toy")
    if output.exists() and known.is_known([str(output)]):
        assert known.why_outdated([str(output)], {"seed": 2}, []) is None


WRITERS: dict[str, tuple[Job, Job]] = {
    "json": (write_new_json, json_is_whole),
    "table": (write_new_table, table_is_whole),
    "kept": (keep_new, kept_is_whole),
    "labels": (label_three, labels_are_whole),
    "chunks": (write_two_chunks, chunks_are_whole),
    "provenance": (note_provenance, provenance_is_whole),
}
# Steps at least: a smaller number would mean that they are not seen.
LEAST = {"json": 3, "table": 7, "kept": 7, "labels": 20, "chunks": 7, "provenance": 6}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, dict[str, Any]]]:
    """Steps and results of every writer that nothing happens to."""
    found = {}
    for name, (write, _) in WRITERS.items():
        folder = start(tmp_path_factory.mktemp(name))
        found[name] = child(write, folder), content(folder)
    return found


def start(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    write_json(folder / "record.json", OLD)
    return folder


def lengths(results: dict[str, bytes]) -> list[int]:
    """Some lengths of the largest file: none of it, its first byte, its middle, all but a byte."""
    largest = max(map(len, results.values()))
    return [0, 1, largest // 2, largest - 1]


@pytest.mark.parametrize("name", WRITERS)
def test_killed_at_every_step(
    undisturbed: dict[str, tuple[int, dict[str, Any]]], name: str, tmp_path: Path
) -> None:
    write, is_whole = WRITERS[name]
    steps, wanted = undisturbed[name]
    assert steps >= LEAST[name]
    kills: list[dict[str, int]] = [{"step": step} for step in range(steps)]
    kills += [{"length": length} for length in lengths(wanted)]
    for number, kill in enumerate(kills):
        folder = start(tmp_path / str(number))
        assert child(write, folder, **kill) == -1, kill
        is_whole(folder)
        assert child(write, folder) >= 0
        is_whole(folder)
        after = content(folder)
        assert after.keys() == wanted.keys(), kill
        for path in wanted.keys() - {"ran"}:
            assert after[path] == wanted[path], (kill, path)
        left = [path.name for path in folder.rglob("*") if TEMPORARY.match(path.name)]
        assert left == [], kill
