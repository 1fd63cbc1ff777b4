"""Infrared spectrum of a molecule from its trajectories, beside harmonic and measured bands.

Files: ``spectrum.csv`` with two columns below lines ``# key: value`` that hold all choices,
``spectrum.trajectories.csv`` with the standard error and every trajectory's own spectrum, the same
with every normal mode brought to kT where positions were kept at every dipole,
``peaks.csv`` (:class:`~dft2spectra.columns.Band`), the figure, and ``evaluation.json``.
"""

import io
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.arrays import read_arrays
from dft2spectra.molecules.measured import measured_bands
from dft2spectra.records import read_json, whole_file, write_csv, write_json
from dft2spectra.spectra.assignment import assign, deviations
from dft2spectra.spectra.bands import integral, peaks
from dft2spectra.spectra.dipole import Spectrum, spectrum, standard_error
from dft2spectra.spectra.equipartition import check_harmonic, mode_coordinates
from dft2spectra.spectra.figures import draw_note
from dft2spectra.spectra.infrared_figures import draw_infrared
from dft2spectra.spectra.transform import read_transform
from dft2spectra.units import BOLTZMANN_EV_K

# Counts for transform, dipole, equipartition, bands and assignment too.
METHOD_VERSION = 3

SPECTRUM_COLUMNS = ("wavenumber_cm1", "absorption_km_mol_per_cm1")
# A molecule none of whose modes has more than this absorbs nothing [km/mol]: symmetry forbids it,
# and what is left is rounding, about 1e-12. The weakest bands that are measured have about 0.01.
INACTIVE_KM_MOL = 1e-3
INACTIVE = "no infrared-active vibration"
# Conformers this far above the lowest, in kT, are named: e⁻³ is 5 %.
POPULATED_KT = 3.0
# Unequal time steps beyond this part of a step are no rounding.
STEP_TOLERANCE = 1e-4

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trajectory:
    """What a spectrum needs of a trajectory; ``stopped`` is empty or says why it ended early.

    ``positions_ang`` (n, atoms, 3) is ``None`` where positions were kept less often than dipoles.
    """

    name: str
    dipole_debye: np.ndarray
    interval_fs: float
    integrator_fs: float
    mean_temperature_k: float
    stopped: str
    positions_ang: np.ndarray | None = None


