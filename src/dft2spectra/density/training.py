"""Fit of a density model to converged calculations, with its ridge chosen by the forces it gives.

Each kind of model has equations of its own (:mod:`dft2spectra.density.jacobi_legendre_fit`,
:mod:`dft2spectra.density.coefficient_fit`); all have a ridge. It is not chosen by the density, of
which forces see other parts than an integral does, but by the forces of one diagonalisation on the
predicted density of validation geometries and, where forces do not tell ridges apart, by its
dipoles. Test geometries have no part in it.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dft2spectra.columns import Status
from dft2spectra.density import one_shot
from dft2spectra.density.coefficient_fit import CoefficientFit
from dft2spectra.density.committee import SMALLEST_COMMITTEE, calibrate
from dft2spectra.density.comparison import density_error
from dft2spectra.density.jacobi_legendre_fit import JacobiLegendreFit
from dft2spectra.density.kinds import METHOD_VERSIONS
from dft2spectra.density.predictor import COEFFICIENTS, JACOBI_LEGENDRE, KINDS, Predictor
from dft2spectra.density.ridge import choose_ridge, compare_ridges
from dft2spectra.density.sampling_points import TARGETS
from dft2spectra.molecules.labels import read_labels
from dft2spectra.molecules.pyscf_input import complete_settings, settings_hash
from dft2spectra.records import content_hash, write_json

# Covers coefficient_fit, committee, comparison, jacobi_legendre_fit, least_squares, mixing, ridge
# and sampling_points: the numbers of a fit.
METHOD_VERSION = 2

FITS: dict[str, type[JacobiLegendreFit] | type[CoefficientFit]] = {
    JACOBI_LEGENDRE: JacobiLegendreFit,
    COEFFICIENTS: CoefficientFit,
}

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
) -> Predictor:
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
        ``.npz`` file that :func:`dft2spectra.density.kinds.read_model` reads.
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
) -> Predictor:
    """Model fitted to the ``train`` labels, its ridge and uncertainty to the ``validation`` ones.

    Parameters
    ----------
    labels
        As :func:`dft2spectra.molecules.labels.read_labels` gives them, without test labels. Those
        that did not converge are left out and counted.
    settings
        The ``density_model`` section; without a ``kind`` it is ``jacobi_legendre``.
    pyscf_settings
        The ``pyscf`` section with which the labels were made.
    progress
        Receives one line per geometry or stage.

    Raises
    ------
    TrainingError
        Labels or settings do not fit together; the message says what to change.
    SingularFitError
        No ridge of the list determines the coefficients.
    """
    started = time.perf_counter()
    pyscf_settings = complete_settings(pyscf_settings)
    settings = settings_of_kind(settings)
    _check_settings(settings)
    train, validation = _split(labels, settings, pyscf_settings)
    name = train[0]["name"]
    card = _made_from(train, validation, labels, settings, pyscf_settings)
    with FITS[settings["kind"]](train, validation, settings, pyscf_settings, progress) as fit:
        card |= fit.card
        seconds = {"equations": time.perf_counter() - started}
        table, fits = compare_ridges(fit, card, validation, settings, pyscf_settings, progress)
        best = choose_ridge({ridge: found[1:] for ridge, found in fits.items()})
        model = fits[best][0]
        card |= {
            "ridge": best,
            "ridge_table": table,
            "dipole_mixing": next(row["dipole_mixing"] for row in table if row["ridge"] == best),
            # The true optimum may lie beyond the list.
            "ridge_at_edge": len(table) > 2 and best in (table[0]["ridge"], table[-1]["ridge"]),
            **fit.scores(model, best),  # type: ignore[arg-type]
        }
        seconds["ridge"] = time.perf_counter() - started - sum(seconds.values())
        progress(f"{name}: ridge {best:g} chosen, {settings['committee']} fits without a part")
        model = fits[best][0].judged_by(fit.committee(best), card)
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


def settings_of_kind(section: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the ``density_model`` section that its kind reads, flat, and the ``kind``.

    Raises
    ------
    TrainingError
        There is no such kind.
    """
    kind = section.get("kind", JACOBI_LEGENDRE)
    if kind not in KINDS:
        raise TrainingError(f"density_model.kind: {kind!r} is none of {', '.join(KINDS)}")
    if kind == COEFFICIENTS:
        shared = {"kind": kind, "committee": section["committee"], "target": "difference"}
        return shared | section[COEFFICIENTS]
    own = {key: value for key, value in section.items() if key != COEFFICIENTS}
    return own | {"kind": kind}


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
            "model": METHOD_VERSIONS[settings["kind"]],
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
