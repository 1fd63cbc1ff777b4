"""Velocity of every channel of a drive that repeats: triangle or sine, folding, non-linearity.

A sweep of n channels starts near one extreme of the velocity and passes the other in the middle, at
the folding channel c (from 0, usually a half-integer). With d the distance of a channel from c
around the ring of n channels, the ideal reduced velocity is, for a triangle and a sine,

    u = s (d − n/4)/(n/4 − ½),    u = −s cos(2πd/n)/cos(π/n),

where the sign s = +1 means that the velocity is most negative at c. Both are ∓1 half a channel from
the turning points, which is where the folded spectrum ends; the velocity there is the *maximum*. A
real drive deviates:

    v = v_max [u + a u² + k (u³ − u) + β h (1 − u²)],    h = +1 after c, −1 before,

a and k bend the scale, β is a lag between the two halves, which averaging two halves hides in the
width of the lines. The source moves, so that the solid angle changes: the counts without absorption
are N₀ (1 + g₁ h (1 − u²) + g₂ u), its position and, where the drive is not symmetric, its velocity.
"""

from dataclasses import dataclass

import numpy as np

WAVEFORMS = ("triangle", "sine")
# Part of the sweep on either side of its middle where the folding channel is looked for.
FOLDING_RANGE = 0.125


@dataclass(frozen=True)
class Drive:
    """Parameters of a drive; ``maximum_mm_s`` is positive, ``sign`` is +1 or −1."""

    n_channels: int
    waveform: str
    sign: int
    maximum_mm_s: float
    folding_channel: float
    lag: float = 0.0
    bend: float = 0.0
    cubic: float = 0.0


def reduced(drive: Drive) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ideal reduced velocity of every channel, its slope in the folding channel, and the half."""
    n = drive.n_channels
    offset = np.arange(n) - drive.folding_channel
    around = (offset + n / 2.0) % n - n / 2.0
    half = np.where(around >= 0.0, 1.0, -1.0)
    distance = np.abs(around)
    if drive.waveform == "triangle":
        u = (distance - n / 4.0) / (n / 4.0 - 0.5)
        by_channel = -half / (n / 4.0 - 0.5)
    else:
        scale = np.cos(np.pi / n)
        u = -np.cos(2.0 * np.pi * distance / n) / scale
        by_channel = -half * 2.0 * np.pi / n * np.sin(2.0 * np.pi * distance / n) / scale
    return drive.sign * u, drive.sign * by_channel, half


def velocities(drive: Drive) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Velocity of every channel in mm/s, and its derivatives in the parameters of the drive."""
    u, by_channel, half = reduced(drive)
    inner = 1.0 - u**2
    scaled = u + drive.bend * u**2 + drive.cubic * (u**3 - u) + drive.lag * half * inner
    slope = (
        1.0 + 2.0 * drive.bend * u + drive.cubic * (3.0 * u**2 - 1.0) - 2.0 * drive.lag * half * u
    )
    return drive.maximum_mm_s * scaled, {
        "maximum": scaled,
        "folding_channel": drive.maximum_mm_s * slope * by_channel,
        "lag": drive.maximum_mm_s * half * inner,
        "bend": drive.maximum_mm_s * u**2,
        "cubic": drive.maximum_mm_s * (u**3 - u),
    }


def background(drive: Drive) -> np.ndarray:
    """Shapes of the counts without absorption, (3, n): constant, position and velocity."""
    u, _, half = reduced(drive)
    return np.array([np.ones_like(u), half * (1.0 - u**2), u])


def mirror_misfit(counts: np.ndarray, used: np.ndarray, centre: float) -> float:
    """Mean squared difference of mirrored channels over its Poisson variance; 1 if they agree."""
    n = len(counts)
    place = (2.0 * centre - np.arange(n)) % n
    low = np.floor(place).astype(int)
    part = place - low
    high = (low + 1) % n
    mirrored = (1.0 - part) * counts[low % n] + part * counts[high]
    variance = counts + (1.0 - part) ** 2 * counts[low % n] + part**2 * counts[high]
    good = used & used[low % n] & used[high]
    return float(np.mean((counts - mirrored)[good] ** 2 / np.maximum(variance[good], 1.0)))


def find_folding_channel(counts: np.ndarray, used: np.ndarray) -> tuple[float, float]:
    """Channel about which the two halves mirror each other best, and the misfit there.

    Looked for around the middle, in steps of a quarter of a channel; the fit refines it.
    """
    n = len(counts)
    middle, reach = (n - 1) / 2.0, FOLDING_RANGE * n
    centres = np.arange(middle - reach, middle + reach + 0.1, 0.25)
    misfits = np.array([mirror_misfit(counts, used, centre) for centre in centres])
    best = int(np.argmin(misfits))
    return float(centres[best]), float(misfits[best])
