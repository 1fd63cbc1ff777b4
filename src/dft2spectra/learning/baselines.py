"""What a model must beat: a ridge regression (the mean of the training data needs no code)."""

from typing import Any

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from dft2spectra.learning.splits import grouped_folds

# Penalty per site on standardised features.
ALPHAS_PER_SITE = tuple(10.0**exponent for exponent in range(-4, 4))
# Features with a smaller standard deviation are constant to rounding; large ones are of order 1.
LEAST_DEVIATION = 1e-5
MOST_DEVIATIONS = 10.0


class BoundedScaler(StandardScaler):
    """Standardisation to at most ten standard deviations, and zero for constant features.

    A component of the power spectrum that symmetry forbids at nearly all training sites would
    otherwise send the prediction of any other site to infinity.
    """

    def fit(self, X: np.ndarray, y: Any = None, sample_weight: Any = None) -> "BoundedScaler":
        """Means and standard deviations of the columns of ``X`` (n_sites, n_features)."""
        super().fit(X, y, sample_weight)
        deviation = np.sqrt(self.var_)
        self.scale_ = np.where(deviation < LEAST_DEVIATION, np.inf, deviation)
        return self

    def transform(self, X: np.ndarray, copy: bool | None = None) -> np.ndarray:
        """Bounded deviations (n_sites, n_features)."""
        return np.clip(super().transform(X, copy=copy), -MOST_DEVIATIONS, MOST_DEVIATIONS)


def fit_linear(
    values: np.ndarray, target: np.ndarray, groups: np.ndarray, learning: dict[str, Any]
) -> Pipeline:
    """Standardisation and ridge regression, fitted; the penalty has the least inner grouped error.

    With one structure type in the training data the largest penalty is taken.

    Parameters
    ----------
    values, target, groups
        Features (n_sites, n_features), quantity and structure type (n_sites,) of the training rows.
    learning
        ``folds`` and ``seed``.
    """
    values = np.asarray(values, dtype=float)
    alphas = [alpha * len(target) for alpha in ALPHAS_PER_SITE]
    pipeline = make_pipeline(BoundedScaler(), Ridge(alpha=alphas[-1]))
    if len(np.unique(groups)) < 2:
        return pipeline.fit(values, target)
    search = GridSearchCV(
        pipeline,
        {"ridge__alpha": alphas},
        cv=PredefinedSplit(grouped_folds(groups, learning["folds"], learning["seed"] + 1)),
        scoring="neg_mean_squared_error",
    )
    return search.fit(values, target).best_estimator_
