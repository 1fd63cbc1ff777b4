"""One measurement from its file to its tables: read, set up, identify, write."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dft2spectra.measured.calibration import AREA_RANGE, absorbed
from dft2spectra.measured.drive import Drive
from dft2spectra.measured.figure import component_label, draw_measurement
from dft2spectra.measured.fit import Fit, fit
from dft2spectra.measured.identify import Identification, identify_phases
from dft2spectra.measured.patterns import SEXTET_PER_T
from dft2spectra.measured.phases import PhasePrior
from dft2spectra.measured.readers import read_spectrum
from dft2spectra.measured.setup import Setup, fold, halves_disagree, prepare
from dft2spectra.measured.spectrum import Spectrum
from dft2spectra.measured.tables import (
    component_table,
    phase_names,
    phase_table,
    runs_test,
    spectrum_table,
)
from dft2spectra.records import write_csv, write_json

# Counts for all modules of this folder.
METHOD_VERSION = 1
# Single channels further off than this, between good ones, are no part of the spectrum.
OUTLIER = 7.0
POOR_CHI2_REDUCED = 1.5
# Logarithm of the odds between the signs of the velocity that decides.
UNDECIDED = 3.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """A measurement with all that was found in it; ``drive`` is that of its channels, if any."""

    spectrum: Spectrum
    setup: Setup
    result: Identification
    drive: Drive | None
    warnings: list[str]


def measure(
    file: str | Path,
    candidates: Sequence[PhasePrior],
    velocity: Mapping[str, Any] | None = None,
    source: Mapping[str, Any] | None = None,
) -> Measured:
    """Phases of the spectrum in a file.

    Parameters
    ----------
    candidates
        The library.
    velocity, source
        As :func:`dft2spectra.measured.setup.prepare` takes them.

    Raises
    ------
    SpectrumError
        The file, or what is said about it, cannot be used; with the reason.
    """
    spectrum = read_spectrum(file)
    setup = prepare(spectrum, velocity, source)
    warnings = [*spectrum.notes, *setup.notes]
    area = AREA_RANGE * max(absorbed(spectrum, setup.calibration.maximum_mm_s), 0.01)
    result = identify_phases(spectrum, setup.instruments, candidates, area)
    drive = result.found.model.fitted_drive(result.found.values)
    if halves_disagree(result.found, spectrum):
        warnings.append(
            "the two halves of the sweep differ by more than a lag of the drive: they were added "
            "before the fit"
        )
        spectrum, folded = fold(spectrum, result.found.model.instrument, result.found)
        margin = result.margin
        result = replace(identify_phases(spectrum, (folded,), candidates, area), margin=margin)
    if result.margin < UNDECIDED:
        warnings.append(
            "the sign of the velocity is undecided: turned round, the spectrum fits about as well;"
            " give velocity.sign or a calibration"
        )
    bad = outliers(result.found, spectrum)
    if bad.any():
        channels = ", ".join(map(str, np.flatnonzero(bad)[:8]))
        warnings.append(f"single channels left out as faulty (from 0): {channels}")
        spectrum = replace(spectrum, used=spectrum.used & ~bad)
        refitted = fit(result.found.model, spectrum, result.found.values, result.inflation)
        result = replace(result, found=refitted)
    if "source.share" in result.found.model.index:
        warnings.append("the line of the source was fitted; one of natural width does not do")
    warnings.extend(_doubts(result, spectrum))
    return Measured(spectrum, setup, result, drive, warnings)


def outliers(found: Fit, spectrum: Spectrum) -> np.ndarray:
    """Channels far off between two good ones, (n,)."""
    residuals = np.zeros(len(spectrum.counts))
    residuals[spectrum.used] = np.abs(found.residuals)
    good = residuals < 3.0
    between = np.roll(good, 1) & np.roll(good, -1)
    return (residuals > OUTLIER * np.sqrt(found.inflation)) & between


def _doubts(result: Identification, spectrum: Spectrum) -> list[str]:
    """What a reader should be warned of."""
    found = result.found
    warnings = []
    if not found.model.phases:
        warnings.append("no absorption found")
    if found.chi2_reduced > POOR_CHI2_REDUCED:
        warnings.append(f"the fit is poor: reduced χ² {found.chi2_reduced:.2f}")
    if result.inflation > 1.0:
        warnings.append(
            "residuals go together over the width of a line; all errors are larger by "
            f"{np.sqrt(result.inflation):.2f} for it"
        )
    for name, presence in zip(phase_names(found), result.presence, strict=True):
        if presence.probability < 0.9:
            warnings.append(f"{name} is not certain: probability {presence.probability:.2f}")
    reach = np.abs(found.model.velocity(found.values)).max()
    for number, phase in enumerate(found.model.phases):
        for i, site in enumerate(phase.sites):
            if site.field is None:
                continue
            outer = SEXTET_PER_T.max() * found[f"{number}.{i}.field"]
            if outer > reach:
                warnings.append(
                    f"{phase.name}, {site.label}: the outer lines lie beyond the measured range"
                )
    return warnings


def write_measured(
    measured: Measured,
    out_dir: str | Path,
    name: str,
    temperature_k: float,
    file: str | Path,
) -> None:
    """Write ``phases.csv``, ``components.csv``, ``calibration.json``, ``fit.csv``, ``fit.json`` and
    the figure of a measurement into a folder.
    """
    folder = Path(out_dir)
    spectrum, result = measured.spectrum, measured.result
    found = result.found
    table = spectrum_table(found, spectrum.counts, spectrum.sigma, spectrum.used)
    components = component_table(found)
    write_csv(folder / "phases.csv", phase_table(result, temperature_k))
    write_csv(folder / "components.csv", components)
    write_csv(folder / "fit.csv", table)
    write_json(folder / "calibration.json", calibration_record(measured))
    kept = table[table["used"]]
    write_json(
        folder / "fit.json",
        {
            "name": name,
            "file": Path(file).name,
            "sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest(),
            "format": spectrum.form,
            "temperature_k": temperature_k,
            "n_points": int(spectrum.used.sum()),
            "n_parameters": len(found.values),
            "chi2_reduced": found.chi2_reduced,
            "runs_test": runs_test(kept["residual"].to_numpy()),
            "error_factor": float(np.sqrt(result.inflation)),
            "depth": spectrum.depth,
            "saturation": found["saturation"],
            "saturation_error": found.error("saturation"),
            "baseline_counts": found["baseline"],
            "phases": phase_names(found),
            "warnings": measured.warnings,
            "method_version": METHOD_VERSION,
        },
    )
    labels = [component_label(row) for _, row in components.iterrows()]
    title = f"{name}   (reduced χ² {found.chi2_reduced:.2f})"
    draw_measurement(folder / "spectrum.png", table, labels, title)


def calibration_record(measured: Measured) -> dict[str, Any]:
    """``calibration.json``: the velocity scale with the folding channel of this spectrum."""
    found, drive = measured.result.found, measured.drive
    record = measured.setup.calibration.record()
    if drive is not None:
        record |= {
            "calibration_folding_channel": record["folding_channel"],
            "folding_channel": drive.folding_channel,
            "lag": drive.lag,
            "waveform": drive.waveform,
            "velocity_sign": drive.sign,
        }
    else:
        record["velocity_factor"] *= found["maximum"] if "maximum" in found.model.index else 1.0
    if "offset" in found.model.index:
        record |= {
            "alpha_iron_mm_s": found["offset"],
            "alpha_iron_error_mm_s": found.error("offset"),
        }
    record["chi2_reduced_of"] = "calibration spectrum"
    if record["chi2_reduced"] is None:
        record |= {"chi2_reduced": found.chi2_reduced, "chi2_reduced_of": "this spectrum"}
    return record
