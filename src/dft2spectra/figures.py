"""One look for all figures: the same file, byte for byte, from the same numbers."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dft2spectra.records import whole_file

STYLE = {
    "svg.hashsalt": "dft2spectra",
    "figure.dpi": 150,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "legend.frameon": False,
}


def new_figure(width: float = 5.0, height: float = 4.0, **subplots):
    """Figure and axes (inches) in the project's style."""
    with plt.rc_context(STYLE):
        return plt.subplots(figsize=(width, height), **subplots)


def save_figure(figure: Figure, path: str | Path, svg_twin: bool = True) -> None:
    """Write a PNG and, beside it, an SVG without a date; closes the figure."""
    path = Path(path)
    with plt.rc_context(STYLE):
        for suffix in (".png", ".svg") if svg_twin else (".png",):
            metadata = {"Date": None} if suffix == ".svg" else {"Software": None}
            with whole_file(path.with_suffix(suffix)) as temporary:
                figure.savefig(temporary, metadata=metadata)
    plt.close(figure)
