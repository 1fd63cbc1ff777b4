"""Sampled geometries in batches, one job each: what is there stays when more are asked for.

A batch holds frames of one split, so that the fit never needs a file with test geometries, and more
frames of one split leave the batches of the others as they are.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dft2spectra.records import read_json, write_json


def batches(sampling: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Frames of every batch by its name: ``test-000`` → ``split``, ``first``, ``count``.

    Parameters
    ----------
    sampling
        Counts ``train``, ``validation``, ``test``, and ``geometries_per_job``.
    """
    size = sampling["geometries_per_job"]
    return {
        f"{split}-{number:03d}": {
            "split": split,
            "first": first,
            "count": min(size, sampling[split] - first),
        }
        for split in ("test", "validation", "train")
        for number, first in enumerate(range(0, sampling[split], size))
    }


def write_batch(
    harmonic_json: str | Path,
    frames: Mapping[str, Any],
    sampling: Mapping[str, Any],
    out_json: str | Path,
) -> None:
    """Write the frames of one batch as a list.

    Parameters
    ----------
    harmonic_json
        Harmonic reference of the molecule.
    frames
        A value of :func:`batches`.
    sampling
        ``temperatures_k`` (K) and ``seed``.
    """
    # Imported here: the rules ask for the batches before any job, and need no chemistry for that.
    from dft2spectra.molecules.sampling import sample_geometries

    first, stop = frames["first"], frames["first"] + frames["count"]
    drawn = sample_geometries(
        read_json(harmonic_json),
        sampling["temperatures_k"],
        {frames["split"]: stop},
        sampling["seed"],
    )
    write_json(out_json, drawn[first:stop])
