"""Computed sites of a campaign against measured values: table, statistics, parity figure.

What a calibration was fitted to is compared with what it says without that compound. A row that no
difference of calculation and experiment can be read from stays in the table with the reason in
``note``, and counts in no statistics.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.columns import Compared, Site
from dft2spectra.crystals.left_out import root_mean_square
from dft2spectra.crystals.measured_points import (
    FIELD,
    QUADRUPOLE_SHIFT,
    SHIFT,
    SPLITTING,
    shift_per_barn,
)
from dft2spectra.crystals.sites import orbit_label
from dft2spectra.figures import new_figure, save_figure
from dft2spectra.records import read_json, write_csv
from dft2spectra.units import QUADRUPOLE_MOMENT_BARN

METHOD_VERSION = 1

MOMENT = "moment_mub"
QUANTITIES = {
    SHIFT: ("isomer shift", "mm/s"),
    FIELD: ("hyperfine field", "T"),
    SPLITTING: ("quadrupole splitting", "mm/s"),
    QUADRUPOLE_SHIFT: ("size of the quadrupole shift 2ε", "mm/s"),
    MOMENT: ("local moment", "µB"),
}
# The literature's values of Q spread from 0.15 to 0.18 barn.
Q_RELATIVE_ERROR = 0.1
# Local moment (µB) above which a site counts as magnetic.
MAGNETIC_MUB = 0.1
# Computed sizes below this are zero, in any of the units.
TRIVIAL = 0.02
TRUST = ("S", "R+", "R", "R?")
# Dipolar fields that differ by more than this (T) would show as two sextets.
SPLIT_T = 1.0
# Above this a measured field is one at room temperature, lower than at 0 K.
LOW_TEMPERATURE_K = 100.0


def computed_value(
    site: dict[str, Any], quantity: str, measured: float, calibration: dict[str, Any]
) -> tuple[float | None, float | None]:
    """Value of a quantity at a computed site, as measured (sizes), and its standard error.

    Sizes of fields, splittings and moments, as spectra give no sign. Moments have no error.
    ``None`` if the quantity is missing.
    """
    if quantity == SHIFT:
        return _number(site[Site.ISOMER_SHIFT]), _number(site[Site.ISOMER_SHIFT_ERROR])
    if quantity == FIELD:
        return _size(site[Site.BHF_CALIBRATED]), _number(site[Site.BHF_CALIBRATED_ERROR])
    if quantity == MOMENT:
        return _size(site[Site.MOMENT]), None
    if quantity == SPLITTING:
        value = _size(site[Site.QUADRUPOLE_SPLITTING])
    elif _number(site[Site.VZZ]) is None:
        value = None
    else:
        orbit = np.array([list(tensor) for tensor in site[Site.EFG_ORBIT]])
        value = QUADRUPOLE_MOMENT_BARN * shift_per_barn(orbit, measured)
    scatter = calibration["gradient"].get("left_out_rmse_mm_s", 0.0)
    return value, None if value is None else float(np.hypot(Q_RELATIVE_ERROR * value, scatter))


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _size(value: Any) -> float | None:
    number = _number(value)
    return None if number is None else abs(number)


def objections(
    site: dict[str, Any], quantity: str, entry: dict[str, Any], structure: dict[str, Any]
) -> list[str]:
    """Why a difference says nothing about the method; no reason, none."""
    found = []
    if site.get(Site.IONIC):
        found.append("ionic without U")
    magnetic = abs(_number(site[Site.MOMENT]) or 0.0) > MAGNETIC_MUB
    if magnetic and entry.get(FIELD) == 0.0 and quantity != SHIFT:
        found.append("computed with order, measured without (above the ordering temperature)")
    if not magnetic and entry.get(FIELD, 0.0) > 0.0 and quantity in (FIELD, MOMENT):
        found.append("computed without moment, measured with order")
    if magnetic and structure.get("magnetic_order") == "antiferromagnetic" and quantity == FIELD:
        found.append("measured antiferromagnetic, order larger than the cell")
    if quantity == SHIFT and (entry.get("temperature_k") or 300.0) < LOW_TEMPERATURE_K:
        found.append("measured cold, calibrated warm: 0.1 mm/s of second-order Doppler shift")
    return found


def remarks(site: dict[str, Any], quantity: str, entry: dict[str, Any]) -> list[str]:
    """What a reader of the row should know."""
    found = []
    if site.get(Site.AMBIGUOUS):
        found.append("ambiguous state")
    if quantity == SHIFT and site.get(Site.EXTRAPOLATED):
        found.append("extrapolated")
    temperature = entry.get("temperature_k")
    if quantity == FIELD and entry[quantity] > 0 and (temperature or 300.0) > LOW_TEMPERATURE_K:
        found.append("measured field not reduced to 0 K")
    if quantity == QUADRUPOLE_SHIFT:
        found.append("field along c")
    if quantity == FIELD and (split := _dipolar_split(site)) > SPLIT_T:
        found.append(f"mean of an orbit that the computed dipolar field splits by {split:.1f} T")
    return found


def _dipolar_split(site: dict[str, Any]) -> float:
    """Largest difference of the dipolar field (T) between the atoms of a site, moments along c."""
    orbit = [tensor[2] for tensor in site[Site.BHF_DIPOLAR_ORBIT]]
    return float(np.ptp(orbit)) if orbit else 0.0


def compare(
    sites: pd.DataFrame, dropped: pd.DataFrame, calibration: dict[str, Any], structures: list[dict]
) -> pd.DataFrame:
    """One row per measured value and computed site, with the columns of ``Compared``.

    Parameters
    ----------
    sites
        ``sites.parquet``.
    dropped
        ``dropped.csv``: why a crystal or site is not in the table of sites.
    calibration
        Content of ``calibration.json``.
    structures
        Structures of the campaign with their ``measured`` values.
    """
    left_out = dict(_left_out(calibration))
    rows: list[dict[Compared, Any]] = []
    for structure in structures:
        name = structure["structure_id"]
        own = sites[sites[Site.STRUCTURE_ID] == name].to_dict("records")
        losses = dropped[dropped[Site.STRUCTURE_ID] == name].fillna({"site": ""})
        for entry in structure.get("measured", []):
            rules = [
                loss["rule"]
                for loss in losses.to_dict("records")
                if loss["site"] in ("", entry["site"])
                or orbit_label(loss["site"], structure["site_labels"]) == entry["site"]
            ]
            those = [
                site
                for site in own
                if orbit_label(site[Site.SITE], structure["site_labels"]) == entry["site"]
            ]
            absent = f"left out in the cleaning: {', '.join(dict.fromkeys(rules))}"
            absent = absent if rules else "not in the table of sites"
            for quantity in [key for key in QUANTITIES if key in entry]:
                start: dict[Compared, Any] = {
                    Compared.STRUCTURE_ID: name,
                    Compared.COMPOUND: structure["name"] or structure["formula"],
                    Compared.SITE: entry["site"],
                    Compared.QUANTITY: quantity,
                    Compared.TEMPERATURE: entry.get("temperature_k"),
                    Compared.MEASURED: entry[quantity],
                    Compared.CALIBRATED: False,
                    Compared.COUNTED: False,
                    Compared.TRUST: entry.get("trust"),
                    Compared.SOURCE: entry.get("source"),
                }
                if not those:
                    rows.append(start | {Compared.NOTE: absent})
                rows += [
                    start | _compared(site, quantity, entry, structure, calibration, left_out)
                    for site in those
                ]
    table = _once(pd.DataFrame(rows, columns=[str(column) for column in Compared]))
    numbers = (Compared.COMPUTED, Compared.SIGMA, Compared.DEVIATION, Compared.DEVIATION_SIGMA)
    return table.astype(dict.fromkeys(map(str, numbers), "float64"))


def _once(table: pd.DataFrame) -> pd.DataFrame:
    """The table in which one value of each site and quantity counts.

    That of the calibration, else the coldest, else the best trusted. Quadrupole shifts of one site
    belong to different atoms and all count.
    """
    order = table.assign(
        last=~table[Compared.CALIBRATED].astype(bool),
        cold=table[Compared.TEMPERATURE].astype(float).fillna(np.inf),
        trusted=[TRUST.index(t) if t in TRUST else len(TRUST) for t in table[Compared.TRUST]],
    ).sort_values(["last", "cold", "trusted"], kind="stable")
    order = order[order[Compared.COUNTED].astype(bool)]
    site = [Compared.STRUCTURE_ID, Compared.SITE, Compared.QUANTITY]
    again = order[order.duplicated(site) & (order[Compared.QUANTITY] != QUADRUPOLE_SHIFT)].index
    table.loc[again, Compared.COUNTED] = False
    table.loc[again, Compared.NOTE] = [
        "; ".join(filter(None, ["another value of the site counts", note]))
        for note in table.loc[again, Compared.NOTE]
    ]
    return table


def _left_out(calibration: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], float]]:
    """Value of each calibration point by the fit without its compound, by what identifies it."""
    for point in calibration["points"]:
        value = point["measured_isomer_shift_mm_s"]
        key = point["structure_id"], point["site"], SHIFT, point["temperature_k"], value
        yield key, value + point["left_out_error_mm_s"]
    for point in calibration["field"]["points"]:
        value = point["measured_bhf_t"]
        key = point["structure_id"], point["site"], FIELD, point["temperature_k"], value
        signed = np.copysign(value, point["calibrated_bhf_t"])
        yield key, abs(signed + point["left_out_error_t"])


def _compared(
    site: dict[str, Any],
    quantity: str,
    entry: dict[str, Any],
    structure: dict[str, Any],
    calibration: dict[str, Any],
    left_out: dict[tuple[Any, ...], float],
) -> dict[Compared, Any]:
    measured = float(entry[quantity])
    value, sigma = computed_value(site, quantity, measured, calibration)
    key = (*(site[c] for c in (Site.STRUCTURE_ID, Site.SITE)), quantity)
    unseen = left_out.get((*key, entry.get("temperature_k"), measured))
    against = objections(site, quantity, entry, structure)
    if value is None:
        against.append("not computed")
    value = value if unseen is None else unseen
    if quantity == SHIFT and site[Site.STRUCTURE_ID] == calibration["reference"]:
        against.append("zero by definition")
    elif quantity != SHIFT and measured == 0.0 and value is not None and value < TRIVIAL:
        against.append("zero by symmetry, or without moment")
        sigma = None
    size = measured if quantity == SHIFT else abs(measured)
    deviation = None if value is None else value - size
    return {
        Compared.SITE: site[Site.SITE],
        Compared.COMPUTED: value,
        Compared.MEASURED: size,
        Compared.SIGMA: sigma,
        Compared.DEVIATION: deviation,
        Compared.DEVIATION_SIGMA: deviation / sigma if deviation is not None and sigma else None,
        Compared.CALIBRATED: unseen is not None,
        Compared.COUNTED: not against,
        Compared.NOTE: "; ".join(against + remarks(site, quantity, entry)),
    }


def statistics(table: pd.DataFrame) -> pd.DataFrame:
    """Number of rows, mean deviation and rms of every quantity, of the rows that count."""
    rows = []
    for quantity in QUANTITIES:
        of_it = table[table[Compared.QUANTITY] == quantity]
        deviations = of_it[of_it[Compared.COUNTED]][Compared.DEVIATION].to_numpy()
        rows.append(
            {
                "quantity": quantity,
                "compared": len(deviations),
                "not_compared": len(of_it) - len(deviations),
                "mean_deviation": float(deviations.mean()) if len(deviations) else None,
                "rmse": root_mean_square(deviations) if len(deviations) else None,
            }
        )
    return pd.DataFrame(rows)


def compare_measured(
    sites_parquet: str | Path,
    dropped_csv: str | Path,
    calibration_json: str | Path,
    structure_paths: list[str],
    out_csv: str | Path,
    out_statistics: str | Path,
    out_png: str | Path,
) -> None:
    """Write ``validation.csv``, the statistics per quantity and the parity figure.

    Raises
    ------
    ValueError
        No structure has a measured value.
    """
    structures = [read_json(path) for path in structure_paths]
    dropped = pd.read_csv(dropped_csv)
    sites = pd.read_parquet(sites_parquet)
    table = compare(sites, dropped, read_json(calibration_json), structures)
    if table.empty:
        raise ValueError("no structure of the campaign has a measured value to compare with")
    write_csv(out_csv, table)
    summary = statistics(table)
    write_csv(out_statistics, summary)
    _plot(table, summary.set_index("quantity"), out_png)


def _plot(table: pd.DataFrame, summary: pd.DataFrame, path: str | Path) -> None:
    shown = [q for q in QUANTITIES if table[table[Compared.QUANTITY] == q].computed.notna().any()]
    figure, grid = new_figure(4.2 * max(len(shown), 1), 4.2, ncols=max(len(shown), 1))
    for axes, quantity in zip(np.atleast_1d(grid), shown, strict=False):
        rows = table[(table[Compared.QUANTITY] == quantity) & table[Compared.COMPUTED].notna()]
        counted = rows[Compared.COUNTED].to_numpy(bool)
        fitted = rows[Compared.CALIBRATED].to_numpy(bool)
        for some, style, label in (
            (counted & fitted, {"fmt": "o", "color": "C0"}, "calibration, left out"),
            (counted & ~fitted, {"fmt": "o", "color": "C1"}, "others"),
            (~counted, {"fmt": "o", "color": "0.6", "mfc": "none"}, "not comparable"),
        ):
            if some.any():
                part = rows[some]
                axes.errorbar(
                    part[Compared.MEASURED],
                    part[Compared.COMPUTED],
                    yerr=part[Compared.SIGMA].fillna(0.0),
                    markersize=4,
                    elinewidth=0.6,
                    linestyle="none",
                    label=label,
                    **style,
                )
        both = rows[[Compared.MEASURED, Compared.COMPUTED]].to_numpy(float)
        low, high = min(0.0, both.min()), max(both.max(), 0.1)
        axes.plot([low, high], [low, high], color="0.7", lw=1)
        for _, row in rows[counted].iterrows():
            axes.annotate(
                f"{row[Compared.COMPOUND]} {row[Compared.SITE]}",
                (row[Compared.MEASURED], row[Compared.COMPUTED]),
                textcoords="offset points",
                xytext=(4, -7),
                fontsize=5,
            )
        name, unit = QUANTITIES[quantity]
        axes.set_xlabel(f"measured {name} ({unit})")
        axes.set_ylabel(f"computed {name} ({unit})")
        compared = int(summary.loc[quantity, "compared"])
        error = f": {summary.loc[quantity, 'rmse']:.2g} {unit} rms" if compared else ""
        axes.set_title(f"{compared} values{error}", fontsize=8)
        axes.legend(fontsize=6)
    save_figure(figure, path)
