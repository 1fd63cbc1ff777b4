"""Energy drift with an honest error, and correlation times with known answers."""

import numpy as np
import pytest

from dft2spectra.dynamics.energy import correlation_steps, energy_drift

TIME_FS = 0.5 * np.arange(4001)


def autoregressive(phi: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian series of variance 1 and correlation φ^|k|."""
    series = np.empty(n)
    series[0] = rng.standard_normal()
    noise = rng.standard_normal(n) * np.sqrt(1 - phi**2)
    for i in range(1, n):
        series[i] = phi * series[i - 1] + noise[i]
    return series


def test_straight_line_and_units():
    """3 atoms gain 0.006 eV in 2 ps: 1 meV/atom/ps, without scatter."""
    drift = energy_drift(TIME_FS, -2000.0 + 0.003 * TIME_FS / 1e3, 3)
    assert drift["drift_mev_per_atom_ps"] == pytest.approx(1.0, rel=1e-6)
    assert drift["drift_error_mev_per_atom_ps"] < 1e-6
    assert drift["fluctuation_mev_per_atom"] < 1e-6


def test_oscillation_is_fluctuation_not_drift():
    """A sine of amplitude 6 meV in 3 atoms: rms 2/√2 meV/atom."""
    drift = energy_drift(TIME_FS, 0.006 * np.sin(0.7 * TIME_FS), 3)
    assert drift["fluctuation_mev_per_atom"] == pytest.approx(2 / np.sqrt(2), rel=1e-3)
    assert abs(drift["drift_mev_per_atom_ps"]) < 0.02


def test_error_covers_the_scatter_of_correlated_series():
    """The stated error is the spread of the slope over many series correlated over 20 samples.

    A line through all samples would claim an error smaller by the root of about 20.
    """
    rng = np.random.default_rng(3)
    results = [
        energy_drift(TIME_FS[:2000], 1e-3 * autoregressive(0.9, 2000, rng), 1) for _ in range(150)
    ]
    slopes = np.array([r["drift_mev_per_atom_ps"] for r in results])
    stated = np.sqrt(np.mean([r["drift_error_mev_per_atom_ps"] ** 2 for r in results]))
    # 150 slopes: the spread itself is known to 6 %.
    assert stated == pytest.approx(slopes.std(), rel=0.2)
    assert abs(slopes.mean()) < 4 * slopes.std() / np.sqrt(150)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_impossible_series_are_refused(bad):
    energy = np.zeros(len(TIME_FS))
    energy[7] = bad
    with pytest.raises(ValueError, match="finite"):
        energy_drift(TIME_FS, energy, 3)
    with pytest.raises(ValueError, match="60 samples or more"):
        energy_drift(TIME_FS[:59], np.zeros(59), 3)


@pytest.mark.parametrize("phi", [0.0, 0.8, 0.95])
def test_correlation_time_of_an_autoregressive_series(phi):
    """τ = (1 + φ)/(1 − φ)."""
    series = autoregressive(phi, 100_000, np.random.default_rng(5))
    assert correlation_steps(series) == pytest.approx((1 + phi) / (1 - phi), rel=0.1)


def test_constant_series_has_no_memory():
    assert correlation_steps(np.full(100, 3.7)) == 1.0
