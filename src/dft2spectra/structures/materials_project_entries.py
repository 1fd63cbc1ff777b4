"""Entries of a pinned set from documents of the Materials Project, or the reasons against them."""

import json
import math
from typing import Any

WEB_PAGE = "https://next-gen.materialsproject.org/materials/"

FIELDS = (
    *("material_id", "formula_pretty", "structure", "last_updated", "deprecated"),
    *("energy_above_hull", "formation_energy_per_atom", "is_stable", "theoretical"),
    *("ordering", "total_magnetization", "total_magnetization_normalized_formula_units"),
    "database_IDs",
)
# What is kept of a document, with the unit in the name.
PROPERTIES = {
    "energy_above_hull": "energy_above_hull_ev_per_atom",
    "formation_energy_per_atom": "formation_energy_ev_per_atom",
    "is_stable": "is_stable",
    "theoretical": "theoretical",
    "ordering": "ordering",
    "total_magnetization": "total_moment_mub",
    "total_magnetization_normalized_formula_units": "total_moment_mub_per_formula_unit",
    "database_IDs": "database_ids",
}

Document = dict[str, Any]


def identifier(document: Document) -> str:
    """Id in the notation with a number: mp-100, also for mp-dw and mp-aaaaaadw, which are the same.

    The server changed its notation once; a refresh after such a change is to find the same ids.
    """
    from emmet.core.mpid import AlphaID

    given = str(document["material_id"])
    try:
        return str(AlphaID(given).string)
    except Exception:  # a notation of the future; whatever it is, it is one
        return given


def entry_of(document: Document) -> dict[str, Any]:
    """Entry of the pinned set, or the reason why the document cannot be one."""
    from dft2spectra.structures.raw import Reason, Rejected, one_line

    given, name = str(document["material_id"]), identifier(document)
    formula = document.get("formula_pretty")
    entry = {"id": name, "formula": formula if isinstance(formula, str) else None}
    try:
        crystal = _crystal(document.get("structure"))
        properties = _properties(document)
    except Rejected as rejection:
        return {**entry, "reason": f"{rejection.code}: {rejection.sentence}"}
    except Exception as error:  # whatever pymatgen stumbles over
        return {**entry, "reason": f"{Reason.UNREADABLE}: {one_line(error)}"}
    updated = document.get("last_updated")
    updated = updated.get("$date") if isinstance(updated, dict) else updated
    return {
        **entry,
        "url": WEB_PAGE + given,
        "last_modified": updated,
        **crystal,
        "properties": properties,
    }


def _crystal(structure: Any) -> dict[str, Any]:
    import numpy as np
    from pymatgen.core import Structure

    from dft2spectra.structures.raw import Reason, Rejected

    if not isinstance(structure, dict):
        raise Rejected(Reason.UNREADABLE, "the entry has no structure")
    crystal = Structure.from_dict(structure)
    if not crystal.is_ordered:
        raise Rejected(Reason.PARTIAL_OCCUPANCY, "a site is shared or partly empty")
    if not np.isfinite(crystal.lattice.matrix).all() or not np.isfinite(crystal.frac_coords).all():
        raise Rejected(Reason.NOT_FINITE, "the cell or a coordinate is not a finite number")
    if len(crystal) == 0:
        raise Rejected(Reason.EMPTY_FILE, "the structure has no atoms")
    return {
        "cell_ang": crystal.lattice.matrix.tolist(),
        "symbols": [str(getattr(site.specie, "symbol", site.specie)) for site in crystal],
        "scaled_positions": crystal.frac_coords.tolist(),
        "moments_mub": _moments(crystal.site_properties.get("magmom")),
    }


def _moments(values: Any) -> list[float | None] | None:
    """Moments per site (µB), ``None`` where there is no finite number."""
    if not values or all(value is None for value in values):
        return None
    return [
        float(value) if isinstance(value, int | float) and math.isfinite(value) else None
        for value in values
    ]


def _properties(document: Document) -> dict[str, Any]:
    """What is kept of a document, finite numbers only."""
    kept = {new: document[old] for old, new in PROPERTIES.items() if document.get(old) is not None}
    json.dumps(kept, allow_nan=False)
    return kept
