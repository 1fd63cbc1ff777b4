"""Components of a Mössbauer spectrum from the table of Fe sites.

A component is the pattern of the atoms of one site that look alike to the γ ray. Symmetry makes the
atoms of a site equivalent, but a moment direction breaks that: under a field along [001] the three
face-centre atoms of Fe4N give two patterns, 2:1. Each atom's EFG and dipolar tensors are therefore
taken with the same moment direction, and atoms are put together again when their lines agree.

All directions are Cartesian, in the axes of the structure's ``cell_ang``. With the moments along
n, the field at atom a is B = B_iso n + T_a n: B_iso the isotropic field of its site, raw or scaled,
and T_a its own traceless dipolar tensor, which is never scaled. T_a and B_iso refer to the same
sense of the spin axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from dft2spectra import units
from dft2spectra.columns import Site, Status
from dft2spectra.spectra import lineshape, nuclear
from dft2spectra.spectra.doppler import thermal_shift_mm_s

# Atoms whose stick spectra differ by less than this (mean displacement of the intensity) are one
# component: far below any line width, above the noise of a DFT tensor.
SAME_PATTERN_MM_S = 0.005


@dataclass(frozen=True)
class Measurement:
    """How a spectrum is taken: velocities, line shape, directions and temperature."""

    velocity_mm_s: np.ndarray
    width_mm_s: float
    gaussian_mm_s: float
    moment_direction: np.ndarray
    gamma: np.ndarray | None
    field_column: Site
    thermal_shift_mm_s: float
    description: str


@dataclass(frozen=True)
class Component:
    """Lines of the atoms of one site that give the same pattern.

    ``positions`` are in mm/s, ascending, isomer and thermal shifts included; ``intensities``
    add up to the share of these atoms among all Fe atoms of the structure. ``field_t`` is the size
    of the field with the sign of its component along the moment direction, and the quadrupole shift
    2ε is ½ e Q times the EFG along the field.
    """

    site: str
    number: int
    label: str
    n_atoms: int
    shift_mm_s: float
    field_t: float
    quadrupole_splitting_mm_s: float
    quadrupole_shift_mm_s: float
    positions: np.ndarray
    intensities: np.ndarray


def direction(value: Any, key: str) -> np.ndarray:
    """Unit vector of three numbers; an error names the key."""
    vector = np.asarray(value, float)
    if vector.shape != (3,) or not np.all(np.isfinite(vector)) or not np.any(vector):
        raise ValueError(f"mossbauer.{key} must be three numbers, not all zero: {value!r}")
    return vector / np.linalg.norm(vector)


def _choice(settings: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    if settings[key] not in allowed:
        raise ValueError(f"mossbauer.{key} must be one of {', '.join(allowed)}: {settings[key]!r}")
    return settings[key]


def read_measurement(settings: Mapping[str, Any]) -> Measurement:
    """Measurement that the ``mossbauer`` section of the configuration describes.

    Raises
    ------
    ValueError
        Names the key whose value is impossible.
    """
    half_range, points = float(settings["velocity_mm_s"]), int(settings["points"])
    if half_range <= 0.0 or points < 2:
        raise ValueError("mossbauer.velocity_mm_s must be positive and mossbauer.points at least 2")
    shape = _choice(settings, "line_shape", ("lorentzian", "voigt"))
    width = float(settings["width_mm_s"])
    gaussian = float(settings["gaussian_mm_s"]) if shape == "voigt" else 0.0
    lineshape.profile(0.0, width, gaussian)  # refuses impossible widths
    scale = _choice(settings, "bhf", ("raw", "scaled"))
    moment = direction(settings["moment_direction"], "moment_direction")
    gamma = None
    if isinstance(settings["gamma"], str):
        _choice(settings, "gamma", ("powder",))
    else:
        gamma = direction(settings["gamma"], "gamma")
    doppler = settings.get("second_order_doppler")
    thermal_shift = 0.0
    if doppler:
        thermal_shift = thermal_shift_mm_s(doppler["temperature_k"], doppler["debye_k"])
    words = [
        "powder" if gamma is None else f"γ ∥ {_axis(settings['gamma'])}",
        f"moments ∥ {_axis(settings['moment_direction'])}",
        f"{scale} Bhf",
        f"{shape.capitalize()} {width:g}" + (f" + {gaussian:g}" if gaussian else "") + " mm/s",
    ]
    if doppler:
        words.append(f"{doppler['temperature_k']:g} K, θ {doppler['debye_k']:g} K")
    return Measurement(
        velocity_mm_s=np.linspace(-half_range, half_range, points),
        width_mm_s=width,
        gaussian_mm_s=gaussian,
        moment_direction=moment,
        gamma=gamma,
        field_column=Site.BHF if scale == "raw" else Site.BHF_SCALED,
        thermal_shift_mm_s=thermal_shift,
        description=" · ".join(words),
    )


def _axis(vector: Sequence[float]) -> str:
    return "[" + " ".join(f"{x:g}" for x in vector).replace("-", "−") + "]"


def orbit_tensors(site: Mapping[str, Any], column: Site) -> np.ndarray:
    """Symmetric tensors of all equivalent atoms, (multiplicity, 3, 3)."""
    rows = [np.asarray(row, float) for row in site[column]]
    if len(rows) != int(site[Site.MULTIPLICITY]) or any(row.shape != (6,) for row in rows):
        raise ValueError(
            f"{_name(site)}: {column} needs six numbers for each of the "
            f"{site[Site.MULTIPLICITY]} equivalent atoms"
        )
    xx, yy, zz, xy, xz, yz = np.array(rows).T
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]).transpose(2, 0, 1)


def _name(site: Mapping[str, Any]) -> str:
    return f"{site[Site.STRUCTURE_ID]}, site {site[Site.SITE]}"


def _same_pattern(positions: np.ndarray, intensities: np.ndarray) -> list[list[int]]:
    """Atoms grouped by their lines (both arrays (atoms, 8)), the largest group first."""
    groups: list[list[int]] = []
    for atom, (position, intensity) in enumerate(zip(positions, intensities, strict=True)):
        for group in groups:
            first = group[0]
            distance = wasserstein_distance(
                positions[first], position, intensities[first], intensity
            )
            if distance < SAME_PATTERN_MM_S:
                group.append(atom)
                break
        else:
            groups.append([atom])
    return sorted(groups, key=len, reverse=True)


def _site_components(
    site: Mapping[str, Any], n_iron: int, measurement: Measurement
) -> list[Component]:
    along = measurement.moment_direction
    efg = orbit_tensors(site, Site.EFG_ORBIT)
    dipolar = orbit_tensors(site, Site.BHF_DIPOLAR_ORBIT)
    isotropic = float(site[measurement.field_column])
    shift = float(site[Site.ISOMER_SHIFT]) + measurement.thermal_shift_mm_s
    if not np.isfinite([isotropic, shift, *efg.flat, *dipolar.flat]).all():
        raise ValueError(
            f"{_name(site)}: a number among {Site.EFG_ORBIT}, {Site.ISOMER_SHIFT}, "
            f"{Site.BHF_DIPOLAR_ORBIT} and {measurement.field_column} is missing or not finite"
        )
    field = isotropic * along + dipolar @ along
    positions, intensities = nuclear.transitions(efg, field, measurement.gamma)
    groups = _same_pattern(positions, intensities)
    label = str(site[Site.SITE])
    components = []
    for number, atoms in enumerate(groups, start=1):
        first = atoms[0]
        size = float(np.linalg.norm(field[first]))
        axis = field[first] / size if size > 0.0 else along
        line, intensity = nuclear.merge_lines(positions[first], intensities[first])
        components.append(
            Component(
                site=label,
                number=number,
                label=label if len(groups) == 1 else f"{label} ({number})",
                n_atoms=len(atoms),
                shift_mm_s=shift,
                field_t=float(np.copysign(size, axis @ along)),
                quadrupole_splitting_mm_s=float(site[Site.QUADRUPOLE_SPLITTING]),
                quadrupole_shift_mm_s=float(units.splitting_per_vzz() * axis @ efg[first] @ axis),
                positions=line + shift,
                intensities=intensity / intensity.sum() * len(atoms) / n_iron,
            )
        )
    return components


def structure_components(
    sites: Sequence[Mapping[str, Any]], measurement: Measurement
) -> list[Component]:
    """Components of one structure, site by site; their intensities add up to 1.

    Parameters
    ----------
    sites
        Rows of the site table that belong to the structure, each weighted by its multiplicity.
    measurement
        How the spectrum is taken.

    Raises
    ------
    ValueError
        If a site lacks a number that the spectrum needs; names structure and site.
    """
    n_iron = sum(int(site[Site.MULTIPLICITY]) for site in sites)
    return [c for site in sites for c in _site_components(site, n_iron, measurement)]


def spectrum(components: Sequence[Component], measurement: Measurement) -> np.ndarray:
    """Absorption in (mm/s)⁻¹ on the velocities of the measurement; its area is the atoms' share."""
    return lineshape.absorption(
        measurement.velocity_mm_s,
        np.concatenate([c.positions for c in components]),
        np.concatenate([c.intensities for c in components]),
        measurement.width_mm_s,
        measurement.gaussian_mm_s,
    )


def area_in_range(components: Sequence[Component], measurement: Measurement) -> float:
    """Part of the area of the components that falls inside the velocity range, from 0 to 1."""
    intensities = np.concatenate([c.intensities for c in components])
    area = lineshape.area_within(
        measurement.velocity_mm_s[0],
        measurement.velocity_mm_s[-1],
        np.concatenate([c.positions for c in components]),
        intensities,
        measurement.width_mm_s,
        measurement.gaussian_mm_s,
    )
    return area / float(intensities.sum())


def has_spectrum(sites: pd.DataFrame) -> pd.Series:
    """Rows of a site table with all that a spectrum needs: shift, gradient and field."""
    needed = [Site.STATUS, Site.ISOMER_SHIFT_STATUS, Site.VZZ_STATUS, Site.BHF_STATUS]
    return (sites[needed] == Status.CONVERGED).all(axis=1)
