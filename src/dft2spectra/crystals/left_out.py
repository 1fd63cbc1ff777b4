"""Linear fits judged by compounds that they have not seen, and the choice between forms."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A form with more coefficients has to lower the left-out error by this part.
WORTH_A_COEFFICIENT = 0.1
# Errors below this are rounding, in any of the units.
ROUNDING = 1e-9


@dataclass(frozen=True)
class LinearFit:
    """Least squares y = X c, and what it does without each compound.

    Attributes
    ----------
    coefficients : (p,)
    covariance : (p, p)
        From the fits without each compound (jackknife; Efron, The Jackknife, SIAM 1982).
    residuals : (n,)
        Fitted minus measured.
    left_out : (n,)
        Predicted by the fit without the point's compound, minus measured.
    """

    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    residuals: NDArray[np.float64]
    left_out: NDArray[np.float64]

    @property
    def errors(self) -> NDArray[np.float64]:
        """Standard errors of the coefficients."""
        return np.sqrt(np.diag(self.covariance))


def compounds_needed(coefficients: int) -> int:
    """Fewest compounds with which so many coefficients are fitted: 2, 5, 8."""
    return 3 * coefficients - 1


def fit_left_out(terms: NDArray, values: NDArray, compounds: NDArray) -> LinearFit | None:
    """Fit, and fits without each compound; ``None`` if one of them is not determined.

    Compounds, not sites, are left out: two sites of one compound share its errors.

    Parameters
    ----------
    terms : (n, p)
    values : (n,)
    compounds : (n,)
        Compound of every point.
    """
    names = np.unique(compounds)
    if len(names) < compounds_needed(terms.shape[1]):
        return None
    every = []
    for keep in [compounds != name for name in names]:
        if np.linalg.matrix_rank(terms[keep]) < terms.shape[1]:
            return None
        every.append(np.linalg.lstsq(terms[keep], values[keep], rcond=None)[0])
    without = np.array(every)
    coefficients = np.linalg.lstsq(terms, values, rcond=None)[0]
    spread = without - without.mean(axis=0)
    predicted = np.einsum("np,np->n", terms, without[np.searchsorted(names, compounds)])
    return LinearFit(
        coefficients=coefficients,
        covariance=(len(names) - 1) / len(names) * spread.T @ spread,
        residuals=terms @ coefficients - values,
        left_out=predicted - values,
    )


def root_mean_square(errors: NDArray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(errors))))


def choose_form(errors: Mapping[str, tuple[int, float]]) -> str:
    """Name of the form to use, by number of coefficients and left-out error of each.

    The smallest left-out error wins; of those within a tenth of it, the fewest coefficients.
    """
    smallest = min(error for _, error in errors.values())
    enough = (1.0 + WORTH_A_COEFFICIENT) * smallest + ROUNDING
    good = {name: found for name, found in errors.items() if found[1] <= enough}
    return min(good, key=lambda name: good[name])
