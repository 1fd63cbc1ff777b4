"""How well a density model does on test geometries: density, energy, forces, dipole, gap.

Every mean comes with a 95 % interval over test geometries (:mod:`dft2spectra.density.intervals`).
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.columns import DensityTest as Column
from dft2spectra.columns import Status
from dft2spectra.density.committee import rank_correlation
from dft2spectra.density.comparison import OneShotErrors, density_error, one_shot_errors
from dft2spectra.density.evaluation_figures import (
    draw_error_histograms,
    draw_forces,
    draw_uncertainty,
)
from dft2spectra.density.guards import check_compatible, geometry_uncertainty
from dft2spectra.density.intervals import (
    DRAWS,
    estimate,
    mean,
    proportion,
    root_mean_square,
    scatter,
)
from dft2spectra.density.kinds import read_model
from dft2spectra.density.one_shot import OneShotError
from dft2spectra.density.predictor import ModelError, Predictor
from dft2spectra.density.ridge import mixed_errors
from dft2spectra.density.sampling_points import positions_bohr
from dft2spectra.density.training import position_hash
from dft2spectra.molecules.labels import read_labels
from dft2spectra.molecules.pyscf_input import complete_settings, settings_hash
from dft2spectra.records import write_json, write_table

METHOD_VERSION = 1

# What the record repeats of the model's card.
CARD_KEYS = (
    "molecule",
    "charge",
    "target",
    "pyscf",
    "settings_hash",
    "method_versions",
    "terms",
    "ridge",
    "n_train",
    "n_validation",
    "n_points",
    "data_hash",
    "uncertainty_scale",
    "uncertainty_coverage",
)


def evaluate_density_model(
    model_path: str | Path,
    label_paths: Iterable[str | Path],
    pyscf_settings: Mapping[str, Any],
    out_json: str | Path,
    out_table: str | Path,
    out_forces_png: str | Path,
    out_errors_png: str | Path,
    out_uncertainty_png: str | Path,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Write the errors of a model on the ``test`` labels, their summary and three figures.

    Parameters
    ----------
    model_path
        File of :meth:`dft2spectra.density.predictor.Predictor.write`.
    label_paths
        Files of :func:`dft2spectra.molecules.labels.label_batch`; only their test labels count.
    pyscf_settings
        The ``pyscf`` section with which labels and model were made.
    out_json
        Summary, for all temperatures together and for each.
    out_table
        ``.parquet``, with a CSV twin: one row per test geometry, columns of
        :class:`~dft2spectra.columns.DensityTest`.
    out_forces_png, out_errors_png, out_uncertainty_png
        Figures, each with an SVG beside it.
    progress
        Receives one line per geometry.

    Returns
    -------
    dict
        What ``out_json`` holds.

    Raises
    ------
    ModelError
        The model was made for another molecule or other settings.
    ValueError
        There is no converged test label, or the model has seen one in training.
    """
    settings = complete_settings(pyscf_settings)
    model = read_model(model_path)
    labels = [label for label in read_labels(label_paths) if label["split"] == "test"]
    check_test_set(model, labels, settings)
    rows, forces = compare_all(model, labels, settings, progress)
    table = pd.DataFrame(rows, columns=[str(column) for column in Column])
    if not (table[Column.STATUS] == Status.CONVERGED).any():
        raise ValueError(
            f"no test geometry of {len(table)} has a result: {table[Column.REASON].iloc[0]}"
        )
    summary = summarize(table, model.card, len(labels[0]["symbols"]))
    write_table(out_table, table)
    write_json(out_json, summary)
    title = f"{model.card['molecule']}, {settings['xc']}/{settings['basis']}"
    draw_forces(out_forces_png, forces, title)
    draw_error_histograms(out_errors_png, table, title)
    draw_uncertainty(out_uncertainty_png, table, summary, title)
    return summary


def check_test_set(
    model: Predictor, labels: Sequence[Mapping[str, Any]], pyscf_settings: Mapping[str, Any]
) -> None:
    """Refuse labels that cannot judge this model.

    Raises
    ------
    ModelError
        The model was made for other elements, charge or settings.
    ValueError
        There is no label, or one is of a geometry used in the fit or the choice of its ridge.
    """
    if not labels:
        raise ValueError("no test geometry: raise sampling.test")
    first = labels[0]
    check_compatible(model, pyscf_settings, first["charge"], list(first["symbols"]))
    if first["settings_hash"] != settings_hash(pyscf_settings):
        raise ModelError(
            f"the test labels were made with other settings ({first['settings_hash']}) than the"
            f" pyscf section gives ({settings_hash(pyscf_settings)}): compute the labels again"
        )
    seen = {*model.card["train_positions"], *model.card["validation_positions"]}
    known = [str(label["frame"]) for label in labels if position_hash(label) in seen]
    if known:
        raise ValueError(
            f"the model has seen {len(known)} of the test geometries in its training"
            f" ({', '.join(known[:5])}): draw other ones"
        )


