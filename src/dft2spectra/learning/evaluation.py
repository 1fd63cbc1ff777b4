"""Scores of every model in every split, learning curves, and whether a difference is luck.

A table row says: this model, crystals left out in this way, over several seeds of the folds. Scores
are means over the seeds; their 95 % intervals come from drawing whole groups, those that the split
leaves out, with replacement; models are compared on the same draws.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dft2spectra.columns import Site
from dft2spectra.learning.domain import distances_to_training
from dft2spectra.learning.metrics import coverage, resampled, scores
from dft2spectra.learning.models import CHOICES, MODELS, fit_models
from dft2spectra.learning.soap import distance_scale
from dft2spectra.learning.splits import SPLITS, Groups, make_folds, rarest, split_groups
from dft2spectra.learning.training_data import TrainingData

# Left out of everything where one split stands for all: verdict, parity, the final members.
MAIN_SPLIT = "structure_type"
# Shares of the training crystals of a learning curve; 1 stands in the table of scores.
SHARES = (1 / 3, 2 / 3)
NAMES = ("r2", "mae", "rmse")
# Fewer training rows than this say nothing.
MIN_TRAINED = 4


class UntrainedFoldError(ValueError):
    """A fold whose test part leaves nothing to train on."""


class OutOfFold(NamedTuple):
    """Predictions of sites by models that saw nothing of their groups, and how they were made."""

    predictions: pd.DataFrame  # a row per site
    folds: list[dict[str, Any]]


def out_of_fold(
    data: TrainingData, groups: Groups, learning: dict[str, Any], share: float = 1.0
) -> OutOfFold:
    """Predictions of each site by models that saw nothing of its groups.

    Parameters
    ----------
    groups
        Groups of each row; what is left out together, also inside the training part.
    share
        Part of the training crystals that is used, drawn at random.

    Returns
    -------
    OutOfFold
        Predictions: ``fold``, the columns of :meth:`dft2spectra.learning.models.Fitted.predict`,
        NaN for rows that belong to no group, and ``distance`` to the nearest training site. Of each
        fold: what was trained on, and what the inner folds chose.

    Raises
    ------
    ValueError
        Fewer than two groups.
    UntrainedFoldError
        A fold without representatives to train on.
    """
    split = make_folds(groups, learning["folds"], learning["seed"])
    features, structures = data.features, data.features.structure_id
    used = data.trainable & _drawn(structures, share, learning["seed"])
    parts, folds = [], []
    for fold in range(split.number):
        test, train = split.fold == fold, split.trains[:, fold] & used
        if not train.any():
            raise UntrainedFoldError(f"fold {fold} has no representative to train on; ask for more")
        known = features.of(train)
        scale = distance_scale(known)
        fitted = fit_models(
            known.values,
            data.target[train],
            [names for names, known_row in zip(groups, train, strict=True) if known_row],
            learning,
            features.names,
            scale,
        )
        unseen = features.values[test]
        part = fitted.predict(unseen, features.names, learning["coverage"])
        part["distance"] = distances_to_training(unseen * scale, known.values * scale)
        parts.append(part.set_index(np.flatnonzero(test)).assign(fold=fold))
        folds.append(
            {
                "n_train": int(train.sum()),
                "n_train_structures": len(set(structures[train])),
                "n_test": int(test.sum()),
                "groups_tested": sorted(set(rarest(groups)[test])),
                "rounds": fitted.learner.booster.num_boosted_rounds(),
                "members": fitted.folds.number,
                "kernel_length": fitted.learner.kernel.length,
                "kernel_penalty": fitted.learner.kernel.penalty,
                "ridge_penalty": fitted.linear.ridge.penalty,
            }
        )
    predictions = pd.concat(parts).reindex(np.arange(len(data.target)))
    predictions["fold"] = split.fold
    return OutOfFold(predictions, folds)


def _drawn(structures: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Rows of a random part of the crystals, bool (n_sites,); a smaller part lies in a larger."""
    names = np.unique(structures)
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = names[order[: max(MIN_TRAINED, round(share * len(names)))]]
    return np.isin(structures, chosen)


def every_split(data: TrainingData, learning: dict[str, Any]) -> dict[str, list[OutOfFold]]:
    """Out-of-fold predictions by split, for each seed.

    Left out, with a line, are splits with one group and those that leave a fold nothing to train
    on, as where one element is in all crystals.

    Raises
    ------
    ValueError
        One structure type: the split that the verdict reads would be left out.
    """
    found: dict[str, list[OutOfFold]] = {}
    for split in SPLITS:
        groups = split_groups(split, data.sites, data.features)
        if split != MAIN_SPLIT and len(set(rarest(groups)) - {""}) < 2:
            continue
        seeds = range(learning["seed"], learning["seed"] + learning["seeds"])
        try:
            found[split] = [out_of_fold(data, groups, learning | {"seed": seed}) for seed in seeds]
        except UntrainedFoldError as error:
            if split == MAIN_SPLIT:
                raise
            print(f"split by {split} left out: {error}")
    return found


