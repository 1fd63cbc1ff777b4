"""The named rules of cleaning, each a small function that returns the offending value or None.

Rules on a record concern all its sites, rules on a site one row, rules on the table score rows
against the others. Limits come from the ``cleaning`` section of the configuration; the constants
here are tolerances of the calculation rather than scientific choices.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.columns import EFG_COMPONENTS, Site, Status

# A moment below this is rounding of a nonmagnetic solution, in Bohr magnetons.
NO_MOMENT_MUB = 0.05
# A field above this needs a moment somewhere in the structure, in tesla.
NO_FIELD_T = 1.0
# What a plane-wave calculation leaves of an EFG that symmetry forbids, in 1e21 V/m²: 0.017 mm/s.
FORBIDDEN_VZZ = 0.1
# Trace of an EFG relative to its largest component, and absolute in 1e21 V/m².
TRACE_RELATIVE, TRACE_ABSOLUTE = 1e-3, 1e-3
# Fewer rows than this give no usable median absolute deviation.
OUTLIER_MIN_ROWS = 30
# Sites with less moment than this have no meaningful field per moment, in Bohr magnetons.
OUTLIER_MIN_MOMENT_MUB = 0.5

# Columns of numbers that stand or fall together, by the column that says how they ended.
QUANTITIES: dict[Site, tuple[Site, ...]] = {
    Site.MOMENT_STATUS: (Site.MOMENT,),
    Site.ISOMER_SHIFT_STATUS: (Site.CONTACT_DENSITY, Site.ISOMER_SHIFT),
    Site.VZZ_STATUS: (*EFG_COMPONENTS, Site.VZZ, Site.ETA, Site.QUADRUPOLE_SPLITTING),
    Site.BHF_STATUS: (
        Site.BHF_CONTACT,
        Site.BHF_CORE,
        Site.BHF_VALENCE,
        Site.BHF_DIPOLAR,
        Site.BHF_LORENTZ,
        Site.BHF,
    ),
}
# Left out where several processes shared the wave functions of a crystal.
ORBITAL_COLUMNS = (Site.BHF_ORBITAL, Site.ORBITAL_MOMENT)
# One tensor for each equivalent atom, (multiplicity, 6).
ORBIT_COLUMNS = {
    Site.VZZ_STATUS: Site.EFG_ORBIT,
    Site.BHF_STATUS: Site.BHF_DIPOLAR_ORBIT,
}

Row = dict[str, Any]
Value = float | str | None


# --- rules on a record: the reason to leave out all its sites, or None --------------------------


def not_converged(record: Row, method_hash: str) -> Value:
    """Status and reason of a record that is not converged."""
    if record["status"] == Status.CONVERGED:
        return None
    return f"{record['status']}: {record.get('reason') or 'no reason recorded'}"


def other_settings(record: Row, method_hash: str) -> Value:
    """Method hash of a record that the calibration does not hold for.

    It stands for settings, versions of the methods, PAW dataset of iron and version of GPAW.
    """
    return None if record["method_hash"] == method_hash else str(record["method_hash"])


def fixed_moment(record: Row, method_hash: str) -> Value:
    """Note on a record whose total moment was held: no state that the crystal takes by itself."""
    return str(record["note"]) if record.get("fixed_moment") else None


RECORD_RULES: dict[str, Callable[[Row, str], Value]] = {
    "not_converged": not_converged,
    "other_settings": other_settings,
    "fixed_moment": fixed_moment,
}


# --- rules on a site: the offending value, or None ----------------------------------------------


def not_finite(row: Row, record: Row, limits: Row) -> Value:
    """Name of the first number that is not there though its quantity says that it converged.

    A quantity that says why it is missing, as the field gradient after a semicore run that failed,
    does not cost the site the others. A site without any quantity has nothing to keep.
    """
    if all(row[status] != Status.CONVERGED for status in QUANTITIES):
        return ", ".join(f"{status} {row[status]}" for status in QUANTITIES)
    for status, columns in QUANTITIES.items():
        if row[status] != Status.CONVERGED:
            continue
        for column in columns:
            if row[column] is None or not np.isfinite(row[column]):
                return str(column)
        if status in ORBIT_COLUMNS:
            orbit = np.asarray(row[ORBIT_COLUMNS[status]], dtype=float)
            if orbit.shape != (row[Site.MULTIPLICITY], 6) or not np.isfinite(orbit).all():
                return str(ORBIT_COLUMNS[status])
    for column in ORBITAL_COLUMNS:
        if row[column] is not None and not np.isfinite(row[column]):
            return str(column)
    return None


def above(column: Site, limit: str) -> Callable[[Row, Row, Row], Value]:
    """Rule against values of ``column`` beyond the named limit; what is missing is within."""

    def rule(row: Row, record: Row, limits: Row) -> Value:
        value = row[column]
        return value if value is not None and abs(value) > limits[limit] else None

    return rule


def efg_not_traceless(row: Row, record: Row, limits: Row) -> Value:
    """Trace (1e21 V/m²) of a tensor that does not obey Laplace's equation."""
    if row[Site.VZZ] is None:
        return None
    diagonal = np.array([row[c] for c in (Site.EFG_XX, Site.EFG_YY, Site.EFG_ZZ)])
    trace = float(diagonal.sum())
    allowed = TRACE_ABSOLUTE + TRACE_RELATIVE * abs(row[Site.VZZ])
    return trace if abs(trace) > allowed else None


