"""Uncertainty of a density model: fits with a part left out, calibrated on unseen geometries.

The spread between fits that each left a part of the training set out says where a density is
uncertain; its mean over a geometry, times a factor, says how much. The factor is the split
conformal quantile (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005;
Angelopoulos and Bates, arXiv:2107.07511, section 2) of actual over predicted error of geometries
that the fit has not seen: of new geometries like those, at least 90 % have a smaller error than
stated, whatever the distribution of the errors.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dft2spectra.density.guards import geometry_uncertainty
from dft2spectra.density.predictor import Predictor
from dft2spectra.density.sampling_points import positions_bohr

COVERAGE = 0.9
# One part left out has no spread.
SMALLEST_COMMITTEE = 2


def assign_parts(labels: Sequence[Mapping[str, Any]], parts: int) -> list[int]:
    """Part of each label, in turns; more labels at the end change no earlier one.

    Temperatures take turns along the list as well. After as many labels as the two turns take to
    repeat, the parts start one further on, so that each gets every temperature.
    """
    temperatures = len({float(label["temperature_k"]) for label in labels})
    period = math.lcm(max(temperatures, 1), parts)
    return [(index + index // period) % parts for index in range(len(labels))]


def conformal_factor(actual: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Factor that makes predicted errors cover the actual ones, and the coverage it guarantees.

    The ``⌈(n+1)·0.9⌉``-th smallest ratio of actual to predicted. With fewer than nine geometries
    there is no such number; the largest ratio then, and its smaller guarantee ``n/(n+1)``.

    Raises
    ------
    ValueError
        There is no geometry, or the fits agree exactly on one.
    """
    actual, predicted = np.asarray(actual, dtype=float), np.asarray(predicted, dtype=float)
    count = len(actual)
    if count == 0:
        raise ValueError("no geometry to calibrate the uncertainty with")
    if not (predicted > 0.0).all():
        raise ValueError(
            "the fits of the committee agree exactly: the training set has the same geometries in "
            "all parts; sample different ones"
        )
    rank = min(math.ceil((count + 1) * COVERAGE), count)
    factor = float(np.sort(actual / predicted)[rank - 1])
    return factor, min(COVERAGE, count / (count + 1))


def calibrate(
    model: Predictor,
    labels: Sequence[Mapping[str, Any]],
    errors_percent: Sequence[float],
    grid_level: int,
) -> dict[str, Any]:
    """Calibration of the uncertainty with the density errors of validation geometries.

    Parameters
    ----------
    model
        A model whose card has no ``uncertainty_scale`` yet.
    errors_percent
        Actual density error of each label.

    Returns
    -------
    dict
        ``uncertainty_scale``, ``uncertainty_coverage`` (what it guarantees for geometries like
        those), ``uncertainty_geometries``, ``highest_validation_uncertainty_percent`` and
        ``uncertainty_error_correlation`` (of ranks: whether the spread knows where errors are).
    """
    raw = np.array(
        [
            geometry_uncertainty(model, list(label["symbols"]), positions_bohr(label), grid_level)
            for label in labels
        ]
    )
    scale, coverage = conformal_factor(np.asarray(errors_percent), raw)
    return {
        "uncertainty_scale": scale,
        "uncertainty_coverage": coverage,
        "uncertainty_geometries": len(raw),
        "highest_validation_uncertainty_percent": float(scale * raw.max()),
        "uncertainty_error_correlation": rank_correlation(raw, np.asarray(errors_percent)),
    }


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's rank correlation of two series without ties; None for less than three numbers."""
    if len(first) < 3:
        return None
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (first, second)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
