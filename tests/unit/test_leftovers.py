"""What is worth nothing without its result goes with it, and nothing else does."""

from pathlib import Path

import pytest

from dft2spectra.leftovers import remove_leftovers, results_with_leftovers
from dft2spectra.locks import output_lock

WATER = "molecules/water"
KEPT = (
    *(f"{WATER}/{name}" for name in ("molecule.json", "trajectories/2.xyz", "model.npz")),
    *("notes.xyz", f"provenance/{WATER}/trajectories/2.npz.json"),
)
DISPOSABLE = (
    *(f"{WATER}/trajectories/{name}" for name in ("1.xyz", "1.flagged.xyz", "1.stopped.xyz")),
    *(f"{WATER}/{name}" for name in ("thermostat.xyz", "relaxation.json")),
    f"{WATER}/trajectories/3.npz.chunks/0000000000.chunk",
    f"{WATER}/labels/train-000.npz.parts/train-001.npz",
    f"{WATER}/trajectories/.1.npz.kept",
    *("hyperfine/Fe.gpw", "hyperfine/Fe.scratch/gpaw.txt"),
    f"provenance/{WATER}/trajectories/1.npz.json",
)
RESULTS = tuple(
    f"{WATER}/{name}" for name in ("trajectories/1.npz", "thermostat.npz", "equilibrium.json")
)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in (*KEPT, *DISPOSABLE, *RESULTS, f"{WATER}/trajectories/2.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def there(folder: Path, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if (folder / name).exists()]


def test_what_is_disposable_goes_with_its_result(results: Path) -> None:
    before = results_with_leftovers(results)
    remove_leftovers(results, before)
    assert there(results, DISPOSABLE) == list(DISPOSABLE)  # nothing was deleted, as in a dry-run
    for name in RESULTS:
        (results / name).unlink()
    remove_leftovers(results, before)
    assert there(results, DISPOSABLE) == []
    assert there(results, KEPT) == list(KEPT)


def test_a_running_job_keeps_what_it_needs(results: Path) -> None:
    before = results_with_leftovers(results)
    for name in RESULTS:
        (results / name).unlink()
    with output_lock(results / WATER / "equilibrium.json"):
        remove_leftovers(results, before)
    assert there(results, DISPOSABLE) == [f"{WATER}/relaxation.json"]
