"""Figure of the calibrations: shift over contact density, calibrated over measured fields."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.figures import new_figure, save_figure


def plot_calibration(points: pd.DataFrame, result: dict[str, Any], path: str | Path) -> None:
    """Draw both fits; the error bars of the fields are left-out errors.

    Parameters
    ----------
    points
        Isomer shifts as in ``calibration.csv``.
    result
        Content of ``calibration.json``.
    path
        PNG; the SVG is written beside it.
    """
    fields = pd.DataFrame(result["field"]["points"])
    figure, grid = new_figure(10.0 if len(fields) else 5.5, 4.2, ncols=2 if len(fields) else 1)
    axes = np.atleast_1d(grid)
    _plot_shifts(axes[0], points, result)
    if len(fields):
        _plot_fields(axes[1], fields, result["field"])
    save_figure(figure, path)


def _plot_shifts(axes: Any, points: pd.DataFrame, result: dict[str, Any]) -> None:
    x = points.density_difference_e_per_bohr3
    line = np.linspace(min(x.min(), 0.0) - 0.1, max(x.max(), 0.0) + 0.1, 50)
    alpha, error = result["alpha_mm_s_bohr3"], result["alpha_error_mm_s_bohr3"]
    axes.fill_between(
        line, (alpha - error) * line, (alpha + error) * line, color="0.88", label="α ± 1 s.e."
    )
    axes.plot(line, alpha * line, color="0.4", lw=1)
    axes.plot(x, points.measured_isomer_shift_mm_s, "o", color="C0", label="measured")
    if result["isomer_shift"]["form"] != "origin":
        # What the form adds to α Δρ depends on the site.
        axes.plot(x, points.fitted_isomer_shift_mm_s, "x", color="C1", label="fitted")
    axes.plot(0, 0, "s", color="C3", label="α-Fe (reference)")
    # Neighbours along the line alternate between above right and below left.
    for number, (_, point) in enumerate(
        points.sort_values("measured_isomer_shift_mm_s").iterrows()
    ):
        axes.annotate(
            f"{point.compound} {point.site}",
            (point.density_difference_e_per_bohr3, point.measured_isomer_shift_mm_s),
            textcoords="offset points",
            xytext=(5, 3) if number % 2 else (-5, -8),
            ha="left" if number % 2 else "right",
            fontsize=6,
        )
    axes.set_xlabel("contact density relative to α-Fe (e/a₀³)")
    axes.set_ylabel("isomer shift relative to α-Fe (mm/s)")
    axes.set_title(
        f"α = {alpha:.3f} ± {error:.3f} mm/s·a₀³, form '{result['isomer_shift']['form']}', "
        f"left-out error {result['leave_one_out_rmse_mm_s']:.3f} mm/s rms",
        fontsize=8,
    )
    axes.legend(fontsize=7)


def _plot_fields(axes: Any, fields: pd.DataFrame, fit: dict[str, Any]) -> None:
    measured = fields.measured_bhf_t.abs()
    calibrated = fields.calibrated_bhf_t.abs()
    limits = [0.0, 1.1 * max(measured.max(), calibrated.max())]
    axes.plot(limits, limits, color="0.7", lw=1)
    axes.errorbar(measured, calibrated, yerr=fields.left_out_error_t.abs(), fmt="o", color="C0")
    for _, point in fields.iterrows():
        axes.annotate(
            f"{point.compound} {point.site}",
            (abs(point.measured_bhf_t), abs(point.calibrated_bhf_t)),
            textcoords="offset points",
            xytext=(5, -8),
            fontsize=6,
        )
    factors = ", ".join(
        f"{term} × {value:.2f} ± {error:.2f}"
        for term, value, error in zip(fit["terms"], fit["coefficients"], fit["errors"], strict=True)
    )
    axes.set_xlabel("measured hyperfine field (T)")
    axes.set_ylabel("calibrated hyperfine field (T)")
    axes.set_title(f"{factors}; left-out error {fit['left_out_rmse']:.1f} T rms", fontsize=8)
