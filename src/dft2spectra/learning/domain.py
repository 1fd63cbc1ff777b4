"""Where in descriptor space a model was tested: distances to its training sites.

The out-of-fold score measures predictions of structure types that were not in the training data.
It speaks for a new site only if that site is no farther from the training data than the sites were
on which the score was measured. That range is taken as the 95th percentile of the distances
between each tested site and the nearest one that *its fold trained on*: a fold hides several
structure types at once, and one of them may well lie nearest.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from dft2spectra.arrays import read_arrays
from dft2spectra.learning.soap import Features, distance_scale
from dft2spectra.records import whole_file

TESTED_PERCENTILE = 95.0
ROWS_AT_A_TIME = 1000


class Domain(NamedTuple):
    """Training sites of a model in scaled descriptor space: content of ``training.npz``."""

    points: np.ndarray  # float32 (n_sites, n_features), scaled
    scale: np.ndarray  # (n_features,)
    structure_id: np.ndarray  # str (n_sites,)
    elements: np.ndarray  # str, all elements of the training structures
    limit: float  # distance up to which the score was measured


def training_domain(
    features: Features, rows: np.ndarray, elements: list[str], limit: float
) -> Domain:
    """Domain of a model trained on ``rows`` (bool, (n_sites,)) of the features.

    ``limit`` is the distance up to which it was tested (:func:`tested_distance`).
    """
    scale = distance_scale(features)
    points = (features.values * scale)[rows]
    return Domain(
        points.astype(np.float32), scale, features.structure_id[rows], np.array(elements), limit
    )


def tested_distance(distances: np.ndarray) -> float:
    """Distance up to which a model was tested, of the distances of all tested sites (n_sites,)."""
    return float(np.percentile(distances, TESTED_PERCENTILE))


def distances_to_training(points: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Distance of each point (n_points,) to the nearest training point."""
    return nearest(points, training)[0]


def nearest(points: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to and index of the nearest training point, each (n_points,)."""
    distance, index = np.empty(len(points)), np.empty(len(points), dtype=int)
    for start in range(0, len(points), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        every = euclidean_distances(points[part].astype(float), training.astype(float))
        index[part] = every.argmin(axis=1)
        distance[part] = every.min(axis=1)
    return distance, index


def write_domain(path: str | Path, domain: Domain) -> None:
    """Write ``training.npz``, the part of a model that says where it holds."""
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, **domain._asdict())


def read_domain(path: str | Path) -> Domain:
    """Read what :func:`write_domain` wrote."""
    data = read_arrays(path, Domain._fields)
    return Domain(
        data["points"],
        data["scale"],
        data["structure_id"],
        data["elements"],
        float(data["limit"]),
    )
