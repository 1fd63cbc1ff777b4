"""What lies beside a result and is worth nothing without it: notes, restart points, scratch.

None of it is an output of a job: a restart point that Snakemake knows would be deleted when the job
starts again, and a missing picture of a trajectory would be a reason to compute it anew. So
``--delete-all-output``, which deletes outputs, leaves it, and :func:`remove_leftovers` comes after.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from dft2spectra.locks import lock_path, running_owner
from dft2spectra.provenance import FOLDER

# Folder and name of what may go, and the name of the result that it belongs to.
LEFTOVERS = (
    ("molecules/*", r"(thermostat)(\.flagged|\.stopped)?\.xyz", r"\1.npz"),
    ("molecules/*", r"relaxation\.json", "equilibrium.json"),
    ("molecules/*/trajectories", r"(\d+)(\.flagged|\.stopped)?\.xyz", r"\1.npz"),
    ("molecules/*", r"(thermostat\.npz)\.chunks", r"\1"),
    ("molecules/*/trajectories", r"(\d+\.npz)\.chunks", r"\1"),
    ("molecules/*/labels", r"(.+\.npz)\.parts", r"\1"),
    ("hyperfine", r"(.+)\.(scratch|gpw)", r"\1.json"),
    ("**", r"\.(.+)\.kept", r"\1"),
)


def find_leftovers(results: str | Path) -> Iterator[tuple[Path, Path]]:
    """Pairs of something disposable in the folder of a campaign and its result, there or not."""
    for folder, pattern, owner in LEFTOVERS:
        for place in Path(results).glob(folder):
            for path in sorted(place.iterdir()) if place.is_dir() else ():
                if match := re.fullmatch(pattern, path.name):
                    yield path, path.with_name(match.expand(owner))
    folder_of_notes = Path(results) / FOLDER
    for path in sorted(folder_of_notes.rglob("*.json")):
        yield path, Path(results) / path.relative_to(folder_of_notes).with_suffix("")


def results_with_leftovers(results: str | Path) -> set[Path]:
    """The results that are there and have something disposable beside them."""
    return {owner for _, owner in find_leftovers(results) if owner.exists()}


def remove_leftovers(results: str | Path, before: set[Path]) -> None:
    """Remove what is disposable without its result, if any of the results before is gone.

    Nothing is removed while a process that lives works on the result.
    """
    if all(path.exists() for path in before):
        return  # a dry-run, or nothing was deleted
    for path, owner in list(find_leftovers(results)):
        if owner.exists() or running_owner(lock_path(owner)) is not None:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
