"""What differs from phase to phase in one measurement: easy axis, temperature, magnetism.

A spectrometer shows a phase at one temperature. There a phase may have lost its magnetism, or, as
hematite at its Morin transition, have turned its moments; and where a value is measured well, it
may stand in place of the computed one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dft2spectra.columns import Site
from dft2spectra.spectra.components import Measurement, direction
from dft2spectra.spectra.doppler import recoil_free_fraction, thermal_shift_mm_s

FIELDS = (Site.BHF, Site.BHF_SCALED)


def phase_measurement(measurement: Measurement, phase: Mapping[str, Any]) -> Measurement:
    """The measurement with the moment direction and the thermal shift of a phase.

    Raises
    ------
    ValueError
        A direction is none, or a thermal shift lacks one of its two temperatures.
    """
    if phase.get("moment_direction") is not None:
        moment = direction(phase["moment_direction"], "phases.moment_direction")
        measurement = replace(measurement, moment_direction=moment)
    given = [phase.get(key) is not None for key in ("temperature_k", "debye_k")]
    if all(given):
        shift = thermal_shift_mm_s(phase["temperature_k"], phase["debye_k"])
        measurement = replace(measurement, thermal_shift_mm_s=shift)
    elif any(given):
        raise ValueError(f"phase {phase['structure']}: give temperature_k and debye_k, or neither")
    return measurement


def phase_sites(
    rows: Sequence[Mapping[str, Any]], phase: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Rows of the site table of a phase with what is said about it in their place.

    A field that is given is that of all atoms of the site, its dipolar part included; without
    magnetism there is none.

    Raises
    ------
    ValueError
        An override names a site that the phase has not, or a splitting where there is no tensor.
    """
    changed = [dict(row) for row in rows]
    if phase.get("magnetic") is False:
        for row in changed:
            _set_field(row, 0.0)
    for override in phase.get("overrides", []):
        label = str(override["site"])
        found = [row for row in changed if label in _labels(row)]
        if not found:
            known = ", ".join(str(row[Site.SITE]) for row in rows)
            raise ValueError(f"phase {phase['structure']}: no site {label!r} among {known}")
        for row in found:
            _override(row, override)
    return changed


def _labels(row: Mapping[str, Any]) -> set[str]:
    """Label of a site, and that of its orbit where moments split it (a letter less)."""
    label = str(row[Site.SITE])
    return {label, label[:-1]} if label[-1:].islower() else {label}


def _override(row: dict[str, Any], override: Mapping[str, Any]) -> None:
    if override.get("isomer_shift_mm_s") is not None:
        row[Site.ISOMER_SHIFT] = float(override["isomer_shift_mm_s"])
    if override.get("bhf_t") is not None:
        _set_field(row, float(override["bhf_t"]))
    if override.get("quadrupole_splitting_mm_s") is not None:
        wanted, own = float(override["quadrupole_splitting_mm_s"]), row[Site.QUADRUPOLE_SPLITTING]
        if wanted and not own:
            raise ValueError(
                f"site {row[Site.SITE]}: no field gradient to scale to {wanted:g} mm/s"
            )
        factor = wanted / own if own else 0.0
        row[Site.QUADRUPOLE_SPLITTING] = wanted
        row[Site.EFG_ORBIT] = [factor * np.asarray(efg, float) for efg in row[Site.EFG_ORBIT]]


def _set_field(row: dict[str, Any], field_t: float) -> None:
    for column in FIELDS:
        row[column] = field_t
    row[Site.BHF_DIPOLAR_ORBIT] = [
        0.0 * np.asarray(tensor, float) for tensor in row[Site.BHF_DIPOLAR_ORBIT]
    ]


def phase_recoilless(phase: Mapping[str, Any]) -> float | None:
    """Recoil-free fraction of a phase: as given, else from its temperatures, else ``None``."""
    if phase.get("f") is not None:
        return float(phase["f"])
    if phase.get("debye_k") is not None and phase.get("temperature_k") is not None:
        return recoil_free_fraction(phase["temperature_k"], phase["debye_k"])
    return None
