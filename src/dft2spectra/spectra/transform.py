"""How dipoles become a spectrum: window, resolution, quantum correction, units of the axis.

The window multiplies the autocorrelation function. Its width is given where it is seen: by the full
width at half maximum of a line that has none of its own. The Gaussian has no side lobes; Hann's, of
2.7 % of the line and negative, are the price of a correlation time shorter by a quarter.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import constants

# Gaussian windows end where they have fallen to this.
WINDOW_END = 1e-3
# Frequency in 1/fs of one wavenumber.
CM1_FS = constants.c * 100.0 * 1e-15


def _ratio(function: Callable[[np.ndarray], np.ndarray], argument: np.ndarray) -> np.ndarray:
    """``function(argument)/argument`` with its limit 1 at zero."""
    safe = np.where(argument == 0.0, 1.0, argument)
    return np.where(argument == 0.0, 1.0, function(safe) / safe)


# Correction factor divided by the harmonic one, as functions of x = βħω.
CORRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "harmonic": np.ones_like,
    "standard": lambda x: _ratio(np.tanh, x / 2.0),
    "schofield": lambda x: _ratio(np.sinh, x / 2.0),
    "none": lambda x: _ratio(lambda y: -np.expm1(-y), x),
}
WINDOWS = ("gaussian", "hann")


@dataclass(frozen=True)
class Transform:
    """How dipoles become a spectrum.

    ``resolution_cm1`` is the full width at half maximum that the window gives to a line without
    width, ``verlet_timestep_fs`` the timestep whose frequency shift is undone, or ``None``.
    """

    window: str
    resolution_cm1: float
    padding: float
    quantum_correction: str
    maximum_cm1: float
    verlet_timestep_fs: float | None = None

    @property
    def correlation_fs(self) -> float:
        """Longest time lag that the window admits."""
        if self.window == "hann":
            return 1.0 / (self.resolution_cm1 * CM1_FS)
        return _gaussian_fs(self.resolution_cm1) * math.sqrt(-2.0 * math.log(WINDOW_END))

    @property
    def description(self) -> str:
        """One line for figures."""
        words = [
            f"{self.window} window, {self.resolution_cm1:g} cm⁻¹",
            f"{self.quantum_correction} quantum correction",
            f"padding {self.padding:g}",
        ]
        if self.verlet_timestep_fs is not None:
            words.append(f"Verlet shift of {self.verlet_timestep_fs:g} fs undone")
        return " · ".join(words)


def read_transform(
    settings: Mapping[str, Any], verlet_timestep_fs: float | None = None
) -> Transform:
    """Transform that the ``infrared`` section of the configuration describes.

    Raises
    ------
    ValueError
        Names the key whose value is impossible.
    """
    for key, allowed in (("window", WINDOWS), ("quantum_correction", tuple(CORRECTIONS))):
        if settings[key] not in allowed:
            raise ValueError(
                f"infrared.{key} must be one of {', '.join(allowed)}, not {settings[key]!r}"
            )
    for key, least in (("resolution_cm1", 0.0), ("maximum_cm1", 0.0), ("padding", 1.0)):
        value = float(settings[key])
        if not (math.isfinite(value) and value >= least and value > 0.0):
            raise ValueError(
                f"infrared.{key} must be {f'at least {least:g}' if least else 'positive'}"
            )
    if verlet_timestep_fs is not None and not 0.0 < verlet_timestep_fs < math.inf:
        raise ValueError(f"the timestep of the integrator is {verlet_timestep_fs} fs")
    return Transform(
        window=settings["window"],
        resolution_cm1=float(settings["resolution_cm1"]),
        padding=float(settings["padding"]),
        quantum_correction=settings["quantum_correction"],
        maximum_cm1=float(settings["maximum_cm1"]),
        verlet_timestep_fs=verlet_timestep_fs,
    )


def _gaussian_fs(resolution_cm1: float) -> float:
    """Standard deviation in time of the Gaussian with this full width in wavenumbers."""
    return math.sqrt(8.0 * math.log(2.0)) / (2.0 * math.pi * resolution_cm1 * CM1_FS)


def window_function(time_fs: np.ndarray, transform: Transform) -> np.ndarray:
    """Factors, 1 at lag 0, on an autocorrelation function at the time lags ``time_fs``."""
    if transform.window == "hann":
        phase = np.minimum(time_fs / transform.correlation_fs, 1.0)
        return np.cos(0.5 * math.pi * phase) ** 2
    return np.exp(-0.5 * (time_fs / _gaussian_fs(transform.resolution_cm1)) ** 2)
