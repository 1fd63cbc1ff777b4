"""Fit of a density model to converged calculations, with its ridge chosen by the forces it gives.

The coefficients are those of a weighted ridge regression on points of the training geometries. The
ridge is not chosen by the density, of which forces see other parts than an integral does, but by
the forces of one diagonalisation on the predicted density of validation geometries and, where
forces do not tell ridges apart, by its dipoles. Test geometries have no part in it.

Where the functional depends on the kinetic energy density, its Pauli part is fitted at the same
points with the same ridge.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from dft2spectra.columns import Status
from dft2spectra.density import model as density_model
from dft2spectra.density import one_shot
from dft2spectra.density.committee import SMALLEST_COMMITTEE, assign_parts, calibrate
from dft2spectra.density.comparison import density_error
from dft2spectra.density.electrostatics import electrostatic_rows
from dft2spectra.density.least_squares import NormalEquations
from dft2spectra.density.mixing import channel_covariance, leading_channels
from dft2spectra.density.model import Basis, DensityModel
from dft2spectra.density.ridge import choose_ridge, compare_ridges
from dft2spectra.density.sampling_points import (
    TARGETS,
    Sample,
    design_matrix,
    draw_sample,
    needs_tau,
)
from dft2spectra.molecules.labels import read_labels
from dft2spectra.molecules.pyscf_input import complete_settings, settings_hash
from dft2spectra.records import content_hash, write_json

# Covers committee, comparison, least_squares, mixing, ridge, sampling_points: the numbers of a fit.
METHOD_VERSION = 2

# The first fit, which only decides on channels, takes a part of the points and this ridge.
FIRST_FIT = 4
FIRST_RIDGE = 1e-9
BASIS_KEYS = ("radial_map", "one_body", "two_body", "three_body")

Progress = Callable[[str], None]
Label = Mapping[str, Any]


class TrainingError(ValueError):
    """Labels or settings to which no density model can be fitted."""


def fit_from_files(
    label_paths: Iterable[str | Path],
    settings: Mapping[str, Any],
    pyscf_settings: Mapping[str, Any],
    model_path: str | Path,
    progress: Progress = print,
) -> DensityModel:
    """Fit a model to the training labels of files; write it and, beside it, ``card.json``.

    Parameters
    ----------
    label_paths
        Files of :func:`dft2spectra.molecules.labels.label_batch`. Their test labels are not used.
    settings
        The ``density_model`` section, see :func:`fit_density_model`.
    pyscf_settings
        The ``pyscf`` section with which the labels were made.
    model_path
        ``.npz`` file that :func:`dft2spectra.density.model.read_model` reads.
    progress
        Receives one line per geometry.
    """
    labels = [label for label in read_labels(label_paths) if label["split"] != "test"]
    model = fit_density_model(labels, settings, pyscf_settings, progress)
    model.write(model_path)
    write_json(Path(model_path).with_name("card.json"), model.card)
    progress(f"{model.card['molecule']}: model written to {model_path}")
    return model


def fit_density_model(
    labels: Sequence[Label],
    settings: Mapping[str, Any],
    pyscf_settings: Mapping[str, Any],
    progress: Progress = print,
) -> DensityModel:
    """Model fitted to the ``train`` labels, its ridge and uncertainty to the ``validation`` ones.

    Parameters
    ----------
    labels
        As :func:`dft2spectra.molecules.labels.read_labels` gives them, without test labels. Those
        that did not converge are left out and counted.
    settings
        ``target`` (difference or full), the keys of
        :class:`~dft2spectra.density.model.Basis`, ``points_per_geometry``, ``committee`` (number of
        parts that are left out in turn), ``electrostatic_weight``, ``ridge`` (list, relative) and
        ``seed``.
    pyscf_settings
        The ``pyscf`` section with which the labels were made.
    progress
        Receives one line per geometry.

    Raises
    ------
    TrainingError
        Labels or settings do not fit together; the message says what to change.
    SingularFitError
        No ridge of the list determines the coefficients.
    """
    started = time.perf_counter()
    pyscf_settings = complete_settings(pyscf_settings)
    _check_settings(settings)
    train, validation = _split(labels, settings, pyscf_settings)
    name = train[0]["name"]
    basis = _make_basis(train, settings, pyscf_settings, progress)
    card = {
        **_made_from(train, validation, labels, settings, pyscf_settings),
        "terms": dict(zip(("one_body", "two_body", "three_body"), basis.terms.sizes, strict=True)),
    }
    size = sum(basis.terms.sizes)
    with (
        NormalEquations(size) as equations,
        NormalEquations(size) if needs_tau(pyscf_settings) else nullcontext() as pauli,
    ):
        _accumulate(equations, basis, train, settings, pyscf_settings, progress)
        if pauli is not None:
            pauli.add_part(_pauli_rows(basis, label, settings, pyscf_settings) for label in train)
        seconds = {"normal_equations": time.perf_counter() - started}
        card["n_points"] = equations.rows
        table, fits = compare_ridges(
            equations, pauli, basis, card, validation, settings, pyscf_settings, progress
        )
        best = choose_ridge({ridge: fit[1:] for ridge, fit in fits.items()})
        coefficients, tau = fits[best][0].coefficients, fits[best][0].pauli
        card |= {
            "ridge": best,
            "ridge_table": table,
            "dipole_mixing": next(row["dipole_mixing"] for row in table if row["ridge"] == best),
            # The true optimum may lie beyond the list.
            "ridge_at_edge": len(table) > 2 and best in (table[0]["ridge"], table[-1]["ridge"]),
            "fit_r2": equations.r2(coefficients),
        }
        if pauli is not None and tau is not None:
            card["pauli_fit_r2"] = pauli.r2(tau.coefficients)
        seconds["ridge"] = time.perf_counter() - started - sum(seconds.values())
        progress(f"{name}: ridge {best:g} chosen, {equations.parts} fits with a part left out")
        members = [equations.solve(best, without=part) for part in range(equations.parts)]
    model = DensityModel(basis, coefficients, np.array(members), card, tau)
    errors = [density_error(model, label, pyscf_settings) for label in validation]
    percent = np.array([error.model_percent for error in errors])
    card["validation_density_error_percent"] = float(percent.mean())
    card["validation_free_atoms_error_percent"] = float(
        np.mean([error.free_atoms_percent for error in errors])
    )
    card |= calibrate(model, validation, percent.tolist(), pyscf_settings["grid_level"])
    seconds["calibration"] = time.perf_counter() - started - sum(seconds.values())
    card["seconds"] = seconds
    progress(
        f"{name}: density error {percent.mean():.3f} % on {len(validation)} validation geometries"
        f" (free atoms {card['validation_free_atoms_error_percent']:.1f} %)"
    )
    return model


def position_hash(label: Label) -> str:
    """Hash of the exact coordinates of a label."""
    positions = np.ascontiguousarray(label["positions_ang"], dtype=float)
    return hashlib.sha256(positions.tobytes()).hexdigest()[:16]


def _check_settings(settings: Mapping[str, Any]) -> None:
    if settings["target"] not in TARGETS:
        raise TrainingError(
            f"density_model.target: {settings['target']!r} is none of {', '.join(TARGETS)}"
        )
    ridges = settings["ridge"]
    if not ridges or not all(ridge >= 0.0 for ridge in ridges):
        raise TrainingError("density_model.ridge: a list of numbers that are not negative")
    if settings["committee"] < SMALLEST_COMMITTEE:
        raise TrainingError(
            f"density_model.committee: {settings['committee']} parts; at least"
            f" {SMALLEST_COMMITTEE} are needed for an uncertainty"
        )


def _split(
    labels: Sequence[Label], settings: Mapping[str, Any], pyscf_settings: Mapping[str, Any]
) -> tuple[list[Label], list[Label]]:
    """Converged training and validation labels that belong together."""
    if any(label["split"] == "test" for label in labels):
        raise TrainingError("a test label was given to the fit; it must see none of them")
    wanted = settings_hash(pyscf_settings)
    for label in labels:
        if label["settings_hash"] != wanted:
            raise TrainingError(
                f"label {label['frame']} was made with other settings ({label['settings_hash']})"
                f" than the pyscf section gives ({wanted}): compute the labels again"
            )
        for key in ("symbols", "charge"):
            if label[key] != labels[0][key]:
                raise TrainingError(
                    f"label {label['frame']} has {key} {label[key]}, the first one"
                    f" {labels[0][key]}: one model is fitted to one molecule"
                )
    chosen = {}
    for split in ("train", "validation"):
        given = [label for label in labels if label["split"] == split]
        chosen[split] = [label for label in given if label["status"] == Status.CONVERGED]
        if not given:
            raise TrainingError(f"no {split} geometry: raise sampling.{split}")
        if not chosen[split]:
            reasons = sorted({str(label["reason"]) for label in given})
            raise TrainingError(
                f"none of {len(given)} {split} geometries converged ({'; '.join(reasons)}): raise"
                " pyscf.max_cycles or lower sampling.temperatures_k"
            )
    train, validation = chosen["train"], chosen["validation"]
    if len(train) < settings["committee"]:
        raise TrainingError(
            f"{len(train)} converged training geometries cannot be cut into"
            f" {settings['committee']} parts: raise sampling.train or lower density_model.committee"
        )
    shared = {position_hash(label) for label in train} & {position_hash(x) for x in validation}
    if shared:
        raise TrainingError(f"{len(shared)} geometries are in both train and validation")
    return train, validation


def _made_from(
    train: Sequence[Label],
    validation: Sequence[Label],
    labels: Sequence[Label],
    settings: Mapping[str, Any],
    pyscf_settings: Mapping[str, Any],
) -> dict[str, Any]:
    """What the card says of the data and the settings."""
    dipoles = [float(np.linalg.norm(label["dipole_debye"])) for label in train]
    if train[0]["charge"]:
        dipoles = []  # of an ion it depends on the origin
    return {
        "molecule": train[0]["name"],
        "symbols": list(train[0]["symbols"]),
        "charge": int(train[0]["charge"]),
        "target": settings["target"],
        "density_model": dict(settings),
        "pyscf": dict(pyscf_settings),
        "settings_hash": settings_hash(pyscf_settings),
        "method_versions": {
            "training": METHOD_VERSION,
            "model": density_model.METHOD_VERSION,
            "one_shot": one_shot.METHOD_VERSION,
        },
        "n_train": len(train),
        "n_validation": len(validation),
        "n_not_converged": sum(label["status"] != Status.CONVERGED for label in labels),
        "temperatures_k": sorted({float(label["temperature_k"]) for label in train}),
        "train_energy_range_ha": _range([label["energy_ha"] for label in train]),
        "train_gap_range_ev": _range([label["gap_ev"] for label in train]),
        "train_dipole_range_debye": _range(dipoles),
        "train_positions": [position_hash(label) for label in train],
        "validation_positions": [position_hash(label) for label in validation],
        "data_hash": content_hash([[position_hash(x), x["energy_ha"]] for x in train]),
    }


def _range(values: Sequence[float]) -> list[float] | None:
    finite = [float(value) for value in values if np.isfinite(value)]
    return [min(finite), max(finite)] if finite else None


def _make_basis(
    train: Sequence[Label],
    settings: Mapping[str, Any],
    pyscf_settings: Mapping[str, Any],
    progress: Progress,
) -> Basis:
    """Basis of the model, the channels of its three-body terms taken from a first, smaller fit."""
    basis = Basis(
        tuple(sorted(set(train[0]["symbols"]))), {key: settings[key] for key in BASIS_KEYS}
    )
    three = settings["three_body"]
    if three is None or three["channels"] >= len(basis.terms.mixing):
        return basis
    first = {
        **settings,
        "points_per_geometry": max(settings["points_per_geometry"] // FIRST_FIT, 1),
        "committee": 1,
        "electrostatic_weight": 0,
    }
    with NormalEquations(sum(basis.terms.sizes)) as equations:
        _accumulate(equations, basis, train, first, pyscf_settings, lambda line: None)
        coefficients = equations.solve(FIRST_RIDGE)
    progress(
        f"{train[0]['name']}: {three['channels']} of {len(basis.terms.mixing)} three-body channels"
        f" kept after a first fit of {len(coefficients)} terms"
    )
    samples = (_sample(label, first, pyscf_settings) for label in train)
    covariance = channel_covariance(basis, samples)
    mixing = leading_channels(basis.terms, coefficients, three["channels"], covariance)
    return Basis(basis.species, basis.settings, mixing)


def _accumulate(
    equations: NormalEquations,
    basis: Basis,
    train: Sequence[Label],
    settings: Mapping[str, Any],
    pyscf_settings: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Add the training geometries, part by part of the committee."""
    parts = assign_parts(train, settings["committee"])
    started, done = time.perf_counter(), 0

    def rows(label: Label) -> tuple[np.ndarray, np.ndarray]:
        nonlocal done
        sample = _sample(label, settings, pyscf_settings)
        root = np.sqrt(sample.weights)
        matrix, right = design_matrix(basis, sample), sample.target * root
        matrix *= root[:, None]
        if settings["electrostatic_weight"]:
            factor = math.sqrt(settings["electrostatic_weight"])
            integrals, wanted = electrostatic_rows(basis, label, pyscf_settings, settings["target"])
            matrix = np.concatenate([matrix, factor * integrals])
            right = np.concatenate([right, factor * wanted])
        done += 1
        left = (time.perf_counter() - started) / done * (len(train) - done)
        progress(
            f"{label['name']} {label['frame']}: {len(root)} points of geometry"
            f" {done}/{len(train)}, {left:.0f} s left"
        )
        return matrix, right

    for part in range(settings["committee"]):
        mine = [label for label, own in zip(train, parts, strict=True) if own == part]
        if mine:
            equations.add_part(rows(label) for label in mine)


def _pauli_rows(
    basis: Basis, label: Label, settings: Mapping[str, Any], pyscf_settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted rows and targets of the Pauli kinetic energy density of a geometry."""
    sample = _sample(label, settings, pyscf_settings)
    assert sample.pauli is not None
    root = np.sqrt(sample.pauli_weights)
    return design_matrix(basis, sample) * root[:, None], sample.pauli * root


def _sample(label: Label, settings: Mapping[str, Any], pyscf_settings: Mapping[str, Any]) -> Sample:
    return draw_sample(
        label,
        pyscf_settings,
        settings["points_per_geometry"],
        settings["seed"],
        settings["target"],
    )
