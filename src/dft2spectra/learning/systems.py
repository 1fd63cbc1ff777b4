"""Models of single chemical systems: what the own crystals of Fe–Al, say, and all others tell.

Every crystal of a system, with its strained copies, is left out in turn; the same kernel model then
predicts it from

own
    the other crystals of the system alone;
all
    all other crystals of all systems;
weighted
    the same, those of the system with their errors held ``WEIGHT`` times smaller.

A system counts with at least ``MIN_SITES`` sites in ``MIN_CRYSTALS`` crystals. R² is against the
mean of the system: a model of a system has to know what makes its sites different from one another.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.columns import Site
from dft2spectra.figures import new_figure, save_figure
from dft2spectra.learning.evaluation import MIN_TRAINED
from dft2spectra.learning.figures import AXIS_LABELS
from dft2spectra.learning.kernel import fit_kernel, inverse_of, kernel
from dft2spectra.learning.metrics import UNITS, intervals, scores
from dft2spectra.learning.soap import distance_scale
from dft2spectra.learning.splits import Groups, inner_folds, rarest, split_groups
from dft2spectra.learning.training_data import TrainingData, read_training_data
from dft2spectra.records import write_csv

METHOD_VERSION = 1

MIN_SITES, MIN_CRYSTALS = 10, 5
# Penalty of a row of another system over that of an own row.
WEIGHT = 10.0
MODELS = ("own", "all", "weighted")
COLOURS = {"own": "#b06a1f", "all": "#1f5a94", "weighted": "#3c7d4f"}
COLUMNS = (
    *("system", "n_sites", "n_structures", "model", "r2", "mae", "rmse", "spread"),
    *(f"{name}_{end}" for name in ("r2", "mae", "rmse") for end in ("low", "high")),
)


def systems_of(data: TrainingData) -> dict[str, np.ndarray]:
    """Rows of every system that has enough sites, bool (n_sites,), the largest first."""
    names = rarest(split_groups("chemical_system", data.sites, data.features))
    crystals = rarest(split_groups("structure", data.sites, data.features))
    found = {}
    for name in sorted(set(names)):
        rows = names == name
        if rows.sum() >= MIN_SITES and len(set(crystals[rows])) >= MIN_CRYSTALS:
            found[str(name)] = rows
    return dict(sorted(found.items(), key=lambda item: (-item[1].sum(), item[0])))


def left_out_predictions(
    data: TrainingData, rows: np.ndarray, learning: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Predictions (n_rows,) of the sites of a system by model, each crystal left out in turn."""
    groups = split_groups("structure", data.sites, data.features)
    names = rarest(groups)
    found = {model: np.full(int(rows.sum()), np.nan) for model in MODELS}
    for name in sorted(set(names[rows])):
        out = names == name
        test = (out & rows)[rows]
        unseen = data.features.values[out & rows]
        for model in MODELS:
            known = ~out & data.trainable & (rows if model == "own" else True)
            if known.sum() >= MIN_TRAINED:
                own = rows[known] if model == "weighted" else None
                found[model][test] = _predict(data, known, groups, unseen, own, learning)
    return found


def _predict(
    data: TrainingData,
    known: np.ndarray,
    groups: Groups,
    unseen: np.ndarray,
    own: np.ndarray | None,
    learning: dict[str, Any],
) -> np.ndarray:
    features, target = data.features.of(known), data.target[known]
    scale = distance_scale(features)
    inside = [names for names, row in zip(groups, known, strict=True) if row]
    folds = inner_folds(inside, learning["folds"], learning["seed"])
    model = fit_kernel(features.values, target, folds, scale)
    if own is None:
        return model.predict(unseen)[0]
    matrix = kernel(model.points, model.points, model.length)
    penalties = model.penalty * np.where(own, 1.0 / WEIGHT, 1.0)
    centre = float(np.average(target, weights=1.0 / penalties))
    inverse = inverse_of(matrix + np.diag(penalties), 0.0)
    points = np.asarray(unseen, dtype=float) * scale
    return centre + kernel(points, model.points, model.length) @ (inverse @ (target - centre))


def evaluate_systems(
    features_npz: str | Path,
    sites_parquet: str | Path,
    representatives_csv: str | Path,
    target: str,
    learning: dict[str, Any],
    out_csv: str | Path,
    out_figure: str | Path,
) -> None:
    """Write scores of every system and model with 95 % intervals by crystal, and a figure.

    ``spread`` is the standard deviation of the quantity in the system, in its unit.
    """
    data = read_training_data(features_npz, sites_parquet, target, representatives_csv)
    rows = []
    for system, own in systems_of(data).items():
        predictions = left_out_predictions(data, own, learning)
        truth, crystals = data.target[own], data.features.structure_id[own]
        for model, values in predictions.items():
            known = np.isfinite(values)
            if known.sum() < 2:
                continue
            row: dict[str, Any] = {"system": system, "n_sites": int(own.sum())}
            row |= {"n_structures": len(set(crystals)), "model": model}
            row |= scores(truth[known], values[known]) | {"spread": float(truth.std())}
            bounds = intervals(
                truth[known], values[known], crystals[known], learning["bootstrap"], 0
            )
            for name, (low, high) in bounds.items():
                row |= {f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_csv(out_csv, table)
    _plot(table, target, data, out_figure)


def _plot(table: pd.DataFrame, target: str, data: TrainingData, path: str | Path) -> None:
    """MAE of every system and model beside the spread of the quantity in the system."""
    systems = list(dict.fromkeys(table["system"]))
    figure, axis = new_figure(max(6.0, 0.62 * len(systems) + 2.0), 3.8)
    if not systems:
        axis.set_axis_off()
        figure.suptitle(
            f"no system has {MIN_SITES} sites in {MIN_CRYSTALS} crystals yet", fontsize=9
        )
        save_figure(figure, path)
        return
    places = np.arange(len(systems))
    for shift, model in zip((-0.25, 0.0, 0.25), MODELS, strict=True):
        part = table[table["model"] == model].set_index("system").reindex(systems)
        errors = [part["mae"] - part["mae_low"], part["mae_high"] - part["mae"]]
        axis.bar(
            places + shift,
            part["mae"],
            0.23,
            color=COLOURS[model],
            yerr=np.clip(np.array(errors, dtype=float), 0.0, None),
            error_kw={"linewidth": 0.7},
            label=model,
        )
    spread = table.drop_duplicates("system").set_index("system").loc[systems, "spread"]
    axis.plot(places, spread, "_", color="black", markersize=16, label="spread in the system")
    sizes = table.drop_duplicates("system").set_index("system").loc[systems, "n_sites"]
    labels = [f"{system}\n{size}" for system, size in zip(systems, sizes, strict=True)]
    axis.set_xticks(places, labels, fontsize=7)
    axis.set_ylabel(f"MAE ({UNITS[target]})")
    axis.set_ylim(bottom=0.0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False)
    label = AXIS_LABELS[Site(data.column)].split(" (")[0]
    figure.suptitle(
        f"{label} in single systems, each crystal left out in turn; below: number of sites",
        fontsize=9,
    )
    save_figure(figure, path)