def write_infrared(
    trajectory_paths: Sequence[str | Path],
    harmonic_json: str | Path,
    measured_yaml: str | Path | None,
    temperature_k: float,
    settings: Mapping[str, Any],
    out_csv: str | Path,
    out_peaks_csv: str | Path,
    out_png: str | Path,
    out_evaluation_json: str | Path,
) -> None:
    """Write the infrared spectrum of a molecule, its bands, the figure and the evaluation.

    Trajectories that were stopped early are left out and named in the evaluation: their ends are
    not physical. Where none is left, tables and figure say so and the campaign goes on. So they do
    for a molecule without an infrared-active vibration, such as N2: its spectrum is the noise of
    the model, in which no band is looked for.

    Parameters
    ----------
    trajectory_paths
        ``.npz`` files with ``time_fs`` (n,), ``dipole_debye`` (n, 3) and ``temperature_k`` (n,);
        ``timestep_fs`` of the integrator, where it is not the interval of ``time_fs``; ``status``
        and ``reason``, where a trajectory may have been stopped; ``positions_ang`` with a frame for
        every dipole, for intensities at equipartition.
    harmonic_json
        Harmonic reference with ``name``, ``frequencies_cm1`` and ``intensities_km_mol``, and for
        equipartition ``modes``, ``masses_amu`` and ``positions_ang``.
    measured_yaml
        Measured bands as in ``data/molecules``; ``None`` where nothing was measured.
    temperature_k
        Temperature of the ensemble from which the trajectories start.
    settings
        The ``infrared`` section of the configuration.

    Raises
    ------
    ValueError
        A setting is impossible; a trajectory lacks an array, is shorter than the window, holds
        numbers that are not finite, or its times differ in their steps from each other or from
        another trajectory's.
    """
    trajectories = [_read_trajectory(path) for path in trajectory_paths]
    used = [trajectory for trajectory in trajectories if not trajectory.stopped]
    left_out = {t.name: t.stopped for t in trajectories if t.stopped}
    for name, reason in left_out.items():
        logger.warning("%s is left out of the spectrum: %s", name, reason)
    harmonic_reference = read_json(harmonic_json)
    harmonic = [
        {"mode": mode, "frequency_cm1": frequency, "intensity_km_mol": intensity}
        for mode, (frequency, intensity) in enumerate(
            zip(
                harmonic_reference["frequencies_cm1"],
                harmonic_reference["intensities_km_mol"],
                strict=True,
            ),
            start=1,
        )
    ]
    measured = _read_measured(measured_yaml)
    title = str(harmonic_reference["name"])
    result = _spectrum(used, temperature_k, settings, harmonic_reference) if used else None
    strongest = max((float(mode["intensity_km_mol"]) for mode in harmonic), default=0.0)
    active = strongest > INACTIVE_KM_MOL
    found = peaks(result, float(settings["prominence"])) if result and active else []
    table = assign(
        found,
        harmonic if active else [],
        measured,
        float(settings["assignment_cm1"]),
        float(settings["resolution_cm1"]),
        float(settings["prominence"]),
    )
    evaluation: dict[str, Any] = {
        "method_version": METHOD_VERSION,
        "status": _status(active, bool(result)),
        "settings": dict(settings),
        "temperature_k": temperature_k,
        "left_out": left_out,
        "harmonic_total_km_mol": float(sum(row["intensity_km_mol"] for row in harmonic)),
        "harmonic_settings_hash": harmonic_reference.get("settings_hash"),
        **_isomer(harmonic_reference, temperature_k),
        **deviations(table, float(settings["prominence"])),
    }
    if result is None:
        _write_commented(out_csv, left_out, pd.DataFrame(columns=list(SPECTRUM_COLUMNS)))
        empty = pd.DataFrame(columns=[SPECTRUM_COLUMNS[0], "standard_error"])
        write_csv(Path(out_csv).with_suffix(".trajectories.csv"), empty)
        draw_note(out_png, title, f"No spectrum: {evaluation['status']}.\nSee evaluation.json.")
    else:
        evaluation |= _totals(result, used)
        _write_spectrum(out_csv, result, evaluation)
    if result is not None and not active:
        words = f"{INACTIVE[0].upper()}{INACTIVE[1:]}, none of {INACTIVE_KM_MOL:g} km/mol or more."
        draw_note(out_png, title, f"{words}\nThe molecule does not absorb in the infrared.")
    elif result is not None:
        draw_infrared(out_png, result, found, harmonic, measured, title)
    write_csv(out_peaks_csv, table.round(3))
    write_json(out_evaluation_json, evaluation)


def _isomer(harmonic_reference: Mapping[str, Any], temperature_k: float) -> dict[str, Any]:
    """Which isomer was computed, what the relaxation noted, and what else is populated.

    ``within_3_kt`` holds the conformers less than 3 kT above it, whose bands a measurement shows,
    too: each has more than 5 % of its population, apart from degeneracies and vibrations.
    """
    limit = POPULATED_KT * BOLTZMANN_EV_K * temperature_k
    others = harmonic_reference.get("conformers", [])
    near = [other for other in others if other["above_ev"] < limit]
    name = harmonic_reference["name"]
    for note in harmonic_reference.get("notes", []):
        logger.warning("%s: %s", name, note)
    for other in near:
        logger.warning(
            "%s: a conformer of %s only %.3f eV above is populated, too, and not in the spectrum",
            *(name, other["isomer"], other["above_ev"]),
        )
    return {
        "isomer": harmonic_reference.get("isomer"),
        "notes": harmonic_reference.get("notes", []),
        "within_3_kt": near,
    }


def _status(active: bool, any_used: bool) -> str:
    if not any_used:
        return "no trajectory without an early stop"
    return "computed" if active else INACTIVE


