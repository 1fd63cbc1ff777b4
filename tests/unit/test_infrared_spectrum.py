"""From dipoles to absorption: absolute areas, shapes, corrections and refusals."""

import numpy as np
import pytest
from infrared_settings import KM_MOL, SETTINGS
from scipy import constants
from scipy.optimize import curve_fit

from dft2spectra import units
from dft2spectra.spectra.bands import integral
from dft2spectra.spectra.dipole import dipole_jumps, spectrum
from dft2spectra.spectra.transform import CM1_FS, CORRECTIONS, read_transform, window_function

KT_AMU = constants.k / constants.atomic_mass * 1e-10  # ⟨Q'²⟩ per kelvin, in u Å²/fs²


def transform(verlet=None, **changes):
    return read_transform(SETTINGS | changes, verlet)


def angular(wavenumber_cm1):
    """rad/fs"""
    return 2.0 * np.pi * CM1_FS * wavenumber_cm1


def wave(wavenumber_cm1, amplitude, axis=(1.0, 0.0, 0.0), n=20001, step=0.5, phase=0.3):
    angle = angular(wavenumber_cm1) * step * np.arange(n) + phase
    return amplitude * np.cos(angle)[:, None] * np.asarray(axis, float)


def thermal_amplitude(wavenumber_cm1, temperature, derivative=1.0):
    """Dipole amplitude (D) of a mode of energy kT with dµ/dQ in D/(Å √u)."""
    return derivative * np.sqrt(2.0 * KT_AMU * temperature) / angular(wavenumber_cm1)


def area(result, low=0.0, high=4500.0):
    return integral(result.wavenumber_cm1, result.absorption, low, high)


# --- absolute intensity -----------------------------------------------------------------------


@pytest.mark.parametrize("window", ["gaussian", "hann"])
@pytest.mark.parametrize(
    ("position", "temperature"), [(150.0, 300.0), (1600.0, 50.0), (3700.0, 500.0)]
)
def test_a_mode_of_energy_kt_has_its_harmonic_intensity(window, position, temperature):
    dipole = wave(position, thermal_amplitude(position, temperature, 2.0))
    result = spectrum([dipole], 0.5, temperature, transform(window=window))
    assert area(result) == pytest.approx(4.0 * KM_MOL, rel=2e-3)
    peak = result.wavenumber_cm1[np.argmax(result.absorption)]
    assert peak == pytest.approx(position, abs=2.0)  # one bin


def test_the_published_constant_is_the_one_of_the_units():
    ratio = units.DEBYE_C_M / (constants.e * 1e-10)
    assert units.KM_MOL_PER_E2_AMU * ratio**2 == pytest.approx(KM_MOL, rel=1e-5)


def test_thermal_oscillators_average_to_the_harmonic_intensity_and_scatter_exponentially():
    """At constant energy each keeps its own E, exponentially distributed: spread = mean."""
    rng = np.random.default_rng(7)
    n, temperature, position = 600, 300.0, 1700.0
    energies = rng.exponential(size=n)
    phases = rng.uniform(0.0, 2.0 * np.pi, n)
    amplitude = thermal_amplitude(position, temperature)
    dipoles = [
        wave(position, amplitude * np.sqrt(e), n=8001, phase=p)
        for e, p in zip(energies, phases, strict=True)
    ]
    result = spectrum(dipoles, 0.5, temperature, transform())
    areas = integral(result.wavenumber_cm1, result.trajectories, 1600.0, 1800.0)
    np.testing.assert_allclose(areas, KM_MOL * energies, rtol=5e-3)
    assert areas.mean() == pytest.approx(KM_MOL, rel=4.0 / np.sqrt(n))
    # Standard deviation of the sample deviation of an exponential: √(2/n).
    assert areas.std() / areas.mean() == pytest.approx(1.0, abs=4.0 * np.sqrt(2.0 / n))
    top = np.argmax(result.absorption)
    ratio = result.standard_error[top] / result.absorption[top]
    assert ratio == pytest.approx(areas.std(ddof=1) / areas.mean() / np.sqrt(n), rel=1e-3)


