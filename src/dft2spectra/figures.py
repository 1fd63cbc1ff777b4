"""One look and one way of saving for all figures: equal numbers give equal files."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.text import Text

from dft2spectra.records import whole_file

STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "svg.hashsalt": "dft2spectra",
}


def new_figure(width: float, height: float, **subplots: Any) -> tuple[Figure, Any]:
    """Figure (inches) in the project's style and its axes, one or an array of them."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(**subplots)


def save_figure(figure: Figure, png: str | Path) -> None:
    """Write the PNG and, beside it, the same as SVG.

    Text is shown as it is: a compound may have any name, and dollar signs in it are no formula.
    """
    ticks = {label for axes in figure.axes for label in _tick_labels(axes)}
    for text in set(figure.findobj(Text)) - ticks:
        text.set_parse_math(False)
    with mpl.rc_context(STYLE):
        for path in (Path(png), Path(png).with_suffix(".svg")):
            # The date would make equal figures differ.
            metadata = {"Date": None} if path.suffix == ".svg" else {}
            with whole_file(path) as temporary:
                figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)


def _tick_labels(axes: Any) -> list[Text]:
    """Labels of the ticks, whose powers of ten are formulas of Matplotlib's own."""
    return [
        label
        for axis in (axes.xaxis, axes.yaxis)
        for label in (*axis.get_ticklabels(which="both"), axis.get_offset_text())
    ]
