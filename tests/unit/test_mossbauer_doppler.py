"""Second-order Doppler shift in the Debye model: limits and published values."""

import numpy as np
import pytest
from scipy import constants

from dft2spectra.spectra.doppler import (
    recoil_free_fraction,
    second_order_doppler_mm_s,
    thermal_shift_mm_s,
)


def test_classical_slope():
    """−3k/2Mc = −7.3e-4 mm/s/K (Preston, Hanna and Heberle 1962 measured this limit in α-Fe)."""
    slope = second_order_doppler_mm_s(3001.0, 400.0) - second_order_doppler_mm_s(3000.0, 400.0)
    assert slope == pytest.approx(-7.3e-4, abs=2e-6)


def test_zero_point_motion():
    """−9kθ/16Mc at T = 0."""
    mass = 56.935 * constants.atomic_mass
    expected = -9.0 * constants.k * 400.0 / (16.0 * mass * constants.c) * 1e3
    assert second_order_doppler_mm_s(0.0, 400.0) == pytest.approx(expected, rel=1e-4)
    assert expected == pytest.approx(-0.1096, abs=1e-4)


def test_low_temperature_law():
    """The shift leaves its zero-point value as T⁴: −(9k/2Mc) T (T/θ)³ π⁴/15."""
    mass = 56.935 * constants.atomic_mass
    change = second_order_doppler_mm_s(8.0, 400.0) - second_order_doppler_mm_s(0.0, 400.0)
    factor = 9.0 * constants.k / (2.0 * mass * constants.c) * 1e3
    assert change == pytest.approx(-factor * 8.0 * (8 / 400.0) ** 3 * np.pi**4 / 15.0, rel=1e-3)


def test_high_temperature_expansion():
    """Leading quantum correction: 1 + θ²/20T²."""
    mass = 56.935 * constants.atomic_mass
    classical = -1.5 * constants.k * 1500.0 / (mass * constants.c) * 1e3
    expected = classical * (1.0 + 400.0**2 / 20.0 / 1500.0**2)
    assert second_order_doppler_mm_s(1500.0, 400.0) == pytest.approx(expected, rel=1e-4)


def test_alpha_iron_at_room_temperature_is_the_zero():
    assert thermal_shift_mm_s(295.0, 400.0) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("measured", "debye_low", "debye_high"),
    # δ(4.2 K) − δ(295 K): hematite 0.49 − 0.37, pyrite 0.42 − 0.33 mm/s. The bracket of Debye
    # temperatures is 0.01 mm/s of rounding either way.
    [(0.12, 330.0, 560.0), (0.09, 560.0, 850.0)],
)
def test_measured_change_on_cooling_needs_a_sensible_debye_temperature(
    measured, debye_low, debye_high
):
    def change(debye):
        return thermal_shift_mm_s(4.2, debye) - thermal_shift_mm_s(295.0, debye)

    assert change(debye_high) < measured < change(debye_low)


@pytest.mark.parametrize(("temperature", "debye"), [(-1.0, 400.0), (300.0, 0.0), (np.nan, 400.0)])
def test_impossible_temperatures_are_refused(temperature, debye):
    with pytest.raises(ValueError, match="_k must be"):
        second_order_doppler_mm_s(temperature, debye)


def test_recoil_free_fraction_of_the_zero_point_motion():
    """f(0) = exp(−3 E_R/2kθ) with E_R = 1.957 meV."""
    expected = np.exp(-1.5 * 1.957e-3 / (8.617333e-5 * 400.0))
    assert recoil_free_fraction(0.0, 400.0) == pytest.approx(expected, rel=1e-4)


def test_recoil_free_fraction_at_high_temperature():
    """ln f → −6 E_R T/kθ² (equipartition)."""
    expected = -6.0 * 1.957e-3 * 2000.0 / (8.617333e-5 * 300.0**2)
    assert np.log(recoil_free_fraction(2000.0, 300.0)) == pytest.approx(expected, rel=5e-3)
