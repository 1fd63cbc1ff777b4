"""Train and judge a model of one site property: XGBoost beside a linear model and the mean.

Targets are the columns of the site table as cleaning leaves them: moments and fields signed
relative to the total moment of the structure (see :mod:`dft2spectra.learning.cleaning`), Vzz with
its sign. Two limits follow from descriptors that know nothing of spin: sublattices that differ in
the direction of their moments only cannot be told apart, and near η = 1 the sign of Vzz is a matter
of rounding. Sites count once each, whatever their multiplicity.

``evaluate_model`` measures on structure types left out of everything: the number of rounds, the
ridge penalty and the scaling are chosen inside the training part of each fold. ``train_model`` then
uses all sites. With ``learning.representatives`` set, only those sites are trained on; all are
tested on. (The choice of representatives looks at descriptors of all sites, at no target.) External
sites are no part of any of this (:mod:`dft2spectra.learning.external`).
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.columns import Site
from dft2spectra.learning.baselines import fit_linear
from dft2spectra.learning.committee import (
    gain_by_feature,
    hidden_rows,
    hyperparameters,
    predict_committee,
    train_committee,
)
from dft2spectra.learning.domain import training_domain, write_domain
from dft2spectra.learning.figures import plot_importance, plot_parity
from dft2spectra.learning.metrics import intervals, scores, spread_calibration, verdict
from dft2spectra.learning.splits import grouped_folds
from dft2spectra.learning.training_data import TrainingData, read_training_data
from dft2spectra.records import read_json, whole_file, write_json, write_table

# Counts for all that a model and its scores are made with: splits, committee, baselines, metrics,
# domain, training_data.
METHOD_VERSION = 2

MODELS = ("xgboost", "linear", "mean")
PACKAGES = ("dft2spectra", "dscribe", "numpy", "scikit-learn", "xgboost-cpu")


def out_of_fold(
    data: TrainingData, learning: dict[str, Any]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Predictions of each site by models that saw nothing of its structure type.

    Returns
    -------
    predictions : DataFrame
        ``fold``, ``xgboost``, ``spread`` (of the committee), ``linear``, ``mean``; a row per site.
    folds : list of dict
        What was trained on, and what the inner splits chose.

    Raises
    ------
    ValueError
        Fewer than two structure types; a fold without representatives to train on.
    """
    fold_of_row = grouped_folds(data.groups, learning["folds"], learning["seed"])
    predictions = pd.DataFrame({"fold": fold_of_row}, index=data.sites.index)
    results = {name: np.empty(len(fold_of_row)) for name in ("xgboost", "spread", "linear", "mean")}
    folds = []
    for fold in range(fold_of_row.max() + 1):
        test = fold_of_row == fold
        train = ~test & data.trainable
        if not train.any():
            raise ValueError(f"fold {fold} has no representative to train on; ask for more")
        values, target, groups = (
            a[train] for a in (data.features.values, data.target, data.groups)
        )
        booster = train_committee(values, target, groups, learning, data.features.names)
        linear = fit_linear(values, target, groups, learning)
        unseen = data.features.values[test]
        results["xgboost"][test], results["spread"][test] = predict_committee(
            booster, unseen, data.features.names
        )
        results["linear"][test] = linear.predict(unseen.astype(float))
        results["mean"][test] = target.mean()
        folds.append(
            {
                "n_train": int(train.sum()),
                "n_test": int(test.sum()),
                "parents_tested": sorted(set(data.groups[test])),
                "rounds": booster.num_boosted_rounds(),
                "members": hidden_rows(groups, learning).shape[1],
                "ridge_alpha": float(linear.named_steps["ridge"].alpha),
            }
        )
    return predictions.assign(**results), folds


