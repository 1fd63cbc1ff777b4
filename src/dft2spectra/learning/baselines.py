"""What a model must beat: a ridge regression (the mean of the training data needs no code)."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.preprocessing import StandardScaler

from dft2spectra.learning.kernel import KernelModel, fit_kernel
from dft2spectra.learning.splits import Folds

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


class LinearModel(NamedTuple):
    """Ridge regression on standardised features."""

    scaler: BoundedScaler
    ridge: KernelModel

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Predictions (n_sites,) in the target's unit."""
        return self.ridge.predict(self.scaler.transform(np.asarray(values, dtype=float)))[0]


def fit_linear(values: np.ndarray, target: np.ndarray, folds: Folds) -> LinearModel:
    """Standardisation and ridge regression; the penalty has the least error on parts left out.

    The scaling sees the features of all these rows, targets of none.

    Parameters
    ----------
    values, target
        Features (n_sites, n_features) and quantity (n_sites,) of the training rows.
    folds
        Parts of these rows.
    """
    scaler = BoundedScaler()
    scaled = scaler.fit_transform(np.asarray(values, dtype=float))
    ones = np.ones(scaled.shape[1])
    return LinearModel(scaler, fit_kernel(scaled, target, folds, ones, linear=True))
