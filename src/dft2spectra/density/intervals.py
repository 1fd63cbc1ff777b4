"""Statistics of one value per geometry, with 95 % intervals.

The points and atoms of one geometry are no independent evidence: geometries are resampled.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

DRAWS = 2000
SEED = 0
NORMAL_95 = 1.959964


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means (m,) of values (n,), weights (m, n)."""
    return weights @ values / weights.sum(axis=1)


def root_mean_square(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Roots of the weighted mean squares, shapes as in :func:`mean`."""
    return np.sqrt(mean(values**2, weights))


def scatter(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Standard deviations about the weighted means, shapes as in :func:`mean`."""
    # Squares about a fixed point near all the means keep their digits.
    shifted = values - values.mean()
    return np.sqrt(np.clip(mean(shifted**2, weights) - mean(shifted, weights) ** 2, 0.0, None))


def estimate(
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray], values: np.ndarray
) -> dict[str, Any]:
    """A statistic of one value per geometry, with its 95 % bootstrap interval.

    None where the values are not finite, as the gap in a basis without empty orbitals.
    """
    count = len(values)
    if not np.isfinite(values).all():
        return {"value": None, "ci95": None}
    value = float(statistic(values, np.ones((1, count)))[0])
    if count < 2:
        return {"value": value, "ci95": None}
    random = np.random.default_rng(SEED)
    drawn = random.multinomial(count, np.full(count, 1.0 / count), size=DRAWS)
    sample = statistic(values, drawn.astype(float))
    return {"value": value, "ci95": np.percentile(sample, [2.5, 97.5]).tolist()}


def proportion(successes: int, count: int) -> dict[str, Any]:
    """A share with the 95 % score interval of E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927).

    Resampling says nothing of a share of all or none.
    """
    share, z2 = successes / count, NORMAL_95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(share * (1 - share) * z2 / count + (z2 / (2 * count)) ** 2) / (1 + z2 / count)
    return {
        "value": share,
        "ci95": [float(max(middle - half, 0.0)), float(min(middle + half, 1.0))],
    }