def summarize_predictions(
    data: TrainingData, predictions: pd.DataFrame, learning: dict[str, Any]
) -> dict[str, Any]:
    """Scores of each model with 95 % intervals by structure and by structure type, and the verdict.

    Sites of one structure type are predicted by the same model and err together: the interval by
    structure type is the honest one and is what the verdict reads; that by structure holds for
    further structures of these types.
    """
    models: dict[str, Any] = {}
    for name in MODELS:
        truth, predicted = data.target, predictions[name].to_numpy()
        models[name] = dict(scores(truth, predicted)) | {
            f"ci95_by_{cluster}": intervals(
                truth, predicted, labels, learning["bootstrap"], learning["seed"]
            )
            for cluster, labels in (
                ("structure", data.features.structure_id),
                ("parent", data.groups),
            )
        }
    error = predictions["xgboost"].to_numpy() - data.target
    usable, text = verdict(data.counts(), models, learning["min_sites"])
    return {
        "models": models,
        "error_per_spread": spread_calibration(error, predictions["spread"].to_numpy()),
        "usable": usable,
        "verdict": text,
    }


def evaluate_model(
    features_npz: str | Path,
    sites_parquet: str | Path,
    target: str,
    learning: dict[str, Any],
    representatives_csv: str | Path,
    out_parquet: str | Path,
    out_metrics: str | Path,
    out_figure: str | Path,
) -> None:
    """Write out-of-fold predictions, their scores and the parity figure (PNG and SVG).

    Parameters
    ----------
    target
        ``moment``, ``isomer_shift``, ``vzz`` or ``bhf``.
    learning
        The section of the configuration: ``folds``, ``seed``, ``n_estimators``, ``learning_rate``,
        ``max_depth``, ``early_stopping_rounds``, ``bootstrap``, ``min_sites``.
    """
    data = read_training_data(features_npz, sites_parquet, target, representatives_csv)
    predictions, folds = out_of_fold(data, learning)
    metrics = {
        "target": target,
        "column": str(data.column),
        "data_hash": data.digest(),
        **data.counts(),
        "n_trainable": int(data.trainable.sum()),
        **summarize_predictions(data, predictions, learning),
        "split": split_description(data, learning),
        "folds": folds,
    }
    identity = [Site.STRUCTURE_ID, Site.FORMULA, Site.PARENT, Site.SITE, data.column]
    names = {name: f"{data.column}_{name}" for name in ("xgboost", "spread", "linear", "mean")}
    table = pd.concat([data.sites[identity], predictions.rename(columns=names)], axis=1)
    write_table(out_parquet, table)
    write_json(out_metrics, metrics)
    plot_parity(data.target, predictions, metrics, out_figure)


def split_description(data: TrainingData, learning: dict[str, Any]) -> dict[str, Any]:
    """What was kept apart, in words and numbers, for the card."""
    return {
        "grouped_by": str(Site.PARENT),
        "outer_folds": min(learning["folds"], data.counts()["n_parents"]),
        "inner_folds": learning["folds"],
        "inner_choice": "boosting rounds and ridge penalty, grouped folds of the training part",
        "seed": learning["seed"],
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
    """Write the model trained on all sites, its card, its domain and the importance figure.

    Beside ``out_model`` (UBJ) goes ``training.npz``, the training sites in descriptor space, from
    which :mod:`dft2spectra.learning.screening` takes the distance of a candidate.

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
    booster = train_committee(
        features.values[rows], data.target[rows], data.groups[rows], learning, features.names
    )
    gain = gain_by_feature(booster, features.names)
    by_block = {
        block: float(gain[features.blocks == block].sum())
        for block in dict.fromkeys(features.blocks.tolist())
    }
    elements = formula_elements(data.sites[Site.FORMULA][rows])
    domain = training_domain(features, rows, data.groups, elements)
    kept = ("models", "error_per_spread", "folds")
    card = {
        "target": target,
        "column": str(data.column),
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
        "members": hidden_rows(data.groups[rows], learning).shape[1],
        "tested_distance": domain.limit if np.isfinite(domain.limit) else None,
        "versions": {package: version(package) for package in PACKAGES},
    }
    with whole_file(out_model) as temporary:
        booster.save_model(temporary)
    write_domain(Path(out_model).with_name("training.npz"), domain)
    write_json(out_card, card)
    plot_importance(features.names, gain, by_block, card, out_figure)


def formula_elements(formulas: pd.Series) -> list[str]:
    """Sorted symbols of all elements in the formulas."""
    found = formulas.astype(str).str.extractall(r"([A-Z][a-z]?)")[0]
    return sorted(set(found))