def compare_all(
    model: Predictor,
    labels: Sequence[Mapping[str, Any]],
    pyscf_settings: Mapping[str, Any],
    progress: Callable[[str], None] = print,
) -> tuple[list[dict[Column, Any]], np.ndarray]:
    """Rows of the table, and all force components (2, n) of model and calculation in eV/Å.

    A geometry without a converged label, or on which the model fails, is a row with a status.
    """
    rows: list[dict[Column, Any]] = []
    forces: list[np.ndarray] = []
    started = time.perf_counter()
    for number, label in enumerate(labels, start=1):
        row = {
            Column.FRAME: label["frame"],
            Column.TEMPERATURE: float(label["temperature_k"]),
            Column.STATUS: str(label["status"]),
            Column.REASON: str(label["reason"]),
        }
        if label["status"] == Status.CONVERGED:
            try:
                numbers, pair = _compare(model, label, pyscf_settings)
                row |= numbers
                forces.append(pair)
            except OneShotError as error:
                row |= {Column.STATUS: str(Status.FAILED), Column.REASON: str(error)}
        rows.append(row)
        left = (time.perf_counter() - started) / number * (len(labels) - number)
        note = (
            f"density {row[Column.DENSITY]:.3f} %, forces {row[Column.FORCE_MAE]:.3g} meV/Å"
            if Column.DENSITY in row
            else row[Column.REASON]
        )
        progress(
            f"{label['name']} {label['frame']} ({number}/{len(labels)}): {note}, {left:.0f} s left"
        )
    return rows, np.concatenate(forces, axis=1) if forces else np.empty((2, 0))


def _compare(
    model: Predictor, label: Mapping[str, Any], pyscf_settings: Mapping[str, Any]
) -> tuple[dict[Column, Any], np.ndarray]:
    density = density_error(model, label, pyscf_settings)
    started = time.perf_counter()
    step: OneShotErrors = one_shot_errors(model, label, pyscf_settings)
    seconds = time.perf_counter() - started
    difference = 1e3 * (step.forces_ev_ang - step.reference_forces_ev_ang)
    row = {
        Column.DENSITY: density.model_percent,
        Column.FREE_ATOMS: density.free_atoms_percent,
        Column.UNCERTAINTY: geometry_uncertainty(
            model, list(label["symbols"]), positions_bohr(label), pyscf_settings["grid_level"]
        ),
        Column.EXCESS: step.excess_electrons,
        Column.ENERGY: step.energy_mev,
        Column.FORCE_MAE: step.force_mae_mev_ang,
        Column.FORCE_RMSE: float(np.sqrt((difference**2).mean())),
        Column.FORCE_MAX: float(np.abs(difference).max()),
        Column.DIPOLE: step.dipole_debye,
        Column.MIXED_DIPOLE: float(mixed_errors([step], model.card.get("dipole_mixing", 1.0))[0]),
        Column.GAP: step.gap_mev,
        Column.SECONDS: seconds,
    }
    return row, np.array([step.forces_ev_ang.ravel(), step.reference_forces_ev_ang.ravel()])


def summarize(table: pd.DataFrame, card: Mapping[str, Any], n_atoms: int) -> dict[str, Any]:
    """Errors of a table of test geometries, ready for JSON.

    Each mean is ``{"value": …, "ci95": [low, high]}``, the interval None with one geometry.
    """
    good = table[table[Column.STATUS] == Status.CONVERGED]
    uncertainty, error = good[Column.UNCERTAINTY].to_numpy(), good[Column.DENSITY].to_numpy()
    return {
        "n_test": len(good),
        "n_without_result": len(table) - len(good),
        "n_atoms": n_atoms,
        "all": _errors(good, n_atoms),
        "by_temperature": [
            {"temperature_k": float(str(temperature)), "n_test": len(part)} | _errors(part, n_atoms)
            for temperature, part in good.groupby(str(Column.TEMPERATURE))
        ],
        "uncertainty_error_correlation": rank_correlation(uncertainty, error),
        "interval": f"95 % bootstrap over geometries, {DRAWS} draws; Wilson for coverage",
        "signs": "model minus calculation",
        "model": {key: card[key] for key in CARD_KEYS},
        "method_version": METHOD_VERSION,
    }


def _errors(rows: pd.DataFrame, n_atoms: int) -> dict[str, Any]:
    """The errors of some geometries with their intervals."""
    column = {c: rows[c].to_numpy(dtype=float) for c in Column if rows[c].dtype.kind == "f"}
    covered = column[Column.DENSITY] <= column[Column.UNCERTAINTY]
    energy = column[Column.ENERGY]
    result: dict[str, Any] = {
        "density_error_percent": estimate(mean, column[Column.DENSITY]),
        "free_atoms_error_percent": estimate(mean, column[Column.FREE_ATOMS]),
        "excess_electrons_mean": estimate(mean, column[Column.EXCESS]),
        "excess_electrons_rms": estimate(root_mean_square, column[Column.EXCESS]),
        "energy_mean_error_mev": estimate(mean, energy),
        # Forces and spectra know nothing of a constant.
        "energy_rms_about_mean_mev": estimate(scatter, energy),
        "energy_rms_about_mean_mev_per_atom": estimate(scatter, energy / n_atoms),
        "force_mae_mev_ang": estimate(mean, column[Column.FORCE_MAE]),
        "force_rmse_mev_ang": estimate(root_mean_square, column[Column.FORCE_RMSE]),
        "dipole_error_mean_debye": estimate(mean, column[Column.DIPOLE]),
        "dipole_error_rms_debye": estimate(root_mean_square, column[Column.DIPOLE]),
        "mixed_dipole_error_mean_debye": estimate(mean, column[Column.MIXED_DIPOLE]),
        "gap_mean_error_mev": estimate(mean, column[Column.GAP]),
        "gap_mae_mev": estimate(mean, np.abs(column[Column.GAP])),
        "uncertainty_coverage": proportion(int(covered.sum()), len(covered)),
    }
    result["force_max_error_mev_ang"] = float(column[Column.FORCE_MAX].max())
    result["dipole_max_error_debye"] = float(column[Column.DIPOLE].max())
    result["density_max_error_percent"] = float(column[Column.DENSITY].max())
    return result