def _read_trajectory(path: str | Path) -> Trajectory:
    path = Path(path)
    name = f"{path.parent.name}/{path.name}"
    arrays = read_arrays(path)
    if missing := {"time_fs", "dipole_debye", "temperature_k"} - set(arrays):
        raise ValueError(f"{path}: no array {', '.join(sorted(missing))}")
    stopped = ""
    if str(arrays.get("status", "finished")) == "stopped":
        stopped = str(arrays.get("reason", "")) or "stopped early"
    time, dipole = arrays["time_fs"], arrays["dipole_debye"]
    if stopped:
        return Trajectory(name, dipole, math.nan, math.nan, math.nan, stopped)
    if len(time) != len(dipole) or len(time) < 3:
        raise ValueError(f"{path}: {len(time)} times for {len(dipole)} dipoles; 3 at least")
    steps = np.diff(time)
    interval = float(time[-1] - time[0]) / len(steps)
    if not (interval > 0.0 and np.abs(steps - interval).max() <= STEP_TOLERANCE * interval):
        raise ValueError(
            f"{path}: the times are not equally spaced, steps from {steps.min():g} to"
            f" {steps.max():g} fs"
        )
    mean_temperature = float(arrays["temperature_k"].mean())
    if not math.isfinite(mean_temperature):
        raise ValueError(f"{path}: temperature_k holds a number that is not finite")
    return Trajectory(
        name=name,
        dipole_debye=dipole,
        interval_fs=interval,
        integrator_fs=float(arrays.get("timestep_fs", interval)),
        mean_temperature_k=mean_temperature,
        stopped="",
        positions_ang=_positions(arrays, len(time)),
    )


def _positions(arrays: Mapping[str, np.ndarray], count: int) -> np.ndarray | None:
    """Positions of all ``count`` times, if every one is a frame."""
    frames = arrays.get("frame_step", np.empty(0))
    return arrays["positions_ang"] if np.array_equal(frames, np.arange(count)) else None


def _read_measured(path: str | Path | None) -> list[dict[str, Any]]:
    """Bands that an infrared spectrum can show; Raman spectra alone show the others."""
    if path is None:
        return []
    path = Path(path)
    return [band for band in measured_bands(path.stem, path.parent) if band["infrared"]]


def _spectrum(
    used: Sequence[Trajectory],
    temperature_k: float,
    settings: Mapping[str, Any],
    harmonic: Mapping[str, Any],
) -> Spectrum:
    first = used[0]
    for other in used[1:]:
        for kind in ("interval_fs", "integrator_fs"):
            ours, theirs = getattr(first, kind), getattr(other, kind)
            if abs(ours - theirs) > STEP_TOLERANCE * ours:
                raise ValueError(
                    f"{first.name} and {other.name} differ in their time step: {ours:g} and"
                    f" {theirs:g} fs"
                )
    verlet = first.integrator_fs if settings["undo_verlet_shift"] else None
    result = spectrum(
        [trajectory.dipole_debye for trajectory in used],
        first.interval_fs,
        temperature_k,
        read_transform(settings, verlet),
        _mode_coordinates(used, harmonic),
    )
    for trajectory, jumps in zip(used, result.jumps_fs, strict=True):
        if jumps.size:
            logger.warning(
                "%s: the dipole jumps %d times, first after %g fs; the spectrum has white noise",
                trajectory.name,
                jumps.size,
                jumps[0],
            )
    return result


def _mode_coordinates(
    used: Sequence[Trajectory], harmonic: Mapping[str, Any]
) -> list[np.ndarray] | None:
    """Normal coordinates of all trajectories, if all have positions at every dipole."""
    found = []
    for trajectory in used:
        positions = trajectory.positions_ang
        if positions is None or not check_harmonic(harmonic, positions.shape[1]):
            return None
        found.append(mode_coordinates(positions, harmonic))
    return found


