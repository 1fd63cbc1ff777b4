"""From contact densities to isomer shifts: δ = α (ρ − ρ_αFe), fitted to measured compounds.

α depends on code, functional, dataset and on the average taken at the nucleus, so it is fitted for
the campaign's own settings, datasets and version of GPAW and carries the hash of all these. Shifts
are relative to α-Fe at room temperature, and both sides are taken at equal temperature: the
second-order Doppler shift then cancels up to differences of the Debye temperatures (about 0.03 mm/s
between compounds at room temperature), which is part of the fit's scatter.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dft2spectra.columns import Site, Status
from dft2spectra.crystals.sites import orbit_label
from dft2spectra.figures import new_figure, save_figure
from dft2spectra.records import read_json, write_csv, write_json

METHOD_VERSION = 2


def fit_through_origin(x: NDArray, y: NDArray) -> float:
    """Least-squares slope of y = α x."""
    return float(x @ y / (x @ x))


def leave_one_out(x: NDArray, y: NDArray, groups: NDArray) -> tuple[NDArray, NDArray]:
    """Slope without each compound, and the error of every point predicted without its compound.

    Compounds, not sites, are left out: two sites of one compound share its errors.
    """
    names = np.unique(groups)
    slopes = np.array([fit_through_origin(x[groups != g], y[groups != g]) for g in names])
    errors = slopes[np.searchsorted(names, groups)] * x - y
    return slopes, errors


def jackknife_error(slopes: NDArray) -> float:
    """Standard error of the slope from the leave-one-compound-out slopes (Efron 1982)."""
    n = len(slopes)
    return float(np.sqrt((n - 1) / n * ((slopes - slopes.mean()) ** 2).sum()))


def measured_points(records: list[dict], structures: list[dict]) -> pd.DataFrame:
    """Sites with a measured isomer shift marked for the calibration, and their densities."""
    by_id = {record["structure_id"]: record for record in records}
    rows = []
    for structure in structures:
        record = by_id[structure["structure_id"]]
        if record["status"] != Status.CONVERGED:
            continue
        sites = {row["site"]: row for row in record["sites"] if Site.CONTACT_DENSITY in row}
        for entry in structure.get("measured", []):
            if not entry.get("calibration") or "isomer_shift_mm_s" not in entry:
                continue
            # Sites of an orbit split by its magnetic order share the measured value.
            labels = record["site_labels"]
            for label in [n for n in sites if orbit_label(n, labels) == entry["site"]]:
                rows.append(
                    {
                        "structure_id": structure["structure_id"],
                        "compound": structure["name"] or structure["formula"],
                        "site": label,
                        "contact_density_e_per_bohr3": sites[label][Site.CONTACT_DENSITY],
                        "measured_isomer_shift_mm_s": entry["isomer_shift_mm_s"],
                        "temperature_k": entry.get("temperature_k"),
                        "trust": entry.get("trust"),
                        "source": entry.get("source"),
                    }
                )
    return pd.DataFrame(rows)


def field_scale(structure: dict, site: dict) -> tuple[float, dict[str, Any]]:
    """Factor from the computed field of α-Fe to the measured one at the lowest temperature."""
    fields = [entry for entry in structure.get("measured", []) if "bhf_t" in entry]
    if not fields:
        raise ValueError(f"{structure['structure_id']}: no measured field (bhf_t) of the reference")
    entry = min(fields, key=lambda e: e.get("temperature_k", 300.0))
    return abs(entry["bhf_t"]) / abs(site[Site.BHF]), entry


def calibrate(
    record_paths: list[str],
    structure_paths: list[str],
    settings: dict[str, Any],
    out_json: str | Path,
    out_csv: str | Path,
    out_png: str | Path,
) -> dict[str, Any]:
    """Fit α and the field scale; write the result, the table of points and the figure.

    Parameters
    ----------
    record_paths, structure_paths : list of str
        Records and structure files of the calibration compounds, in any order.
    settings : dict
        The ``calibration`` section: ``reference`` is the name of the α-Fe structure.

    Raises
    ------
    ValueError
        If the reference did not converge, records come from different methods, or fewer than
        three points (two compounds) are left.
    """
    records = [read_json(path) for path in record_paths]
    structures = [read_json(path) for path in structure_paths]
    reference = _reference(records, structures, settings["reference"])
    methods = {record["method_hash"] for record in records}
    if len(methods) > 1:
        raise ValueError(
            "calibration records come from different settings, methods, PAW datasets of iron or "
            f"versions of GPAW: {sorted(methods)}"
        )
    points = measured_points(records, structures)
    iron = next(s for s in structures if s["structure_id"] == reference["structure_id"])
    points = points[points.structure_id != reference["structure_id"]].reset_index(drop=True)
    if len(points) < 3 or points.structure_id.nunique() < 2:
        raise ValueError(
            f"{len(points)} calibration points of {points.structure_id.nunique()} compounds are"
            " left beside the reference; at least 3 points of 2 compounds are needed. Look at the"
            " status of the calibration compounds in hyperfine/summary.csv."
        )
    rho_reference = reference["sites"][0][Site.CONTACT_DENSITY]
    x = points[Site.CONTACT_DENSITY].to_numpy() - rho_reference
    y = points.measured_isomer_shift_mm_s.to_numpy()
    alpha = fit_through_origin(x, y)
    slopes, errors = leave_one_out(x, y, points.structure_id.to_numpy())
    if alpha >= 0:
        raise ValueError(
            f"α = {alpha:+.3f} mm/s·a0³ is not negative: for 57Fe the nuclear radius shrinks on"
            " excitation, so the densities or the measured values are wrong"
        )
    scale, field_entry = field_scale(iron, reference["sites"][0])
    points["density_difference_e_per_bohr3"] = x
    points["fitted_isomer_shift_mm_s"] = alpha * x
    points["left_out_error_mm_s"] = errors
    result = {
        "alpha_mm_s_bohr3": alpha,
        "alpha_error_mm_s_bohr3": jackknife_error(slopes),
        "leave_one_out_rmse_mm_s": float(np.sqrt((errors**2).mean())),
        "leave_one_out_mae_mm_s": float(np.abs(errors).mean()),
        "fit_rmse_mm_s": float(np.sqrt(((alpha * x - y) ** 2).mean())),
        "n_points": len(points),
        "n_compounds": int(points.structure_id.nunique()),
        "reference": reference["structure_id"],
        "reference_density_e_per_bohr3": rho_reference,
        "bhf_scale": scale,
        "bhf_scale_measured_t": field_entry["bhf_t"],
        "bhf_scale_temperature_k": field_entry.get("temperature_k"),
        "method_hash": methods.pop(),
        "settings_hash": records[0]["settings_hash"],
        "settings": records[0]["settings"],
        "datasets": reference["datasets"],
        "method_version": METHOD_VERSION,
        "points": points.astype(object).where(points.notna(), None).to_dict("records"),
        "not_converged": [r["structure_id"] for r in records if r["status"] != Status.CONVERGED],
    }
    write_json(out_json, result)
    write_csv(out_csv, points)
    _plot(points, result, out_png)
    return result


def _reference(records: list[dict], structures: list[dict], name: str) -> dict[str, Any]:
    """The record of the reference structure, by its name."""
    ids = [s["structure_id"] for s in structures if s["name"] == name]
    if not ids:
        names = sorted(str(s["name"]) for s in structures)
        raise ValueError(f"calibration.reference: no structure named {name!r} among {names}")
    record = next(r for r in records if r["structure_id"] == ids[0])
    if record["status"] != Status.CONVERGED:
        raise ValueError(
            f"the reference {ids[0]} ended as {record['status']} ({record['reason']}): without its"
            " density there are no isomer shifts. Change gpaw.ladder or gpaw.smearing_ev and rerun."
        )
    if Site.CONTACT_DENSITY not in record["sites"][0]:
        reasons = record["sites"][0]["reasons"]
        raise ValueError(f"the reference {ids[0]} has no contact density: {reasons}")
    return record


def _plot(points: pd.DataFrame, result: dict[str, Any], path: str | Path) -> None:
    figure, axes = new_figure(5.5, 4.2)
    x = points.density_difference_e_per_bohr3
    line = np.linspace(min(x.min(), 0.0) - 0.1, max(x.max(), 0.0) + 0.1, 50)
    alpha, error = result["alpha_mm_s_bohr3"], result["alpha_error_mm_s_bohr3"]
    axes.fill_between(
        line, (alpha - error) * line, (alpha + error) * line, color="0.88", label="α ± 1 s.e."
    )
    axes.plot(line, alpha * line, color="0.4", lw=1)
    axes.plot(x, points.measured_isomer_shift_mm_s, "o", color="C0", label="measured")
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
        f"α = {alpha:.3f} ± {error:.3f} mm/s·a₀³, left-out error "
        f"{result['leave_one_out_rmse_mm_s']:.3f} mm/s rms",
        fontsize=8,
    )
    axes.legend(fontsize=7)
    save_figure(figure, path)
