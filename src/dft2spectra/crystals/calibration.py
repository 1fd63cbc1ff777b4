"""Isomer shift, hyperfine field and quadrupole moment, fitted to measured compounds.

Isomer shifts: δ = α (ρ − ρ_αFe), and forms with a constant or with the local moment beside it; the
form is chosen by the error at compounds left out (:mod:`dft2spectra.crystals.left_out`). α depends
on code, functional, dataset and on the average taken at the nucleus, so it is fitted for the
campaign's own settings, datasets and version of GPAW and carries the hash of all these. Shifts
are relative to α-Fe at room temperature, and both sides are taken at equal temperature: the
second-order Doppler shift then cancels up to differences of the Debye temperatures (about 0.03 mm/s
between compounds at room temperature), which is part of the fit's scatter.

Fields: B = a·core + b·valence + Lorentz + orbital and simpler forms, chosen alike. Core
polarisation comes out too small in semilocal functionals (Novák & Chlan, PRB 81, 174412 (2010)).

Field gradients: Q of 57Fe from measured splittings, beside the literature's that the tables use.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.calibrated import (
    FIELD_FORMS,
    SHIFT_FORMS,
    added_field,
    field_terms,
    shift_terms,
)
from dft2spectra.columns import Site, Status
from dft2spectra.crystals.calibration_figure import plot_calibration
from dft2spectra.crystals.left_out import (
    LinearFit,
    choose_form,
    compounds_needed,
    fit_left_out,
    root_mean_square,
)
from dft2spectra.crystals.measured_points import (
    FIELD,
    QUADRUPOLE_SHIFT,
    SHIFT,
    SPLITTING,
    measured_points,
    shift_per_barn,
    splitting_per_barn,
)
from dft2spectra.records import read_json, write_csv, write_json
from dft2spectra.units import QUADRUPOLE_MOMENT_BARN

METHOD_VERSION = 3


def fit_shifts(
    points: pd.DataFrame, reference: dict[str, float]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Isomer shift in every form that the points allow; the chosen one, and the points with errors.

    The reference crystal is a point of the fits, but none that forms are judged by: most of them
    go through it by construction.

    Parameters
    ----------
    points
        As from :mod:`dft2spectra.crystals.measured_points`, without the reference.
    reference
        ``density`` (e/bohr³) and ``moment`` (µB) of the reference crystal.
    """
    sites = [(row[Site.CONTACT_DENSITY], row[Site.MOMENT]) for row in points.row]
    densities, moments = np.array(sites).T
    measured = np.append(points.measured.to_numpy(), 0.0)
    compounds = np.append(points.structure_id.to_numpy(), "")
    everywhere = [*sites, (reference["density"], reference["moment"])]
    fits: dict[str, LinearFit] = {}
    for form in SHIFT_FORMS:
        terms = np.array([shift_terms(form, *site, reference) for site in everywhere])
        # Through the reference by construction: a point without terms says nothing.
        use = np.append(np.ones(len(points), bool), np.any(terms[-1] != 0.0))
        fit = fit_left_out(terms[use], measured[use], compounds[use])
        if fit is not None:
            fits[form] = fit
    n = len(points)
    chosen, forms = _chosen(fits, SHIFT_FORMS, n)
    fit = fits[chosen]
    difference = densities - reference["density"]
    sizes = np.abs(moments) - abs(reference["moment"])
    result = _as_result(chosen, SHIFT_FORMS[chosen], fit, n) | {
        "unit": "mm/s",
        "reference": reference,
        "range": {
            "density": [min(0.0, difference.min()), max(0.0, difference.max())],
            "moment": [min(0.0, sizes.min()), max(0.0, sizes.max())],
        },
        "forms": forms,
    }
    table = points.drop(columns="row").rename(columns={"measured": "measured_isomer_shift_mm_s"})
    table[Site.CONTACT_DENSITY] = densities
    table[Site.MOMENT] = moments
    table["density_difference_e_per_bohr3"] = difference
    table["fitted_isomer_shift_mm_s"] = points.measured + fit.residuals[:n]
    table["left_out_error_mm_s"] = fit.left_out[:n]
    return result, table.drop(columns="quantity")


