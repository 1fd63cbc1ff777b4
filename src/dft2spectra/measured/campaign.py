"""A measurement of a campaign: compared with what is measured, computed and predicted there."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dft2spectra.measured.computed import computed_phases, overridden, predicted_phases
from dft2spectra.measured.library import (
    ROOM_TEMPERATURE_K,
    bundled_files,
    bundled_phases,
    choose,
    hyperfine_priors,
)
from dft2spectra.measured.measure import measure, write_measured
from dft2spectra.measured.phases import PhasePrior
from dft2spectra.spectra.components import read_measurement

# `candidates` of an entry that names none.
CAMPAIGN = "campaign"
# Where a campaign keeps what it knows of phases.
SITES = "sites/sites.parquet"
DROPPED = "sites/dropped.csv"
CALIBRATION = "calibration/calibration.json"
INDEX = "structures/index.csv"
RANKED = "candidates/ranked.csv"


def measurement_files(entry: Mapping[str, Any], results: str | Path, predicted: bool) -> list[str]:
    """Files that a measurement is made from: spectrum, calibration, what is known of phases.

    Parameters
    ----------
    entry, results, predicted
        As for :func:`measure_for_campaign`.
    """
    calibration = entry.get("velocity", {}).get("calibration")
    files = [entry["file"], *([calibration] if calibration else []), *bundled_files()]
    if entry.get("candidates", CAMPAIGN) == CAMPAIGN:
        files += [f"{results}/{name}" for name in (SITES, DROPPED, CALIBRATION, INDEX)]
        files += [f"{results}/{RANKED}"] if predicted else []
    return files


def measure_for_campaign(
    entry: Mapping[str, Any],
    settings: Mapping[str, Any],
    results: str | Path,
    predicted: bool,
    fit_json: str | Path,
) -> None:
    """Write the tables and the figure of a measurement beside ``fit_json``.

    Parameters
    ----------
    entry
        One of the ``measurements`` of the configuration.
    settings
        The ``mossbauer`` section, for the directions of moments.
    results
        Folder of the campaign, with ``sites``, ``calibration`` and ``structures``.
    predicted
        Whether the campaign predicts candidates; their table may be there from an earlier one.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    temperature = float(entry.get("temperature_k", ROOM_TEMPERATURE_K))
    candidates, notes = _candidates(entry, settings, Path(results), predicted, temperature)
    measured = measure(entry["file"], candidates, entry.get("velocity"), entry.get("source"))
    measured.warnings.extend(notes)
    folder = Path(fit_json).parent
    write_measured(measured, folder, str(entry["name"]), temperature, entry["file"])


def _candidates(
    entry: Mapping[str, Any],
    settings: Mapping[str, Any],
    results: Path,
    predicted: bool,
    temperature_k: float,
) -> tuple[list[PhasePrior], list[str]]:
    """Priors of the phases that the measurement is compared with, and what to tell about them."""
    phases, left_out = bundled_phases(temperature_k)
    notes = [f"candidate {name} left out: {reason}" for name, reason in left_out.items()]
    wanted = entry.get("candidates", CAMPAIGN)
    if wanted == CAMPAIGN:
        computed = computed_phases(
            results / SITES,
            results / CALIBRATION,
            results / INDEX,
            results / DROPPED,
            read_measurement(settings),
        )
        learned = predicted_phases(results / RANKED) if predicted else []
        phases = hyperfine_priors(phases, computed, learned)
    elif wanted != "bundled":
        phases = choose(phases, wanted)
    changes = {change["phase"]: change for change in entry.get("phases", [])}
    for name in changes:
        choose(phases, [name])  # refuses a name that is none
    changed = [overridden(p, changes[p.name]) if p.name in changes else p for p in phases]
    return changed, notes
