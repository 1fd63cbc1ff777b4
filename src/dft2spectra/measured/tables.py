"""What a fit says in numbers: phases, components, calibration, the spectrum itself.

Errors of areas and of what follows from them are kept apart by origin: ``statistical`` from the
counts, ``prior`` from what the library leaves open, ``f`` from the recoil-free fractions.
"""

from typing import Any

import numpy as np
import pandas as pd
from ase.data import atomic_masses, atomic_numbers
from ase.formula import Formula
from scipy.stats import norm

from dft2spectra.measured.fit import Fit
from dft2spectra.measured.identify import Identification
from dft2spectra.measured.phases import PhasePrior
from dft2spectra.spectra.doppler import recoil_free_fraction


def phase_names(found: Fit) -> list[str]:
    """Names of the phases; stand-ins for unknown ones are numbered."""
    names, count = [], 0
    for phase in found.model.phases:
        if not phase.known:
            count += 1
        names.append(phase.name if phase.known else f"unknown {count} ({phase.sites[0].kind})")
    return names


def _propagated(found: Fit, gradient: np.ndarray) -> tuple[float, float]:
    """Statistical and prior error of a number with this gradient in the parameters."""
    parts = (gradient @ found.statistical @ gradient, gradient @ found.prior @ gradient)
    return float(np.sqrt(max(parts[0], 0.0))), float(np.sqrt(max(parts[1], 0.0)))


def _area_index(found: Fit) -> list[int]:
    return [found.model.index[f"{k}.area"] for k in range(len(found.model.phases))]