def fit_fields(points: pd.DataFrame) -> dict[str, Any]:
    """Hyperfine field in every form that the points allow, judged by compounds left out.

    Measured sizes get the sign of the computed contact field. ``form`` is ``None``, with a
    ``reason``, where there are too few compounds.
    """
    fits: dict[str, LinearFit] = {}
    signed = np.array([])
    if len(points):
        contact = np.array([field_terms("contact", row)[0] for row in points.row])
        signed = np.sign(contact) * points.measured.abs().to_numpy()
        for form in FIELD_FORMS:
            terms = np.array([field_terms(form, row) for row in points.row])
            added = np.array([added_field(form, row) for row in points.row])
            fit = fit_left_out(terms, signed - added, points.structure_id.to_numpy())
            if fit is not None:
                fits[form] = fit
    if not fits:
        return {"form": None, "unit": "T", "reason": _too_few(points, "fields"), "points": []}
    chosen, forms = _chosen(fits, FIELD_FORMS, len(points))
    fit = fits[chosen]
    table = points.drop(columns=["row", "quantity"]).rename(columns={"measured": "measured_bhf_t"})
    table["calibrated_bhf_t"] = signed + fit.residuals
    table["left_out_error_t"] = fit.left_out
    return _as_result(chosen, FIELD_FORMS[chosen], fit, len(points)) | {
        "unit": "T",
        "forms": forms,
        "points": _plain_rows(table),
    }


def fit_quadrupole_moment(splittings: pd.DataFrame, shifts: pd.DataFrame) -> dict[str, Any]:
    """Q of the 14.4 keV state of 57Fe (barn) from splittings and sizes of quadrupole shifts.

    The tables keep the literature's Q; its error at the same points stands beside.
    """
    points = pd.concat([splittings, shifts], ignore_index=True)
    fit = None
    if len(points):
        per_barn = np.array(
            [
                splitting_per_barn(row[Site.VZZ], row[Site.ETA])
                if quantity == SPLITTING
                else shift_per_barn(row[Site.EFG_ORBIT], measured)
                for row, quantity, measured in zip(
                    points.row, points.quantity, points.measured, strict=True
                )
            ]
        )
        measured = points.measured.abs().to_numpy()
        compounds = points.structure_id.to_numpy()
        if len(np.unique(compounds)) > compounds_needed(1):  # two agree or not by chance
            fit = fit_left_out(per_barn[:, None], measured, compounds)
    used = {"used_q_barn": QUADRUPOLE_MOMENT_BARN}
    if fit is None:
        return used | {"q_barn": None, "reason": _too_few(points, "splittings"), "points": []}
    table = points.drop(columns="row").rename(columns={"measured": "measured_mm_s"})
    table["computed_mm_s"] = QUADRUPOLE_MOMENT_BARN * per_barn
    table["left_out_error_mm_s"] = fit.left_out
    return used | {
        "q_barn": fit.coefficients[0],
        "q_error_barn": fit.errors[0],
        "left_out_rmse_mm_s": root_mean_square(fit.left_out),
        "rmse_with_used_q_mm_s": root_mean_square(QUADRUPOLE_MOMENT_BARN * per_barn - measured),
        "points": _plain_rows(table),
    }


def _chosen(
    fits: dict[str, LinearFit], forms: dict[str, tuple[str, ...]], n: int
) -> tuple[str, list[dict[str, Any]]]:
    """Name of the form to use, and the comparison; only the first n points count for it."""
    errors = {
        name: (len(forms[name]), root_mean_square(fit.left_out[:n])) for name, fit in fits.items()
    }
    comparison = [
        {
            "form": name,
            "coefficients": dict(zip(forms[name], fit.coefficients.tolist(), strict=True)),
            "errors": dict(zip(forms[name], fit.errors.tolist(), strict=True)),
            "left_out_rmse": errors[name][1],
            "fit_rmse": root_mean_square(fit.residuals[:n]),
        }
        for name, fit in fits.items()
    ]
    return choose_form(errors), comparison


