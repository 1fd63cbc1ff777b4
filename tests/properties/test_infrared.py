"""Properties of every infrared spectrum, whatever the dipoles."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import constants
from scipy.spatial.transform import Rotation

from dft2spectra.spectra.bands import integral, peaks
from dft2spectra.spectra.dipole import dipole_jumps, spectrum
from dft2spectra.spectra.transform import read_transform

reproducible = settings(derandomize=True, max_examples=25, deadline=None)
SETTINGS = {
    "window": "gaussian",
    "resolution_cm1": 40.0,
    "padding": 2,
    "quantum_correction": "harmonic",
    "maximum_cm1": 5000.0,
}
STEP_FS = 1.0


@st.composite
def dipoles(draw):
    """Smooth random series: white noise through a short filter, (n, 3), with a random offset."""
    seed, n = draw(st.integers(0, 10**6)), draw(st.integers(1500, 3000))
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n + 8, 3))
    smooth = np.stack([np.convolve(c, np.hanning(9), mode="valid") for c in noise.T], axis=1)
    return draw(st.floats(1e-3, 10.0)) * smooth + rng.normal(size=3)


transforms = st.builds(
    lambda window, correction: read_transform(
        SETTINGS | {"window": window, "quantum_correction": correction}
    ),
    st.sampled_from(["gaussian", "hann"]),
    st.sampled_from(["harmonic", "standard", "schofield", "none"]),
)


def absorb(series, transform):
    return spectrum(series, STEP_FS, 300.0, transform)


@reproducible
@given(dipoles(), transforms, st.tuples(*[st.floats(-3, 3)] * 3), st.integers(0, 2))
def test_axes_do_not_matter(dipole, transform, vector, flip):
    turn = Rotation.from_rotvec(vector).as_matrix()
    turn[flip] *= -1.0  # reflections as well
    plain, turned = (absorb([d], transform) for d in (dipole, dipole @ turn.T))
    scale = np.abs(plain.absorption).max()
    np.testing.assert_allclose(turned.absorption, plain.absorption, atol=1e-9 * scale)


@reproducible
@given(dipoles(), transforms)
def test_time_reversal_and_sign_do_not_matter(dipole, transform):
    plain, other = (absorb([d], transform) for d in (dipole, -dipole[::-1]))
    scale = np.abs(plain.absorption).max()
    np.testing.assert_allclose(other.absorption, plain.absorption, atol=1e-9 * scale)


@reproducible
@given(dipoles(), transforms, st.floats(0.1, 10.0))
def test_absorption_is_quadratic_in_the_dipole(dipole, transform, factor):
    plain, scaled = (absorb([d], transform).absorption for d in (dipole, factor * dipole))
    np.testing.assert_allclose(scaled, factor**2 * plain, rtol=1e-8, atol=1e-9 * scaled.max())


@reproducible
@given(dipoles(), transforms)
def test_components_add_up(dipole, transform):
    """Products of different Cartesian components do not enter."""
    whole = absorb([dipole], transform).absorption
    parts = sum(absorb([dipole * axis], transform).absorption for axis in np.eye(3))
    np.testing.assert_allclose(parts, whole, atol=1e-9 * np.abs(whole).max())


@reproducible
@given(st.lists(dipoles(), min_size=2, max_size=4), transforms)
def test_an_ensemble_is_the_mean_of_its_trajectories(series, transform):
    """Unequal lengths: each counts the same, and none changes another's spectrum."""
    together = absorb(series, transform)
    alone = [absorb([dipole], transform).absorption for dipole in series]
    np.testing.assert_allclose(together.trajectories, alone)
    np.testing.assert_allclose(together.absorption, np.mean(alone, axis=0))


@reproducible
@given(dipoles(), st.sampled_from(["gaussian", "hann"]))
def test_the_whole_area_is_the_mean_square_of_the_derivative(dipole, window):
    """Parseval: N_A β⟨µ'²⟩/(12 ε0 c²), after taking the response of the quotient out again."""
    nyquist = 1e13 / (2.0 * constants.c * STEP_FS)
    transform = read_transform(SETTINGS | {"window": window, "maximum_cm1": 0.9999 * nyquist})
    result = absorb([dipole], transform)
    x = result.wavenumber_cm1
    area = np.trapezoid(result.absorption * np.sinc(0.5 * x / nyquist) ** 2, x)
    velocity = np.diff(dipole, axis=0)
    velocity = (velocity - velocity.mean(axis=0)) * 3.33564e-30 / (STEP_FS * 1e-15)
    squared = (velocity**2).sum(axis=1).mean()
    expected = (
        constants.N_A
        * squared
        / (12.0 * constants.epsilon_0 * constants.c**2 * constants.k * 300.0)
        / 1000.0
    )
    assert area == pytest.approx(expected, rel=2e-3)


@reproducible
@given(dipoles(), st.tuples(*[st.floats(-3, 3)] * 3), st.integers(10, 1400))
def test_jumps_are_found_in_any_axes(dipole, vector, frame):
    turn = Rotation.from_rotvec(vector).as_matrix()
    dipole[frame:] += 40.0 * np.abs(np.diff(dipole, n=2, axis=0)).max()
    found = dipole_jumps(dipole, STEP_FS)
    np.testing.assert_array_equal(found, dipole_jumps(dipole @ turn.T, STEP_FS))
    assert len(found) == 1
    assert abs(found[0] - STEP_FS * frame) <= STEP_FS


@reproducible
@given(st.lists(dipoles(), min_size=1, max_size=3), transforms, st.floats(0.01, 0.3))
def test_bands_are_apart_and_hold_no_more_than_the_whole(series, transform, prominence):
    result = absorb(series, transform)
    rows = peaks(result, prominence)
    for row in rows:
        assert row["low_cm1"] < row["position_cm1"] < row["high_cm1"]
        assert row["intensity_km_mol"] == pytest.approx(
            integral(result.wavenumber_cm1, result.absorption, row["low_cm1"], row["high_cm1"])
        )
    for left, right in itertools.pairwise(rows):
        assert left["high_cm1"] <= right["low_cm1"] + 1e-9
        assert right["position_cm1"] - left["position_cm1"] > 0.9 * SETTINGS["resolution_cm1"]


def test_dipoles_that_differ_give_spectra_that_differ():
    """Guards the invariances above against a spectrum that ignores its input."""
    transform = read_transform(SETTINGS)
    rng = np.random.default_rng(0)
    one, other = (np.cumsum(rng.normal(size=(2000, 3)), axis=0) for _ in range(2))
    difference = absorb([one], transform).absorption - absorb([other], transform).absorption
    assert np.abs(difference).max() > 0.05 * absorb([one], transform).absorption.max()
