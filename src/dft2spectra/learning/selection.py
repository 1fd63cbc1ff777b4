"""Representative sites by farthest-point sampling in descriptor space.

scikit-matter has this method, but none of its releases works beside scikit-learn 1.9: from 0.3 on
it asks for an older one, and 0.2 imports a name that SciPy no longer has. Hence the few lines here.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from dft2spectra.columns import Role
from dft2spectra.learning.soap import distance_scale, read_features
from dft2spectra.records import write_csv

METHOD_VERSION = 2


def farthest_points(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of ``count`` points, each farthest from those before it, and those distances.

    Parameters
    ----------
    points
        Coordinates, (n_points, n_dimensions). The first pick is the point nearest to the mean; its
        distance is that to the mean. Of equal distances the lowest index is taken.
    count
        Number of points wanted; not more than there are come back.

    References
    ----------
    Eldar, Lindenbaum, Porat, Zeevi, IEEE Trans. Image Process. 6, 1305 (1997).
    """
    points = points - points.mean(axis=0)
    squares = np.einsum("ij,ij->i", points, points)
    picks, distances = [int(np.argmin(squares))], [float(np.sqrt(squares.min()))]
    nearest = np.full(len(points), np.inf)
    for _ in range(min(count, len(points)) - 1):
        last = picks[-1]
        to_last = squares + squares[last] - 2.0 * (points @ points[last])
        nearest = np.minimum(nearest, np.maximum(to_last, 0.0))
        nearest[picks] = -1.0
        picks.append(int(np.argmax(nearest)))
        distances.append(float(np.sqrt(nearest[picks[-1]])))
    return np.array(picks), np.array(distances)


def select_representatives(
    features_npz: str | Path, count: int | None, out_csv: str | Path
) -> None:
    """Write the ``count`` most diverse sites, best first; ``None`` ranks all.

    Columns: ``rank`` (from 1), ``structure_id``, ``site``, ``distance`` to the nearest site ranked
    before, without unit. The choice sees descriptors only, never a computed property, and no site
    that is kept for the evaluation at the end.

    Raises
    ------
    ValueError
        ``count`` below 1, or no site to choose from.
    """
    if count is not None and count < 1:
        raise ValueError(f"learning.representatives is {count}; at least 1, or null for all sites")
    features = read_features(features_npz)
    features = features.of(features.role == Role.TRAIN)
    if not len(features.values):
        raise ValueError("every site is external: there is none to train on")
    points = features.values * distance_scale(features)
    picks, distances = farthest_points(points, len(points) if count is None else count)
    table = pd.DataFrame(
        {
            "rank": np.arange(1, len(picks) + 1),
            "structure_id": features.structure_id[picks],
            "site": features.site[picks],
            "distance": distances,
        }
    )
    write_csv(out_csv, table)
