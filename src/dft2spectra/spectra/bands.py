"""Bands of an infrared spectrum with position, intensity, width and errors.

A band is a maximum of the mean spectrum that stands above its surroundings (its prominence) by a
given part of the highest point. Its integral runs, on either side, to the lowest point before the
next band, or to where the spectrum has fallen to ``FOOT`` of the band's height, whichever comes
first; no base line is subtracted, so that neighbours that overlap share out the whole area. Within
such limits lie 95.5 % of a Lorentzian that stands alone and all of a Gaussian.

Errors come from the spread between trajectories: intensities are linear in the spectra, so theirs
is the standard error of the mean; positions are not, and get the jackknife over trajectories
(B. Efron and C. Stein, Ann. Statist. 9, 586 (1981)). Of a single trajectory nothing is known.
"""

import itertools
import math

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.signal import find_peaks

from dft2spectra.columns import Band
from dft2spectra.spectra.dipole import Spectrum

# Side lobes of a window: largest part of the height of their line, and how many resolutions away
# they can be (F. J. Harris, Proc. IEEE 66, 51 (1978): 2.7 % for Hann, the first at 1.7).
SIDE_LOBES = {"hann": (0.03, 5.0)}
# A band ends where the spectrum has fallen to this part of its height.
FOOT = 0.005


def integral(
    wavenumber_cm1: np.ndarray, absorption: np.ndarray, low: float, high: float
) -> np.ndarray:
    """Area (km/mol) between two wavenumbers, over the last axis of ``absorption`` (..., m).

    Areas of ranges that touch add up to that of the whole.
    """
    running = cumulative_trapezoid(absorption, wavenumber_cm1, axis=-1, initial=0.0)
    edges = [low, high]
    at = np.apply_along_axis(lambda area: np.interp(edges, wavenumber_cm1, area), -1, running)
    return at[..., 1] - at[..., 0]


def peaks(spectrum: Spectrum, prominence: float) -> list[dict[Band, float]]:
    """Bands of the mean spectrum with their errors, by wavenumber.

    Parameters
    ----------
    spectrum
        Spectrum with all its trajectories.
    prominence
        Least prominence of a band, as a part of the highest point of the mean spectrum. Bands stand
        at least the resolution apart. What a side lobe of the window can make is none.

    Returns
    -------
    list of dict
        Position (vertex of the parabola through the highest three points), its error and the
        standard deviation of the trajectories' own positions within the same limits; intensity and
        its error; full width at half maximum, that of the window included and NaN where a neighbour
        begins above half height; limits of the integral.

    Raises
    ------
    ValueError
        If ``prominence`` does not lie between 0 and 1.
    """
    if not 0.0 < prominence < 1.0:
        raise ValueError(f"infrared.prominence must lie between 0 and 1, not {prominence}")
    x, mean = spectrum.wavenumber_cm1, spectrum.absorption
    highest = float(mean.max())
    if highest <= 0.0:
        return []
    apart = max(1, math.ceil(spectrum.transform.resolution_cm1 / (x[1] - x[0])))
    tops, _ = find_peaks(mean, prominence=prominence * highest, distance=apart)
    tops = _without_side_lobes(tops, spectrum)
    valleys = [
        left + int(np.argmin(mean[left : right + 1])) for left, right in itertools.pairwise(tops)
    ]
    starts, ends = [0, *valleys], [*valleys, len(x) - 1]
    return [
        _row(spectrum, int(top), start, end)
        for top, start, end in zip(tops, starts, ends, strict=False)
    ]


def _without_side_lobes(tops: np.ndarray, spectrum: Spectrum) -> np.ndarray:
    """The maxima that are too high for a side lobe of a line nearby."""
    part, reach = SIDE_LOBES.get(spectrum.transform.window, (0.0, 0.0))
    x, mean = spectrum.wavenumber_cm1, spectrum.absorption
    near = np.abs(np.subtract.outer(x[tops], x[tops])) <= reach * spectrum.transform.resolution_cm1
    highest = np.where(near, mean[tops], 0.0).max(axis=1, initial=0.0)
    return np.asarray(tops[mean[tops] > part * highest])


def _row(spectrum: Spectrum, top: int, start: int, end: int) -> dict[Band, float]:
    x, mean, each = spectrum.wavenumber_cm1, spectrum.absorption, spectrum.trajectories
    height = mean[top]
    low, high = _crossings(x, mean, top, start, end, FOOT * height)
    low, high = (x[start] if math.isnan(low) else low), (x[end] if math.isnan(high) else high)
    inside = slice(np.searchsorted(x, low, side="left"), np.searchsorted(x, high, side="right"))
    left, right = _crossings(x, mean, top, start, end, 0.5 * height)
    count = len(each)
    several = count > 1
    area, area_error = _area(x, each, low, high)
    equal = spectrum.equipartition
    at_kt, at_kt_error = (math.nan, math.nan) if equal is None else _area(x, equal, low, high)
    own = np.array([_vertex(x[inside], y[inside]) for y in each])
    # Mean spectra that leave one trajectory out.
    left_out = (
        np.array([_vertex(x[inside], y[inside]) for y in (each.sum(axis=0) - each) / (count - 1)])
        if several
        else np.array([math.nan])
    )
    return {
        Band.POSITION: _vertex(x[inside], mean[inside]),
        Band.POSITION_ERROR: math.sqrt(count - 1) * float(left_out.std()),
        Band.POSITION_SPREAD: float(own.std(ddof=1)) if several else math.nan,
        Band.INTENSITY: area,
        Band.INTENSITY_ERROR: area_error,
        Band.EQUIPARTITION: at_kt,
        Band.EQUIPARTITION_ERROR: at_kt_error,
        Band.WIDTH: right - left,
        Band.LOW: float(low),
        Band.HIGH: float(high),
    }


def _area(x: np.ndarray, each: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Mean area over trajectories and its standard error, NaN for a single one."""
    areas = integral(x, each, low, high)
    count = len(areas)
    error = float(areas.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return float(areas.mean()), error


def _crossings(
    x: np.ndarray, y: np.ndarray, top: int, start: int, end: int, level: float
) -> tuple[float, float]:
    """Where ``y`` first falls to ``level`` on either side of ``top``; NaN where it does not."""
    found = []
    for stop, step in ((start - 1, -1), (end + 1, 1)):
        path = np.arange(top, stop, step)
        below = np.flatnonzero(y[path] <= level)
        if below.size:
            outer, inner = path[below[0]], path[below[0] - 1]
            part = (y[inner] - level) / (y[inner] - y[outer])
            found.append(float(x[inner] + part * (x[outer] - x[inner])))
        else:
            found.append(math.nan)
    return found[0], found[1]


def _vertex(x: np.ndarray, y: np.ndarray) -> float:
    """Position of the maximum, by a parabola through the highest point and its neighbours."""
    top = int(np.argmax(y))
    if top in (0, len(y) - 1):
        return float(x[top])
    (a, b, c), (ya, yb, yc) = x[top - 1 : top + 2], y[top - 1 : top + 2]
    # Divided differences, so that the points need not be equally spaced.
    first, second = (yb - ya) / (b - a), (yc - yb) / (c - b)
    curvature = (second - first) / (c - a)
    return float(b) if curvature == 0.0 else float(0.5 * (a + b) - 0.5 * first / curvature)
