"""Infrared absorption in absolute units from the dipole moment along classical trajectories.

The absorption of a gas of molecules that do not interact, per molecule and Napierian, is

    σ(ω) = πω/(3ħcε0) (1 − exp(−βħω)) I(ω),   I(ω) = 1/2π ∫ dt exp(−iωt) ⟨µ(0)·µ(t)⟩,

with the quantum correlation function of the dipole (D. A. McQuarrie, Statistical Mechanics, ch. 21;
refractive index 1). A trajectory gives the classical one; a quantum correction factor stands
between them, I = Q I_cl:

* ``harmonic``: Q = βħω/(1 − exp(−βħω)), exact for a harmonic oscillator with a linear dipole, and
  the only one of these that obeys the fluctuation–dissipation theorem
* ``standard``: Q = 2/(1 + exp(−βħω))
* ``schofield``: Q = exp(βħω/2)
* ``none``: Q = 1, against detailed balance

(R. Ramírez, T. López-Ciudad, P. Kumar P and D. Marx, J. Chem. Phys. 121, 3973 (2004)). With
``harmonic``, ω² I_cl is the spectrum of the dipole derivative, and ħ drops out:

    σ(ω) = β/(6cε0) ∫ dt exp(−iωt) ⟨µ'(0)·µ'(t)⟩.

Its integral over all wavenumbers is N_A β⟨µ'²⟩/(12 ε0 c²) per mole. Equipartition, ⟨Q'²⟩ = kT,
makes that the harmonic intensity N_A |dµ/dQ|²/(12 ε0 c²) of every normal mode, 42.256 km/mol for
1 D² Å⁻² u⁻¹: the areas compare with a harmonic calculation without any scaling.

One trajectory at constant energy does not: a mode that exchanges no energy keeps its own energy E,
and the area is E/kT times the harmonic one, with an exponential distribution whose standard
deviation equals its mean. Only the average over n independent trajectories converges, as 1/√n in
the worst case; every trajectory counts the same there, whatever its length.

The derivative is the quotient of neighbouring dipoles. A wave of angular frequency ω comes out of
it multiplied by sin(ωh/2)/(ωh/2), h the time between dipoles; that factor is divided out.

The Verlet integrator with timestep τ runs a harmonic mode of frequency ω at ω' with
ω = (2/τ) sin(ω'τ/2): at 3700 cm⁻¹ and 0.5 fs it is 19 cm⁻¹ too high (M. Thomas, M. Brehm, R. Fligg,
P. Vöhringer and B. Kirchner, Phys. Chem. Chem. Phys. 15, 6608 (2013)). On request the wavenumbers
are moved back, the area of every band scaled with (ω/ω')² as the dipole derivative is. The timestep
must then be that of the integrator.

A molecule that rotates shows it: the bands of a polar one spread into branches, and its permanent
dipole gives a band at low wavenumbers, of area N_A µ²/(6 ε0 c² I) for a linear rotor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import constants, fft

from dft2spectra import units
from dft2spectra.spectra.equipartition import equipartition_factor
from dft2spectra.spectra.transform import CM1_FS, CORRECTIONS, Transform, window_function

# A second difference of the dipole this many times its median length is no motion of nuclei: the
# largest of 100 000 normally distributed vectors is at 3.5 times the median.
JUMP_FACTOR = 12.0
# Jumps below this are the noise of a converged calculation.
SMALLEST_JUMP_DEBYE = 1e-4
# Intensity of a mode with dµ/dQ = 1 D Å⁻¹ u^(−1/2), as that of a coordinate in place of the dipole.
MODE_KM_MOL = units.KM_MOL_PER_E2_AMU * (units.DEBYE_C_M / (constants.e * 1e-10)) ** 2


@dataclass(frozen=True)
class Spectrum:
    """Molar absorption (Napierian) against wavenumber, with every trajectory's own.

    ``wavenumber_cm1`` has shape (m,), ascending from 0; ``trajectories`` (k, m) in km/mol per cm⁻¹;
    ``jumps_fs`` holds, for each trajectory, the times of the jumps of its dipole. Where normal
    coordinates are known, ``equipartition`` (k, m) are the spectra with every mode brought to kT,
    and ``mode_energies`` (k, modes) what the modes had, in kT.
    """

    wavenumber_cm1: np.ndarray
    trajectories: np.ndarray
    transform: Transform
    temperature_k: float
    timestep_fs: float
    durations_ps: tuple[float, ...]
    jumps_fs: tuple[np.ndarray, ...]
    equipartition: np.ndarray | None = None
    mode_energies: np.ndarray | None = None

    @property
    def absorption(self) -> np.ndarray:
        """Mean over the trajectories, (m,), in km/mol per cm⁻¹."""
        return self.trajectories.mean(axis=0)

    @property
    def standard_error(self) -> np.ndarray:
        """Standard error of the mean, (m,); NaN for a single trajectory."""
        return standard_error(self.trajectories)


def standard_error(trajectories: np.ndarray) -> np.ndarray:
    """Standard error of the mean over the first axis; NaN for a single trajectory."""
    count = len(trajectories)
    if count < 2:
        return np.full(trajectories.shape[1:], np.nan)
    return np.asarray(trajectories.std(axis=0, ddof=1) / math.sqrt(count))


def spectrum(
    dipoles_debye: Sequence[np.ndarray],
    timestep_fs: float,
    temperature_k: float,
    transform: Transform,
    mode_coordinates: Sequence[np.ndarray] | None = None,
) -> Spectrum:
    """Infrared spectrum of an ensemble of trajectories.

    Parameters
    ----------
    dipoles_debye
        Dipole moments along each trajectory in debye, each (n, 3); n may differ.
    timestep_fs
        Time between two dipoles.
    temperature_k
        Temperature of the ensemble that the trajectories sample.
    transform
        Window, resolution and corrections.
    mode_coordinates
        Mass-weighted normal coordinates (n, modes) at every dipole, in Å √u
        (:func:`dft2spectra.spectra.equipartition.mode_coordinates`), for spectra with every mode at
        kT.

    Raises
    ------
    ValueError
        No trajectory, an impossible timestep or temperature, a dipole that is not finite, a
        trajectory shorter than the window, or a timestep too long for ``maximum_cm1``.

    Notes
    -----
    The mean of the derivative, a steady drift of the dipole, is removed from each trajectory. The
    autocorrelation comes from a Fourier transform with as many zeros as lags, so that no product
    wraps round, and is divided by its number of products: windows act on an unbiased estimate.
    """
    if not dipoles_debye:
        raise ValueError("no trajectory to take a spectrum from")
    for name, value in (("timestep", timestep_fs), ("temperature", temperature_k)):
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"the {name} must be positive, not {value}")
    dipoles = [_checked(dipole, number) for number, dipole in enumerate(dipoles_debye, start=1)]
    lags = math.ceil(transform.correlation_fs / timestep_fs - 1e-9)
    shortest = min(len(dipole) for dipole in dipoles)
    if shortest - 1 <= lags:
        raise ValueError(
            f"a trajectory of {(shortest - 1) * timestep_fs / 1e3:.3g} ps is shorter than the"
            f" {transform.window} window of {transform.correlation_fs / 1e3:.3g} ps that"
            f" {transform.resolution_cm1:g} cm⁻¹ need: run longer trajectories or raise"
            " infrared.resolution_cm1"
        )
    # Even, so that the last point is the Nyquist frequency.
    length = 2 * fft.next_fast_len(math.ceil(transform.padding * (lags + 1)), real=True)
    raw = 2.0 * math.pi * fft.rfftfreq(length, timestep_fs)
    omega, factor, slope = _frequency_response(raw, timestep_fs, transform.verlet_timestep_fs)
    wavenumber = omega / (2.0 * math.pi * CM1_FS)
    if wavenumber[-1] <= transform.maximum_cm1:
        raise ValueError(
            f"dipoles every {timestep_fs:g} fs reach {wavenumber[-1]:.0f} cm⁻¹, not"
            f" {transform.maximum_cm1:g}: save them more often or lower infrared.maximum_cm1"
        )
    kept = wavenumber <= transform.maximum_cm1
    wavenumber = wavenumber[kept]
    reduced = constants.hbar * omega[kept] * 1e15 / (constants.k * temperature_k)
    scale = (
        _molar_prefactor(temperature_k)
        * (factor / slope)[kept]
        * CORRECTIONS[transform.quantum_correction](reduced)
    )
    window = window_function(timestep_fs * np.arange(lags + 1), transform)
    densities = [
        _power(np.diff(dipole, axis=0) / timestep_fs, window, length) * timestep_fs
        for dipole in dipoles
    ]
    trajectories = scale * np.array(densities)[:, kept]
    equal = energies = None
    if mode_coordinates is not None:
        # The quantum correction is that of a dipole, no part of an energy.
        scaled = _molar_prefactor(temperature_k) * factor / MODE_KM_MOL * timestep_fs
        powers = [_mode_powers(own, timestep_fs, window, length) for own in mode_coordinates]
        along = raw / (2.0 * math.pi * CM1_FS)
        found = [equipartition_factor(along, scaled * own) for own in powers]
        equal = trajectories * np.array([own for own, _ in found])[:, kept]
        energies = np.array([own for _, own in found])
    return Spectrum(
        wavenumber_cm1=wavenumber,
        trajectories=trajectories,
        transform=transform,
        temperature_k=temperature_k,
        timestep_fs=timestep_fs,
        durations_ps=tuple((len(dipole) - 1) * timestep_fs / 1e3 for dipole in dipoles),
        jumps_fs=tuple(dipole_jumps(dipole, timestep_fs) for dipole in dipoles),
        equipartition=equal,
        mode_energies=energies,
    )


def dipole_jumps(dipole_debye: np.ndarray, timestep_fs: float) -> np.ndarray:
    """Times (fs) at which the dipole jumps, as no motion of nuclei makes it jump.

    A frame with its frontier orbitals exchanged stands out of a smooth series by its second
    difference; compared are the lengths of these vectors with their median (``JUMP_FACTOR``), so
    that the result does not depend on axes. A jump of Δµ in a trajectory of n frames, h apart, adds
    white noise of total area N_A β|Δµ|²/(12 ε0 c² h² n). Frames that follow each other are one
    event.

    Parameters
    ----------
    dipole_debye
        Dipole moments in debye, (n, 3), n ≥ 3.
    timestep_fs
        Time between two of them; the first is at zero.
    """
    bend = np.linalg.norm(np.diff(dipole_debye, n=2, axis=0), axis=1)
    limit = max(JUMP_FACTOR * float(np.median(bend)), SMALLEST_JUMP_DEBYE)
    frames = np.flatnonzero(bend > limit) + 1
    first = np.diff(frames, prepend=-2) > 2
    return timestep_fs * frames[first]


def _checked(dipole: np.ndarray, number: int) -> np.ndarray:
    dipole = np.asarray(dipole, float)
    if dipole.ndim != 2 or dipole.shape[1] != 3 or len(dipole) < 3:
        raise ValueError(f"dipoles of trajectory {number}: (n, 3) expected, not {dipole.shape}")
    bad = np.flatnonzero(~np.isfinite(dipole).all(axis=1))
    if bad.size:
        raise ValueError(f"dipoles of trajectory {number} are not finite from frame {bad[0]} on")
    return dipole


def _molar_prefactor(temperature_k: float) -> float:
    """N_A β/(6cε0) for correlation functions in D²/fs, giving km/mol per cm⁻¹."""
    debye2_fs = (units.DEBYE_C_M * 1e15) ** 2 * 1e-15
    square_metre = constants.N_A / (
        6.0 * constants.c * constants.epsilon_0 * constants.k * temperature_k
    )
    return square_metre * debye2_fs * 100.0 / 1000.0  # m²/mol = m/mol per m⁻¹


def _frequency_response(
    raw: np.ndarray, timestep_fs: float, verlet_timestep_fs: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True angular frequencies ω (rad/fs), the factor on the power of the quotient, and dω/dω'.

    Divided by the latter the power belongs to ω instead of ``raw``, ω'.
    """
    quotient = np.sinc(raw * timestep_fs / (2.0 * math.pi))  # sin(ωh/2)/(ωh/2)
    if verlet_timestep_fs is None:
        return raw, 1.0 / quotient**2, np.ones_like(raw)
    steps = timestep_fs / verlet_timestep_fs
    if round(steps) < 1 or abs(steps - round(steps)) > 1e-6:
        raise ValueError(
            f"dipoles every {timestep_fs:g} fs do not fall on the steps of the integrator,"
            f" {verlet_timestep_fs:g} fs, whose frequency shift is to be undone"
        )
    half = raw * verlet_timestep_fs / 2.0
    omega = 2.0 / verlet_timestep_fs * np.sin(half)
    # dω/dω' = cos(ω'τ/2) keeps the area of a line while the axis is compressed.
    stretch = np.sinc(half / math.pi)
    return omega, (stretch / quotient) ** 2, np.cos(half)


def _mode_powers(
    coordinates: np.ndarray, timestep_fs: float, window: np.ndarray, length: int
) -> np.ndarray:
    """Power spectra (modes, frequencies) of the quotients of normal coordinates (n, modes)."""
    quotients = np.diff(coordinates, axis=0) / timestep_fs
    return np.array([_power(own[:, None], window, length) for own in quotients.T])


def _power(velocity: np.ndarray, window: np.ndarray, length: int) -> np.ndarray:
    """Fourier transform of the windowed autocorrelation of ``velocity`` (n, 3), per time step."""
    velocity = velocity - velocity.mean(axis=0)
    count, lags = len(velocity), len(window)
    padded = fft.next_fast_len(count + lags, real=True)
    square = np.abs(fft.rfft(velocity, padded, axis=0)) ** 2
    correlation = fft.irfft(square.sum(axis=1), padded)[:lags] / (count - np.arange(lags))
    even = np.zeros(length)
    even[:lags] = correlation * window
    even[-1:-lags:-1] = even[1:lags]
    return fft.rfft(even).real