def test_water_of_two_bands_comes_out_as_put_in():
    """Bend 1595 cm⁻¹, 70 km/mol, along the axis; asymmetric stretch 3756, 45, across; 500 K."""
    temperature = 500.0
    dipole = np.array([0.0, 0.0, 1.85]) + sum(
        wave(p, thermal_amplitude(p, temperature, np.sqrt(i / KM_MOL)), axis, phase=phase)
        for p, i, axis, phase in ((1595, 70, (0, 0, 1), 0.2), (3756, 45, (0, 1, 0), 1.1))
    )
    result = spectrum([dipole], 0.5, temperature, transform())
    assert area(result, 1500, 1700) == pytest.approx(70.0, rel=2e-3)
    assert area(result, 3650, 3850) == pytest.approx(45.0, rel=2e-3)
    assert area(result) == pytest.approx(115.0, rel=2e-3)


def test_rigid_dipole_turning_in_a_plane():
    """|µ'|² = µ²ω²; the area is N_A β µ²ω²/(12 ε0 c²), written out in SI here."""
    position, temperature, mu = 40.0, 300.0, 1.85
    angle = angular(position) * 0.5 * np.arange(60001)
    dipole = mu * np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
    result = spectrum([dipole], 0.5, temperature, transform(resolution_cm1=5.0))
    omega = angular(position) * 1e15
    expected = (
        constants.N_A
        * (mu * 3.33564e-30 * omega) ** 2
        / (12.0 * constants.epsilon_0 * constants.c**2 * constants.k * temperature)
    )
    assert area(result) == pytest.approx(expected / 1000.0, rel=5e-3)
    centre = integral(
        result.wavenumber_cm1, result.wavenumber_cm1 * result.absorption, 0.0, 4500.0
    ) / area(result)
    assert centre == pytest.approx(position, rel=5e-3)


def test_thermal_linear_rotors_have_the_classical_band():
    """ω is Rayleigh distributed: S ∝ ω³ exp(−Iω²/2kT), of area N_A µ²/(6 ε0 c² I)."""
    temperature, mu, inertia = 300.0, 1.08, 1.6  # D, u Å²: close to HCl
    rng = np.random.default_rng(3)
    width = np.sqrt(KT_AMU * temperature / inertia)  # rad/fs
    n = 400
    # Quantiles in place of random draws: the sum rule is then met to 1/n.
    omegas = width * np.sqrt(-2.0 * np.log1p(-(np.arange(n) + 0.5) / n))
    time = 1.0 * np.arange(12001)
    dipoles = []
    for omega, phase in zip(omegas, rng.uniform(0, 2 * np.pi, n), strict=True):
        angle = omega * time + phase
        dipoles.append(mu * np.stack([np.cos(angle), np.sin(angle), 0.0 * angle], axis=1))
    result = spectrum(dipoles, 1.0, temperature, transform(resolution_cm1=20.0, maximum_cm1=1000.0))
    assert area(result, 0.0, 1000.0) == pytest.approx(KM_MOL * 2.0 * mu**2 / inertia, rel=0.01)
    x = result.wavenumber_cm1
    sigma = width / angular(1.0)
    w = np.linspace(0.0, 1500.0, 6001)
    lines = w**3 * np.exp(-0.5 * (w / sigma) ** 2)
    shape = np.exp(-4.0 * np.log(2.0) * ((x[::8, None] - w) / 20.0) ** 2) @ lines
    shape *= area(result, 0.0, 1000.0) / np.trapezoid(shape, x[::8])
    np.testing.assert_allclose(result.absorption[::8], shape, atol=0.04 * shape.max())


# --- derivative, resolution, shape --------------------------------------------------------------


def test_a_naive_central_difference_would_lose_four_percent():
    """At 0.5 fs and 3700 cm⁻¹ (sin ωh/ωh)² is 0.960; the corrected quotient loses nothing."""
    position, temperature = 3700.0, 300.0
    dipole = wave(position, thermal_amplitude(position, temperature))
    central = np.cumsum(np.gradient(dipole, axis=0)[1:-1], axis=0)  # its quotient is the gradient
    naive, ours = (area(spectrum([d], 0.5, temperature, transform())) for d in (central, dipole))
    half = angular(position) * 0.25
    assert ours == pytest.approx(KM_MOL, rel=1e-3)
    assert naive * (np.sin(half) / half) ** 2 / KM_MOL == pytest.approx(0.960, abs=1e-3)


@pytest.mark.parametrize("step", [0.25, 1.0, 2.0, 3.5])
def test_area_does_not_depend_on_the_interval(step):
    dipole = wave(3700.0, thermal_amplitude(3700.0, 300.0), n=int(10000 / step), step=step)
    result = spectrum([dipole], step, 300.0, transform())
    assert area(result) == pytest.approx(KM_MOL, rel=3e-3)


