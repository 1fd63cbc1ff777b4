"""Isomer shifts and hyperfine fields, with errors, out of a calibration and computed densities.

A calibration says which terms it is linear in, and is applied the same way wherever it is used.
Signs of fields: positive along the moment that points up.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dft2spectra.columns import Site

# Terms of the isomer shift: the contact density and the size of the local moment, both relative to
# the reference crystal, whose shift is zero by definition. A constant breaks that.
SHIFT_FORMS: dict[str, tuple[str, ...]] = {
    "origin": ("density",),
    "intercept": ("density", "constant"),
    "moment": ("density", "moment"),
}
# Terms of the field with a fitted factor each.
FIELD_FORMS: dict[str, tuple[str, ...]] = {
    "contact": ("contact",),
    "core_valence": ("core", "valence"),
    "contact_lorentz_orbital": ("contact",),
    "core_valence_lorentz": ("core", "valence"),
    "core_valence_lorentz_orbital": ("core", "valence"),
}
# Parts of the field that a form adds as they are.
ADDED_FIELDS: dict[str, tuple[Site, ...]] = {
    "contact": (),
    "core_valence": (),
    "contact_lorentz_orbital": (Site.BHF_LORENTZ, Site.BHF_ORBITAL),
    "core_valence_lorentz": (Site.BHF_LORENTZ,),
    "core_valence_lorentz_orbital": (Site.BHF_LORENTZ, Site.BHF_ORBITAL),
}
# Without a spin density there is no contact field, whatever the factors (T).
NO_FIELD_T = 0.05


def shift_terms(form: str, density: float, moment: float, reference: Mapping[str, float]) -> list:
    """Terms of the isomer shift of a site, in the order of its form.

    Parameters
    ----------
    form
        One of ``SHIFT_FORMS``.
    density, moment
        Contact density (e/bohr³) and local moment (µB) of the site.
    reference
        ``density`` and ``moment`` of the reference crystal.
    """
    values = {
        "density": density - reference["density"],
        "moment": abs(moment) - abs(reference["moment"]),
        "constant": 1.0,
    }
    return [values[name] for name in SHIFT_FORMS[form]]


def field_terms(form: str, site: Mapping[str, Any]) -> list[float]:
    """Parts of the contact field of a site (T) that a form has factors for, in its order."""
    core, valence = site[Site.BHF_CORE], site[Site.BHF_VALENCE]
    values = {"core": core, "valence": valence, "contact": core + valence}
    return [values[name] for name in FIELD_FORMS[form]]


def added_field(form: str, site: Mapping[str, Any]) -> float:
    """Lorentz and orbital field of a site (T) that a form adds as they are."""
    return float(sum(site[part] for part in ADDED_FIELDS[form]))


def predict(fit: Mapping[str, Any], terms: Sequence[float]) -> tuple[float, float]:
    """Value of a linear fit and its standard error.

    σ² = tᵀ C t + s² of the covariance C of the coefficients and the left-out error s, which is what
    the terms do not describe.
    """
    t = np.asarray(terms)
    variance = t @ np.asarray(fit["covariance"]) @ t + fit["left_out_rmse"] ** 2
    return float(t @ np.asarray(fit["coefficients"])), float(np.sqrt(variance))


def isomer_shift(
    calibration: Mapping[str, Any], density: float, moment: float
) -> tuple[float, float, bool]:
    """Isomer shift of a site (mm/s), its standard error, and whether it is extrapolated.

    Extrapolated: contact density, or moment if the form has it, outside what was calibrated.
    """
    fit = calibration["isomer_shift"]
    terms = shift_terms(fit["form"], density, moment, fit["reference"])
    value, error = predict(fit, terms)
    limits = [fit["range"][name] for name in SHIFT_FORMS[fit["form"]] if name != "constant"]
    outside = [not low <= term <= high for term, (low, high) in zip(terms, limits, strict=False)]
    return value, error, any(outside)


def hyperfine_field(
    calibration: Mapping[str, Any], site: Mapping[str, Any]
) -> tuple[float, float] | None:
    """Calibrated field of a site (T) and its standard error.

    ``None`` if a part of the field that its form uses is missing, or if there is no calibration.
    """
    fit = calibration["field"]
    if fit["form"] is None:
        return None
    needed = (Site.BHF_CORE, Site.BHF_VALENCE, *ADDED_FIELDS[fit["form"]])
    if any(site.get(part) is None for part in needed):
        return None
    if max(abs(site[Site.BHF_CORE]), abs(site[Site.BHF_VALENCE])) < NO_FIELD_T:
        return 0.0, 0.0
    value, error = predict(fit, field_terms(fit["form"], site))
    return value + added_field(fit["form"], site), error