def _totals(result: Spectrum, used: Sequence[Trajectory]) -> dict[str, Any]:
    areas = integral(
        result.wavenumber_cm1, result.trajectories, 0.0, float(result.wavenumber_cm1[-1])
    )
    count = len(areas)
    return {
        "window": result.transform.window,
        "correlation_ps": result.transform.correlation_fs / 1e3,
        "dipole_interval_fs": result.timestep_fs,
        "verlet_timestep_fs": result.transform.verlet_timestep_fs,
        "total_km_mol": float(areas.mean()),
        "total_error_km_mol": float(areas.std(ddof=1)) / math.sqrt(count) if count > 1 else None,
        "mean_temperature_k": float(np.mean([t.mean_temperature_k for t in used])),
        "trajectories": [
            {
                "name": trajectory.name,
                "duration_ps": duration,
                "mean_temperature_k": trajectory.mean_temperature_k,
                "total_km_mol": float(area),
                "dipole_jumps_fs": jumps,
            }
            for trajectory, duration, area, jumps in zip(
                used, result.durations_ps, areas, result.jumps_fs, strict=True
            )
        ],
        **_equipartition_totals(result),
    }


def _equipartition_totals(result: Spectrum) -> dict[str, Any]:
    """Area of the spectrum with every mode at kT, and the energies that the modes had."""
    if result.equipartition is None or result.mode_energies is None:
        return {}
    x = result.wavenumber_cm1
    areas = integral(x, result.equipartition, 0.0, float(x[-1]))
    count = len(areas)
    return {
        "equipartition_total_km_mol": float(areas.mean()),
        "equipartition_total_error_km_mol": (
            float(areas.std(ddof=1)) / math.sqrt(count) if count > 1 else None
        ),
        "mode_energies_kt": result.mode_energies.round(4).tolist(),
    }


def _write_spectrum(path: str | Path, result: Spectrum, evaluation: Mapping[str, Any]) -> None:
    transform = result.transform
    durations = ", ".join(f"{duration:g}" for duration in result.durations_ps)
    verlet = transform.verlet_timestep_fs
    header = {
        "content": "Napierian molar absorption; its area over a band is the intensity in km/mol",
        "status": evaluation["status"],
        "window": f"{transform.window} on the autocorrelation function of the dipole derivative",
        "resolution_cm1": f"{transform.resolution_cm1:g} (full width at half maximum)",
        "correlation_ps": f"{transform.correlation_fs / 1e3:.4g}",
        "padding": f"{transform.padding:g}",
        "quantum_correction": f"{transform.quantum_correction} (of the dipole autocorrelation)",
        "verlet_shift": "left in" if verlet is None else f"undone, timestep {verlet:g} fs",
        "temperature_k": f"{result.temperature_k:g}",
        "mean_temperature_k": f"{evaluation['mean_temperature_k']:.1f}",
        "dipole_interval_fs": f"{result.timestep_fs:g}",
        "trajectories": len(result.durations_ps),
        "durations_ps": durations,
        "trajectories_left_out": len(evaluation["left_out"]),
        "dipole_jumps": sum(jumps.size for jumps in result.jumps_fs),
        "method_version": METHOD_VERSION,
    }
    x, y = SPECTRUM_COLUMNS
    _write_commented(path, header, pd.DataFrame({x: result.wavenumber_cm1, y: result.absorption}))
    each = {f"trajectory_{i}": own for i, own in enumerate(result.trajectories, start=1)}
    parts = {x: result.wavenumber_cm1, "standard_error": result.standard_error, **each}
    if result.equipartition is not None:
        parts |= {
            "equipartition": result.equipartition.mean(axis=0),
            "equipartition_standard_error": standard_error(result.equipartition),
        }
        parts |= {f"equipartition_{i}": own for i, own in enumerate(result.equipartition, start=1)}
    write_csv(Path(path).with_suffix(".trajectories.csv"), pd.DataFrame(parts))


def _write_commented(path: str | Path, header: Mapping[str, Any], table: pd.DataFrame) -> None:
    """CSV below lines of ``# key: value``; ``pandas.read_csv(path, comment="#")`` reads it."""
    text = io.StringIO()
    for key, value in header.items():
        text.write(f"# {key}: {value}\n")
    table.to_csv(text, index=False, lineterminator="\n")
    with whole_file(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