def shares(found: Fit, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted areas divided by their sum, (n,), and their gradients, (n, parameters)."""
    index = _area_index(found)
    area = found.values[index] * weights
    total = area.sum()
    gradient = np.zeros((len(index), len(found.values)))
    for i, (one, factor) in enumerate(zip(index, weights, strict=True)):
        gradient[:, one] -= area / total**2 * factor
        gradient[i, one] += factor / total
    return area / total, gradient


def _recoilless(phase: PhasePrior, temperature_k: float) -> tuple[float, float]:
    """Recoil-free fraction and its error from the error of the Debye temperature."""
    debye = phase.debye_k
    value = recoil_free_fraction(temperature_k, debye.mean)
    low, high = (
        recoil_free_fraction(temperature_k, max(debye.mean + s * debye.sigma, debye.low))
        for s in (-1.0, 1.0)
    )
    return value, (high - low) / 2.0


def phase_table(result: Identification, temperature_k: float) -> pd.DataFrame:
    """``phases.csv``: area, Fe-atom, mole and weight fractions with errors, probability, rivals.

    Mole (formula units) and weight fractions are those among the known phases: of an unknown one
    nobody knows the formula.
    """
    found = result.found
    phases = found.model.phases
    if not phases:
        return pd.DataFrame(columns=["phase", "area_fraction"])
    f, f_error = np.array([_recoilless(phase, temperature_k) for phase in phases]).T
    area, area_gradient = shares(found, np.ones(len(phases)))
    iron, iron_gradient = shares(found, 1.0 / f)
    # d ln(iron_i) / d ln f_j = −δ_ij + iron_j, and the Debye temperatures are independent.
    by_f = iron[:, None] * (iron[None, :] - np.eye(len(phases))) * (f_error / f)[None, :]
    known = np.array([phase.known for phase in phases])
    per_formula = np.array([_iron_atoms(phase) for phase in phases])
    mass = np.array([_mass(phase) for phase in phases])
    mole = np.where(known, iron / per_formula, 0.0)
    weight = mole * mass
    rows = []
    for i, name in enumerate(phase_names(found)):
        counted, prior = _propagated(found, area_gradient[i])
        iron_errors = [*_propagated(found, iron_gradient[i]), float(np.linalg.norm(by_f[i]))]
        total = float(np.linalg.norm(iron_errors))
        relative = total / iron[i] if iron[i] > 0.0 else np.nan
        own = [np.nan, np.nan]
        if known[i]:
            own = [float(mole[i] / mole.sum()), float(weight[i] / weight.sum())]
        presence = result.presence[i]
        rows.append(
            {
                "phase": name,
                "formula": phases[i].formula,
                "origin": phases[i].origin,
                "area_fraction": float(area[i]),
                "area_fraction_error": float(np.hypot(counted, prior)),
                "area_fraction_statistical_error": counted,
                "area_fraction_prior_error": prior,
                "fe_atom_fraction": float(iron[i]),
                "fe_atom_fraction_error": total,
                "fe_atom_fraction_statistical_error": iron_errors[0],
                "fe_atom_fraction_prior_error": iron_errors[1],
                "fe_atom_fraction_f_error": iron_errors[2],
                "mole_fraction": own[0],
                "mole_fraction_error": own[0] * relative,
                "weight_fraction": own[1],
                "weight_fraction_error": own[1] * relative,
                "recoil_free_fraction": float(f[i]),
                "probability": presence.probability,
                "confusable_with": "; ".join(
                    f"{other} ({value:.2f})" for other, value in presence.confusable.items()
                ),
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values("area_fraction", ascending=False, kind="stable", ignore_index=True)


def _iron_atoms(phase: PhasePrior) -> float:
    return float(Formula(phase.formula).count().get("Fe", 1)) if phase.known else 1.0


def _mass(phase: PhasePrior) -> float:
    if not phase.known:
        return 0.0
    count = Formula(phase.formula).count()
    return float(sum(n * atomic_masses[atomic_numbers[e]] for e, n in count.items()))


def component_table(found: Fit) -> pd.DataFrame:
    """``components.csv``: one row per site with what an experimentalist fits, and errors.

    ``width_mm_s`` is the full width of the line as a thin absorber shows it, source included.
    """
    rows = []
    area, gradient = shares(found, np.ones(len(found.model.phases)))
    for number, (phase, name) in enumerate(
        zip(found.model.phases, phase_names(found), strict=True)
    ):
        weights = found.model.weights(found.values, number)
        for i, site in enumerate(phase.sites):
            prefix = f"{number}.{i}."
            own = _weight_gradient(found, number, i)
            share = float(weights[i] * area[number])
            error = np.hypot(
                *_propagated(found, weights[i] * gradient[number] + area[number] * own)
            )
            width = float(np.exp(found[prefix + "log_width"]))
            source = found.model.fitted_source(found.values)
            spread = found[prefix + "spread"]
            row: dict[str, Any] = {
                "phase": name,
                "site": site.label,
                "kind": site.kind,
                "isomer_shift_mm_s": found[prefix + "shift"],
                "isomer_shift_mm_s_error": found.error(prefix + "shift"),
            }
            for column in ("quadrupole_splitting_mm_s", "quadrupole_shift_mm_s", "bhf_t"):
                row |= {column: np.nan, f"{column}_error": np.nan}
            if site.quadrupole is not None:
                shifted = site.kind == "sextet"
                column = "quadrupole_shift_mm_s" if shifted else "quadrupole_splitting_mm_s"
                row[column] = found[prefix + "quadrupole"]
                row[f"{column}_error"] = found.error(prefix + "quadrupole")
            if site.field is not None:
                row["bhf_t"] = found[prefix + "field"]
                row["bhf_t_error"] = found.error(prefix + "field")
            row |= {
                "width_mm_s": width + source.width_mm_s,
                "width_mm_s_error": width * found.error(prefix + "log_width"),
                "area_fraction": share,
                "area_fraction_error": float(error),
                "spread": spread,
                "spread_error": found.error(prefix + "spread"),
                "spread_of": "bhf_t" if site.field is not None else "splitting_mm_s",
            }
            rows.append(row)
    return pd.DataFrame(rows)


def _weight_gradient(found: Fit, number: int, site: int) -> np.ndarray:
    """Gradient of the share of a site in its phase."""
    gradient = np.zeros(len(found.values))
    weights = found.model.weights(found.values, number)
    for i in range(len(weights)):
        name = f"{number}.{i}.log_weight"
        if name in found.model.index:
            delta = 1.0 if i == site else 0.0
            gradient[found.model.index[name]] = weights[site] * (delta - weights[i])
    return gradient


def runs_test(residuals: np.ndarray) -> dict[str, float]:
    """Wald–Wolfowitz test of the signs of residuals in the order of the velocities.

    Few runs (z well below 0) mean residuals that go together: a misfit that χ² may not show.
    """
    signs = residuals > 0.0
    n, positive = len(signs), int(signs.sum())
    negative = n - positive
    runs = 1 + int(np.sum(signs[1:] != signs[:-1]))
    if positive == 0 or negative == 0:
        return {"runs": runs, "z": float("nan"), "p_value": 0.0}
    expected = 2.0 * positive * negative / n + 1.0
    variance = (expected - 1.0) * (expected - 2.0) / (n - 1.0)
    z = float((runs - expected) / np.sqrt(variance))
    return {"runs": runs, "z": z, "p_value": float(2.0 * norm.sf(abs(z)))}


def spectrum_table(
    found: Fit, counts: np.ndarray, sigma: np.ndarray, used: np.ndarray
) -> pd.DataFrame:
    """``fit.csv``: every channel with velocity against α-Fe, counts, fit, residual, sub-spectra.

    Sub-spectra are the counts without the absorption of all other sites.
    """
    velocity = found.model.velocity(found.values)
    parts = found.model.curves(found.values, velocity)
    transmission = 1.0 - sum((sum(rows) for rows in parts), np.zeros(len(velocity)))
    baseline = found.counts / transmission
    table = {
        "channel": np.arange(len(counts)),
        "velocity_mm_s": velocity - found.model.offset(found.values),
        "counts": counts,
        "error": sigma,
        "used": used,
        "fit": found.counts,
        "residual": (counts - found.counts) / sigma,
        "baseline": baseline,
    }
    for name, phase, rows in zip(phase_names(found), found.model.phases, parts, strict=True):
        for site, curve in zip(phase.sites, rows, strict=True):
            label = name if len(rows) == 1 else f"{name} {site.label}"
            table[label] = baseline * (1.0 - curve)
    return pd.DataFrame(table).sort_values("velocity_mm_s", kind="stable", ignore_index=True)