def score_table(
    data: TrainingData, results: dict[str, list[OutOfFold]], learning: dict[str, Any]
) -> pd.DataFrame:
    """One row per split and model: scores, intervals, coverage, differences to the trees.

    Columns: ``split``, ``model``, ``n_sites`` tested, ``n_groups``, ``n_seeds``; ``r2``, ``mae``,
    ``rmse`` with ``_low``, ``_high`` (95 % by group) and ``_seeds`` (standard deviation over the
    seeds); ``coverage`` and ``width`` of the intervals; ``mae_minus_xgboost`` with ``_low``,
    ``_high`` (paired).
    """
    rows = []
    for split, seeds in results.items():
        groups = rarest(split_groups(split, data.sites, data.features))
        tested = groups != ""
        truth, names = data.target[tested], groups[tested]
        parts = [one.predictions[tested] for one in seeds]
        drawn = {
            model: [
                resampled(truth, part[model].to_numpy(), names, learning["bootstrap"], 0)
                for part in parts
            ]
            for model in MODELS
        }
        for model in MODELS:
            row: dict[str, Any] = {"split": split, "model": model, "n_sites": len(truth)}
            row |= {"n_groups": len(set(names)), "n_seeds": len(parts)}
            single = [scores(truth, part[model].to_numpy()) for part in parts]
            for name in NAMES:
                values = np.array([one[name] for one in single], dtype=float)
                sample = np.mean([one[name] for one in drawn[model]], axis=0)
                row |= {name: values.mean(), f"{name}_seeds": values.std()}
                row |= _bounds(name, sample)
            if model in CHOICES:
                low, high = (
                    np.array([part[f"{model}_{end}"].to_numpy() for part in parts])
                    for end in ("low", "high")
                )
                row["coverage"] = coverage(truth, low, high)
                row["width"] = float(np.mean(high - low))
            if model != "xgboost":
                pairs = zip(drawn[model], drawn["xgboost"], strict=True)
                difference = np.mean([one["mae"] - other["mae"] for one, other in pairs], axis=0)
                trees = np.mean(
                    [scores(truth, part["xgboost"].to_numpy())["mae"] for part in parts]
                )
                row["mae_minus_xgboost"] = row["mae"] - trees
                row |= _bounds("mae_minus_xgboost", difference)
            rows.append(row)
    return pd.DataFrame(rows)


def _bounds(name: str, sample: np.ndarray) -> dict[str, float]:
    sample = sample[np.isfinite(sample)]
    low, high = np.percentile(sample, [2.5, 97.5]) if len(sample) else (np.nan, np.nan)
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def learning_curve(
    data: TrainingData, results: dict[str, list[OutOfFold]], learning: dict[str, Any]
) -> pd.DataFrame:
    """Scores against the number of training crystals, by split and model, at the first seed.

    Columns: ``split``, ``model``, ``share`` and ``n_structures`` (crystals that the folds train on
    and test with), ``r2``, ``mae``, ``rmse``. A random part is trained on; all are tested.
    """
    rows = []
    for split, seeds in results.items():
        groups = split_groups(split, data.sites, data.features)
        tested = rarest(groups) != ""
        number = data.sites[Site.STRUCTURE_ID].nunique()
        for share in (*SHARES, 1.0):
            if share * number < 2 * MIN_TRAINED:
                continue
            try:
                one = seeds[0] if share == 1.0 else out_of_fold(data, groups, learning, share)
            except UntrainedFoldError as error:
                print(f"learning curve of {split} at {share:.2g} left out: {error}")
                continue
            for model in MODELS:
                predicted = one.predictions.loc[tested, model].to_numpy()
                score = scores(data.target[tested], predicted)
                size = {"share": share, "n_structures": round(share * number)}
                rows.append({"split": split, "model": model} | size | score)
    columns = ["split", "model", "share", "n_structures", "r2", "mae", "rmse"]
    return pd.DataFrame(rows, columns=columns)


def best_model(table: pd.DataFrame, split: str) -> dict[str, Any]:
    """Model of least MAE in a split, by how much, and whether that is more than luck.

    ``shown`` is true where the 95 % interval of the paired difference to the trees leaves out 0.
    """
    rows = table[(table["split"] == split) & table["model"].isin(CHOICES)].set_index("model")
    name = str(rows["mae"].idxmin())
    gain = {key: rows.loc[name, f"mae_minus_xgboost{key}"] for key in ("", "_low", "_high")}
    if name == "xgboost":
        return {"split": split, "model": name, "mae_minus_xgboost": 0.0, "shown": False}
    return {
        "split": split,
        "model": name,
        "mae_minus_xgboost": float(gain[""]),
        "ci95": [float(gain["_low"]), float(gain["_high"])],
        "shown": bool(gain["_high"] < 0),
    }
