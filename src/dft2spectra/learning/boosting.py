"""Train and judge the models of one site property: XGBoost beside a kernel, their mean, a line.

Targets are the columns of the site table as cleaning leaves them: moments and fields signed
relative to the total moment of the structure (see :mod:`dft2spectra.learning.cleaning`), Vzz with
its sign. Two limits follow from descriptors that know nothing of spin: sublattices that differ in
the direction of their moments only cannot be told apart, and near η = 1 the sign of Vzz is a matter
of rounding. Sites count once each, whatever their multiplicity.

``evaluate_model`` measures with crystals left out in several ways
(:mod:`dft2spectra.learning.splits`); the number of rounds, penalties, lengths and scaling are
chosen inside the training part of each fold. The verdict reads the split by structure type.
``train_model`` then uses all sites. With ``learning.representatives`` set, only those sites are
trained on; all are tested on. (The choice of representatives looks at descriptors of all sites, at
no target.) External sites are no part of any of this (:mod:`dft2spectra.learning.external`).
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.columns import Site
from dft2spectra.learning.committee import gain_by_feature, hyperparameters
from dft2spectra.learning.domain import tested_distance, training_domain, write_domain
from dft2spectra.learning.evaluation import (
    MAIN_SPLIT,
    best_model,
    every_split,
    learning_curve,
    score_table,
)
from dft2spectra.learning.figures import plot_importance, plot_parity
from dft2spectra.learning.metrics import coverage, intervals, scores, spread_calibration, verdict
from dft2spectra.learning.models import CHOICES, MODELS, fit_models, write_learner
from dft2spectra.learning.soap import distance_scale
from dft2spectra.learning.split_figures import plot_splits
from dft2spectra.learning.splits import formula_elements, split_groups
from dft2spectra.learning.training_data import TrainingData, read_training_data
from dft2spectra.records import read_json, write_csv, write_json, write_table

# Counts for all that a model and its scores are made with: splits, committee, kernel, baselines,
# models, evaluation, metrics, domain, training_data.
METHOD_VERSION = 3

PACKAGES = ("dft2spectra", "dscribe", "numpy", "scikit-learn", "scipy", "xgboost-cpu")


def summarize_predictions(
    data: TrainingData, predictions: pd.DataFrame, learning: dict[str, Any]
) -> dict[str, Any]:
    """Scores of each model with 95 % intervals by structure and by structure type, and the verdict.

    Sites of one structure type are predicted by the same model and err together: the interval by
    structure type is the honest one and is what the verdict reads; that by structure holds for
    further structures of these types.
    """
    models: dict[str, Any] = {}
    truth = data.target
    for name in MODELS:
        predicted = predictions[name].to_numpy()
        models[name] = dict(scores(truth, predicted)) | {
            f"ci95_by_{cluster}": intervals(
                truth, predicted, labels, learning["bootstrap"], learning["seed"]
            )
            for cluster, labels in (
                ("structure", data.features.structure_id),
                ("parent", data.groups),
            )
        }
    for name in CHOICES:
        low, high = (predictions[f"{name}_{end}"].to_numpy() for end in ("low", "high"))
        models[name]["coverage"] = coverage(truth, low, high)
        models[name]["error_per_spread"] = spread_calibration(
            predictions[name].to_numpy() - truth, predictions[f"{name}_spread"].to_numpy()
        )
    chosen = models[learning["model"]]
    usable, text = verdict(data.counts(), chosen, learning, data.name)
    return {"model": learning["model"], "models": models, "usable": usable, "verdict": text}


def evaluate_model(
    features_npz: str | Path,
    sites_parquet: str | Path,
    target: str,
    learning: dict[str, Any],
    representatives_csv: str | Path,
    out_parquet: str | Path,
    out_metrics: str | Path,
    out_figure: str | Path,
    out_splits: str | Path,
    out_curve: str | Path,
    out_splits_figure: str | Path,
) -> None:
    """Write out-of-fold predictions, scores in every split, learning curves and two figures.

    Parameters
    ----------
    target
        ``moment``, ``isomer_shift``, ``vzz`` or ``bhf``.
    learning
        The section of the configuration without ``targets`` and ``representatives``.
    """
    data = read_training_data(features_npz, sites_parquet, target, representatives_csv)
    every = every_split(data, learning)
    predictions, folds = every[MAIN_SPLIT][0]
    table = score_table(data, every, learning)
    metrics = {
        "target": target,
        "column": str(data.column),
        "data_hash": data.digest(),
        **data.counts(),
        "n_trainable": int(data.trainable.sum()),
        **summarize_predictions(data, predictions, learning),
        "split": split_description(data, learning),
        "best": {split: best_model(table, split) for split in every},
        "splits": table.replace({np.nan: None}).to_dict("records"),
        "tested_distance": tested_distance(predictions["distance"].to_numpy()),
        "folds": folds,
    }
    identity = [Site.STRUCTURE_ID, Site.FORMULA, Site.PARENT, Site.SITE, data.column]
    names = {name: f"{data.column}_{name}" for name in predictions if name != "fold"}
    sites = pd.concat([data.sites[identity], predictions.rename(columns=names)], axis=1)
    curve = learning_curve(data, every, learning)
    write_table(out_parquet, sites)
    write_json(out_metrics, metrics)
    write_csv(out_splits, table)
    write_csv(out_curve, curve)
    plot_parity(data.target, predictions, metrics, out_figure)
    plot_splits(table, curve, metrics, out_splits_figure)


def split_description(data: TrainingData, learning: dict[str, Any]) -> dict[str, Any]:
    """What was kept apart, in words and numbers, for the card."""
    return {
        "grouped_by": str(Site.PARENT),
        "outer_folds": min(learning["folds"], data.counts()["n_parents"]),
        "inner_folds": learning["folds"],
        "inner_choice": "rounds, penalties and length of the kernel, folds of the training part",
        "seed": learning["seed"],
        "seeds": learning["seeds"],
        "coverage": learning["coverage"],
    }


def train_model(
    features_npz: str | Path,
    sites_parquet: str | Path,
    metrics_json: str | Path,
    target: str,
    learning: dict[str, Any],
    representatives_csv: str | Path,
    out_model: str | Path,
    out_card: str | Path,
    out_figure: str | Path,
) -> None:
    """Write the models trained on all sites, their card, their domain and the importance figure.

    ``out_model`` (UBJ) holds the trees. Beside it go ``kernel.npz``, the kernel model and what the
    intervals are made of, and ``training.npz``, the training sites in descriptor space, from which
    :mod:`dft2spectra.learning.screening` takes the distance of a candidate.

    Raises
    ------
    ValueError
        ``metrics_json`` was measured on other data.
    """
    data = read_training_data(features_npz, sites_parquet, target, representatives_csv)
    metrics = read_json(metrics_json)
    if (metrics["target"], metrics["data_hash"]) != (target, data.digest()):
        raise ValueError(f"{metrics_json} was measured on other data; evaluate the model again")
    features, rows = data.features, data.trainable
    groups = split_groups(MAIN_SPLIT, data.sites[rows], features.of(rows))
    fitted = fit_models(
        features.values[rows],
        data.target[rows],
        groups,
        learning,
        features.names,
        distance_scale(features),
    )
    booster = fitted.learner.booster
    gain = gain_by_feature(booster, features.names)
    by_block = {
        block: float(gain[features.blocks == block].sum())
        for block in dict.fromkeys(features.blocks.tolist())
    }
    elements = sorted(frozenset().union(*formula_elements(data.sites[Site.FORMULA][rows])))
    kept = ("models", "best", "splits", "folds")
    card = {
        "target": target,
        "column": str(data.column),
        "model": learning["model"],
        "verdict": metrics["verdict"],
        "usable": metrics["usable"],
        **data.counts(),
        "n_trained": int(rows.sum()),
        "elements": elements,
        "data_hash": data.digest(),
        "settings_hash": sorted(set(data.sites[Site.SETTINGS_HASH])),
        "method_version": METHOD_VERSION,
        "split": metrics["split"],
        "metrics": {key: metrics[key] for key in kept},
        "features": {
            "soap": features.settings,
            "number": len(features.names),
            "blocks": list(by_block),
            "gain_by_block": by_block,
        },
        "hyperparameters": hyperparameters(learning)
        | {
            "n_estimators": learning["n_estimators"],
            "early_stopping_rounds": learning["early_stopping_rounds"],
        },
        "rounds": booster.num_boosted_rounds(),
        "members": fitted.folds.number,
        "kernel": {
            "form": "Matérn 5/2 and a constant",
            "length": fitted.learner.kernel.length,
            "penalty": fitted.learner.kernel.penalty,
        },
        "tested_distance": metrics["tested_distance"],
        "versions": {package: version(package) for package in PACKAGES},
    }
    write_learner(Path(out_model).parent, fitted.learner)
    domain = training_domain(features, rows, elements, metrics["tested_distance"])
    write_domain(Path(out_model).with_name("training.npz"), domain)
    write_json(out_card, card)
    plot_importance(features.names, gain, by_block, card, out_figure)
