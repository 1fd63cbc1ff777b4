"""Kernel ridge regression with a Matérn kernel, its choices made on parts left out in closed form.

The kernel of two sites is that of Matérn with ν = 5/2 of their distance in descriptor space, every
block of features weighted alike (:func:`dft2spectra.learning.soap.distance_scale`), or, for the
linear model, the scalar product of standardised features. A large constant is added: the mean is
fitted without penalty. The regularised kernel A = K + λ 1 of the training rows gives at once what
the model without a part H of them predicts there,

    y_H − ŷ_H = (A⁻¹)_HH⁻¹ (A⁻¹ y)_H,

so that length and penalty are chosen, and the members of the committee made, without a refit
(Rasmussen, Williams, Gaussian Processes for Machine Learning (2006), eq. 4.17 for the kernel, 5.12
for one row left out; the inverse of a block matrix for more).
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve
from sklearn.metrics.pairwise import euclidean_distances

from dft2spectra.learning.splits import NEVER, Folds

# Length of the kernel over the median distance of the training sites.
LENGTHS = (0.5, 1.0, 2.0)
# Penalty over the kernel of a site with itself.
PENALTIES = tuple(10.0**exponent for exponent in range(-4, 1))
CONSTANT = 100.0


class KernelModel(NamedTuple):
    """A fitted kernel committee."""

    points: np.ndarray  # (n_train, n_features), scaled
    scale: np.ndarray  # (n_features,)
    length: float  # 0 means the linear kernel
    penalty: float
    centre: float  # mean of the training target
    coefficients: np.ndarray  # (n_train, 1 + n_members): of all rows, then without each part
    hidden: np.ndarray  # (n_train,): each row predicted without its part

    def predict(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Prediction (n,) of the model of all rows and those of the members (n, n_members)."""
        output = self.centre + self._kernel(values) @ self.coefficients
        return output[:, 0], output[:, 1:]

    def _kernel(self, values: np.ndarray) -> np.ndarray:
        return kernel(np.asarray(values, dtype=float) * self.scale, self.points, self.length)


def matern(distance: np.ndarray, length: float) -> np.ndarray:
    """Matérn covariance with ν = 5/2 of distances in any unit, 1 at distance 0."""
    x = np.sqrt(5.0) * distance / length
    return (1.0 + x + x**2 / 3.0) * np.exp(-x)


def kernel(left: np.ndarray, right: np.ndarray, length: float) -> np.ndarray:
    """Kernel matrix (n_left, n_right) with the constant; the linear one for length 0."""
    if length == 0.0:
        return left @ right.T / left.shape[1] + CONSTANT
    return matern(euclidean_distances(left, right), length) + CONSTANT


def fit_kernel(
    values: np.ndarray, target: np.ndarray, folds: Folds, scale: np.ndarray, linear: bool = False
) -> KernelModel:
    """Kernel committee whose length and penalty have the least error on parts left out.

    With nothing left out, the length is the median distance and the penalty the largest.

    Parameters
    ----------
    values
        Features (n_sites, n_features).
    target
        Quantity to learn (n_sites,).
    folds
        Parts of these rows; member k sees the rows ``folds.trains[:, k]``.
    scale
        Factor per feature (n_features,).
    linear
        Scalar product instead of Matérn's kernel.
    """
    points = np.asarray(values, dtype=float) * scale
    centre = float(np.mean(target))
    deviation = np.asarray(target, dtype=float) - centre
    lengths, distance = [0.0], np.empty(0)
    if not linear:
        distance = euclidean_distances(points)
        median = (
            float(np.median(distance[np.triu_indices(len(points), 1)])) if len(points) > 1 else 0
        )
        lengths = [(median or 1.0) * factor for factor in LENGTHS]
    tested = folds.fold != NEVER
    if not tested.any():
        length = 0.0 if linear else lengths[LENGTHS.index(1.0)]
        inverse = _inverse(kernel(points, points, length), PENALTIES[-1])
        both = np.repeat((inverse @ deviation)[:, None], 2, axis=1)
        hidden = np.asarray(target, dtype=float)
        return KernelModel(points, scale, length, PENALTIES[-1], centre, both, hidden)
    best: tuple[float, float, float] = (np.inf, 0.0, 0.0)
    for length in lengths:
        matrix = kernel(points, points, 0.0) if linear else matern(distance, length) + CONSTANT
        for penalty in PENALTIES:
            inverse = _inverse(matrix, penalty)
            residual = left_out(inverse, deviation, folds)[0]
            error = float(np.mean(residual[tested] ** 2))
            if error < best[0]:
                best = (error, length, penalty)
    _, length, penalty = best
    inverse = _inverse(kernel(points, points, length), penalty)
    residual, members = left_out(inverse, deviation, folds)
    coefficients = np.column_stack([inverse @ deviation, members])
    hidden = np.asarray(target, dtype=float) - residual
    return KernelModel(points, scale, length, penalty, centre, coefficients, hidden)


def _inverse(matrix: np.ndarray, penalty: float) -> np.ndarray:
    size = float(np.mean(np.diag(matrix))) - CONSTANT
    return inverse_of(matrix, penalty * (size or 1.0))


def inverse_of(matrix: np.ndarray, penalty: float) -> np.ndarray:
    """Inverse (n, n) of a kernel matrix with a penalty on its diagonal."""
    regular = matrix + penalty * np.eye(len(matrix))
    return cho_solve(cho_factor(regular), np.eye(len(matrix)))


def left_out(
    inverse: np.ndarray, target: np.ndarray, folds: Folds
) -> tuple[np.ndarray, np.ndarray]:
    """Errors of rows predicted without their part (n,), and coefficients without each part.

    Rows that are in no part have error 0.
    """
    weights = inverse @ target
    residual = np.zeros(len(target))
    members = np.empty((len(target), folds.number))
    for part in range(folds.number):
        out = ~folds.trains[:, part]
        error = solve(inverse[np.ix_(out, out)], weights[out], assume_a="pos")
        members[:, part] = weights - inverse[:, out] @ error
        members[out, part] = 0.0
        here = (folds.fold == part)[out]
        residual[np.flatnonzero(out)[here]] = error[here]
    return residual, members
