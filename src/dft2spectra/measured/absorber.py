"""From lines to what a source sees: absorption on a grid of energies, transmission integral.

Everything lives on an even grid of Doppler energies (mm/s) and is folded in Fourier space. A line
of the absorber is a Lorentzian of full width Γ, broadened by a Gaussian where hyperfine parameters
are distributed; the source is a Lorentzian of full width Γ_s with a Gaussian of its own. For an
absorber of effective thickness t with cross section σ(E) and a part f_s of the counts that are
recoil-free and from the 14.4 keV line, the count rate at velocity v is

    N(v) = N₀ (1 − f_s ∫ S(E − v) [1 − exp(−t σ(E))] dE)

(S. Margulies and J. R. Ehrman, Nucl. Instrum. Methods 12, 131 (1961)). With x = f_s t σ, the
absorption that a thin absorber would show, and s = 1/f_s this reads

    N(v) = N₀ (1 − ∫ S(E − v) y(E) dE),    y = (1 − exp(−s x))/s,

whose limit s → 0 is the thin absorber: one parameter, the saturation s, carries the thickness.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft

STEP_MM_S = 0.0125
# Grid beyond the velocities of the measurement, on either side, and the least that it covers: no
# line of 57Fe lies further out, so that none comes back in at the other end.
MARGIN_MM_S = 4.0
LEAST_MM_S = 15.0
SIGMA_PER_FWHM = 1.0 / math.sqrt(8.0 * math.log(2.0))


@dataclass(frozen=True)
class Grid:
    """Even grid of energies: ``low`` is its first point, ``size`` their number."""

    low: float
    size: int

    @property
    def frequency(self) -> np.ndarray:
        """Non-negative frequencies of the transform in s/mm, (size/2 + 1,)."""
        return fft.rfftfreq(self.size, STEP_MM_S)


def make_grid(low_mm_s: float, high_mm_s: float) -> Grid:
    """Grid that covers these velocities with room for the lines' flanks."""
    low = min(low_mm_s - MARGIN_MM_S, -LEAST_MM_S)
    span = max(high_mm_s + MARGIN_MM_S, LEAST_MM_S) - low
    size = fft.next_fast_len(math.ceil(span / STEP_MM_S), real=True)
    size += size % 2
    return Grid(low, size)


def phases(grid: Grid, positions: np.ndarray) -> np.ndarray:
    """Transforms of lines without width at the positions, complex (lines, frequencies).

    The largest rotation is a product of small ones: exp(−2πi f p) for all multiples of one
    frequency is a geometric series, built by doubling, which is faster than as many exponentials.
    """
    n = grid.size // 2 + 1
    offset = np.asarray(positions, float) - grid.low
    base = np.exp(-2j * np.pi * offset / (grid.size * STEP_MM_S))
    out = np.empty((len(offset), n), complex)
    out[:, 0] = 1.0
    filled, factor = 1, base
    while filled < n:
        take = min(filled, n - filled)
        out[:, filled : filled + take] = out[:, :take] * factor[:, None]
        filled += take
        factor = factor * factor
    return out


def lorentzian(grid: Grid, width_mm_s: float) -> np.ndarray:
    """Transform of a Lorentzian of area 1 and this full width at half maximum."""
    return np.exp(-np.pi * width_mm_s * grid.frequency)


@dataclass(frozen=True)
class Source:
    """Line of the source: full widths at half maximum of its Lorentzian and its Gaussian.

    A radioactive source is one line near the natural width. The line of a synchrotron source, made
    by diffraction from a crystal near its Néel point, is wider and lopsided: a part ``share`` of it
    stands ``shift_mm_s`` away, with a Gaussian of its own.
    """

    width_mm_s: float
    gaussian_mm_s: float = 0.0
    share: float = 0.0
    shift_mm_s: float = 0.0
    second_gaussian_mm_s: float = 0.0


def source_transform(grid: Grid, source: Source) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Transform of the source's line and its derivatives by the names of the fields."""
    f = grid.frequency
    wave = (np.pi * SIGMA_PER_FWHM * f) ** 2
    natural = lorentzian(grid, source.width_mm_s)
    main = natural * np.exp(-2.0 * wave * source.gaussian_mm_s**2)
    turned = np.exp(-2j * np.pi * f * source.shift_mm_s)
    share = source.share
    # Velocities count from the centre of gravity of the line.
    centred = np.exp(2j * np.pi * f * share * source.shift_mm_s)
    main, side = (
        main * centred,
        natural * turned * centred * np.exp(-2.0 * wave * source.second_gaussian_mm_s**2),
    )
    total = (1.0 - share) * main + share * side
    return total, {
        "width_mm_s": -np.pi * f * total,
        "gaussian_mm_s": -4.0 * wave * source.gaussian_mm_s * (1.0 - share) * main,
        "share": side - main + 2j * np.pi * f * source.shift_mm_s * total,
        "shift_mm_s": 2j * np.pi * f * share * (total - side),
        "second_gaussian_mm_s": -4.0 * wave * source.second_gaussian_mm_s * share * side,
    }


def to_energies(grid: Grid, transform: np.ndarray) -> np.ndarray:
    """Values on the grid in (mm/s)⁻¹, (..., size), of transforms (..., frequencies)."""
    return fft.irfft(transform, grid.size, axis=-1) / STEP_MM_S


def to_frequencies(grid: Grid, values: np.ndarray) -> np.ndarray:
    """Transforms of values on the grid; the inverse of :func:`to_energies`."""
    return fft.rfft(values, axis=-1) * STEP_MM_S


def saturated(x: np.ndarray, saturation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y = (1 − exp(−s x))/s with its derivatives in x and in s.

    The series takes over where s x is too small for the difference quotient.
    """
    argument = saturation * x
    small = np.abs(argument) < 1e-4
    slope = np.exp(-argument)
    safe = np.where(small, 1.0, saturation if saturation else 1.0)
    y = np.where(small, x * (1.0 - argument / 2.0), -np.expm1(-argument) / safe)
    by_saturation = np.where(small, -(x**2) / 2.0 + saturation * x**3 / 3.0, (x * slope - y) / safe)
    return y, slope, by_saturation


def interpolation(grid: Grid, velocity_mm_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First points and weights, (n,) and (n, 4), of cubic interpolation at the velocities.

    A velocity that a search takes beyond the grid, where nothing absorbs, is that of its end.
    """
    place = (np.asarray(velocity_mm_s, float) - grid.low) / STEP_MM_S
    place = np.clip(place, 1.0, grid.size - 4.0)
    first = np.floor(place).astype(int) - 1
    t = place - first - 1.0
    weights = np.stack(
        [
            -t * (t - 1.0) * (t - 2.0) / 6.0,
            (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
            -(t + 1.0) * t * (t - 2.0) / 2.0,
            (t + 1.0) * t * (t - 1.0) / 6.0,
        ],
        axis=-1,
    )
    return first, weights


def at(values: np.ndarray, first: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values on the grid, (..., size), interpolated: (..., n)."""
    return sum(values[..., first + k] * weights[:, k] for k in range(4))  # type: ignore[return-value]