@pytest.mark.parametrize("window", ["gaussian", "hann"])
@pytest.mark.parametrize("resolution", [8.0, 30.0])
def test_the_resolution_is_the_full_width_of_a_sharp_line(window, resolution):
    settings = transform(window=window, resolution_cm1=resolution, padding=32)
    result = spectrum([wave(2000.0, 0.01)], 0.5, 300.0, settings)
    x, y = result.wavenumber_cm1, result.absorption
    above = x[y >= 0.5 * y.max()]
    assert np.ptp(above) == pytest.approx(resolution, rel=0.03)


def test_side_lobes_of_the_windows():
    lowest = {
        window: (lambda y: y.min() / y.max())(
            spectrum([wave(2000.0, 0.01)], 0.5, 300.0, transform(window=window)).absorption
        )
        for window in ("gaussian", "hann")
    }
    assert lowest["hann"] == pytest.approx(-0.027, abs=0.003)  # −31.5 dB
    assert abs(lowest["gaussian"]) < 1e-3


def test_windows_begin_at_one_and_end_at_nothing():
    for window, end in (("gaussian", 1e-3), ("hann", 0.0)):
        settings = transform(window=window)
        values = window_function(np.array([0.0, settings.correlation_fs]), settings)
        assert values == pytest.approx([1.0, end], abs=1e-12)


def test_padding_interpolates_and_changes_no_value():
    dipole = wave(1500.0, 0.01) + wave(1550.0, 0.02)
    coarse, fine = (
        spectrum([dipole], 0.5, 300.0, transform(padding=padding)) for padding in (1, 8)
    )
    assert len(fine.wavenumber_cm1) > 7 * len(coarse.wavenumber_cm1)
    assert area(fine) == pytest.approx(area(coarse), rel=1e-3)
    between = np.interp(coarse.wavenumber_cm1, fine.wavenumber_cm1, fine.absorption)
    np.testing.assert_allclose(coarse.absorption, between, atol=0.01 * fine.absorption.max())


def test_damped_oscillators_give_their_lorentzian():
    """C(t) = C0 exp(−γt) cos ωt has full width γ/πc; known intensity and position."""
    rng = np.random.default_rng(11)
    position, temperature, width, step = 1700.0, 300.0, 40.0, 1.0
    n, count = 40000, 24
    # Complex Ornstein–Uhlenbeck noise turned by ω: exact at any step, of decay γ = π c · width.
    decay = np.exp(-np.pi * CM1_FS * width * step)
    kicks = rng.normal(size=(count, n, 2)) @ [1.0, 1j] * np.sqrt(1.0 - decay**2)
    kicks[:, 0] = rng.normal(size=(count, 2)) @ [1.0, 1j]
    state = kicks[:, 0]
    series = np.empty((count, n))
    # √½ A² per component, so that the mean square is that of energy kT.
    amplitude = thermal_amplitude(position, temperature) / np.sqrt(2.0)
    turn = np.exp(1j * angular(position) * step * np.arange(n))
    for i in range(n):
        state = decay * state + kicks[:, i] if i else state
        series[:, i] = amplitude * (state * turn[i]).real
    dipoles = [np.stack([s, 0 * s, 0 * s], axis=1) for s in series]
    result = spectrum(dipoles, step, temperature, transform(resolution_cm1=8.0))
    band = integral(result.wavenumber_cm1, result.absorption, position - 400, position + 400)
    inside = 2.0 / np.pi * np.arctan(800.0 / width)
    # Decay time 265 fs in 960 ps: about 1800 independent energies.
    assert band == pytest.approx(KM_MOL * inside, rel=0.1)
    x, y = result.wavenumber_cm1, result.absorption
    near = np.abs(x - position) < 150.0

    def lorentzian(at, height, centre, fwhm):
        return height / (1.0 + ((at - centre) / (fwhm / 2.0)) ** 2)

    (_, centre, fwhm), _ = curve_fit(lorentzian, x[near], y[near], [y.max(), position, 30.0])
    assert centre == pytest.approx(position, abs=4.0)
    assert fwhm == pytest.approx(width, rel=0.15)


