"""From what is said about a measurement to the instrument that the fit starts from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dft2spectra.measured.absorber import Source
from dft2spectra.measured.calibration import (
    FOLDING_SIGMA,
    LAG,
    Calibration,
    calibrate_velocity,
)
from dft2spectra.measured.drive import WAVEFORMS, Drive, find_folding_channel, velocities
from dft2spectra.measured.fit import Fit
from dft2spectra.measured.model import NATURAL_MM_S, WIDTH_MM_S, Instrument
from dft2spectra.measured.phases import Prior
from dft2spectra.measured.readers import read_spectrum
from dft2spectra.measured.spectrum import Spectrum, SpectrumError

# A shift of the source that nobody gives: sources in Rh, Pd and Cu, or a file relative to α-Fe.
UNKNOWN_OFFSET = Prior(-0.05, 0.08, -0.4, 0.4)
# σ of the lag of a drive between two measurements, and of scales that a file brings along.
LAG_CHANGE, GIVEN_SCALE = 0.01, 0.003
# Misfit of the two halves, in Poisson variances, from which they are no mirror images.
WORST_MIRROR = 200.0
# Reduced χ², of the fit and of the difference of the halves, above which they are added.
POOR_HALVES = 1.25


@dataclass(frozen=True)
class Setup:
    """Instruments to try, two where the sign of the velocity is open, and what to tell."""

    instruments: tuple[Instrument, ...]
    calibration: Calibration
    notes: list[str] = field(default_factory=list)


def prepare(
    spectrum: Spectrum, velocity: Mapping[str, Any] | None, source: Mapping[str, Any] | None
) -> Setup:
    """Instrument of a spectrum from its ``velocity`` and ``source`` settings.

    Parameters
    ----------
    velocity
        ``calibration`` (file of an α-Fe spectrum) or ``maximum_mm_s``; with either, where known,
        ``folding_channel``, ``waveform`` (triangle or sine) and ``sign`` (+1 if the velocity is
        most negative in the folding channel). A spectrum that brings its velocities needs none.
    source
        ``isomer_shift_mm_s``: the velocity at which α-Fe lies with this source (−0.109 for
        rhodium); ``width_mm_s`` and ``gaussian_mm_s`` of its line.

    Raises
    ------
    SpectrumError
        Nothing says what the velocities are, or the calibration cannot be used.
    """
    scale, line = dict(velocity or {}), dict(source or {})
    waveform = scale.get("waveform")
    if waveform is not None and waveform not in WAVEFORMS:
        raise SpectrumError(f"velocity.waveform must be one of {', '.join(WAVEFORMS)}")
    shift = line.get("isomer_shift_mm_s")
    emitted = Source(
        float(line.get("width_mm_s", NATURAL_MM_S)), float(line.get("gaussian_mm_s", 0.0))
    )
    notes: list[str] = []
    if scale.get("calibration") is not None:
        foil = read_spectrum(Path(scale["calibration"]))
        notes.extend(f"calibration: {note}" for note in foil.notes)
        found = calibrate_velocity(foil, shift, waveform, scale.get("sign"), emitted)
        if (found.drive is None) != (spectrum.velocity_mm_s is not None):
            raise SpectrumError("one of spectrum and calibration has velocities, the other has not")
        return _calibrated(spectrum, found, notes)
    if spectrum.velocity_mm_s is not None:
        return _given(spectrum, shift, emitted, "width_mm_s" not in line, notes)
    if scale.get("maximum_mm_s") is None:
        raise SpectrumError(
            "the file holds channels and no velocities: give a calibration with α-Fe, or the "
            "maximum velocity"
        )
    return _assumed(spectrum, scale, shift, emitted, notes)


def halves_disagree(found: Fit, spectrum: Spectrum) -> bool:
    """Whether the two halves of a sweep differ by more than a lag of the drive and their noise.

    Residuals of mirrored channels are compared: what no model of the sample could explain.
    """
    drive = found.model.fitted_drive(found.values)
    if drive is None or found.chi2_reduced < POOR_HALVES:
        return False
    residuals = np.full(len(spectrum.counts), np.nan)
    residuals[spectrum.used] = found.residuals
    mirrored = residuals[_mirror(drive)]
    return bool(np.nanmean((residuals - mirrored) ** 2) / 2.0 > POOR_HALVES)


def _mirror(drive: Drive) -> np.ndarray:
    """Channel that holds the same velocity on the way back, for every channel."""
    n = drive.n_channels
    return (round(2.0 * drive.folding_channel) - np.arange(n)) % n


def fold(spectrum: Spectrum, instrument: Instrument, found: Fit) -> tuple[Spectrum, Instrument]:
    """Sums of mirrored channels, with their velocities, and the instrument for them.

    Channels are added as they are, about the nearest channel or middle between two, so that sums
    are counts with Poisson errors; no numbers are interpolated.
    """
    drive = found.model.fitted_drive(found.values)
    assert drive is not None
    centre, _ = find_folding_channel(spectrum.counts, spectrum.used)
    nearest = replace(drive, folding_channel=round(2.0 * centre) / 2.0, lag=0.0)
    mirror = _mirror(nearest)
    one = np.flatnonzero(np.arange(len(mirror)) < mirror)
    two = mirror[one]
    velocity, _ = velocities(nearest)
    folded = Spectrum(
        spectrum.counts[one] + spectrum.counts[two],
        velocity[one],
        np.hypot(spectrum.sigma[one], spectrum.sigma[two]),
        spectrum.used[one] & spectrum.used[two],
        f"{spectrum.form}, folded",
        spectrum.notes,
    )
    free = tuple((name, prior) for name, prior in instrument.free if name == "offset")
    return folded, replace(instrument, drive=None, velocity_mm_s=velocity[one], free=free)


def _folded_at(spectrum: Spectrum, given: float | None, notes: list[str]) -> float:
    """Folding channel to start from, that given or the one found."""
    found, misfit = find_folding_channel(spectrum.counts, spectrum.used)
    if misfit > WORST_MIRROR:
        raise SpectrumError(
            f"the two halves of the spectrum do not mirror each other (misfit {misfit:.3g} at "
            f"channel {found:g}): no triangle or sine with both directions, or folded already; "
            "give a file with velocities"
        )
    if given is not None and abs(given - found) > 2.0 * FOLDING_SIGMA:
        notes.append(f"folding channel {given:g} given, the counts mirror about {found:g}")
    return found


def _offset(shift: float | None, notes: list[str]) -> tuple[float, tuple[tuple[str, Prior], ...]]:
    """Velocity of α-Fe, and whether the fit has to find it."""
    if shift is not None:
        return float(shift), ()
    notes.append(
        "the shift of the source is not given: the position of α-Fe is fitted together with the "
        f"phases, {UNKNOWN_OFFSET.mean:g} ± {UNKNOWN_OFFSET.sigma:g} mm/s beforehand"
    )
    return UNKNOWN_OFFSET.mean, (("offset", UNKNOWN_OFFSET),)


def _calibrated(spectrum: Spectrum, found: Calibration, notes: list[str]) -> Setup:
    assert found.fit is not None
    instrument = Instrument(
        None,
        None,
        found.offset_mm_s,
        source=found.fit.model.fitted_source(found.fit.values),
        width_mm_s=found.width_mm_s or WIDTH_MM_S,
    )
    if found.drive is None:
        assert spectrum.velocity_mm_s is not None
        scaled = spectrum.velocity_mm_s * found.factor
        return Setup((replace(instrument, velocity_mm_s=scaled),), found, notes)
    n = len(spectrum.counts)
    if n != found.drive.n_channels:
        raise SpectrumError(
            f"{n} channels, the calibration has {found.drive.n_channels}: not the same sweep"
        )
    centre = _folded_at(spectrum, None, notes)
    # Lag and folding channel go together: from the calibration, both would fit its own spectrum.
    start = replace(found.drive, folding_channel=centre)
    free = (
        ("folding_channel", Prior(centre, FOLDING_SIGMA, 0.0, float(n))),
        ("lag", Prior(found.drive.lag, LAG_CHANGE, -0.2, 0.2)),
    )
    return Setup((replace(instrument, drive=start, free=free),), found, notes)


def _given(
    spectrum: Spectrum, shift: float | None, source: Source, open_line: bool, notes: list[str]
) -> Setup:
    assert spectrum.velocity_mm_s is not None
    offset, free = _offset(shift, notes)
    scale = tuple(
        (name, Prior(mean, GIVEN_SCALE, mean - 0.05, mean + 0.05))
        for name, mean in (("maximum", 1.0), ("bend", 0.0), ("cubic", 0.0))
    )
    notes.append(
        f"the velocities of the file are taken as good to {100.0 * GIVEN_SCALE:g} % of the maximum"
    )
    instrument = Instrument(
        None,
        spectrum.velocity_mm_s,
        offset,
        free=free + scale,
        source=source,
        source_open=open_line,
    )
    largest = float(abs(spectrum.velocity_mm_s).max())
    known = Calibration(None, 1.0, offset, "the velocities in the file", largest)
    return Setup((instrument,), known, notes)


def _assumed(
    spectrum: Spectrum,
    scale: Mapping[str, Any],
    shift: float | None,
    source: Source,
    notes: list[str],
) -> Setup:
    maximum, n = float(scale["maximum_mm_s"]), len(spectrum.counts)
    if not (math.isfinite(maximum) and 0.1 < maximum < 100.0):
        raise SpectrumError(f"velocity.maximum_mm_s is {maximum:g}, not between 0.1 and 100 mm/s")
    centre = _folded_at(spectrum, scale.get("folding_channel"), notes)
    offset, free = _offset(shift, notes)
    free += (
        ("folding_channel", Prior(centre, FOLDING_SIGMA, 0.0, float(n))),
        ("lag", Prior(0.0, LAG, -0.2, 0.2)),
    )
    sign = scale.get("sign")
    signs = (1, -1) if sign is None else (int(sign),)
    if sign is None:
        said = "the phases: the sign under which they fit better"
    else:
        said = "the key velocity.sign"
    form = scale.get("waveform") or WAVEFORMS[0]
    drives = [Drive(n, form, s, maximum, centre) for s in signs]
    instruments = tuple(
        Instrument(drive, None, offset, free=free, source=source) for drive in drives
    )
    return Setup(instruments, Calibration(drives[0], 1.0, offset, said, maximum), notes)