def efg_at_cubic_site(row: Row, record: Row, limits: Row) -> Value:
    """Vzz (1e21 V/m²) at a site whose symmetry, that of the magnetic order, allows no gradient."""
    if row[Site.VZZ] is None or abs(row[Site.VZZ]) <= FORBIDDEN_VZZ:
        return None
    return row[Site.VZZ] if row[Site.EFG_FREE_COMPONENTS] == 0 else None


def bhf_without_moment(row: Row, record: Row, limits: Row) -> Value:
    """Field (T) at a site of a structure in which nothing carries a moment.

    A site without moment of its own beside magnetic neighbours is kept: its transferred field is
    real.
    """
    moments = [
        record.get("total_moment_mub"),
        *(site.get("moment_mub") for site in record["sites"]),
    ]
    magnetic = any(m is None or abs(m) > NO_MOMENT_MUB for m in moments)
    field = row[Site.BHF]
    return None if magnetic or field is None or abs(field) <= NO_FIELD_T else field


SITE_RULES: dict[str, Callable[[Row, Row, Row], Value]] = {
    "not_finite": not_finite,
    "isomer_shift_limit": above(Site.ISOMER_SHIFT, "max_abs_isomer_shift_mm_s"),
    "vzz_limit": above(Site.VZZ, "max_abs_vzz_1e21_v_m2"),
    "bhf_limit": above(Site.BHF, "max_abs_bhf_t"),
    "moment_limit": above(Site.MOMENT, "max_abs_moment_mub"),
    "efg_not_traceless": efg_not_traceless,
    "efg_at_cubic_site": efg_at_cubic_site,
    "bhf_without_moment": bhf_without_moment,
}


# --- rules on the table: robust outliers --------------------------------------------------------


def robust_score(values: np.ndarray) -> np.ndarray:
    """Distance of each value from the median, in median absolute deviations; missing ones have 0.

    All zero where at least half of the values are equal: there is no spread to measure with.
    """
    deviation = np.nan_to_num(np.abs(values - np.nanmedian(values)), nan=0.0)
    scale = np.median(deviation[~np.isnan(values)])
    return deviation / scale if scale > 0 else np.zeros_like(deviation)


def outlier_isomer_shift(table: pd.DataFrame) -> pd.Series:
    """Robust score of δ, whose distribution over metallic Fe is compact."""
    return pd.Series(robust_score(table[Site.ISOMER_SHIFT].to_numpy(float)), index=table.index)


def outlier_bhf_per_moment(table: pd.DataFrame) -> pd.Series:
    """Robust score of Bhf minus its median proportion to the site's moment.

    Core polarisation makes the field proportional to the moment; moments and field gradients
    themselves are bimodal or heavy-tailed by nature (many are zero by symmetry), so that only hard
    limits apply to them.
    """
    with_field = table.dropna(subset=[Site.MOMENT, Site.BHF])
    magnetic = with_field[with_field[Site.MOMENT].abs() > OUTLIER_MIN_MOMENT_MUB]
    score = pd.Series(0.0, index=table.index)
    if len(magnetic) >= OUTLIER_MIN_ROWS:
        slope = np.median(magnetic[Site.BHF] / magnetic[Site.MOMENT])
        residual = magnetic[Site.BHF] - slope * magnetic[Site.MOMENT]
        score[magnetic.index] = robust_score(residual.to_numpy(float))
    return score


TABLE_RULES: dict[str, tuple[Callable[[pd.DataFrame], pd.Series], Site]] = {
    "outlier_isomer_shift": (outlier_isomer_shift, Site.ISOMER_SHIFT),
    "outlier_bhf_per_moment": (outlier_bhf_per_moment, Site.BHF),
}