def test_drift_and_permanent_dipole_leave_no_trace():
    dipole = wave(1500.0, 0.01)
    steady = np.arange(len(dipole))[:, None] * np.array([1e-4, -2e-4, 0.0]) + 3.0
    plain, shifted = (spectrum([d], 0.5, 300.0, transform()) for d in (dipole, dipole + steady))
    peak = plain.absorption.max()
    np.testing.assert_allclose(shifted.absorption, plain.absorption, atol=1e-6 * peak)


# --- quantum correction and Verlet shift ------------------------------------------------------


@pytest.mark.parametrize("name", ["harmonic", "standard", "schofield", "none"])
def test_quantum_corrections_from_their_definitions(name):
    x = np.array([1e-6, 0.3, 2.0, 9.0])
    factor = {
        "harmonic": x / (1.0 - np.exp(-x)),
        "standard": 2.0 / (1.0 + np.exp(-x)),
        "schofield": np.exp(x / 2.0),
        "none": np.ones_like(x),
    }[name]
    harmonic = x / (1.0 - np.exp(-x))
    np.testing.assert_allclose(CORRECTIONS[name](x), factor / harmonic, rtol=1e-6)
    assert CORRECTIONS[name](np.zeros(1)) == 1.0


def test_quantum_correction_none_weakens_a_stretch_at_room_temperature():
    dipole = wave(3700.0, thermal_amplitude(3700.0, 300.0))
    plain = area(spectrum([dipole], 0.5, 300.0, transform(quantum_correction="none")))
    x = constants.h * constants.c * 370000.0 / (constants.k * 300.0)
    assert plain == pytest.approx(KM_MOL * (1.0 - np.exp(-x)) / x, rel=5e-3)


def verlet(position, temperature, step, every=1, n=40000):
    """Velocity Verlet of one harmonic mode that starts with Q = 0 and the energy kT."""
    omega = angular(position)
    q, v = 0.0, np.sqrt(2.0 * KT_AMU * temperature)
    series = np.empty(n)
    for i in range(n):
        series[i] = q
        v -= 0.5 * step * omega**2 * q
        q += step * v
        v -= 0.5 * step * omega**2 * q
    dipole = np.zeros((len(series[::every]), 3))
    dipole[:, 0] = series[::every]
    return dipole


@pytest.mark.parametrize("every", [1, 3])
def test_the_shift_of_the_verlet_integrator_is_undone(every):
    position, step = 3700.0, 0.5
    dipole = verlet(position, 300.0, step, every)
    raw, mended = (
        spectrum([dipole], step * every, 300.0, transform(timestep, resolution_cm1=10.0, padding=8))
        for timestep in (None, step)
    )
    top = [r.wavenumber_cm1[np.argmax(r.absorption)] for r in (raw, mended)]
    half = angular(position) * step / 2.0
    assert top[0] == pytest.approx(position * np.arcsin(half) / half, abs=1.0)
    assert top[0] - position == pytest.approx(18.9, abs=1.0)
    assert top[1] == pytest.approx(position, abs=1.0)
    # The shadow energy of this start gives the amplitude A²ω² = v0²/(1 − ω²τ²/4).
    expected = KM_MOL / (1.0 - half**2)
    assert area(mended) == pytest.approx(expected, rel=2e-3)


def test_intervals_must_fall_on_the_steps_of_the_integrator():
    with pytest.raises(ValueError, match="do not fall on the steps"):
        spectrum([wave(1500.0, 0.01)], 0.5, 300.0, transform(0.4))


# --- refusals ---------------------------------------------------------------------------------


def test_too_long_an_interval_is_refused():
    """4 fs reach 4170 cm⁻¹ (1/2hc)."""
    dipole = wave(1500.0, 0.01, n=5000, step=4.0)
    with pytest.raises(ValueError, match=r"reach 4170 cm⁻¹, not 4500"):
        spectrum([dipole], 4.0, 300.0, transform())
    spectrum([dipole], 4.0, 300.0, transform(maximum_cm1=4000.0))


@pytest.mark.parametrize(("window", "needed"), [("hann", 1668.0), ("gaussian", 2323.0)])
def test_trajectories_shorter_than_the_window_are_refused(window, needed):
    good, short = wave(1500.0, 0.01, n=10000), wave(1500.0, 0.01, n=int(needed / 0.5) - 2)
    with pytest.raises(ValueError, match="is shorter than the"):
        spectrum([good, short], 0.5, 300.0, transform(window=window))
    barely = wave(1500.0, 0.01, n=int(needed / 0.5) + 5)
    spectrum([good, barely], 0.5, 300.0, transform(window=window))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    dipole = wave(1500.0, 0.01)
    dipole[123, 1] = bad
    with pytest.raises(ValueError, match="trajectory 2 are not finite from frame 123"):
        spectrum([wave(1500.0, 0.01), dipole], 0.5, 300.0, transform())


