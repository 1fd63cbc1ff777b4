"""The named rules of cleaning, each a small function that returns the offending value or None.

Rules on a record concern all its sites, rules on a site one row, rules on the table score rows
against the others. Limits come from the ``cleaning`` section of the configuration; the constants
here are tolerances of the calculation rather than scientific choices.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import spglib
from ase.data import atomic_numbers

from dft2spectra.columns import EFG_COMPONENTS, Site, Status

# A moment below this is rounding of a nonmagnetic solution, in Bohr magnetons.
NO_MOMENT_MUB = 0.05
# A field above this needs a moment somewhere in the structure, in tesla.
NO_FIELD_T = 1.0
# What a plane-wave calculation leaves of an EFG that symmetry forbids, in 1e21 V/m²: 0.017 mm/s.
FORBIDDEN_VZZ = 0.1
# Trace of an EFG relative to its largest component, and absolute in 1e21 V/m².
TRACE_RELATIVE, TRACE_ABSOLUTE = 1e-3, 1e-3
SYMMETRY_TOLERANCE_ANG = 1e-3
# Fewer rows than this give no usable median absolute deviation.
OUTLIER_MIN_ROWS = 30
# Sites with less moment than this have no meaningful field per moment, in Bohr magnetons.
OUTLIER_MIN_MOMENT_MUB = 0.5

MEASURED_COLUMNS = (
    Site.MOMENT,
    Site.CONTACT_DENSITY,
    *EFG_COMPONENTS,
    Site.VZZ,
    Site.ETA,
    Site.BHF_CONTACT,
    Site.BHF_DIPOLAR,
    Site.BHF,
)

# One tensor for each equivalent atom, (multiplicity, 6).
ORBIT_COLUMNS = (Site.EFG_ORBIT, Site.BHF_DIPOLAR_ORBIT)

Row = dict[str, Any]
Value = float | str | None


# --- rules on a record: the reason to leave out all its sites, or None --------------------------


def not_converged(record: Row, settings_hash: str) -> Value:
    """Status and reason of a record that is not converged."""
    if record["status"] == Status.CONVERGED:
        return None
    return f"{record['status']}: {record.get('reason') or 'no reason recorded'}"


def other_settings(record: Row, settings_hash: str) -> Value:
    """Settings hash of a record that the calibration does not hold for."""
    return None if record["settings_hash"] == settings_hash else str(record["settings_hash"])


RECORD_RULES: dict[str, Callable[[Row, str], Value]] = {
    "not_converged": not_converged,
    "other_settings": other_settings,
}


# --- rules on a site: the offending value, or None ----------------------------------------------


def not_finite(row: Row, record: Row, limits: Row) -> Value:
    """Name of the first quantity that is missing or not a finite number."""
    for column in (*MEASURED_COLUMNS, Site.ISOMER_SHIFT, Site.QUADRUPOLE_SPLITTING):
        value = row[column]
        if value is None or not np.isfinite(value):
            return str(column)
    for column in ORBIT_COLUMNS:
        orbit = np.asarray(row[column], dtype=float)
        if orbit.shape != (row[Site.MULTIPLICITY], 6) or not np.isfinite(orbit).all():
            return str(column)
    return None


def above(column: Site, limit: str) -> Callable[[Row, Row, Row], Value]:
    """Rule against values of ``column`` beyond the named limit."""

    def rule(row: Row, record: Row, limits: Row) -> Value:
        return row[column] if abs(row[column]) > limits[limit] else None

    return rule


def efg_not_traceless(row: Row, record: Row, limits: Row) -> Value:
    """Trace (1e21 V/m²) of a tensor that does not obey Laplace's equation."""
    diagonal = np.array([row[c] for c in (Site.EFG_XX, Site.EFG_YY, Site.EFG_ZZ)])
    trace = float(diagonal.sum())
    allowed = TRACE_ABSOLUTE + TRACE_RELATIVE * abs(row[Site.VZZ])
    return trace if abs(trace) > allowed else None


def efg_at_cubic_site(row: Row, record: Row, limits: Row) -> Value:
    """Vzz (1e21 V/m²) at a site whose symmetry allows no field gradient.

    Only where all equivalent atoms started with equal moments: an antiferromagnetic order has less
    symmetry than the crystal.
    """
    if abs(row[Site.VZZ]) <= FORBIDDEN_VZZ or record.get("chosen_start") == "alternating":
        return None
    atom = next(s for s in record["sites"] if s["site"] == row[Site.SITE])["atom_indices"][0]
    return row[Site.VZZ] if allowed_efg_parameters(record, atom) == 0 else None


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
    return None if magnetic or abs(row[Site.BHF]) <= NO_FIELD_T else row[Site.BHF]


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


def allowed_efg_parameters(record: Row, atom: int) -> int:
    """Number of free EFG components (0 to 5) that the site symmetry of ``atom`` leaves.

    The EFG is a second-rank traceless tensor (angular momentum 2). By the orthogonality of
    characters the count is the mean over the site's operations of χ₂ = t² − t − 1, with t the trace
    of the proper part of the operation (from D¹ × D¹ = D⁰ + D¹ + D²). Cubic point groups give 0.
    """
    numbers = [atomic_numbers[symbol] for symbol in record["symbols"]]
    positions = np.asarray(record["scaled_positions"], dtype=float)
    cell = np.asarray(record["cell_ang"], dtype=float)
    crystal = (cell.tolist(), positions.tolist(), numbers)
    try:  # spglib 2 returns None for an error, spglib 3 raises
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            symmetry = spglib.get_symmetry_dataset(crystal, symprec=SYMMETRY_TOLERANCE_ANG)
    except spglib.SpglibError:
        symmetry = None
    if symmetry is None:
        return 5
    images = symmetry.rotations @ positions[atom] + symmetry.translations - positions[atom]
    distances = np.linalg.norm((images - np.rint(images)) @ cell, axis=1)
    site_group = symmetry.rotations[distances < 10 * SYMMETRY_TOLERANCE_ANG]
    proper_trace = np.linalg.det(site_group) * np.trace(site_group, axis1=1, axis2=2)
    return round(float(np.mean(proper_trace**2 - proper_trace - 1.0)))


# --- rules on the table: robust outliers --------------------------------------------------------


def robust_score(values: np.ndarray) -> np.ndarray:
    """Distance of each value from the median, in median absolute deviations.

    All zero where at least half of the values are equal: there is no spread to measure with.
    """
    deviation = np.abs(values - np.median(values))
    scale = np.median(deviation)
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
    magnetic = table[table[Site.MOMENT].abs() > OUTLIER_MIN_MOMENT_MUB]
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
