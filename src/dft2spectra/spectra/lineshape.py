"""Shapes of absorption lines, each of area 1 over the whole velocity axis.

The Lorentzian is the thin-absorber shape, its full width at half maximum not below the sum of the
widths of source and absorber (0.19 mm/s in all). The Voigt profile folds it with a Gaussian, for a
distribution of hyperfine parameters or an imperfect drive. Both leave tails outside a finite
velocity range: :func:`area_within` says how much of the area a range holds. In the thin-absorber
limit the measured transmission is 1 minus a constant times this absorption.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.special import voigt_profile

_SIGMA_PER_FWHM = 1.0 / math.sqrt(8.0 * math.log(2.0))


def profile(offset_mm_s: ArrayLike, width_mm_s: float, gaussian_mm_s: float = 0.0) -> np.ndarray:
    """Area-normalised line in (mm/s)⁻¹ at distances ``offset_mm_s`` (any shape) from its centre.

    Parameters
    ----------
    offset_mm_s
        Velocity minus position of the line.
    width_mm_s
        Full width at half maximum of the Lorentzian.
    gaussian_mm_s
        Full width at half maximum of the Gaussian; 0 gives the pure Lorentzian.

    Raises
    ------
    ValueError
        If a width is negative or not finite, or the Lorentzian one is zero.
    """
    if not (math.isfinite(width_mm_s) and width_mm_s > 0.0):
        raise ValueError(f"width_mm_s must be positive, not {width_mm_s}")
    if not (math.isfinite(gaussian_mm_s) and gaussian_mm_s >= 0.0):
        raise ValueError(f"gaussian_mm_s must be zero or positive, not {gaussian_mm_s}")
    # A Gaussian this narrow changes nothing, but could overflow inside voigt_profile.
    sigma = gaussian_mm_s * _SIGMA_PER_FWHM if gaussian_mm_s > 1e-7 * width_mm_s else 0.0
    return voigt_profile(np.asarray(offset_mm_s, float), sigma, width_mm_s / 2.0)


def absorption(
    velocity_mm_s: ArrayLike,
    positions: ArrayLike,
    intensities: ArrayLike,
    width_mm_s: float,
    gaussian_mm_s: float = 0.0,
) -> np.ndarray:
    """Spectrum in (mm/s)⁻¹ on the velocities; its area is the sum of the intensities."""
    offset = np.asarray(velocity_mm_s, float)[..., None] - np.asarray(positions, float)
    return profile(offset, width_mm_s, gaussian_mm_s) @ np.asarray(intensities, float)


def area_within(
    low_mm_s: float,
    high_mm_s: float,
    positions: ArrayLike,
    intensities: ArrayLike,
    width_mm_s: float,
    gaussian_mm_s: float = 0.0,
) -> float:
    """Area of a spectrum between two velocities, in the unit of the intensities.

    The Lorentzian part is analytic; its average over the Gaussian is one numerical integral.
    """
    position, intensity = np.asarray(positions, float), np.asarray(intensities, float)
    sigma = gaussian_mm_s * _SIGMA_PER_FWHM

    def lorentzian_area(displacement: float) -> float:
        low, high = (
            np.arctan(2.0 * (edge - position - displacement) / width_mm_s)
            for edge in (low_mm_s, high_mm_s)
        )
        return float(intensity @ (high - low)) / math.pi

    if sigma == 0.0:
        return lorentzian_area(0.0)

    def weighted_area(deviations: float) -> float:
        return math.exp(-(deviations**2) / 2.0) * lorentzian_area(sigma * deviations)

    with np.errstate(over="ignore"):
        steps = np.concatenate([low_mm_s - position, high_mm_s - position]) / sigma
    steps = np.unique(steps[np.abs(steps) < 8.0])
    area, _ = quad(
        weighted_area, -8.0, 8.0, points=steps if steps.size else None, limit=200 + steps.size
    )
    return area / math.sqrt(2.0 * math.pi)