@pytest.mark.parametrize(
    ("dipoles", "step", "temperature", "message"),
    [
        ([], 0.5, 300.0, "no trajectory"),
        ([np.zeros((9000, 2))], 0.5, 300.0, r"\(n, 3\) expected"),
        ([np.zeros((9000, 3))], 0.0, 300.0, "timestep must be positive"),
        ([np.zeros((9000, 3))], 0.5, -1.0, "temperature must be positive"),
        ([np.zeros((9000, 3))], 0.5, np.nan, "temperature must be positive"),
    ],
)
def test_impossible_input_is_refused(dipoles, step, temperature, message):
    with pytest.raises(ValueError, match=message):
        spectrum(dipoles, step, temperature, transform())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("window", "boxcar"),
        ("quantum_correction", "egelstaff"),
        ("resolution_cm1", 0.0),
        ("padding", 0.5),
        ("maximum_cm1", float("nan")),
    ],
)
def test_impossible_settings_are_named(key, value):
    with pytest.raises(ValueError, match=f"infrared.{key}"):
        transform(**{key: value})


def test_a_constant_dipole_absorbs_nothing():
    result = spectrum([np.full((9000, 3), 1.85)], 0.5, 300.0, transform())
    np.testing.assert_allclose(result.absorption, 0.0, atol=1e-12)
    assert result.jumps_fs[0].size == 0


def test_one_trajectory_has_no_standard_error():
    assert np.isnan(spectrum([wave(1500.0, 0.01)], 0.5, 300.0, transform()).standard_error).all()


# --- jumps ------------------------------------------------------------------------------------


def thermal_water(seed, n=20001):
    rng = np.random.default_rng(seed)
    return sum(
        wave(p, 0.1 * rng.uniform(0.2, 1.5), axis, n=n, phase=rng.uniform(0, 6))
        for p, axis in ((1595, (0, 0, 1)), (3657, (0, 0, 1)), (3756, (0, 1, 0)), (60, (1, 0, 0)))
    )


def test_no_jump_in_smooth_dipoles():
    for seed in range(20):
        assert dipole_jumps(thermal_water(seed), 0.5).size == 0
    noise = np.random.default_rng(1).normal(size=(20000, 3))
    assert dipole_jumps(noise, 0.5).size == 0


def test_exchanged_frames_are_found_and_noise_follows():
    clean = thermal_water(5)
    dipole = clean.copy()
    dipole[4000] += [0.0, 0.6, 0.3]  # one frame
    dipole[9000:] += [0.5, 0.0, 0.0]  # for good
    assert dipole_jumps(dipole, 0.5) == pytest.approx([2000.0, 4500.0], abs=0.51)


def test_area_of_the_white_noise_of_jumps():
    """Each adds N_A β|Δµ|²/(12 ε0 c² h² n) over all wavenumbers before the quotient's response."""
    n, step, jump, count = 20001, 0.5, 0.5, 60
    clean = thermal_water(5)
    frames = np.random.default_rng(2).choice(np.arange(100, n - 100, 20), count, replace=False)
    dipole = clean.copy()
    for frame in frames:
        dipole[frame:, 0] += jump * (-1.0) ** frame
    smooth, noisy = (spectrum([d], step, 300.0, transform()) for d in (clean, dipole))
    assert noisy.jumps_fs[0] == pytest.approx(step * np.sort(frames), abs=step)
    squared = (jump * 3.33564e-30 / (step * 1e-15)) ** 2 * count / n
    total = (
        constants.N_A
        * squared
        / (12.0 * constants.epsilon_0 * constants.c**2 * constants.k * 300.0)
        / 1000.0
    )
    nyquist = 1.0 / (2.0 * step * CM1_FS)
    noise, background = (area(r, 2100.0, 3100.0) for r in (noisy, smooth))
    # Over 1000 of 33 356 cm⁻¹; the response of the quotient is 1 % from 1 there.
    assert noise == pytest.approx(total * 1000.0 / nyquist, rel=0.4)
    assert abs(background) < 0.05 * noise
