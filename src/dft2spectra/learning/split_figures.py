"""Figures of the comparison of splits and models."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.columns import Site
from dft2spectra.figures import new_figure, save_figure
from dft2spectra.learning.figures import AXIS_LABELS, TITLES
from dft2spectra.learning.metrics import UNITS
from dft2spectra.learning.models import MODELS

COLOURS = {
    "xgboost": "#1f5a94",
    "kernel": "#b06a1f",
    "mean_of_both": "#3c7d4f",
    "linear": "#8a5a9e",
    "mean": "#9a9a9a",
}


def plot_splits(
    table: pd.DataFrame, curve: pd.DataFrame, metrics: dict[str, Any], path: str | Path
) -> None:
    """MAE of every model in every split with its interval, and against the number of crystals."""
    splits = list(dict.fromkeys(table["split"]))
    unit, label = UNITS[metrics["target"]], AXIS_LABELS[Site(metrics["column"])].split(" (")[0]
    width = 2.2 * max(len(splits), 3)
    figure, axes = new_figure(width, 5.4, nrows=2, ncols=len(splits), squeeze=False)
    for (top, bottom), split in zip(axes.T, splits, strict=True):
        rows = table[table["split"] == split].set_index("model").loc[list(MODELS)]
        places = np.arange(len(MODELS))[::-1]
        errors = [rows["mae"] - rows["mae_low"], rows["mae_high"] - rows["mae"]]
        top.barh(
            places,
            rows["mae"],
            color=[COLOURS[model] for model in MODELS],
            xerr=np.clip(errors, 0.0, None),
            ecolor="black",
        )
        first = split == splits[0]
        top.set_yticks(places, [TITLES[model] for model in MODELS] if first else [])
        top.set_title(f"{split.replace('_', ' ')} left out", fontsize=8.5)
        top.set_xlabel(f"MAE ({unit})")
        for place, r2 in zip(places, rows["r2"], strict=True):
            text = "" if not np.isfinite(r2) else f" R² {r2:.2f}"
            top.text(0.0, place, text, va="center", fontsize=6.5, color="white")
        for model in MODELS:
            part = curve[(curve["split"] == split) & (curve["model"] == model)]
            bottom.plot(part["n_structures"], part["mae"], "o-", color=COLOURS[model], markersize=3)
        bottom.set_xlabel("crystals in the data")
        bottom.set_ylim(bottom=0.0)
        if first:
            bottom.set_ylabel(f"MAE ({unit})")
        for axis in (top, bottom):
            axis.spines[["top", "right"]].set_visible(False)
    rows = table[table["split"] == splits[0]]
    size = f"{metrics['n_sites']} sites, {metrics['n_structures']} crystals"
    figure.suptitle(f"{label}: {size}", fontsize=9)
    figure.supxlabel(
        f"bars: mean over {int(rows['n_seeds'].iloc[0])} seeds, 95 % intervals by the groups left "
        "out; curves: first seed",
        fontsize=7.5,
    )
    save_figure(figure, path)
