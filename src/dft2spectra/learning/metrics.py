"""How good predictions of unseen structure types are, with intervals, and what that is worth."""

from typing import Any

import numpy as np

# Fewer structure types than this say nothing about structure types in general.
MIN_PARENTS = 10
# Of the learned quantities, by the name of the target.
UNITS = {"moment": "µB", "isomer_shift": "mm/s", "vzz": "10²¹ V/m²", "bhf": "T"}
# Resamplings drawn at a time, to bound the memory.
CHUNK = 100


def scores(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float | None]:
    """R² (against the mean of ``truth``), MAE and RMSE; R² is None for a constant ``truth``."""
    sums = _sums(truth, prediction, np.zeros(len(truth), dtype=int))
    return {name: _number(value[0]) for name, value in _from_sums(sums).items()}


def intervals(
    truth: np.ndarray, prediction: np.ndarray, clusters: np.ndarray, draws: int, seed: int
) -> dict[str, list[float | None]]:
    """Bounds of the 95 % bootstrap intervals of R², MAE and RMSE.

    Whole clusters are drawn with replacement, since sites of a structure are no independent
    evidence. Percentiles of ``draws`` resamplings; (None, None) where the score is undefined in
    more than half of them.

    Parameters
    ----------
    truth, prediction
        Values (n_sites,).
    clusters
        Structure or structure type of each row (n_sites,).
    """
    bounds: dict[str, list[float | None]] = {}
    for name, every in resampled(truth, prediction, clusters, draws, seed).items():
        sample = every[np.isfinite(every)]
        known = len(sample) > draws / 2
        bounds[name] = np.percentile(sample, [2.5, 97.5]).tolist() if known else [None, None]
    return bounds


def resampled(
    truth: np.ndarray, prediction: np.ndarray, clusters: np.ndarray, draws: int, seed: int
) -> dict[str, np.ndarray]:
    """R², MAE and RMSE of bootstrap resamplings of whole clusters, each (draws,).

    The draws depend on the clusters and the seed alone: scores of two models of the same sites
    are pairs. R² is NaN where the truth of a resampling is constant.
    """
    names, members = np.unique(clusters, return_inverse=True)
    sums = _sums(truth, prediction, members)
    random = np.random.default_rng(seed)
    equal = np.full(len(names), 1.0 / len(names))
    drawn = [
        _from_sums(random.multinomial(len(names), equal, size=min(CHUNK, draws - start)) @ sums)
        for start in range(0, draws, CHUNK)
    ]
    return {name: np.concatenate([part[name] for part in drawn]) for name in drawn[0]}


def _sums(truth: np.ndarray, prediction: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Per cluster: number, Σ|e|, Σe², Σy, Σy², with y measured from its mean; (n_clusters, 5)."""
    truth = np.asarray(truth, dtype=float)
    error = np.asarray(prediction, dtype=float) - truth
    centred = truth - truth.mean()
    if np.ptp(truth) <= 1e-9 * np.abs(truth).max():
        centred = np.zeros_like(truth)
    terms = np.stack([np.ones_like(error), np.abs(error), error**2, centred, centred**2], axis=1)
    sums = np.zeros((members.max() + 1, terms.shape[1]))
    np.add.at(sums, members, terms)
    return sums


def _from_sums(sums: np.ndarray) -> dict[str, np.ndarray]:
    number, absolute, square, first, second = sums.T
    variation = second - first**2 / number
    constant = variation <= 1e-12 * np.maximum(second, 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(constant, np.nan, 1.0 - square / variation)
    return {"r2": r2, "mae": absolute / number, "rmse": np.sqrt(square / number)}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def coverage(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> float | None:
    """Share of the values that lie in their intervals, of those that have one; None without any.

    The bounds have the shape of ``truth``, or one row more for each seed.
    """
    known = np.isfinite(low) & np.isfinite(high)
    held = (low <= truth) & (truth <= high)
    return float(np.mean(held[known])) if known.any() else None


def spread_calibration(error: np.ndarray, spread: np.ndarray) -> float | None:
    """Root-mean-square error over root-mean-square committee spread; None without any spread.

    The committee's spread says where errors are larger; times this factor it says how large.
    """
    size = float(np.sqrt(np.mean(np.square(spread))))
    return float(np.sqrt(np.mean(np.square(error)))) / size if size > 0 else None


def verdict(
    counts: dict[str, int], model: dict[str, Any], learning: dict[str, Any], target: str
) -> tuple[bool, str]:
    """Whether the predictions are of any use, and a plain sentence or two saying why.

    Usable means that the mean absolute error on unseen structure types, at the upper end of its
    95 % interval, is below the limit that the configuration states in the unit of the quantity.

    Parameters
    ----------
    counts
        ``n_sites``, ``n_structures``, ``n_parents``.
    model
        Scores of the chosen model: ``r2``, ``mae`` and ``ci95_by_parent``.
    learning
        ``min_sites`` (below it, or below :data:`MIN_PARENTS` structure types, no score counts) and
        ``usable_error``.
    target
        Name of the quantity.
    """
    size = (
        f"{counts['n_sites']} sites from {counts['n_structures']} structures of "
        f"{counts['n_parents']} structure types"
    )
    if counts["n_sites"] < learning["min_sites"] or counts["n_parents"] < MIN_PARENTS:
        return False, (
            f"The score means nothing: {size} are too few (at least {learning['min_sites']} sites "
            f"and {MIN_PARENTS} structure types are needed). The model shows that the workflow "
            "runs; do not use its predictions."
        )
    r2, (low, high) = model["r2"], model["ci95_by_parent"]["r2"]
    if r2 is None or low is None:
        return False, f"The score is undefined: the target hardly varies over {size}."
    unit, limit = UNITS[target], learning["usable_error"][target]
    mean, (least, most) = model["mae"], model["ci95_by_parent"]["mae"]
    measured = (
        f"MAE {mean:.3g} {unit} (95 % interval {least:.3g} to {most:.3g}), R² = {r2:.2f} "
        f"({low:.2f} to {high:.2f}) on unseen structure types, {size}"
    )
    if most > limit:
        return False, f"Not shown to err by less than {limit:g} {unit}: {measured}."
    return True, f"Errs by less than {limit:g} {unit}: {measured}."
