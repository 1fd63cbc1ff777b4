"""Spectra with known contents: counts of phases whose parameters are drawn around their priors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dft2spectra.measured.drive import Drive
from dft2spectra.measured.model import Instrument, Model
from dft2spectra.measured.phases import PhasePrior
from dft2spectra.measured.spectrum import Spectrum, make_spectrum

CHANNELS, MAXIMUM_MM_S, OFFSET_MM_S, FOLDING_CHANNEL = 512, 12.0, -0.109, 256.3


def instrument() -> Instrument:
    """A triangular drive of 12 mm/s with a source in rhodium."""
    drive = Drive(CHANNELS, "triangle", 1, MAXIMUM_MM_S, FOLDING_CHANNEL, lag=0.005)
    return Instrument(drive, None, OFFSET_MM_S)


def simulate(
    phases: Sequence[PhasePrior],
    areas: Sequence[float],
    rng: np.random.Generator,
    counts: float = 1e6,
    perturbed: bool = True,
    saturation: float = 1.4,
) -> tuple[Spectrum, Model, np.ndarray]:
    """Spectrum of these phases with Poisson noise, its model and the true values.

    With ``perturbed`` the hyperfine parameters are drawn from the priors, cut at 2.5 σ.
    """
    model = Model(instrument(), phases, counts, 10.0 * sum(areas), CHANNELS)
    values = model.start()
    values[model.index["saturation"]] = saturation
    for number, area in enumerate(areas):
        values[model.index[f"{number}.area"]] = area
    for i, parameter in enumerate(model.parameters):
        tail = parameter.name.rsplit(".", 1)[-1]
        if parameter.name.endswith("spread"):
            values[i] = 0.3 * parameter.prior.sigma
        elif perturbed and tail in ("shift", "quadrupole", "field", "log_width", "texture"):
            prior = parameter.prior
            deviation = np.clip(rng.normal(), -2.5, 2.5)
            values[i] = np.clip(prior.mean + prior.sigma * deviation, prior.low, prior.high)
    expected, _ = model.evaluate(values, jacobian=False)
    return make_spectrum(rng.poisson(expected), None, "simulated"), model, values


def write_counts(path: Path, counts: np.ndarray) -> Path:
    """Counts as most spectrometers write them, one a line."""
    path.write_text("".join(f"{int(n):13d}\r\n" for n in counts), encoding="ascii")
    return path
