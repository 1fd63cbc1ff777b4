"""A spectrum as it was measured: counts, what is known of their errors, channels that are dead."""

from dataclasses import dataclass, field

import numpy as np

# Fewer points hold no spectrum that could be told from its background.
LEAST_POINTS = 64
# Channels next to the ends of a sweep that may have lost part of their time.
EDGE = 3
# Standard errors and part of the counts by which such a channel, or one of no counts, is known.
DEAD_ERRORS, DEAD_PART = 6.0, 0.01
# Scatter over Poisson error beyond which the numbers are no counts, or no longer.
SCATTER_LOW, SCATTER_HIGH = 0.8, 1.3


class SpectrumError(ValueError):
    """A file that cannot be used as a spectrum, with the reason."""


@dataclass(frozen=True)
class Spectrum:
    """Numbers of one file, unfolded and unscaled.

    Attributes
    ----------
    counts
        As in the file, (n,): counts, or a transmission where there is nothing else.
    velocity_mm_s
        Velocity of every point, (n,), or ``None`` where the file has channels alone.
    sigma
        Standard error of every number, (n,).
    used
        False for dead channels, (n,).
    form
        Format in words.
    notes
        What a reader of the result has to know.
    """

    counts: np.ndarray
    velocity_mm_s: np.ndarray | None
    sigma: np.ndarray
    used: np.ndarray
    form: str
    notes: tuple[str, ...] = field(default=())

    @property
    def baseline(self) -> float:
        """Counts far from all lines, roughly: the upper end of what is measured."""
        return float(np.quantile(self.counts[self.used], 0.9))

    @property
    def depth(self) -> float:
        """Deepest absorption as a part of the baseline, of a mean over three points."""
        counts = self.counts[self.used]
        smooth = np.convolve(counts, np.ones(3) / 3.0, mode="valid")
        return float(1.0 - smooth.min() / self.baseline)


def scatter(values: np.ndarray) -> float:
    """Standard deviation of the noise from second differences, blind to what varies slowly.

    Of their magnitudes the lower quartile counts, 0.3186 σ of a Gaussian, which lines that cover
    less than half of the points do not reach.
    """
    differences = np.abs(np.diff(values, 2)) / np.sqrt(6.0)
    return float(np.quantile(differences, 0.25) / 0.3186)


def make_spectrum(
    counts: np.ndarray,
    velocity_mm_s: np.ndarray | None,
    form: str,
    sigma: np.ndarray | None = None,
    missing: int = 0,
) -> Spectrum:
    """Spectrum of these numbers with its errors and dead channels, or the reason why it is none.

    Raw counts keep their Poisson errors. Numbers that scatter less or more than counts would,
    a transmission for example, get the scatter itself as their error, and a note says so.

    Parameters
    ----------
    missing
        Channels at the start whose counts the format replaces by something else.

    Raises
    ------
    SpectrumError
        Too few points, numbers that are not finite or negative, nothing but background.
    """
    counts = np.asarray(counts, float)
    if len(counts) < LEAST_POINTS:
        raise SpectrumError(
            f"{form}: {len(counts)} points, fewer than the {LEAST_POINTS} that a spectrum needs"
        )
    for values, name in ((counts, "counts"), (velocity_mm_s, "velocities"), (sigma, "errors")):
        if values is not None and not np.all(np.isfinite(values)):
            raise SpectrumError(f"{form}: there are {name} that are no finite numbers")
    if np.any(counts < 0.0):
        raise SpectrumError(
            f"{form}: {int(np.sum(counts < 0.0))} negative numbers among the counts; a difference"
            " spectrum has no transmission"
        )
    notes: list[str] = []
    level = float(np.median(counts[missing:]))
    if level <= 0.0:
        raise SpectrumError(f"{form}: more than half of the channels hold no counts")
    used = _alive(counts, level, missing, velocity_mm_s is None)
    if not used.all():
        dead = np.flatnonzero(~used)
        shown = ", ".join(map(str, dead[:8])) + (" …" if len(dead) > 8 else "")
        notes.append(f"dead or incomplete channels left out (from 0): {shown}")
    if used.sum() < LEAST_POINTS:
        raise SpectrumError(f"{form}: only {int(used.sum())} channels are alive")
    if sigma is None:
        sigma, note = _errors(counts, used, velocity_mm_s is None)
        notes.extend(note)
    elif np.any(sigma[used] <= 0.0):
        raise SpectrumError(f"{form}: the column of errors holds zeros or negative numbers")
    spectrum = Spectrum(counts, velocity_mm_s, sigma, used, form, tuple(notes))
    _check_direction(spectrum)
    return spectrum


def _alive(counts: np.ndarray, level: float, missing: int, raw: bool) -> np.ndarray:
    """Channels that counted for the whole of the measurement."""
    used = counts > 0.0
    used[:missing] = False
    if not raw:
        return used
    # Lines are far from the ends of a sweep, where the velocity is highest.
    for channel in [*range(missing, missing + EDGE), *range(len(counts) - EDGE, len(counts))]:
        near = counts[max(channel - 8, missing + 1) : channel + 9]
        expected = float(np.median(near[near > 0.0]))
        excess = abs(counts[channel] - expected)
        if excess > DEAD_ERRORS * np.sqrt(expected) and excess > DEAD_PART * expected:
            used[channel] = False
    return used


def _errors(counts: np.ndarray, used: np.ndarray, raw: bool) -> tuple[np.ndarray, list[str]]:
    """Standard errors, and what had to be assumed."""
    poisson = np.sqrt(np.maximum(counts, 1.0))
    if raw:
        return poisson, []
    found, expected = scatter(counts[used]), float(np.median(poisson[used]))
    level = float(np.median(counts[used]))
    if level > 200.0 and SCATTER_LOW <= found / expected <= SCATTER_HIGH:
        return poisson, []
    found = max(found, 1e-6 * level)
    note = (
        f"the numbers scatter by {100.0 * found / level:.2g} %, {found / expected:.2g} times what "
        "counts would: no raw counts. Their errors are taken from the scatter"
    )
    return np.full(len(counts), found), [note]


def _check_direction(spectrum: Spectrum) -> None:
    """Refuse spectra whose lines point up."""
    counts = spectrum.counts[spectrum.used]
    smooth = np.convolve(counts, np.ones(3) / 3.0, mode="valid")
    noise = float(np.median(spectrum.sigma[spectrum.used])) / np.sqrt(3.0)
    middle = float(np.median(smooth))
    up, down = (smooth.max() - middle) / noise, (middle - smooth.min()) / noise
    if up > 10.0 and up > 3.0 * down:
        raise SpectrumError(
            f"{spectrum.form}: the lines point up; an absorption or an emission spectrum, while"
            " the fit is one of a transmission"
        )
