"""The evaluation at the end: models of all training sites against sites that nothing has seen.

External sites (:mod:`dft2spectra.structures.design`) are held out of cleaning by comparison, of the
choice of representatives, of every fit, inner choice and fold. They differ from the training sites
in structure type, in elements or in neither, and are scored apart by that. A score on them is worth
what it says only once: whoever goes back and changes a model because of it has trained on them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.columns import Site
from dft2spectra.learning.baselines import fit_linear
from dft2spectra.learning.evaluation import MAIN_SPLIT
from dft2spectra.learning.figures import plot_parity
from dft2spectra.learning.metrics import coverage, intervals, scores
from dft2spectra.learning.models import CHOICES, MODELS, predict, read_learner
from dft2spectra.learning.splits import formula_elements, inner_folds, split_groups
from dft2spectra.learning.training_data import (
    TrainingData,
    read_external_data,
    read_training_data,
)
from dft2spectra.records import read_json, write_csv, write_json

METHOD_VERSION = 2

UNSEEN_TYPE, UNSEEN_ELEMENT, NEITHER = "unseen_structure_type", "unseen_element", "neither"


def kinds(external: TrainingData, train: TrainingData) -> np.ndarray:
    """How each external site differs from all that was trained on, (n_sites,).

    A site with an element that no training site has beside it counts as ``unseen_element``,
    whatever its structure type.
    """
    known = frozenset().union(*formula_elements(train.sites[Site.FORMULA]))
    types = set(train.groups)
    elements = formula_elements(external.sites[Site.FORMULA])
    return np.array(
        [
            UNSEEN_ELEMENT if not symbols <= known else NEITHER if group in types else UNSEEN_TYPE
            for symbols, group in zip(elements, external.groups, strict=True)
        ]
    )


def score_models(
    external: TrainingData, predictions: pd.DataFrame, rows: np.ndarray, learning: dict[str, Any]
) -> dict[str, Any]:
    """Numbers of sites, structures and types, and each model's scores with 95 % intervals."""
    groups, structures = external.groups[rows], external.features.structure_id[rows]
    found: dict[str, Any] = {
        "n_sites": int(rows.sum()),
        "n_structures": len(set(structures)),
        "n_parents": len(set(groups)),
        "models": {},
    }
    truth = external.target[rows]
    for name in MODELS:
        predicted = predictions[name].to_numpy()[rows]
        found["models"][name] = dict(scores(truth, predicted)) | {
            f"ci95_by_{cluster}": intervals(
                truth, predicted, labels, learning["bootstrap"], learning["seed"]
            )
            for cluster, labels in (("structure", structures), ("parent", groups))
        }
        if name in CHOICES:
            ends = (predictions[f"{name}_{end}"].to_numpy()[rows] for end in ("low", "high"))
            found["models"][name]["coverage"] = coverage(truth, *ends)
    return found


def evaluate_external(
    features_npz: str | Path,
    sites_parquet: str | Path,
    representatives_csv: str | Path,
    model_ubj: str | Path,
    card_json: str | Path,
    target: str,
    learning: dict[str, Any],
    out_csv: str | Path,
    out_metrics: str | Path,
    out_figure: str | Path,
) -> None:
    """Write predictions for all external sites, their scores and the parity figure (PNG and SVG).

    Parameters
    ----------
    model_ubj, card_json
        The models trained on all training sites, with ``kernel.npz`` beside them. The linear model
        and the mean are those of the same sites.
    target
        ``moment``, ``isomer_shift``, ``vzz`` or ``bhf``.
    learning
        The section of the configuration: ``folds``, ``seed``, ``coverage`` and ``bootstrap`` are
        looked at; which model speaks is what the card says.

    Raises
    ------
    ValueError
        No external site is in the table; the model was trained on other data.
    """
    train = read_training_data(features_npz, sites_parquet, target, representatives_csv)
    external = read_external_data(features_npz, sites_parquet, target)
    card = read_json(card_json)
    if (card["target"], card["data_hash"]) != (target, train.digest()):
        raise ValueError(f"{card_json} is of a model of other data; train it again")
    predictions = _predict(train, external, model_ubj, learning)
    kind = kinds(external, train)
    every = score_models(external, predictions, np.ones(len(kind), dtype=bool), learning)
    metrics = {
        "target": target,
        "column": str(external.column),
        "data_hash": card["data_hash"],
        "external_hash": external.digest(),
        "n_trained": card["n_trained"],
        "model": card["model"],
        **every,
        "verdict": _in_words(every, card),
        "out_of_fold": card["metrics"]["models"],
        "by_difference": {
            name: score_models(external, predictions, kind == name, learning)
            for name in (UNSEEN_TYPE, UNSEEN_ELEMENT, NEITHER)
            if (kind == name).any()
        },
    }
    identity = [Site.STRUCTURE_ID, Site.FORMULA, Site.PARENT, Site.SITE, external.column]
    columns = {name: f"{external.column}_{name}" for name in predictions}
    table = pd.concat([external.sites[identity], predictions.rename(columns=columns)], axis=1)
    table.insert(4, "difference", kind)
    write_csv(out_csv, table)
    write_json(out_metrics, metrics)
    plot_parity(
        external.target,
        predictions,
        metrics,
        out_figure,
        caption="external sites, which no step before has seen",
    )


def _predict(
    train: TrainingData, external: TrainingData, model_ubj: str | Path, learning: dict[str, Any]
) -> pd.DataFrame:
    """Columns of :meth:`dft2spectra.learning.models.Fitted.predict`, a row per external site."""
    unseen, rows = external.features.values, train.trainable
    learner = read_learner(Path(model_ubj).parent)
    table = predict(learner, unseen, external.features.names, learning["coverage"])
    known = train.features.of(rows)
    groups = split_groups(MAIN_SPLIT, train.sites[rows], known)
    folds = inner_folds(groups, learning["folds"], learning["seed"])
    linear = fit_linear(known.values, train.target[rows], folds)
    return table.assign(linear=linear.predict(unseen), mean=train.target[rows].mean())


def _in_words(every: dict[str, Any], card: dict[str, Any]) -> str:
    """Score on the external sites beside that out of fold, and how many sites stand behind it."""
    sizes = f"{every['n_sites']} sites of {every['n_structures']} structures"
    trained = f"the model was trained on {card['n_trained']} others"
    model = card["model"]
    r2, before = every["models"][model]["r2"], card["metrics"]["models"][model]["r2"]
    if r2 is None:
        return f"The score is undefined: the target hardly varies over {sizes}; {trained}."
    low, high = every["models"][model]["ci95_by_parent"]["r2"]
    interval = "" if low is None else f" (95 % interval {low:.2f} to {high:.2f})"
    beside = "undefined" if before is None else f"{before:.2f}"
    return f"R² = {r2:.2f}{interval} on {sizes} kept apart, {beside} out of fold; {trained}."
