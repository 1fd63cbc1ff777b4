"""The phases that a spectrum is compared with, and what is known of each of their sites.

``hyperfine_priors`` puts together, best first: what was measured (``data/structures``,
``data/spectra/phases.yaml``), what was computed (a site table with the error of its calibration),
what was predicted by the learned models. A phase comes from the best of them that knows it.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dft2spectra.measured.phases import PhasePrior, Prior, SitePrior
from dft2spectra.spectra.doppler import second_order_doppler_mm_s

# Bundled with the repository: beside src, or, of a library that was installed elsewhere, where the
# campaign runs.
DATA = (Path(__file__).parents[3] / "data", Path("data"))
ROOM_TEMPERATURE_K = 295.0
# σ of isomer shift (mm/s), quadrupole (mm/s) and field (T) of a published value for another sample
# of the phase, by how far the value can be trusted (data/README.md).
TRUST = {
    "S": (0.02, 0.03, 0.4),
    "R+": (0.03, 0.04, 0.6),
    "R": (0.04, 0.07, 1.0),
    "R?": (0.08, 0.15, 1.5),
}
# Members of a solid solution differ by more than samples of one compound.
SOLID_SOLUTION = 2.0
# Further from the temperature of a value than this, σ grows by the second line.
SAME_TEMPERATURE_K = 30.0
FAR = (0.03, 0.1, 0.1)  # mm/s, mm/s, part of the field
# What is not printed of a sextet: its quadrupole shift.
UNKNOWN_SHIFT = 0.15
# Half-normal width of distributions in a crystal: tesla, mm/s.
FIELD_SPREAD_T, SPLITTING_SPREAD_MM_S = 0.3, 0.08
# Fields below this are none.
NO_FIELD_T = 0.5
DEBYE = Prior(400.0, 80.0, 100.0, 1000.0)
QUANTITIES = (
    "isomer_shift_mm_s",
    "quadrupole_splitting_mm_s",
    "quadrupole_shift_mm_s",
    "bhf_t",
)

logger = logging.getLogger(__name__)


def bundled_files() -> list[str]:
    """Files with bundled measured values: that of further phases, then one per compound, sorted.

    Raises
    ------
    ValueError
        The bundled data are not where the repository has them.
    """
    for folder in DATA:
        more = folder / "spectra" / "phases.yaml"
        if more.exists():
            return [str(path) for path in (more, *sorted((folder / "structures").glob("*.yaml")))]
    raise ValueError("data/spectra/phases.yaml is missing: run this in the repository")


def bundled_phases(
    temperature_k: float = ROOM_TEMPERATURE_K,
) -> tuple[list[PhasePrior], dict[str, str]]:
    """Phases with bundled measured values, and those that cannot be used, with the reason.

    Parameters
    ----------
    temperature_k
        Temperature of the absorber; values near it are taken, others with wider errors.

    Raises
    ------
    ValueError
        The bundled data are not where the repository has them.
    """
    more, *compounds = map(Path, bundled_files())
    extra = yaml.safe_load(more.read_text("utf-8"))
    phases: list[PhasePrior] = []
    left_out: dict[str, str] = {}
    for path in compounds:
        compound = yaml.safe_load(path.read_text("utf-8"))
        name = str(compound["name"])
        if not compound.get("measured"):
            continue
        try:
            supplement = extra["supplements"].get(name, {})
            phases.append(_compound(compound, supplement, temperature_k))
        except ValueError as error:
            left_out[name] = str(error)
    for entry in extra["phases"]:
        sites = [_measured_site(site, site["weight"], temperature_k) for site in entry["sites"]]
        phases.append(
            PhasePrior(
                entry["name"],
                entry["formula"],
                tuple(sites),
                "measured",
                _debye(entry),
                bool(entry.get("free_weights", False)),
                str(entry["sites"][0]["source"]),
                series=str(entry.get("series", "")),
            )
        )
    return phases, left_out


def _debye(entry: Mapping[str, Any]) -> Prior:
    if "debye_k" not in entry:
        return DEBYE
    return Prior(entry["debye_k"], entry.get("debye_error_k", 50.0), 50.0, 2000.0)


def _compound(
    compound: Mapping[str, Any], supplement: Mapping[str, Any], temperature_k: float
) -> PhasePrior:
    """Phase of a file of ``data/structures``; raises ValueError if a site has no values."""
    sites: list[SitePrior] = []
    sources: list[str] = []
    for iron in (site for site in compound["sites"] if site["element"] == "Fe"):
        entries = [m for m in compound["measured"] if m["site"] == iron["label"]]
        merged = _merge(entries, temperature_k)
        more = dict(supplement.get("sites", {}).get(iron["label"], {}))
        atoms = float("".join(c for c in str(iron["wyckoff"]) if c.isdigit()))
        parts = more.pop("split", [{"weight": 1.0}])
        total = sum(part["weight"] for part in parts)
        for number, part in enumerate(parts, start=1):
            own = merged | more | {k: v for k, v in part.items() if k != "weight"}
            own["solid_solution"] = supplement.get("free_weights", False)
            own["label"] = iron["label"] + (f" ({number})" if len(parts) > 1 else "")
            sites.append(_measured_site(own, atoms * part["weight"] / total, temperature_k))
        sources.extend(str(entry["source"]) for entry in entries if "source" in entry)
    return PhasePrior(
        str(compound["name"]),
        str(compound["formula"]),
        tuple(sites),
        "measured",
        _debye(supplement),
        bool(supplement.get("free_weights", False)),
        "; ".join(dict.fromkeys(sources)),
        series=str(supplement.get("series", "")),
    )


def _merge(entries: Sequence[Mapping[str, Any]], temperature_k: float) -> dict[str, Any]:
    """One value per quantity: of the entries nearest in temperature the most trusted one."""
    usable = [entry for entry in entries if entry.get("temperature_k") is not None]
    if not usable:
        raise ValueError("a site without measured values")
    # Either near room temperature or cold: a value of one does not help at the other.
    distances = [abs(float(entry["temperature_k"]) - temperature_k) for entry in usable]
    nearest = min(distances)
    near = [
        entry
        for entry, distance in zip(usable, distances, strict=True)
        if distance <= nearest + SAME_TEMPERATURE_K
    ]
    if nearest > 250.0:
        raise ValueError(f"no value within 250 K of {temperature_k:g} K")
    near.sort(key=lambda entry: list(TRUST).index(entry["trust"]))
    merged: dict[str, Any] = {}
    for quantity in QUANTITIES:
        for entry in near:
            if entry.get(quantity) is not None:
                merged[quantity] = float(entry[quantity])
                merged.setdefault("trust", entry["trust"])
                break
    merged["temperature_k"] = float(near[0]["temperature_k"])
    merged.setdefault("trust", near[0]["trust"])
    return merged


def _measured_site(site: Mapping[str, Any], weight: float, temperature_k: float) -> SitePrior:
    """Prior of a site with measured values; raises ValueError if they are too few."""
    shift = site.get("isomer_shift_mm_s")
    if shift is None:
        raise ValueError("a site without a measured isomer shift")
    factor = SOLID_SOLUTION if site.get("solid_solution") else 1.0
    error = [factor * value for value in TRUST[site["trust"]]]
    measured_at = float(site["temperature_k"])
    field = float(site.get("bhf_t") or 0.0)
    thermal = 0.0
    if abs(measured_at - temperature_k) > SAME_TEMPERATURE_K:
        thermal = second_order_doppler_mm_s(temperature_k, DEBYE.mean)
        thermal -= second_order_doppler_mm_s(measured_at, DEBYE.mean)
        error = [error[0] + FAR[0], error[1] + FAR[1], error[2] + FAR[2] * field]
    shifted = Prior(float(shift) + thermal, error[0], -1.0, 2.5)
    splitting = site.get("quadrupole_splitting_mm_s")
    if field > NO_FIELD_T:
        known = site.get("quadrupole_shift_mm_s")
        if known is not None:
            quadrupole = Prior(float(known), error[1])
        elif splitting == 0.0:  # cubic
            quadrupole = Prior(0.0, 0.02)
        else:
            quadrupole = Prior(0.0, max(UNKNOWN_SHIFT, float(splitting or 0.0)))
        return SitePrior(
            str(site["label"]),
            float(weight),
            "sextet",
            shifted,
            quadrupole,
            Prior(field, error[2], 0.0, 80.0),
            float(site.get("spread", FIELD_SPREAD_T)),
        )
    if splitting is None:
        raise ValueError("a site with neither a field nor a splitting")
    spread = float(site.get("spread", SPLITTING_SPREAD_MM_S))
    if splitting == 0.0:
        return SitePrior(str(site["label"]), float(weight), "singlet", shifted, spread=spread / 2.0)
    return SitePrior(
        str(site["label"]),
        float(weight),
        "doublet",
        shifted,
        Prior(float(splitting), error[1], 0.0, 6.0),
        spread=spread,
    )


def hyperfine_priors(
    measured: Sequence[PhasePrior],
    computed: Sequence[PhasePrior] = (),
    predicted: Sequence[PhasePrior] = (),
) -> list[PhasePrior]:
    """One prior per phase: measured over computed over predicted.

    Phases are the same if their names or the crystals that they were computed for are.
    """
    taken: dict[str, PhasePrior] = {}
    for phase in [*measured, *computed, *predicted]:
        names = {phase.name, phase.crystal} - {""}
        if not any(name in taken for name in names):
            for name in names:
                taken[name] = phase
    return list({id(phase): phase for phase in taken.values()}.values())


def choose(phases: Sequence[PhasePrior], names: Sequence[str]) -> list[PhasePrior]:
    """The phases with these names or formulas.

    Raises
    ------
    ValueError
        A name is none of them; the message lists those there are.
    """
    chosen = []
    for name in names:
        found = [p for p in phases if name in (p.name, p.crystal)] or [
            p for p in phases if p.formula == name
        ]
        if not found:
            known = ", ".join(sorted(phase.name for phase in phases))
            raise ValueError(f"candidate {name!r} is none of the phases known: {known}")
        chosen.extend(found)
    return chosen


def mean_shift_error(calibration: Mapping[str, Any]) -> float:
    """σ in mm/s of a computed isomer shift: the error of calibration points that were left out."""
    return max(float(calibration["leave_one_out_rmse_mm_s"]), 0.02)


def unknown_phase(kind: str) -> PhasePrior:
    """Stand-in for a phase that the library lacks: one site of this kind with flat priors.

    Ranges: isomer shifts −0.6 to 1.8 mm/s, fields 3 to 60 T, 2ε ±1 mm/s, splittings to 4.5 mm/s,
    which is where compounds of iron lie (Greenwood and Gibb 1971).
    """
    flat = math.inf
    shift = Prior(0.4, flat, -0.6, 1.8)
    quadrupole, field, spread = None, None, 0.05
    if kind == "sextet":
        quadrupole, field = Prior(0.0, flat, -1.0, 1.0), Prior(30.0, flat, 3.0, 60.0)
        spread = 2.0
    elif kind == "doublet":
        quadrupole, spread = Prior(0.5, flat, 0.0, 4.5), 0.2
    site = SitePrior(kind, 1.0, kind, shift, quadrupole, field, spread)
    return PhasePrior(f"unknown {kind}", "", (site,), "unknown")
