"""Priors of phases that were computed or predicted: values with the errors that they are known by.

Computed sites come with their field gradients, moment directions and multiplicities, so that a fit
of the sizes of field and gradient keeps their angle. Their errors are those of the method: of the
isomer shift what the calibration found for compounds that it had not seen; of the field and the
gradient what density functionals and the quadrupole moment leave (``docs/physics.md``).
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra import units
from dft2spectra.columns import Site
from dft2spectra.measured.library import (
    DEBYE,
    FIELD_SPREAD_T,
    NO_FIELD_T,
    SPLITTING_SPREAD_MM_S,
    UNKNOWN_SHIFT,
    mean_shift_error,
)
from dft2spectra.measured.patterns import Orbit, unit_efg
from dft2spectra.measured.phases import PhasePrior, Prior, SitePrior
from dft2spectra.records import read_json
from dft2spectra.spectra.components import Measurement, has_spectrum, orbit_tensors

# Errors of a computed splitting and field: part of the value, and least.
SPLITTING_ERROR, LEAST_SPLITTING_ERROR = 0.15, 0.08
FIELD_ERROR, LEAST_FIELD_ERROR = 0.12, 1.0


def computed_phases(
    sites_parquet: str | Path,
    calibration_json: str | Path,
    index_csv: str | Path,
    dropped_csv: str | Path,
    measurement: Measurement,
) -> list[PhasePrior]:
    """Phases of a site table, their moments along the direction of the measurement.

    The scaled field is taken: raw contact fields of density functionals are low. A crystal with a
    site that lacks a quantity, or that cleaning dropped, is left out: the areas of its other sites
    would be wrong.
    """
    table = pd.read_parquet(sites_parquet)
    whole = has_spectrum(table).groupby(table[Site.STRUCTURE_ID]).transform("all")
    torn = pd.read_csv(dropped_csv, dtype={"structure_id": str})["structure_id"]
    table = table[whole & ~table[Site.STRUCTURE_ID].isin(torn)]
    index = pd.read_csv(index_csv, dtype={"structure_id": str, "formula": str, "name": str})
    names = index.set_index("structure_id")["name"].dropna().to_dict()
    error = mean_shift_error(read_json(calibration_json))
    phases = []
    for structure, rows in table.groupby(Site.STRUCTURE_ID, sort=True):
        sites = tuple(
            _computed_site(row, error, measurement.moment_direction)
            for row in rows.to_dict("records")
        )
        formula = str(rows[Site.FORMULA].iloc[0])
        name = str(names.get(structure, structure))
        phases.append(PhasePrior(name, formula, sites, "computed", crystal=str(structure)))
    return phases


def _computed_site(row: Mapping[Any, Any], error: float, moment: np.ndarray) -> SitePrior:
    shift = Prior(float(row[Site.ISOMER_SHIFT]), error, -1.5, 2.5)
    field = abs(float(row[Site.BHF_SCALED]))
    splitting = float(row[Site.QUADRUPOLE_SPLITTING])
    common = (str(row[Site.SITE]), float(row[Site.MULTIPLICITY]))
    if field <= NO_FIELD_T:
        return _nonmagnetic(*common, shift, abs(splitting))
    efg = orbit_tensors(row, Site.EFG_ORBIT)
    unit = [unit_efg(tensor)[0] for tensor in efg]
    orbits = tuple(Orbit(1.0 / len(unit), tensor, moment) for tensor in unit)
    return SitePrior(
        *common,
        "hamiltonian",
        shift,
        Prior(splitting, _splitting_error(splitting)),
        Prior(field, max(FIELD_ERROR * field, LEAST_FIELD_ERROR), 0.0, 80.0),
        FIELD_SPREAD_T,
        orbits=orbits,
    )


def _splitting_error(splitting: float) -> float:
    return max(SPLITTING_ERROR * abs(splitting), LEAST_SPLITTING_ERROR)


def _nonmagnetic(label: str, weight: float, shift: Prior, splitting: float) -> SitePrior:
    quadrupole = Prior(splitting, _splitting_error(splitting), 0.0, 6.0)
    return SitePrior(label, weight, "doublet", shift, quadrupole, spread=SPLITTING_SPREAD_MM_S)


def predicted_phases(ranked_csv: str | Path) -> list[PhasePrior]:
    """Phases of the table of predictions whose models are usable and know such crystals.

    A row has a value and an error for each quantity; where an error is missing the phase is left
    out, since nothing could be said against it.
    """
    table = pd.read_csv(ranked_csv)
    needed = [Site.ISOMER_SHIFT, Site.VZZ, Site.BHF]
    if table.empty or not {f"{column}_error" for column in needed} <= set(table.columns):
        return []
    table = table[table["inside_domain"].astype(bool) & table["model_usable"].astype(bool)]
    phases = []
    for structure, rows in table.groupby("structure_id", sort=True):
        if rows[[f"{column}_error" for column in needed]].isna().to_numpy().any():
            continue
        sites = tuple(_predicted_site(row) for row in rows.to_dict("records"))
        formula = str(rows["formula"].iloc[0])
        phases.append(
            PhasePrior(str(structure), formula, sites, "predicted", crystal=str(structure))
        )
    return phases


def _predicted_site(row: Mapping[Any, Any]) -> SitePrior:
    shift = Prior(
        float(row[Site.ISOMER_SHIFT]), float(row[f"{Site.ISOMER_SHIFT}_error"]), -1.5, 2.5
    )
    per_vzz = units.splitting_per_vzz()
    splitting = per_vzz * float(row[Site.VZZ])
    error = per_vzz * float(row[f"{Site.VZZ}_error"])
    field, field_error = abs(float(row[Site.BHF])), float(row[f"{Site.BHF}_error"])
    common = (str(row["site"]), float(row["multiplicity"]))
    if field <= max(NO_FIELD_T, field_error):
        return replace(
            _nonmagnetic(*common, shift, abs(splitting)),
            quadrupole=Prior(abs(splitting), error, 0.0, 6.0),
        )
    # The angle between field and gradient is not predicted: 2ε lies between −½ and 1 times ΔEQ.
    return SitePrior(
        *common,
        "sextet",
        shift,
        Prior(0.0, math.hypot(0.6 * splitting, error)),
        Prior(field, field_error, 0.0, 80.0),
        FIELD_SPREAD_T,
    )


def overridden(phase: PhasePrior, change: Mapping[str, Any]) -> PhasePrior:
    """The phase with what a measurement says of it: ``magnetic`` and ``debye_k``.

    Without magnetism the field goes, and the splitting is what the gradient alone gives; of a phase
    whose splitting nobody knows it is small or large, within its range.
    """
    if change.get("debye_k") is not None:
        value = float(change["debye_k"])
        phase = replace(phase, debye_k=Prior(value, DEBYE.sigma / 4.0, 50.0, 2000.0))
    if change.get("magnetic") is False:
        phase = replace(phase, sites=tuple(_paramagnetic(site) for site in phase.sites))
    return phase


def _paramagnetic(site: SitePrior) -> SitePrior:
    if site.field is None:
        return site
    if site.kind == "hamiltonian" and site.quadrupole is not None:
        return _nonmagnetic(site.label, site.weight, site.shift, abs(site.quadrupole.mean))
    spread = SPLITTING_SPREAD_MM_S
    quadrupole = Prior(UNKNOWN_SHIFT, 2.0 * UNKNOWN_SHIFT, 0.0, 4.5)
    return SitePrior(site.label, site.weight, "doublet", site.shift, quadrupole, spread=spread)
