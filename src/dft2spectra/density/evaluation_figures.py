"""Figures of a density model's test: forces, histograms of errors, uncertainty against error."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from dft2spectra.columns import DensityTest as Column
from dft2spectra.columns import Status
from dft2spectra.figures import new_figure, save_figure

# One-hue map from light to dark: counts. Temperatures from cold to warm.
COUNTS = "Blues"
SINGLE = 0.2  # start of the map, so that a cell with one point can be seen
TEMPERATURES = "plasma"
HISTOGRAMS = (
    (Column.DENSITY, "density error (% of the electrons)", 1.0),
    (Column.ENERGY, "energy error − its mean (meV)", 1.0),
    (Column.FORCE_MAE, "mean absolute force error (meV/Å)", 1.0),
    (Column.MIXED_DIPOLE, "dipole error (mD)", 1e3),
    (Column.GAP, "gap error (meV)", 1.0),
    (Column.EXCESS, "excess electrons (10⁻³)", 1e3),
)
BINS = 18


def draw_forces(png: str | Path, forces_ev_ang: np.ndarray, title: str) -> None:
    """Force components (2, n) of model and calculation: parity and residual, as density of points.

    The residual has its own panel, in meV/Å: on the scale of the forces it cannot be seen.
    """
    model, truth = forces_ev_ang
    residual = 1e3 * (model - truth)
    figure, (left, right) = new_figure(7.5, 3.4, ncols=2)
    span = 1.05 * max(np.abs(forces_ev_ang).max(), 1e-6)
    style: dict[str, Any] = {"gridsize": 50, "mincnt": 1, "cmap": COUNTS, "linewidths": 0.1}
    style["norm"] = LogNorm(vmin=SINGLE, vmax=max(len(truth) / 10, 10.0))
    left.plot([-span, span], [-span, span], color="0.5", lw=0.8, zorder=0)
    left.hexbin(truth, model, extent=(-span, span, -span, span), **style)
    left.set(xlim=(-span, span), ylim=(-span, span), aspect="equal")
    left.set_xlabel("DFT force component (eV/Å)")
    left.set_ylabel("one-shot force component (eV/Å)")
    width = 1.05 * max(np.abs(residual).max(), 1e-6)
    right.axhline(0.0, color="0.5", lw=0.8, zorder=0)
    cells = right.hexbin(truth, residual, extent=(-span, span, -width, width), **style)
    right.set(xlim=(-span, span), ylim=(-width, width))
    right.set_xlabel("DFT force component (eV/Å)")
    right.set_ylabel("one-shot − DFT (meV/Å)")
    right.set_title(
        f"MAE {np.abs(residual).mean():.2g}, rms {np.sqrt((residual**2).mean()):.2g} meV/Å",
        fontsize=8,
    )
    left.set_title(title, fontsize=8)
    figure.colorbar(cells, ax=right, label="number of components").ax.set_ylim(bottom=1.0)
    save_figure(figure, png)


def draw_error_histograms(png: str | Path, table: pd.DataFrame, title: str) -> None:
    """Histograms of the errors of the test geometries, stacked by temperature."""
    good = table[table[Column.STATUS] == Status.CONVERGED]
    temperatures, colours = _temperatures(good)
    figure, grid = new_figure(8.0, 4.6, nrows=2, ncols=3)
    for axes, (column, label, factor) in zip(grid.flat, HISTOGRAMS, strict=True):
        values = factor * good[column].to_numpy(dtype=float)
        values = values - values.mean() if column == Column.ENERGY else values
        axes.set_xlabel(label)
        if not np.isfinite(values).all():
            axes.text(0.5, 0.5, "not defined", transform=axes.transAxes, ha="center")
            continue
        parts = [values[good[Column.TEMPERATURE] == t] for t in temperatures]
        names = [f"{t:g} K" for t in temperatures]
        axes.hist(parts, bins=BINS, stacked=True, color=colours, label=names)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        if column not in (Column.DENSITY, Column.FORCE_MAE, Column.DIPOLE):
            axes.axvline(0.0, color="0.4", lw=0.8)
    for axes in grid[:, 0]:
        axes.set_ylabel("test geometries")
    grid.flat[0].legend(fontsize=7, frameon=False)
    figure.suptitle(f"{title}: {len(good)} test geometries, model − DFT", fontsize=9)
    save_figure(figure, png)


def draw_uncertainty(
    png: str | Path, table: pd.DataFrame, summary: Mapping[str, Any], title: str
) -> None:
    """Actual density error of the test geometries against the error stated beforehand."""
    good = table[table[Column.STATUS] == Status.CONVERGED]
    temperatures, colours = _temperatures(good)
    figure, axes = new_figure(4.6, 4.0)
    for temperature, colour in zip(temperatures, colours, strict=True):
        part = good[good[Column.TEMPERATURE] == temperature]
        axes.loglog(
            part[Column.UNCERTAINTY],
            part[Column.DENSITY],
            "o",
            ms=4,
            alpha=0.7,
            color=colour,
            label=f"{temperature:g} K",
        )
    both = good[[str(Column.UNCERTAINTY), str(Column.DENSITY)]].to_numpy(dtype=float)
    limits = np.array([both.min() / 1.3, both.max() * 1.3])
    axes.plot(limits, limits, color="0.4", lw=0.9)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    _plain_ticks(axes)
    axes.set_xlabel("stated uncertainty (% of the electrons)")
    axes.set_ylabel("density error (% of the electrons)")
    aim = 100.0 * summary["model"]["uncertainty_coverage"]
    found = summary["all"]["uncertainty_coverage"]
    text = f"below the line: {100 * found['value']:.0f} %"
    if found["ci95"]:
        text += f" ({100 * found['ci95'][0]:.0f} to {100 * found['ci95'][1]:.0f} %)"
    axes.set_title(f"{title}\n{text}, aim {aim:.0f} %", fontsize=8)
    axes.legend(fontsize=7, frameon=False)
    save_figure(figure, png)


def _temperatures(rows: pd.DataFrame) -> tuple[list[float], list[Any]]:
    """Temperatures of the rows, ascending, and a colour for each."""
    temperatures = sorted(set(rows[Column.TEMPERATURE]))
    shades = np.linspace(0.1, 0.8, len(temperatures)) if len(temperatures) > 1 else [0.1]
    return temperatures, [mpl.colormaps[TEMPERATURES](shade) for shade in shades]


def _plain_ticks(axes: Axes) -> None:
    """Numbers instead of powers of ten: the axes span less than two decades."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(ScalarFormatter())
    axes.tick_params(axis="x", which="both", rotation=45, labelsize=7)
    axes.tick_params(axis="y", which="both", labelsize=7)
