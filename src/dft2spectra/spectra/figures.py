"""Figure of a Mössbauer spectrum: stick lines above, absorption below, as PNG and SVG."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from dft2spectra.figures import STYLE, new_figure, save_figure
from dft2spectra.spectra.components import Component

# Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#B8A800")
SPECTRUM_STYLE = STYLE | {"xtick.direction": "in", "ytick.direction": "in"}


@dataclass(frozen=True)
class Curve:
    """One sub-spectrum: its label, absorption on the common velocities, and lines."""

    label: str
    absorption: np.ndarray
    positions: np.ndarray
    intensities: np.ndarray


def chemical_text(formula: str) -> str:
    """Formula with its numbers as subscripts, for matplotlib: ``Fe3Si`` → ``Fe$_{3}$Si``."""
    return re.sub(r"(?<=[A-Za-z)])(\d+(?:\.\d+)?)", r"$_{\1}$", formula)


def component_text(component: Component) -> str:
    """Label of a component with the parameters that an experimentalist fits."""

    def number(value: float, digits: int) -> str:
        rounded = round(value, digits)
        return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else "0"

    atoms = f"{component.n_atoms} atom" + ("s" if component.n_atoms > 1 else "")
    words = [f"δ {number(component.shift_mm_s, 2)} mm/s"]
    # Below 0.5 T a field only broadens the lines, and the doublet is what one would fit.
    if abs(component.field_t) >= 0.5:
        words.append(f"Bhf {number(component.field_t, 1)} T")
        words.append(f"2ε {number(component.quadrupole_shift_mm_s, 2)} mm/s")
    else:
        words.append(f"ΔEQ {number(component.quadrupole_splitting_mm_s, 2)} mm/s")
    return f"{component.label}, {atoms}: " + ", ".join(words)


def draw_spectrum(
    png: str | Path,
    velocity_mm_s: np.ndarray,
    curves: Sequence[Curve],
    title: str,
    subtitle: str,
) -> None:
    """Write the figure to ``png`` and, beside it, as SVG.

    The absorption axis points down, so that the picture lies over a transmission measurement while
    its numbers are those of the CSV. Sticks have one row per curve; their length is the intensity
    divided by the strongest line of the row.
    """
    with mpl.rc_context(SPECTRUM_STYLE):
        rows = 0.17 * len(curves)
        legend = 0.17 * (len(curves) + 1)
        figure = Figure(
            figsize=(5.6, 3.6 + rows + legend),
            layout=ConstrainedLayoutEngine(h_pad=0.03, hspace=0.0),
        )
        sticks, main = figure.subplots(
            2, 1, sharex=True, height_ratios=(rows + 0.05, 3.0), gridspec_kw={"hspace": 0.0}
        )
        sticks.set_title(title, fontsize=11.0, pad=5.0 + 10.0 * len(subtitle.splitlines()))
        sticks.annotate(
            subtitle,
            (0.5, 1.0),
            xytext=(0.0, 3.0),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color="#555555",
        )
        _draw_sticks(sticks, curves)
        _draw_absorption(main, velocity_mm_s, curves)
        figure.legend(*main.get_legend_handles_labels(), loc="outside lower left", fontsize=8.0)
    save_figure(figure, png)


def draw_note(png: str | Path, title: str, text: str) -> None:
    """Write a figure that says in words why there is no spectrum."""
    figure, axes = new_figure(5.5, 2.0)
    axes.set_axis_off()
    axes.set_title(title)
    axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True)
    save_figure(figure, png)


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _draw_sticks(axes: Axes, curves: Sequence[Curve]) -> None:
    for row, curve in enumerate(curves):
        top = -float(row)
        length = 0.85 * curve.intensities / curve.intensities.max()
        axes.vlines(curve.positions, top - length, top, color=_colour(row), linewidth=1.1)
        axes.axhline(top, color=_colour(row), linewidth=0.4)
    axes.set_ylim(-len(curves) - 0.1, 0.25)
    axes.set_yticks([])
    axes.tick_params(axis="x", which="both", length=0, labelbottom=False)
    for side in ("top", "left", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _draw_absorption(axes: Axes, velocity: np.ndarray, curves: Sequence[Curve]) -> None:
    total = np.sum([curve.absorption for curve in curves], axis=0)
    for index, curve in enumerate(curves):
        axes.fill_between(velocity, curve.absorption, color=_colour(index), alpha=0.2, linewidth=0)
        axes.plot(
            velocity, curve.absorption, color=_colour(index), linewidth=1.0, label=curve.label
        )
    if len(curves) > 1:
        axes.plot(velocity, total, color="black", linewidth=1.1, label="sum")
    axes.set_xlim(velocity[0], velocity[-1])
    axes.set_ylim(1.06 * total.max(), -0.05 * total.max())
    axes.set_xlabel("Velocity relative to α-Fe (mm/s)")
    axes.set_ylabel("Absorption ((mm/s)⁻¹)")
    axes.minorticks_on()
    axes.tick_params(which="both", top=True, right=True)
