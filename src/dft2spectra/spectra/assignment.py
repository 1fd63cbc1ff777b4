"""Bands of an infrared spectrum beside the harmonic modes and measured bands they belong to."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from dft2spectra.columns import Band

# Modes with less than this part of the least intensity looked for are dark; the factor leaves room
# for the scatter of thermal intensities.
DARK = 0.1


def group_modes(
    harmonic: Sequence[Mapping[str, Any]], resolution_cm1: float
) -> list[dict[Band, Any]]:
    """Harmonic modes that a spectrum of this resolution cannot tell apart, as one band each.

    Parameters
    ----------
    harmonic
        Rows with ``mode``, ``frequency_cm1`` and ``intensity_km_mol``.
    resolution_cm1
        Neighbours closer than this belong together.

    Returns
    -------
    list of dict
        Names of the modes, their mean wavenumber weighted with the intensities, and their sum.

    Raises
    ------
    ValueError
        If a frequency is imaginary or zero, or a number is not finite or impossible.
    """
    groups: list[list[Mapping[str, Any]]] = []
    for mode in sorted(harmonic, key=lambda mode: float(mode["frequency_cm1"])):
        position, intensity = float(mode["frequency_cm1"]), float(mode["intensity_km_mol"])
        if not (0.0 < position < math.inf and 0.0 <= intensity < math.inf):
            raise ValueError(
                f"harmonic mode {mode['mode']}: {position:g} cm⁻¹ with {intensity:g} km/mol; bands"
                " are compared with the modes of a minimum, all of them real"
            )
        if groups and position - float(groups[-1][-1]["frequency_cm1"]) < resolution_cm1:
            groups[-1].append(mode)
        else:
            groups.append([mode])
    result = []
    for group in groups:
        position, intensity = np.array(
            [[mode["frequency_cm1"], mode["intensity_km_mol"]] for mode in group], float
        ).T
        total = float(intensity.sum())
        weights = intensity if total > 0.0 else None
        result.append(
            {
                Band.HARMONIC_MODES: " + ".join(str(mode["mode"]) for mode in group),
                Band.HARMONIC_POSITION: float(np.average(position, weights=weights)),
                Band.HARMONIC_INTENSITY: total,
            }
        )
    return result


def assign(
    bands: Sequence[Mapping[Band, Any]],
    harmonic: Sequence[Mapping[str, Any]],
    measured: Sequence[Mapping[str, Any]],
    distance_cm1: float,
    resolution_cm1: float,
    prominence: float,
) -> pd.DataFrame:
    """Table of all bands: found, harmonic and measured, those that belong together in one row.

    Each band found takes at most one group of harmonic modes and one measured band, no further away
    than ``distance_cm1``, such that the sum of all distances is least; what is left alone counts as
    ``distance_cm1``. Groups of modes with less than a tenth (``DARK``) of ``prominence`` times the
    strongest group take no part: they are too weak to be found. Groups left over, dark or not, that
    lie within the limits of a band, moved like its own group, belong to that band as well.

    Parameters
    ----------
    bands
        From :func:`peaks`.
    harmonic
        Rows with ``mode``, ``frequency_cm1`` and ``intensity_km_mol``.
    measured
        Rows with ``position_cm1``, ``label`` and ``source``, and ``intensity_km_mol``,
        ``relative_intensity`` and ``trust`` where known.

    Returns
    -------
    pandas.DataFrame
        Columns :class:`~dft2spectra.columns.Band`, by wavenumber; cells without a value are NaN or
        empty. Deviations are the band found minus the other.
    """
    if not (math.isfinite(distance_cm1) and distance_cm1 > 0.0):
        raise ValueError(f"infrared.assignment_cm1 must be positive, not {distance_cm1}")
    groups = group_modes(harmonic, resolution_cm1)
    strongest = max((group[Band.HARMONIC_INTENSITY] for group in groups), default=0.0)
    visible = [
        group
        for group in groups
        if group[Band.HARMONIC_INTENSITY] > 0.0
        and group[Band.HARMONIC_INTENSITY] >= DARK * prominence * strongest
    ]
    experiment = [
        {
            Band.MEASURED_LABEL: row["label"],
            Band.MEASURED_POSITION: float(row["position_cm1"]),
            Band.MEASURED_INTENSITY: row.get("intensity_km_mol"),
            Band.MEASURED_RELATIVE: row.get("relative_intensity"),
            Band.MEASURED_SOURCE: row["source"],
            Band.MEASURED_TRUST: row.get("trust"),
        }
        for row in measured
    ]
    rows: list[dict[Band, Any]] = [dict(band) for band in bands]
    positions = [row[Band.POSITION] for row in rows]
    left = []
    for others, column in (
        (visible, Band.HARMONIC_POSITION),
        (experiment, Band.MEASURED_POSITION),
    ):
        pairs = _pairs(positions, [other[column] for other in others], distance_cm1)
        for i, j in pairs.items():
            rows[i] |= others[j]
        left.append([other for j, other in enumerate(others) if j not in pairs.values()])
    alone = _join(rows, left[0] + [group for group in groups if group not in visible]) + left[1]
    table = pd.DataFrame(rows + alone, columns=list(Band))
    for deviation, column in (
        (Band.HARMONIC_DEVIATION, Band.HARMONIC_POSITION),
        (Band.MEASURED_DEVIATION, Band.MEASURED_POSITION),
    ):
        table[deviation] = table[Band.POSITION].astype(float) - table[column].astype(float)
    order = (
        table[Band.POSITION]
        .astype(float)
        .fillna(table[Band.HARMONIC_POSITION].astype(float))
        .fillna(table[Band.MEASURED_POSITION].astype(float))
    )
    return table.loc[order.sort_values(kind="stable").index].reset_index(drop=True)


def _pairs(ours: Sequence[float], others: Sequence[float], distance: float) -> dict[int, int]:
    """Index of the partner of each of ``ours`` that has one."""
    if not ours or not others:
        return {}
    apart = np.abs(np.subtract.outer(np.asarray(ours, float), np.asarray(others, float)))
    found = linear_sum_assignment(np.minimum(apart, distance))
    return {int(i): int(j) for i, j in zip(*found, strict=True) if apart[i, j] <= distance}


def _join(
    rows: Sequence[dict[Band, Any]], groups: Sequence[dict[Band, Any]]
) -> list[dict[Band, Any]]:
    """Add the groups that lie within a band to its row; give back the others."""
    spans = [
        (row, row[Band.LOW] - shift, row[Band.HIGH] - shift)
        for row in rows
        if Band.HARMONIC_POSITION in row
        for shift in [row[Band.POSITION] - row[Band.HARMONIC_POSITION]]
    ]
    alone = []
    for group in groups:
        position = group[Band.HARMONIC_POSITION]
        home = next((row for row, low, high in spans if low <= position <= high), None)
        if home is None:
            alone.append(group)
            continue
        weights = [home[Band.HARMONIC_INTENSITY], group[Band.HARMONIC_INTENSITY]]
        home[Band.HARMONIC_MODES] += f" + {group[Band.HARMONIC_MODES]}"
        home[Band.HARMONIC_POSITION] = float(
            np.average([home[Band.HARMONIC_POSITION], position], weights=weights)
        )
        home[Band.HARMONIC_INTENSITY] = sum(weights)
    return alone


def deviations(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Numbers of bands matched and not, and mean deviations, against harmonic and measured bands.

    Deviations are found minus harmonic or measured, in cm⁻¹; ``None`` where nothing matched.
    """
    result = {}
    for name, column, other in (
        ("harmonic", Band.HARMONIC_DEVIATION, Band.HARMONIC_POSITION),
        ("measured", Band.MEASURED_DEVIATION, Band.MEASURED_POSITION),
    ):
        values = table[column].dropna().to_numpy(float)
        ours, theirs = int(table[Band.POSITION].count()), int(table[other].count())
        result[name] = {
            "matched": len(values),
            "found_without_partner": ours - len(values),
            f"{name}_without_partner": theirs - len(values),
            "mean_signed_deviation_cm1": float(values.mean()) if values.size else None,
            "mean_absolute_deviation_cm1": float(np.abs(values).mean()) if values.size else None,
        }
    return result
