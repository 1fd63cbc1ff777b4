"""Figure of a measured spectrum: counts folded by velocity, fit, sub-spectra, residuals."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dft2spectra.figures import save_figure
from dft2spectra.spectra.figures import COLOURS, SPECTRUM_STYLE, chemical_text


def draw_measurement(png: str | Path, table: pd.DataFrame, labels: list[str], title: str) -> None:
    """Write the figure to ``png`` and, beside it, as SVG.

    Parameters
    ----------
    table
        As :func:`dft2spectra.measured.tables.spectrum_table` makes it.
    labels
        One per sub-spectrum, in the order of their columns.
    """
    curves = list(table.columns[list(table.columns).index("baseline") + 1 :])
    good = table[table["used"]]
    scale = 100.0 / good["baseline"]
    with mpl.rc_context(SPECTRUM_STYLE):
        figure = Figure(figsize=(5.6, 4.4 + 0.17 * (len(curves) + 1)), layout="constrained")
        main, below = figure.subplots(2, 1, sharex=True, height_ratios=(4.0, 1.0))
        velocity = good["velocity_mm_s"].to_numpy()
        points, heights = _paired(velocity, (good["counts"] * scale).to_numpy())
        main.plot(points, heights, ".", color="#777777", markersize=2.5, label="measured")
        for index, (curve, label) in enumerate(zip(curves, labels, strict=True)):
            colour = COLOURS[index % len(COLOURS)]
            height = (good[curve] * scale).to_numpy()
            main.fill_between(velocity, height, 100.0, color=colour, alpha=0.2, linewidth=0)
            main.plot(velocity, height, color=colour, linewidth=1.0, label=label)
        points, heights = _paired(velocity, (good["fit"] * scale).to_numpy())
        main.plot(points, heights, color="black", linewidth=0.9, label="fit")
        below.axhline(0.0, color="black", linewidth=0.6)
        below.plot(velocity, good["residual"], ".", color="#777777", markersize=2.0)
        below.set_xlabel("Velocity relative to α-Fe (mm/s)")
        below.set_ylabel("residual (σ)")
        main.set_ylabel("Transmission (%)")
        main.set_title(title, fontsize=10.0)
        main.set_xlim(velocity.min(), velocity.max())
        figure.legend(*main.get_legend_handles_labels(), loc="outside lower left", fontsize=7.5)
    save_figure(figure, png)


def _paired(velocity: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of neighbours: with both halves of a sweep, the folded spectrum."""
    n = len(velocity) // 2 * 2
    return velocity[:n].reshape(-1, 2).mean(axis=1), values[:n].reshape(-1, 2).mean(axis=1)


def component_label(row: pd.Series) -> str:
    """Label of a component with what an experimentalist fits, errors in the last digits."""
    words = [f"δ {row['isomer_shift_mm_s']:.3f}"]
    if np.isfinite(row["bhf_t"]):
        words.append(f"2ε {row['quadrupole_shift_mm_s']:.2f}, {row['bhf_t']:.2f} T")
    elif np.isfinite(row["quadrupole_splitting_mm_s"]):
        words.append(f"ΔEQ {row['quadrupole_splitting_mm_s']:.2f}")
    area = f"{100.0 * row['area_fraction']:.1f} ± {100.0 * row['area_fraction_error']:.1f} %"
    name = chemical_text(str(row["phase"]))
    return f"{name}, {row['site']}: {', '.join(words)}; {area}".replace("-", "−")