def _as_result(form: str, terms: tuple[str, ...], fit: LinearFit, n: int) -> dict[str, Any]:
    return {
        "form": form,
        "terms": list(terms),
        "coefficients": fit.coefficients,
        "errors": fit.errors,
        "covariance": fit.covariance,
        "left_out_rmse": root_mean_square(fit.left_out[:n]),
        "fit_rmse": root_mean_square(fit.residuals[:n]),
    }


def _too_few(points: pd.DataFrame, what: str) -> str:
    compounds = points.structure_id.nunique() if len(points) else 0
    return f"{len(points)} measured {what} of {compounds} compounds are too few"


def _plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


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
    """Fit shift, field and quadrupole moment; write results, table of shifts and figure.

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
        three isomer shifts (two compounds) are left.
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
    found = {
        quantity: measured_points(records, structures, quantity)
        for quantity in (SHIFT, FIELD, SPLITTING, QUADRUPOLE_SHIFT)
    }
    shifts = found[SHIFT][0]
    if len(shifts):
        shifts = shifts[shifts.structure_id != reference["structure_id"]].reset_index(drop=True)
    compounds = shifts.structure_id.nunique() if len(shifts) else 0
    if len(shifts) < 3 or compounds < 2:
        raise ValueError(
            f"{len(shifts)} calibration points of {compounds} compounds are"
            " left beside the reference; at least 3 points of 2 compounds are needed. Look at the"
            " status of the calibration compounds in hyperfine/summary.csv."
        )
    iron = reference["sites"][0]
    at_iron = {"density": iron[Site.CONTACT_DENSITY], "moment": iron[Site.MOMENT]}
    shift, points = fit_shifts(shifts, at_iron)
    alpha = shift["coefficients"][0]
    if alpha >= 0:
        raise ValueError(
            f"α = {alpha:+.3f} mm/s·a0³ is not negative: for 57Fe the nuclear radius shrinks on"
            " excitation, so the densities or the measured values are wrong"
        )
    structure = next(s for s in structures if s["structure_id"] == reference["structure_id"])
    scale, field_entry = field_scale(structure, iron)
    result = {
        "alpha_mm_s_bohr3": alpha,
        "alpha_error_mm_s_bohr3": shift["errors"][0],
        "leave_one_out_rmse_mm_s": shift["left_out_rmse"],
        "leave_one_out_mae_mm_s": float(points.left_out_error_mm_s.abs().mean()),
        "fit_rmse_mm_s": shift["fit_rmse"],
        "n_points": len(points),
        "n_compounds": int(points.structure_id.nunique()),
        "reference": reference["structure_id"],
        "reference_density_e_per_bohr3": at_iron["density"],
        "bhf_scale": scale,
        "bhf_scale_measured_t": field_entry["bhf_t"],
        "bhf_scale_temperature_k": field_entry.get("temperature_k"),
        "isomer_shift": shift,
        "field": fit_fields(found[FIELD][0]),
        "gradient": fit_quadrupole_moment(found[SPLITTING][0], found[QUADRUPOLE_SHIFT][0]),
        "method_hash": methods.pop(),
        "settings_hash": records[0]["settings_hash"],
        "settings": records[0]["settings"],
        "datasets": reference["datasets"],
        "method_version": METHOD_VERSION,
        "points": _plain_rows(points),
        "left_out": [row for _, left_out in found.values() for row in left_out],
        "not_converged": [r["structure_id"] for r in records if r["status"] != Status.CONVERGED],
    }
    write_json(out_json, result)
    write_csv(out_csv, points)
    plot_calibration(points, result, out_png)
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
