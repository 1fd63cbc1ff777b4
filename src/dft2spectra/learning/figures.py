"""Figures of the learning part: parity, importance, ranked candidates."""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dft2spectra.columns import TARGETS, Site
from dft2spectra.figures import STYLE, save_figure
from dft2spectra.learning.metrics import UNITS

NAMES = {
    "moment": "moment",
    "isomer_shift": "isomer shift",
    "vzz": "Vzz",
    "bhf": "hyperfine field",
}
AXIS_LABELS = {column: f"{NAMES[name]} ({UNITS[name]})" for name, column in TARGETS.items()}

TITLES = {
    "xgboost": "XGBoost",
    "kernel": "Matérn kernel",
    "mean_of_both": "mean of XGBoost and kernel",
    "linear": "ridge regression",
    "mean": "mean",
}
DOT, BASELINE, OUTSIDE = "#1f5a94", "#b06a1f", "#9a9a9a"
BARS_SHOWN = 20
# More error bars than this hide one another.
BARS_LEGIBLE = 200


def plot_parity(
    truth: np.ndarray,
    predictions: pd.DataFrame,
    metrics: dict[str, Any],
    path: str | Path,
    caption: str = "each site predicted without its structure type",
) -> None:
    """Prediction against calculation for the chosen model and the linear one.

    ``caption`` says how the predictions were made.
    """
    column = Site(metrics["column"])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
        axes = figure.subplots(1, 2)
        bars = len(truth) <= BARS_LEGIBLE
        chosen = metrics["model"]
        shown = np.concatenate([truth, predictions[chosen]])
        margin = 0.06 * (np.ptp(shown) or 1.0)
        limits = (shown.min() - margin, shown.max() + margin)
        for axis, name, colour in zip(axes, (chosen, "linear"), (DOT, BASELINE), strict=True):
            values = predictions[name].to_numpy()
            axis.plot(limits, limits, color="black", linewidth=0.8, zorder=1)
            if name == chosen and bars:
                low, high = (predictions[f"{chosen}_{end}"] for end in ("low", "high"))
                axis.vlines(truth, low, high, color=colour, alpha=0.3, linewidth=0.8)
            inside = (values >= limits[0]) & (values <= limits[1])
            style = {"s": 14 if len(truth) <= 1000 else 4, "color": colour, "linewidth": 0}
            axis.scatter(truth, np.clip(values, *limits), alpha=0.7, rasterized=True, **style)
            axis.set(xlim=limits, ylim=limits, aspect="equal")
            for side in (axis.xaxis, axis.yaxis):
                side.set_major_locator(MaxNLocator(6))
            axis.set_xlabel(f"calculated {AXIS_LABELS[column]}")
            axis.set_ylabel(f"predicted {AXIS_LABELS[column]}")
            axis.set_title(TITLES[name])
            note = _score_text(metrics["models"][name], UNITS[metrics["target"]])
            if not inside.all():
                note += f"\n{int((~inside).sum())} beyond the frame"
            axis.text(0.03, 0.97, note, transform=axis.transAxes, va="top", fontsize=8)
        figure.suptitle(_wrapped(metrics["verdict"], 110), fontsize=8.5)
        caption += "; in brackets: 95 % interval"
        if bars:
            caption += "; vertical bars: intervals of the predictions"
        figure.supxlabel(caption, fontsize=7.5)
        save_figure(figure, path)


def _score_text(model: dict[str, Any], unit: str) -> str:
    low, high = model["ci95_by_parent"]["r2"]
    mae_low, mae_high = model["ci95_by_parent"]["mae"]
    r2 = "R² undefined" if model["r2"] is None else f"R² {model['r2']:.2f}"
    if low is not None:
        r2 += f" ({low:.2f} to {high:.2f})"
    return f"{r2}\nMAE {model['mae']:.3g} ({mae_low:.3g} to {mae_high:.3g}) {unit}"


def plot_importance(
    names: np.ndarray,
    gain: np.ndarray,
    by_block: dict[str, float],
    card: dict[str, Any],
    path: str | Path,
) -> None:
    """Share of the total gain by block of features and of the twenty largest single features."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 4.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        blocks = sorted(by_block, key=lambda block: by_block[block])
        left.barh(_plain(blocks), [by_block[block] for block in blocks], color=DOT)
        left.set_title("blocks of features")
        order = np.argsort(-gain, kind="stable")[:BARS_SHOWN]
        order = order[gain[order] > 0][::-1]
        right.barh(_plain(list(names[order])), gain[order], color=DOT)
        right.set_title("single features (n, n′ radial, l angular)")
        right.tick_params(axis="y", labelsize=7)
        for axis in (left, right):
            axis.set_xlabel("share of the total gain")
            axis.set_xlim(left=0.0)
            axis.spines[["top", "right"]].set_visible(False)
        if not len(order):
            right.text(0.5, 0.5, "no split was made", ha="center", transform=right.transAxes)
            right.set_yticks([])
        label = AXIS_LABELS[Site(card["column"])].split(" (")[0]
        figure.suptitle(_wrapped(f"{label}: {card['verdict']}", 120), fontsize=8.5)
        save_figure(figure, path)


def plot_ranking(
    table: pd.DataFrame, column: Site, limit: float, verdict: str, path: str | Path
) -> None:
    """Best candidates with expected errors, and prediction against distance to the training."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 5.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        if table.empty:
            left.text(0.5, 0.5, "no candidates", ha="center", transform=left.transAxes)
        else:
            _ranked_bars(left, table.head(BARS_SHOWN)[::-1], column)
            colours = np.where(table["inside_domain"], DOT, OUTSIDE)
            right.scatter(table["nearest_distance"], table[column], c=colours, s=16)
        if np.isfinite(limit):
            right.axvline(limit, color="black", linewidth=0.8, linestyle="--")
            right.annotate(
                " tested up to here",
                (limit, 0.02),
                xycoords=("data", "axes fraction"),
                rotation=90,
                ha="right",
                fontsize=7,
            )
        right.set_xlabel("distance to the nearest training site (descriptor units)")
        right.set_ylabel(f"predicted {AXIS_LABELS[column]}")
        figure.supxlabel(
            "grey: farther from the training sites than the score was tested, or unseen elements",
            fontsize=7.5,
        )
        figure.suptitle(_wrapped(verdict, 120), fontsize=8.5)
        save_figure(figure, path)


def _ranked_bars(axis: Axes, best: pd.DataFrame, column: Site) -> None:
    names = [f"{row.structure_id} {row.site}" for row in best.itertuples()]
    colours = np.where(best["inside_domain"], DOT, OUTSIDE)
    places = np.arange(len(best))
    axis.barh(places, best[column], color=colours)
    axis.hlines(places, best[f"{column}_low"], best[f"{column}_high"], color="black", linewidth=1.0)
    axis.set_yticks(places, names, fontsize=7)
    axis.set_xlabel(f"predicted {AXIS_LABELS[column]}, with its interval")
    axis.spines[["top", "right"]].set_visible(False)


def _plain(names: list[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))
