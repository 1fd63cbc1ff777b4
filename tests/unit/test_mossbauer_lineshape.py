"""Line shapes: limits, widths, areas."""

import numpy as np
import pytest
from scipy.integrate import quad

from dft2spectra.spectra import lineshape


def lorentzian(x, width):
    return width / (2.0 * np.pi) / (x**2 + width**2 / 4.0)


def test_zero_gaussian_width_is_the_lorentzian():
    x = np.linspace(-3.0, 3.0, 301)
    np.testing.assert_allclose(lineshape.profile(x, 0.25), lorentzian(x, 0.25), rtol=1e-12)


def test_voigt_tends_to_the_lorentzian_quadratically():
    x = np.linspace(-2.0, 2.0, 201)
    error = [
        np.abs(lineshape.profile(x, 0.25, g) - lorentzian(x, 0.25)).max() for g in (0.02, 0.01)
    ]
    assert error[1] < 0.01
    assert error[0] / error[1] == pytest.approx(4.0, rel=0.05)


def test_voigt_tends_to_the_gaussian():
    x = np.linspace(-1.0, 1.0, 201)
    sigma = 0.4 / np.sqrt(8.0 * np.log(2.0))
    gaussian = np.exp(-((x / sigma) ** 2) / 2.0) / sigma / np.sqrt(2.0 * np.pi)
    np.testing.assert_allclose(lineshape.profile(x, 1e-6, 0.4), gaussian, atol=1e-5)


def test_voigt_is_the_convolution():
    sigma = 0.3 / np.sqrt(8.0 * np.log(2.0))

    def integrand(t, x):
        return lorentzian(x - t, 0.2) * np.exp(-((t / sigma) ** 2) / 2) / sigma / np.sqrt(2 * np.pi)

    for x in (0.0, 0.15, 0.7):
        value, _ = quad(integrand, -8 * sigma, 8 * sigma, args=(x,), points=[x], epsabs=1e-12)
        assert lineshape.profile(x, 0.2, 0.3) == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize(
    ("width", "gaussian", "half_height"), [(0.25, 0.0, 0.125), (1e-7, 0.4, 0.2)]
)
def test_widths_are_full_widths_at_half_maximum(width, gaussian, half_height):
    top = lineshape.profile(0.0, width, gaussian)
    assert lineshape.profile(half_height, width, gaussian) == pytest.approx(top / 2.0, rel=1e-5)


def test_area_of_a_lorentzian_in_a_range():
    """(1/π) [arctan(2(b−x)/Γ) − arctan(2(a−x)/Γ)] for each line."""
    position, strength = np.array([-5.3, 0.1, 7.0]), np.array([0.3, 0.6, 0.1])
    limits = [np.arctan(2.0 * (edge - position) / 0.25) for edge in (-6.0, 4.0)]
    expected = strength @ (limits[1] - limits[0]) / np.pi
    assert lineshape.area_within(-6.0, 4.0, position, strength, 0.25) == pytest.approx(
        expected, abs=1e-8
    )


@pytest.mark.parametrize("gaussian", [0.0, 0.1, 0.8])
@pytest.mark.parametrize("width", [0.1, 0.4])
def test_area_does_not_depend_on_the_shape(width, gaussian):
    """The tails beyond ±L hold Γ/(πL) of a line near the origin, with a Gaussian or without."""
    area = lineshape.area_within(-500.0, 500.0, [-1.0, 2.0], [0.25, 0.75], width, gaussian)
    assert area == pytest.approx(1.0 - width / (500.0 * np.pi), abs=1e-6)


def test_spectrum_on_a_grid_holds_the_stated_area():
    v = np.linspace(-10.0, 10.0, 4001)
    arguments = ([-5.32, 0.3, 3.0], [0.5, 0.2, 0.3], 0.25, 0.1)
    grid = np.trapezoid(lineshape.absorption(v, *arguments), v)
    assert grid == pytest.approx(lineshape.area_within(-10.0, 10.0, *arguments), abs=1e-6)


@pytest.mark.parametrize(("width", "gaussian"), [(0.0, 0.1), (-1.0, 0.0), (0.2, -0.1), (np.nan, 0)])
def test_impossible_widths_are_refused(width, gaussian):
    with pytest.raises(ValueError, match="_mm_s must be"):
        lineshape.profile(0.0, width, gaussian)
