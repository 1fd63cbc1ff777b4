"""The velocity scale of a spectrometer from a spectrum of an α-Fe foil.

α-Fe at room temperature has 33.0 T and lines ±5.3285, ±3.0835 and ±0.8385 mm/s from its centre,
the zero of all isomer shifts. The fit gives the maximum velocity, the folding channel, the shape
of the drive and its deviations, and where α-Fe lies relative to the source. The foil is symmetric:
turned round, its spectrum fits as well. The sign of the velocity therefore comes from outside, a
key or the shift of the source, and the result says from where.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dft2spectra.measured.absorber import Source
from dft2spectra.measured.drive import WAVEFORMS, Drive, find_folding_channel, reduced
from dft2spectra.measured.fit import Fit, fit, start_areas
from dft2spectra.measured.model import NATURAL_MM_S, Instrument, Model
from dft2spectra.measured.patterns import SEXTET_PER_T
from dft2spectra.measured.phases import PhasePrior, Prior, SitePrior
from dft2spectra.measured.spectrum import Spectrum, SpectrumError

IRON_FIELD_T = 33.0
# Shift of α-Fe against a source in rhodium, the most common one; others but chromium and stainless
# steel lie on the same side (Pd −0.18, Pt −0.35, Cu −0.23 mm/s; Greenwood and Gibb 1971, table
# 5.1).
RHODIUM_MM_S = -0.109
# σ of what good drives deviate by.
LAG, BEND, CUBIC = 0.02, 0.001, 0.0003
# Channels by which the folding channel of two measurements in one spectrometer may differ.
FOLDING_SIGMA = 3.0
# Part of the squared absorption that the sextet may leave unexplained.
WORST_MISFIT = 0.02
# Above this reduced χ² the source is fitted as well, and kept if χ² falls by so much per parameter.
POOR_CHI2_REDUCED, LEAST_GAIN = 1.25, 10.0
# Largest area of a thin absorber, in units of what is seen missing: saturation hides the rest.
AREA_RANGE = 5.0
MAXIMA_MM_S = (2.0, 30.0)


@dataclass(frozen=True)
class Calibration:
    """Velocity scale: drive or given velocities, position of α-Fe, and the fit behind both.

    ``offset_mm_s`` is the velocity of α-Fe relative to the source. ``sign_from`` says in words
    where the sign of the velocity comes from. Errors are standard errors; where nothing was fitted
    they are zero, and ``fit`` is ``None``.
    """

    drive: Drive | None
    factor: float
    offset_mm_s: float
    sign_from: str
    maximum_mm_s: float
    maximum_error_mm_s: float = 0.0
    offset_error_mm_s: float = 0.0
    width_mm_s: float | None = None
    fit: Fit | None = None

    def record(self) -> dict[str, Any]:
        """What ``calibration.json`` holds."""
        drive = self.drive
        return {
            "maximum_mm_s": self.maximum_mm_s,
            "maximum_error_mm_s": self.maximum_error_mm_s,
            "folding_channel": None if drive is None else drive.folding_channel,
            "waveform": None if drive is None else drive.waveform,
            "lag": None if drive is None else drive.lag,
            "bend": None if drive is None else drive.bend,
            "cubic": None if drive is None else drive.cubic,
            "velocity_sign": None if drive is None else drive.sign,
            "velocity_sign_from": self.sign_from,
            "alpha_iron_mm_s": self.offset_mm_s,
            "alpha_iron_error_mm_s": self.offset_error_mm_s,
            "velocity_factor": self.factor,
            "absorber_width_mm_s": self.width_mm_s,
            "chi2_reduced": None if self.fit is None else self.fit.chi2_reduced,
        }


def iron_foil() -> PhasePrior:
    """α-Fe as the standard of the scale: nothing of its shift and field is free."""
    site = SitePrior(
        "Fe1",
        1.0,
        "sextet",
        shift=Prior(0.0, 1e-7),
        quadrupole=Prior(0.0, 0.005, -0.1, 0.1),
        field=Prior(IRON_FIELD_T, 1e-6),
        spread=0.15,
    )
    return PhasePrior("Fe", "Fe", (site,), "measured")


def calibrate_velocity(
    spectrum: Spectrum,
    source_shift_mm_s: float | None = None,
    waveform: str | None = None,
    sign: int | None = None,
    source: Source | None = None,
) -> Calibration:
    """Velocity scale from the spectrum of an α-Fe foil, thin or thick.

    Parameters
    ----------
    source_shift_mm_s
        Shift of α-Fe against the source, if known; decides the sign.
    waveform
        ``triangle`` or ``sine``; if not given, whichever fits better.
    sign
        +1 if the velocity is most negative in the folding channel; overrules the shift.
    source
        Line of the source, where it is not of the natural width.

    Raises
    ------
    SpectrumError
        No sextet of α-Fe is found.
    """
    instrument = Instrument(
        drive=None,
        velocity_mm_s=None,
        offset_mm_s=0.0,
        source=Source(NATURAL_MM_S) if source is None else source,
        texture=Prior(1.0 / 3.0, 0.3, 0.0, 1.0),
    )
    expected = RHODIUM_MM_S if source_shift_mm_s is None else source_shift_mm_s
    if spectrum.velocity_mm_s is not None:
        found = _given_velocities(spectrum, instrument, expected)
    else:
        found = _channels(spectrum, instrument, expected, waveform)
    found = with_free_source(found, spectrum)
    if misfit(found, spectrum) > WORST_MISFIT:
        raise SpectrumError(
            "the calibration spectrum is not that of an α-Fe foil: its sextet leaves "
            f"{100.0 * misfit(found, spectrum):.2g} % of the absorption unexplained, reduced χ² "
            f"{found.chi2_reduced:.3g}"
        )
    return _calibration(found, source_shift_mm_s, sign)


def _channels(
    spectrum: Spectrum, instrument: Instrument, expected: float, waveform: str | None
) -> Fit:
    """Best fit of drives of either waveform to counts in channels."""
    n = len(spectrum.counts)
    centre, _ = find_folding_channel(spectrum.counts, spectrum.used)
    fits = []
    for form in WAVEFORMS if waveform is None else (waveform,):
        for maximum in _maxima(spectrum, form, centre):
            drive = Drive(n, form, 1, maximum, centre)
            free = (
                ("maximum", Prior(maximum, math.inf, 0.5 * maximum, 2.0 * maximum)),
                ("offset", Prior(expected, 0.3, -2.0, 2.0)),
                ("folding_channel", Prior(centre, FOLDING_SIGMA, 0.0, float(n))),
                *drive_priors(),
            )
            fits.append(_fit(spectrum, replace(instrument, drive=drive, free=free)))
    return min(fits, key=lambda found: found.chi2_total)


def drive_priors() -> tuple[tuple[str, Prior], ...]:
    """Deviations of a drive that nothing is known of."""
    return (
        ("lag", Prior(0.0, LAG, -0.2, 0.2)),
        ("bend", Prior(0.0, BEND, -0.05, 0.05)),
        ("cubic", Prior(0.0, CUBIC, -0.05, 0.05)),
    )


def _given_velocities(spectrum: Spectrum, instrument: Instrument, expected: float) -> Fit:
    """Best factor on given velocities, with α-Fe near 0, as scales relative to it have, or not."""
    fits = []
    for offset in (0.0, expected):
        free = (
            ("maximum", Prior(1.0, math.inf, 0.5, 2.0)),
            ("offset", Prior(offset, math.inf, offset - 0.5, offset + 0.5)),
        )
        given = replace(instrument, velocity_mm_s=spectrum.velocity_mm_s, free=free)
        fits.append(_fit(spectrum, given))
    return min(fits, key=lambda found: found.chi2_total)


def _fit(spectrum: Spectrum, instrument: Instrument) -> Fit:
    area = AREA_RANGE * max(absorbed(spectrum), 0.05)
    model = Model(instrument, [iron_foil()], spectrum.baseline, area, len(spectrum.counts))
    return fit(model, spectrum, start_areas(model, model.start(), spectrum), most_steps=100)


def source_priors() -> tuple[tuple[str, Prior], ...]:
    """Line of a source that nothing is known of."""
    return (
        ("source.width_mm_s", Prior(NATURAL_MM_S, 0.05, 0.02, 0.5)),
        ("source.gaussian_mm_s", Prior(0.05, 0.2, 0.0, 0.6)),
        ("source.share", Prior(0.3, 0.3, 0.0, 0.95)),
        ("source.shift_mm_s", Prior(0.12, 0.2, -0.6, 0.6)),
        ("source.second_gaussian_mm_s", Prior(0.2, 0.2, 0.0, 0.6)),
    )


def with_free_source(found: Fit, spectrum: Spectrum) -> Fit:
    """The fit, or one whose source is fitted too where one line is not enough.

    What is fitted for a thin absorber and a radioactive source does not need it: the width of the
    absorber takes up what the source adds.
    """
    if found.chi2_reduced < POOR_CHI2_REDUCED:
        return found
    old = found.model
    known = {name for name, _ in old.instrument.free}
    priors = tuple((name, prior) for name, prior in source_priors() if name not in known)
    if not priors:
        return found
    best = found
    for side in (1.0, -1.0):
        turned = tuple(
            (name, replace(prior, mean=side * prior.mean) if "shift" in name else prior)
            for name, prior in priors
        )
        instrument = replace(old.instrument, free=old.instrument.free + turned)
        model = Model(
            instrument, old.phases, spectrum.baseline, old.area_range, len(spectrum.counts)
        )
        start = model.start()
        for name, i in old.index.items():
            start[model.index[name]] = found.values[i]
        other = fit(model, spectrum, start, most_steps=150)
        best = min(best, other, key=lambda fitted: fitted.chi2_total)
    gain = found.chi2_total - best.chi2_total
    return best if gain > LEAST_GAIN * len(priors) * best.chi2_reduced else found


def misfit(found: Fit, spectrum: Spectrum) -> float:
    """Part of the squared absorption that a fit does not explain, noise taken off."""
    used = spectrum.used
    dip = (found["baseline"] - spectrum.counts[used]) / spectrum.sigma[used]
    return max(found.chi2 - found.degrees_of_freedom, 0.0) / float(np.sum(dip**2))


def absorbed(spectrum: Spectrum, maximum_mm_s: float = 12.0) -> float:
    """Area of the absorption in mm/s, roughly, from the sum of what is missing to the baseline."""
    used = spectrum.used
    missing = 1.0 - spectrum.counts[used] / spectrum.baseline
    if spectrum.velocity_mm_s is None:
        return float(missing.sum()) * 2.0 * maximum_mm_s / len(spectrum.counts)
    order = np.argsort(spectrum.velocity_mm_s[used])
    return float(np.trapezoid(missing[order], spectrum.velocity_mm_s[used][order]))


def _maxima(spectrum: Spectrum, waveform: str, centre: float) -> list[float]:
    """Maximum velocities at which the sextet of α-Fe lies on the dips, the best few."""
    n = len(spectrum.counts)
    dip = np.where(spectrum.used, np.maximum(1.0 - spectrum.counts / spectrum.baseline, 0.0), 0.0)
    lines = SEXTET_PER_T * IRON_FIELD_T
    weight = np.array([3.0, 2.0, 1.0, 1.0, 2.0, 3.0])
    found = []
    u, _, _ = reduced(Drive(n, waveform, 1, 1.0, centre))
    for maximum in np.geomspace(*MAXIMA_MM_S, 400):
        best = 0.0
        for offset in (-0.2, -0.1, 0.0, 0.1, 0.2):
            v = maximum * u - offset
            shape = sum(
                w / (1.0 + ((v - line) / 0.2) ** 2) for w, line in zip(weight, lines, strict=True)
            )
            shape = shape - shape.mean()
            best = max(best, float(shape @ dip) / float(np.linalg.norm(shape) + 1e-12))
        found.append((best, float(maximum)))
    found.sort(reverse=True)
    chosen: list[float] = []
    for _, maximum in found:
        if all(abs(math.log(maximum / other)) > 0.1 for other in chosen):
            chosen.append(maximum)
        if len(chosen) == 3:
            break
    return chosen


def _calibration(found: Fit, shift: float | None, sign: int | None) -> Calibration:
    """The fit as a calibration, its sign decided."""
    drive = found.model.fitted_drive(found.values)
    offset, error = found["offset"], found.error("offset")
    width = float(np.exp(found["0.0.log_width"]))
    if drive is None:
        velocity = found.model.velocity(found.values)
        return Calibration(
            None,
            found["maximum"],
            offset,
            "the velocities in the file",
            float(np.abs(velocity).max()),
            found.error("maximum") * float(np.abs(velocity).max()) / found["maximum"],
            error,
            width,
            found,
        )
    turned = False
    if sign is not None:
        turned, said = sign != drive.sign, "the key velocity.sign"
    elif shift is not None and abs(shift) > 2.0 * error and abs(offset) > 2.0 * error:
        turned, said = offset * shift < 0.0, "the shift of the source"
    elif abs(offset) > 2.0 * error:
        turned = offset > 0.0
        said = "assumed: α-Fe at negative velocity, as for sources in Rh, Pd, Pt and Cu"
    else:
        said = "undecided: α-Fe lies at the velocity of the source; assumed negative first"
    if turned:
        drive = replace(drive, sign=-drive.sign, bend=-drive.bend, lag=-drive.lag)
        offset = -offset
    return Calibration(
        drive,
        1.0,
        offset,
        said,
        drive.maximum_mm_s,
        found.error("maximum"),
        error,
        width,
        found,
    )
