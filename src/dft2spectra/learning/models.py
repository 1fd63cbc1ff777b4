"""Models of one site property, fitted to the same rows with the same parts left out inside.

xgboost
    committee of boosted trees (:mod:`dft2spectra.learning.committee`), the default.
kernel
    Matérn kernel ridge regression on the same fingerprints (:mod:`dft2spectra.learning.kernel`).
mean_of_both
    the mean of these two; their errors are of different origin.
linear
    ridge regression; what a model must beat.
mean
    the mean of the training rows; what the linear model must beat.

Intervals of the first three are CV+ (Barber, Candès, Ramdas, Tibshirani, Ann. Stat. 49, 486 (2021))
with whole groups left out: each training row says how wrong a member was that had not seen its
group, and each member says what it expects of the new site.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xgboost

from dft2spectra.arrays import (
    MAX_BYTES,
    DamagedFileError,
    read_arrays,
    refuse_not_finite,
)
from dft2spectra.learning.baselines import LinearModel, fit_linear
from dft2spectra.learning.committee import predict_committee, train_committee
from dft2spectra.learning.kernel import KernelModel, fit_kernel
from dft2spectra.learning.splits import NEVER, Folds, Groups, inner_folds
from dft2spectra.records import whole_file

# Those that the configuration can choose, and those beside them.
CHOICES = ("xgboost", "kernel", "mean_of_both")
MODELS = (*CHOICES, "linear", "mean")


class Learner(NamedTuple):
    """What the chosen models need to predict: ``model.ubj`` and ``kernel.npz``."""

    booster: xgboost.Booster
    kernel: KernelModel
    target: np.ndarray  # (n_train,)
    fold: np.ndarray  # int (n_train,): part without which each row was predicted, or NEVER
    hidden: np.ndarray  # (n_train,): prediction of the trees without the row's part


class Fitted(NamedTuple):
    """All models of one set of training rows."""

    learner: Learner
    linear: LinearModel
    folds: Folds

    def predict(self, values: np.ndarray, names: np.ndarray, coverage: float) -> pd.DataFrame:
        """Column per model; ``<model>_low``, ``_high`` and ``_spread`` of those in CHOICES."""
        table = predict(self.learner, values, names, coverage)
        table["linear"] = self.linear.predict(values)
        table["mean"] = self.learner.target.mean()
        return table


def fit_models(
    values: np.ndarray,
    target: np.ndarray,
    groups: Groups,
    learning: dict[str, Any],
    names: np.ndarray,
    scale: np.ndarray,
) -> Fitted:
    """All models of the training rows; every choice made with ``groups`` left out inside them.

    Parameters
    ----------
    values, target
        Features (n_sites, n_features) and quantity (n_sites,) of the training rows.
    groups
        Groups of each row; what is left out together inside.
    learning
        ``folds``, ``seed``, ``n_estimators``, ``early_stopping_rounds``, ``learning_rate``,
        ``max_depth``.
    names, scale
        Of the features, (n_features,).
    """
    folds = inner_folds(groups, learning["folds"], learning["seed"])
    booster = train_committee(values, target, folds, learning, names)
    kernel = fit_kernel(values, target, folds, scale)
    target = np.asarray(target, dtype=float)
    tested = folds.fold != NEVER
    hidden = target.copy()
    if tested.any():
        members = predict_committee(booster, values, names)
        hidden[tested] = members[tested, folds.fold[tested]]
    learner = Learner(booster, kernel, target, folds.fold, hidden)
    return Fitted(learner, fit_linear(values, target, folds), folds)


def predict(
    learner: Learner, values: np.ndarray, names: np.ndarray, coverage: float
) -> pd.DataFrame:
    """Predictions with intervals of the models in :data:`CHOICES`, a row per row of ``values``.

    Columns ``<model>``, ``<model>_low``, ``<model>_high``, ``<model>_spread`` (standard deviation
    over the members), in the unit of the target. Where nothing was left out there is no interval.
    """
    trees = predict_committee(learner.booster, values, names)
    whole, members = learner.kernel.predict(values)
    results = {
        "xgboost": (trees.mean(axis=1), trees, learner.hidden),
        "kernel": (whole, members, learner.kernel.hidden),
        "mean_of_both": (
            0.5 * (trees.mean(axis=1) + whole),
            0.5 * (trees + members),
            0.5 * (learner.hidden + learner.kernel.hidden),
        ),
    }
    table: dict[str, np.ndarray] = {}
    for name, (prediction, expected, hidden) in results.items():
        low, high = cv_plus(expected, learner.fold, np.abs(learner.target - hidden), coverage)
        table |= {name: prediction, f"{name}_low": low, f"{name}_high": high}
        table[f"{name}_spread"] = expected.std(axis=1)
    return pd.DataFrame(table)


def cv_plus(
    members: np.ndarray, fold: np.ndarray, residual: np.ndarray, coverage: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of CV+ intervals, each (n_new,); NaN without any row that was left out.

    Parameters
    ----------
    members
        Prediction of each new site by each member (n_new, n_members).
    fold, residual
        Member that had not seen a training row, and the size of its error there (n_train,).
    coverage
        Share of the sites that the interval shall hold, between 0 and 1.
    """
    rows = np.flatnonzero(fold != NEVER)
    if not len(rows):
        nothing = np.full(len(members), np.nan)
        return nothing, nothing
    expected, width = members[:, fold[rows]], residual[rows]
    above = min(int(np.ceil(coverage * (len(rows) + 1))), len(rows))
    below = len(rows) - above
    low = np.partition(expected - width, below, axis=1)[:, below]
    high = np.partition(expected + width, above - 1, axis=1)[:, above - 1]
    return low, high


def write_learner(folder: str | Path, learner: Learner) -> None:
    """Write ``model.ubj``, the trees in XGBoost's own format, and ``kernel.npz``."""
    with whole_file(Path(folder) / "model.ubj") as temporary:
        learner.booster.save_model(temporary)
    arrays = learner.kernel._asdict() | {
        "target": learner.target,
        "fold": learner.fold,
        "hidden_of_trees": learner.hidden,
    }
    with whole_file(Path(folder) / "kernel.npz") as temporary:
        np.savez_compressed(temporary, **arrays)


def read_learner(folder: str | Path) -> Learner:
    """Read what :func:`write_learner` wrote."""
    booster = _read_booster(Path(folder) / "model.ubj")
    path = Path(folder) / "kernel.npz"
    stored: dict[str, Any] = read_arrays(
        path, [*KernelModel._fields, "target", "fold", "hidden_of_trees"]
    )
    refuse_not_finite(path, stored, [name for name in KernelModel._fields if name != "hidden"])
    numbers = {name: float(stored[name]) for name in ("length", "penalty", "centre")}
    arrays = {name: stored[name] for name in ("points", "scale", "coefficients", "hidden")}
    kernel = KernelModel(**(numbers | arrays))
    return Learner(booster, kernel, stored["target"], stored["fold"], stored["hidden_of_trees"])


def _read_booster(path: Path) -> xgboost.Booster:
    """Trees from their file; what XGBoost says of a damaged one is an inner trace of addresses."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DamagedFileError(path, f"it has {size / 1e9:.3g} GB")
    try:
        return xgboost.Booster(model_file=path)
    except (xgboost.core.XGBoostError, MemoryError) as error:
        raise DamagedFileError(path, "XGBoost finds no whole model in it") from error
