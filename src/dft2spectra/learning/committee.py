"""A committee of boosted trees in one XGBoost model, one output per member.

Member k never sees the k-th part of the training rows (:mod:`dft2spectra.learning.splits`). The
number of boosting rounds is where the error of all members on the parts they do not see is least:
early stopping inside the training rows, on whole groups. The committee's answer is the mean of the
outputs; their standard deviation tells where the answer depends on which groups were in the
training data (a delete-a-group jackknife).

The members are the outputs of a single booster trained with an objective that gives a member no
gradient from its hidden rows; the file is XGBoost's own format and needs nothing of this module to
be read: ``xgboost.Booster(model_file=…).predict`` returns (n_sites, n_members) in the unit of the
target.
"""

import os
from typing import Any

import numpy as np
import xgboost

from dft2spectra.learning.soap import feature_blocks
from dft2spectra.learning.splits import Folds

# Rounds when the training rows are of one structure type and nothing can be hidden.
ROUNDS_WITHOUT_STOPPING = 50

FIXED_PARAMETERS = {
    "tree_method": "hist",
    # Some hundred rows fill no more; the histograms of 256 bins would take most of the time.
    "max_bin": 32,
    "subsample": 0.8,
    "colsample_bytree": 0.1,
    "min_child_weight": 2.0,
    "reg_lambda": 1.0,
    "multi_strategy": "one_output_per_tree",
    "disable_default_eval_metric": True,
}


def threads() -> int:
    """Number of threads, from ``OMP_NUM_THREADS``; 1 where it is not set."""
    return max(1, int(os.environ.get("OMP_NUM_THREADS", "1").split(",")[0] or 1))


def hyperparameters(learning: dict[str, Any]) -> dict[str, Any]:
    """All parameters that reach XGBoost, from the ``learning`` section and the fixed ones."""
    return FIXED_PARAMETERS | {
        "learning_rate": learning["learning_rate"],
        "max_depth": learning["max_depth"],
        "seed": learning["seed"],
    }


def train_committee(
    values: np.ndarray,
    target: np.ndarray,
    folds: Folds,
    learning: dict[str, Any],
    names: np.ndarray | None = None,
) -> xgboost.Booster:
    """Booster with one output per member, cut back to the best number of rounds.

    Parameters
    ----------
    values
        Features (n_sites, n_features).
    target
        Quantity to learn (n_sites,).
    folds
        Parts of these rows.
    learning
        ``seed``, ``n_estimators`` (most rounds), ``early_stopping_rounds``,
        ``learning_rate``, ``max_depth``.
    names
        Feature names (n_features,), stored in the model.
    """
    hidden = ~folds.trains
    tested = folds.fold[:, None] == np.arange(folds.number)
    labels = np.repeat(np.asarray(target, dtype=np.float32)[:, None], hidden.shape[1], axis=1)
    data = _matrix(values, names, labels)

    def squared_error(output: np.ndarray, _: xgboost.DMatrix) -> tuple[np.ndarray, np.ndarray]:
        residual = output.reshape(hidden.shape) - labels
        return np.where(hidden, 0.0, residual), np.where(hidden, 0.0, 1.0)

    def hidden_rmse(output: np.ndarray, _: xgboost.DMatrix) -> tuple[str, float]:
        residual = (output.reshape(hidden.shape) - labels)[tested]
        return "rmse", float(np.sqrt(np.mean(residual.astype(float) ** 2)))

    parameters = hyperparameters(learning) | {
        "base_score": float(np.mean(target)),
        "nthread": threads(),
    }
    if not hidden.any():
        rounds = min(ROUNDS_WITHOUT_STOPPING, learning["n_estimators"])
        return xgboost.train(parameters, data, num_boost_round=rounds, obj=squared_error)
    stopping = xgboost.callback.EarlyStopping(
        rounds=learning["early_stopping_rounds"], save_best=True
    )
    return xgboost.train(
        parameters,
        data,
        num_boost_round=learning["n_estimators"],
        obj=squared_error,
        custom_metric=hidden_rmse,
        evals=[(data, "hidden")],
        callbacks=[stopping],
        verbose_eval=False,
    )


def predict_committee(
    booster: xgboost.Booster, values: np.ndarray, names: np.ndarray | None = None
) -> np.ndarray:
    """Predictions of the members, (n_sites, n_members), in the target's unit."""
    booster.set_param({"nthread": threads()})
    return booster.predict(_matrix(values, names)).reshape(len(values), -1).astype(float)


def gain_by_feature(booster: xgboost.Booster, names: np.ndarray) -> np.ndarray:
    """Share of each feature in the total gain of all splits, (n_features,); sums to 1 or is all 0.

    Early columns win among features that carry the same information: read shares of blocks rather
    than of single features.
    """
    scores = booster.get_score(importance_type="total_gain")
    gain = np.array([float(np.sum(scores.get(name, 0.0))) for name in names])
    return gain / gain.sum() if gain.sum() > 0 else gain


def _matrix(
    values: np.ndarray, names: np.ndarray | None, labels: np.ndarray | None = None
) -> xgboost.DMatrix:
    weights = None
    if labels is not None and names is not None:
        # Every block is drawn as often: some have a hundred features, some eight.
        blocks = np.unique(feature_blocks(names), return_inverse=True, return_counts=True)
        weights = 1.0 / blocks[2][blocks[1]]
    return xgboost.DMatrix(
        np.asarray(values, dtype=np.float32),
        label=labels,
        feature_names=None if names is None else [str(name) for name in names],
        feature_weights=weights,
    )
