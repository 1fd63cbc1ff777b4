"""Radial functions as piecewise quintics on a logarithmic mesh, with exact multipole tails.

A function of the distance r is stored in the variable ``t = ln(1 + r/scale)``, with equal steps in
t: dense near the nucleus, sparse far from it. Each interval holds the quintic that has the value,
slope and curvature of the function at both ends, so that the interpolant is twice continuously
differentiable, and its slope is the exact derivative of its value: forces taken from it agree with
differences of energies taken from it. Beyond the last knot a function is ``tail r^-power``.
"""

from collections.abc import Callable
from typing import NamedTuple

import numba as nb
import numpy as np


class RadialTables(NamedTuple):
    """Tables of several functions on one mesh.

    Attributes
    ----------
    coefficients
        Shape (intervals, 6, functions): powers of the position (0 to 1) within the interval.
    scale
        Length of the logarithmic map, bohr.
    step
        Width of an interval in t.
    tails, powers
        Shape (functions,): beyond the last knot the function is ``tails r^-powers``.
    """

    coefficients: np.ndarray
    scale: float
    step: float
    tails: np.ndarray
    powers: np.ndarray

    @property
    def range_bohr(self) -> float:
        """Distance of the last knot, bohr."""
        return self.scale * float(np.expm1(self.step * len(self.coefficients)))


def build_tables(
    functions: Callable[[np.ndarray], np.ndarray],
    scale: float,
    range_bohr: float,
    intervals: int,
    tails: np.ndarray | None = None,
    powers: np.ndarray | None = None,
) -> RadialTables:
    """Tables of ``functions`` from the nucleus to ``range_bohr``.

    Parameters
    ----------
    functions
        Maps distances (K,) in bohr to values, slopes and curvatures, shape (3, functions, K).
    scale
        Length of the logarithmic map, bohr: below it the mesh is linear. Of the order of the
        width of the narrowest function.
    tails, powers
        What holds beyond the range, ``tails r^-powers``; zero if left out.

    Raises
    ------
    ValueError
        If the lengths are not positive or a function is not finite on the mesh.
    """
    if not (scale > 0.0 and range_bohr > 0.0 and intervals > 0):
        raise ValueError("scale, range_bohr and intervals of a radial table must be positive")
    step = float(np.log1p(range_bohr / scale)) / intervals
    r = scale * np.expm1(step * np.arange(intervals + 1))
    value, slope, curvature = functions(r)
    if not np.isfinite(np.array([value, slope, curvature])).all():
        raise ValueError("a radial function is not finite on the mesh of its table")
    stretch = step * (scale + r)  # dr/dk, k the position in intervals; d²r/dk² = step·stretch
    first = slope * stretch
    second = curvature * stretch**2 + slope * stretch * step
    a, b, c = value[:, :-1], first[:, :-1], second[:, :-1] / 2
    rest = value[:, 1:] - a - b - c
    rest_first = first[:, 1:] - b - 2 * c
    rest_second = second[:, 1:] / 2 - c
    coefficients = np.array(
        [
            a,
            b,
            c,
            10 * rest - 4 * rest_first + rest_second,
            -15 * rest + 7 * rest_first - 2 * rest_second,
            6 * rest - 3 * rest_first + rest_second,
        ]
    )
    count = len(value)
    return RadialTables(
        np.ascontiguousarray(coefficients.transpose(2, 0, 1)),
        scale,
        step,
        np.zeros(count) if tails is None else np.asarray(tails, dtype=float),
        np.zeros(count, dtype=np.int64) if powers is None else np.asarray(powers, dtype=np.int64),
    )


def evaluate_tables(tables: RadialTables, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and slopes at distances ``r`` (P,), each of shape (functions, P)."""
    count = tables.coefficients.shape[2]
    values, slopes = np.empty((count, len(r))), np.empty((count, len(r)))
    evaluate_block(
        tables.coefficients,
        tables.scale,
        tables.step,
        tables.tails,
        tables.powers,
        np.asarray(r, dtype=float),
        len(r),
        True,
        np.empty(count),
        np.empty(count),
        values,
        slopes,
    )
    return values, slopes


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def evaluate_block(
    coefficients, scale, step, tails, powers, r, count, sloped, value, slope, values, slopes
):
    """Fill ``values`` and, if ``sloped``, ``slopes`` (functions, P) at the first ``count`` of r.

    The functions are the vector axis (their coefficients lie side by side); ``value`` and
    ``slope`` (functions,) are workspace.
    """
    intervals, _, functions = coefficients.shape
    for p in range(count):
        x = np.log1p(r[p] / scale) / step
        k = int(x)
        if k >= intervals:
            for f in range(functions):
                tail = tails[f]
                inverse = 1.0 / r[p]
                for _ in range(powers[f]):
                    tail *= inverse
                values[f, p] = tail
                if sloped:
                    slopes[f, p] = -powers[f] * tail * inverse
            continue
        u = x - k
        for f in range(functions):
            value[f] = coefficients[k, 0, f] + u * (
                coefficients[k, 1, f]
                + u
                * (
                    coefficients[k, 2, f]
                    + u
                    * (
                        coefficients[k, 3, f]
                        + u * (coefficients[k, 4, f] + u * coefficients[k, 5, f])
                    )
                )
            )
        for f in range(functions):
            values[f, p] = value[f]
        if sloped:
            inverse = 1.0 / (step * (scale + r[p]))
            for f in range(functions):
                slope[f] = inverse * (
                    coefficients[k, 1, f]
                    + u
                    * (
                        2.0 * coefficients[k, 2, f]
                        + u
                        * (
                            3.0 * coefficients[k, 3, f]
                            + u * (4.0 * coefficients[k, 4, f] + u * 5.0 * coefficients[k, 5, f])
                        )
                    )
                )
            for f in range(functions):
                slopes[f, p] = slope[f]


# Taylor coefficients of exp, highest first: 14 terms are exact to rounding for |x| ≤ ln(2)/2.
_EXP = tuple(1.0 / float(np.prod(np.arange(1.0, n + 1))) for n in range(13, -1, -1))


@nb.njit(cache=True, fastmath={"contract"}, error_model="numpy")
def gaussians(exponent, r2, count, bits, out):
    """Fill ``out`` (P,) with exp(−exponent r²) at the first ``count`` points, to rounding.

    A vectorised exponential: the compiler calls a scalar one in loops. ``bits`` is integer
    workspace (P,). Reassociation must stay off here, it would undo the split of ln 2.
    """
    for p in range(count):
        x = max(-exponent * r2[p], -700.0)
        n = np.floor(x * 1.4426950408889634 + 0.5)
        y = x - n * 0.693145751953125
        y = y - n * 1.4286068203094173e-06
        poly = _EXP[0]
        for coefficient in nb.literal_unroll(_EXP[1:]):
            poly = poly * y + coefficient
        out[p] = poly
        bits[p] = (np.int64(n) + 1023) << 52
    power = bits.view(np.float64)
    for p in range(count):
        out[p] *= power[p]
