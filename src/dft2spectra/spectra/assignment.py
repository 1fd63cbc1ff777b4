"""Bands of an infrared spectrum beside the harmonic modes and measured bands they belong to."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks

from dft2spectra.columns import Band

# Modes with less than this part of the least intensity looked for are dark; the factor leaves room
# for the scatter of thermal intensities.
DARK = 0.1


def group_modes(
    harmonic: Sequence[Mapping[str, Any]], resolution_cm1: float
) -> list[dict[Band, Any]]:
    """Harmonic modes that a spectrum of this resolution cannot tell apart, as one band each.

    Modes belong together where their sum, each broadened to the resolution, has one maximum: two
    strong ones that are a resolution apart have two, and a weak one between them joins no more than
    one of them. Modes that do not absorb at all belong to the nearest within the resolution.

    Parameters
    ----------
    harmonic
        Rows with ``mode``, ``frequency_cm1`` and ``intensity_km_mol``.
    resolution_cm1
        Full width at half maximum of a line.

    Returns
    -------
    list of dict
        Names of the modes, their mean wavenumber weighted with the intensities, and their sum.

    Raises
    ------
    ValueError
        If a frequency is imaginary or zero, or a number is not finite or impossible.
    """
    modes = sorted(harmonic, key=lambda mode: float(mode["frequency_cm1"]))
    for mode in modes:
        position, intensity = float(mode["frequency_cm1"]), float(mode["intensity_km_mol"])
        if not (0.0 < position < math.inf and 0.0 <= intensity < math.inf):
            raise ValueError(
                f"harmonic mode {mode['mode']}: {position:g} cm⁻¹ with {intensity:g} km/mol; bands"
                " are compared with the modes of a minimum, all of them real"
            )
    if not modes:
        return []
    positions, intensities = np.array(
        [[mode["frequency_cm1"], mode["intensity_km_mol"]] for mode in modes], float
    ).T
    result = []
    for members in _unresolved(positions, intensities, resolution_cm1):
        total = float(intensities[members].sum())
        weights = intensities[members] if total > 0.0 else None
        result.append(
            {
                Band.HARMONIC_MODES: " + ".join(str(modes[i]["mode"]) for i in members),
                Band.HARMONIC_POSITION: float(np.average(positions[members], weights=weights)),
                Band.HARMONIC_INTENSITY: total,
            }
        )
    return sorted(result, key=lambda group: group[Band.HARMONIC_POSITION])


def _unresolved(positions: NDArray, intensities: NDArray, width: float) -> list[list[int]]:
    """Indices of lines, ascending by position, that lie under one maximum of their sum."""
    bright = np.flatnonzero(intensities > 0.0)
    groups: list[list[int]] = []
    # Beyond three widths a line has 1e-11 of its height: what is further apart is another stretch.
    for stretch in _chains(bright, positions, 3.0 * width):
        x = np.arange(positions[stretch[0]] - width, positions[stretch[-1]] + width, width / 50.0)
        shapes = np.exp(-4.0 * math.log(2.0) * ((x[:, None] - positions[stretch]) / width) ** 2)
        sum_of_lines = shapes @ intensities[stretch]
        tops, _ = find_peaks(sum_of_lines)
        valleys = [
            x[left + int(np.argmin(sum_of_lines[left : right + 1]))]
            for left, right in itertools.pairwise(tops)
        ]
        basin = np.searchsorted(valleys, positions[stretch])
        groups += [
            [i for i, own in zip(stretch, basin, strict=True) if own == b] for b in set(basin)
        ]
    dark = []
    for i in np.flatnonzero(intensities == 0.0):
        apart = np.abs(positions[bright] - positions[i])
        if bright.size and apart.min() < width:
            nearest = bright[int(apart.argmin())]
            next(group for group in groups if nearest in group).append(int(i))
        else:
            dark.append(int(i))
    return [sorted(group) for group in groups + _chains(dark, positions, width)]


def _chains(indices: Iterable[int], positions: NDArray, distance: float) -> list[list[int]]:
    """Indices in runs in which each is nearer than ``distance`` to the one before."""
    runs: list[list[int]] = []
    for i in map(int, indices):
        if runs and positions[i] - positions[runs[-1][-1]] < distance:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


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
    ``distance_cm1``. A distance to modes counts as much as both are intense (the root of the
    product), so that a strong band goes to strong modes. Groups of modes with less than a tenth
    (``DARK``) of ``prominence`` times the strongest group take no part: they are too weak to be
    found. Groups left over, dark or not, that lie within the limits of a band, moved like its own
    group, belong to that band as well.

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
    least = _least_visible([group[Band.HARMONIC_INTENSITY] for group in groups], prominence)
    visible = [group for group in groups if group[Band.HARMONIC_INTENSITY] >= least]
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
    positions = np.array([row[Band.POSITION] for row in rows], float)
    ours = np.array([row[Band.INTENSITY] for row in rows], float)
    theirs = np.array([group[Band.HARMONIC_INTENSITY] for group in visible], float)
    # The intensities of measured bands are often unknown.
    weights = (np.sqrt(np.outer(ours, theirs)), np.ones((len(rows), len(experiment))))
    left = []
    for others, column, weight in (
        (visible, Band.HARMONIC_POSITION, weights[0]),
        (experiment, Band.MEASURED_POSITION, weights[1]),
    ):
        apart = np.abs(np.subtract.outer(positions, [other[column] for other in others]))
        pairs = _pairs(apart, weight, distance_cm1)
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


def _least_visible(intensities: Sequence[float], prominence: float) -> float:
    """Intensity (km/mol) of modes that a spectrum can show, more than zero."""
    return max(DARK * prominence * max(intensities, default=0.0), math.ulp(0.0))


def _pairs(apart: NDArray, weight: NDArray, distance: float) -> dict[int, int]:
    """Partner (column) of each row that has one, both of shape (rows, columns)."""
    if not apart.size:
        return {}
    gain = weight * np.maximum(0.0, 1.0 - apart / distance)
    found = linear_sum_assignment(gain, maximize=True)
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


def deviations(table: pd.DataFrame, prominence: float) -> dict[str, dict[str, Any]]:
    """Numbers of bands matched and not, and mean deviations, against harmonic and measured bands.

    Deviations are found minus harmonic or measured, in cm⁻¹; ``None`` where nothing matched. Modes
    that are too weak to be found, as :func:`assign` has it, are no partners that are missing: they
    are counted apart (``inactive``).
    """
    result: dict[str, dict[str, Any]] = {}
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
    intensities = table[Band.HARMONIC_INTENSITY].astype(float)
    alone = intensities[table[Band.POSITION].isna() & intensities.notna()]
    inactive = int((alone < _least_visible(list(intensities.dropna()), prominence)).sum())
    result["harmonic"]["harmonic_without_partner"] -= inactive
    result["harmonic"]["inactive"] = inactive
    return result
