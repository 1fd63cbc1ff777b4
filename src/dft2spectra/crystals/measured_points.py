"""Computed sites beside the measured values that calibrations are fitted to.

An entry of ``measured`` is used for a quantity if it is flagged for it: ``calibration: true`` for
all that it holds, or a list of quantities. The flags were set before any fit: ordered and
stoichiometric, measured many times over and not only approximately known, not ionic (plain PBE is
wrong there), and for isomer shifts at room temperature, where α-Fe defines zero.
"""

from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.columns import Site, Status
from dft2spectra.crystals.sites import orbit_label
from dft2spectra.units import QUADRUPOLE_MOMENT_BARN, quadrupole_splitting_mm_s, splitting_per_vzz

SHIFT, FIELD = "isomer_shift_mm_s", "bhf_t"
SPLITTING, QUADRUPOLE_SHIFT = "quadrupole_splitting_mm_s", "quadrupole_shift_mm_s"

# What a quantity is computed from.
NEEDED: dict[str, tuple[Site, ...]] = {
    SHIFT: (Site.CONTACT_DENSITY, Site.MOMENT),
    FIELD: (Site.BHF_CORE, Site.BHF_VALENCE, Site.BHF_LORENTZ, Site.BHF_ORBITAL),
    SPLITTING: (Site.VZZ, Site.ETA),
    QUADRUPOLE_SHIFT: (Site.EFG_ORBIT,),
}


def is_flagged(entry: dict[str, Any], quantity: str) -> bool:
    """Whether a measured entry holds the quantity and lends it to the calibration."""
    flag = entry.get("calibration", False)
    return quantity in entry and (quantity in flag if isinstance(flag, list) else bool(flag))


def reason_against(
    entry: dict[str, Any], quantity: str, record: dict[str, Any], site: dict[str, Any] | None
) -> str | None:
    """Why a measured value is no point of the calibration; ``None`` if it is one."""
    if not is_flagged(entry, quantity):
        return "not flagged for the calibration"
    if record["status"] != Status.CONVERGED:
        return f"computed crystal {record['status']}"
    if site is None or any(site.get(column) is None for column in NEEDED[quantity]):
        return "not computed"
    if record.get("fixed_moment"):
        return "total moment held"
    if record.get("ionic_without_u"):
        return "ionic without U"
    if record.get("ambiguous_state"):
        return "ambiguous magnetic state"
    if quantity != SHIFT and entry[quantity] == 0.0:
        return "zero measured"
    return None


def measured_points(
    records: list[dict[str, Any]], structures: list[dict[str, Any]], quantity: str
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Points of one quantity, with the computed site of each, and what was left out with reasons.

    Of several fields of a site the one at the lowest temperature is taken: calculations are at 0 K.

    Returns
    -------
    points : DataFrame
        ``structure_id, compound, site, measured, temperature_k, trust, source`` and the computed
        ``row`` of the site.
    left_out : list of dict
        ``structure_id, compound, site, quantity, measured, temperature_k, reason``.
    """
    by_id = {record["structure_id"]: record for record in records}
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for structure in structures:
        record = by_id[structure["structure_id"]]
        labels = record.get("site_labels", [])
        for entry in structure.get("measured", []):
            if quantity not in entry:
                continue
            # Sites of an orbit split by its magnetic order share the measured value.
            sites = [s for s in record["sites"] if orbit_label(s["site"], labels) == entry["site"]]
            for site in sites or [None]:
                row = {
                    "structure_id": structure["structure_id"],
                    "compound": structure["name"] or structure["formula"],
                    "site": site["site"] if site else entry["site"],
                    "quantity": quantity,
                    "measured": float(entry[quantity]),
                    "temperature_k": entry.get("temperature_k"),
                }
                if reason := reason_against(entry, quantity, record, site):
                    left_out.append(row | {"reason": reason})
                else:
                    ends = {"trust": entry.get("trust"), "source": entry.get("source")}
                    rows.append(row | ends | {"row": site})
    points = pd.DataFrame(rows)
    if quantity == FIELD and len(points):
        points = points.sort_values("temperature_k", kind="stable", na_position="last")
        points = points.drop_duplicates(["structure_id", "site"]).sort_index()
    return points.reset_index(drop=True), left_out


def shift_per_barn(components: np.ndarray, measured: float) -> float:
    """Size of the quadrupole shift 2ε (mm/s per barn) that a site shows with its field along c.

    2ε = ½ e Q V_cc to first order, with V_cc the gradient along the field. Sites of an orbit may
    differ (the face sites of Fe4N): of their values the one nearest to the measured size is meant.

    Parameters
    ----------
    components : (m, 6)
        Tensors xx, yy, zz, xy, xz, yz of the atoms of the orbit (1e21 V/m²).
    measured
        Measured 2ε (mm/s); its sign is not used.
    """
    sizes = splitting_per_vzz() * np.abs(np.asarray(components)[:, 2])
    return float(sizes[np.argmin(np.abs(sizes - abs(measured)))]) / QUADRUPOLE_MOMENT_BARN


def splitting_per_barn(vzz: float, eta: float) -> float:
    """Size of the quadrupole splitting (mm/s per barn) of a gradient (1e21 V/m²)."""
    return abs(quadrupole_splitting_mm_s(vzz, eta)) / QUADRUPOLE_MOMENT_BARN
