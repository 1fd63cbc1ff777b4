"""What a model must beat: the mean of the training data, and a ridge regression."""

from typing import Any

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from dft2spectra.learning.splits import grouped_folds

# Penalty per site on standardised features.
ALPHAS_PER_SITE = tuple(10.0**exponent for exponent in range(-4, 4))


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
    pipeline = make_pipeline(StandardScaler(), Ridge(alpha=alphas[-1]))
    if len(np.unique(groups)) < 2:
        return pipeline.fit(values, target)
    search = GridSearchCV(
        pipeline,
        {"ridge__alpha": alphas},
        cv=PredefinedSplit(grouped_folds(groups, learning["folds"], learning["seed"] + 1)),
        scoring="neg_mean_squared_error",
    )
    return search.fit(values, target).best_estimator_
