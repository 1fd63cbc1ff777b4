"""One table of trustworthy Fe sites out of the hyperfine records, and one of everything left out.

A record or a site that breaks a named rule is not repaired: it goes to ``dropped.csv`` with the
first rule that it breaks (:mod:`dft2spectra.learning.cleaning_rules`) and the offending value.
Every Fe site of every record ends in exactly one of the two tables.

Sites of external crystals, kept for one evaluation at the end, obey the rules that look at one
record or site, for what breaks them is no result. The rules that score a row against the others are
made of the training rows and drop those alone: a test set without its outliers would flatter.

Sign of the spins
-----------------
A collinear calculation without spin–orbit coupling does not know up from down: turning all spins
of a structure leaves everything but the signs of moments and fields unchanged. The table uses one
convention for all structures, so that the signs can be learned: *the total moment points up*. In
structures without a total moment the Fe site with the largest moment points up. A site antiparallel
to the magnetisation keeps its negative moment; a core-polarisation field opposite to its moment is
negative.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dft2spectra.calibrated import hyperfine_field, isomer_shift
from dft2spectra.columns import Role, Site
from dft2spectra.learning.cleaning_rules import (
    NO_MOMENT_MUB,
    ORBIT_COLUMNS,
    ORBITAL_COLUMNS,
    OUTLIER_MIN_ROWS,
    QUANTITIES,
    RECORD_RULES,
    SITE_RULES,
    TABLE_RULES,
    Row,
    Value,
)
from dft2spectra.records import read_json, write_csv, write_table
from dft2spectra.units import quadrupole_splitting_mm_s

# Counts for the rules too, and for calibrated.
METHOD_VERSION = 3

DROPPED_COLUMNS = ("structure_id", "site", "rule", "value")

# What changes its sign when all spins are turned.
SPIN_COLUMNS = (
    *QUANTITIES[Site.MOMENT_STATUS],
    *QUANTITIES[Site.BHF_STATUS],
    *ORBITAL_COLUMNS,
)
RECORD_COLUMNS = (
    Site.STATES_WITHIN,
    Site.AMBIGUOUS,
    Site.IONIC,
    Site.STATUS,
    Site.SETTINGS_HASH,
    Site.METHOD_HASH,
)
NUMBERS = (*(column for columns in QUANTITIES.values() for column in columns), *ORBITAL_COLUMNS)
# A column in which every value is missing would have none.
DERIVED = (
    Site.ISOMER_SHIFT,
    Site.ISOMER_SHIFT_ERROR,
    Site.QUADRUPOLE_SPLITTING,
    Site.BHF_SCALED,
    Site.BHF_CALIBRATED,
    Site.BHF_CALIBRATED_ERROR,
    Site.STATES_WITHIN,
)
COLUMN_TYPES = {str(column): "float64" for column in (*NUMBERS, *DERIVED)} | {
    str(Site.EFG_FREE_COMPONENTS): "Int64"
}


def spin_sign(record: Row) -> float:
    """+1 or −1: the factor that makes the total moment, or else the largest Fe moment, point up."""
    total = record.get("total_moment_mub") or 0.0
    if abs(total) > NO_MOMENT_MUB:
        return float(np.sign(total))
    moments = [m for site in fe_sites(record) if (m := site.get("moment_mub")) is not None]
    largest = max(moments, key=abs, default=0.0)
    return -1.0 if largest < -NO_MOMENT_MUB else 1.0


def fe_sites(record: Row) -> list[Row]:
    """Entries of the record for its Fe sites (records may hold other elements too)."""
    return [site for site in record["sites"] if site["element"] == "Fe"]


def expected_sites(record: Row) -> list[str]:
    """Names of the Fe sites of a record, sorted; one empty name if there is no Fe.

    Converged records name their sites themselves (atoms that symmetry makes equivalent but whose
    moments differ are sites of their own); Fe atoms that belong to none of them, and those of
    records without sites, count by their label.
    """
    sites = fe_sites(record)
    covered = {atom for site in sites for atom in site["atom_indices"]}
    pairs = zip(record.get("symbols", []), record.get("site_labels", []), strict=True)
    left = {label for i, (s, label) in enumerate(pairs) if s == "Fe" and i not in covered}
    return sorted([site["site"] for site in sites] + sorted(left)) or [""]


def site_row(record: Row, site: Row, calibration: Row, role: Role = Role.TRAIN) -> Row:
    """One row of the table with the derived columns: δ, quadrupole splitting, fields.

    Shifts and calibrated fields as :mod:`dft2spectra.calibrated` makes them.
    """
    row: Row = {column: record[column] for column in ("structure_id", "formula", "spacegroup")}
    row[Site.PARENT] = record["parent"]
    row[Site.ROLE] = str(role)
    row[Site.SITE] = site["site"]
    row[Site.MULTIPLICITY] = int(site["multiplicity"])
    row |= {column: site.get(column) for column in (*QUANTITIES, *NUMBERS)}
    row |= {column: site.get(column, []) for column in ORBIT_COLUMNS.values()}
    row[Site.EFG_FREE_COMPONENTS] = site.get(Site.EFG_FREE_COMPONENTS)
    up = spin_sign(record)
    row[Site.BHF_DIPOLAR_ORBIT] = [[up * v for v in t] for t in row[Site.BHF_DIPOLAR_ORBIT]]
    for column in SPIN_COLUMNS:
        if row[column] is not None:
            row[column] *= up

    def derive(function: Callable[..., Any], *columns: Site) -> Any:
        values = [row[column] for column in columns]
        return None if None in values else function(*values)

    shift = derive(partial(isomer_shift, calibration), Site.CONTACT_DENSITY, Site.MOMENT)
    shift_columns = (Site.ISOMER_SHIFT, Site.ISOMER_SHIFT_ERROR, Site.EXTRAPOLATED)
    row |= zip(shift_columns, shift or (None, None, False), strict=True)
    field = hyperfine_field(calibration, site)
    row |= dict.fromkeys((Site.BHF_CALIBRATED, Site.BHF_CALIBRATED_ERROR))
    if field is not None:
        row[Site.BHF_CALIBRATED], row[Site.BHF_CALIBRATED_ERROR] = up * field[0], field[1]
    row[Site.QUADRUPOLE_SPLITTING] = derive(quadrupole_splitting_mm_s, Site.VZZ, Site.ETA)
    row[Site.BHF_SCALED] = derive(lambda field: field * calibration["bhf_scale"], Site.BHF)
    row |= {column: record[column] for column in RECORD_COLUMNS}
    return row


def sort_out(
    records: Iterable[Row], calibration: Row, limits: Row, external: Iterable[str] = ()
) -> tuple[list[Row], list[Row]]:
    """Rows that keep every rule, and (structure_id, site, rule, value) of those that do not.

    Parameters
    ----------
    records
        Hyperfine records, in any order.
    calibration
        Content of ``calibration.json``.
    limits
        ``max_abs_isomer_shift_mm_s``, ``max_abs_vzz_1e21_v_m2``, ``max_abs_bhf_t``,
        ``max_abs_moment_mub``, ``outlier_mad``.
    external
        Ids of the crystals that are kept for one evaluation at the end.

    Raises
    ------
    ValueError
        Two records of one structure, two sites of one name, or a site that would be lost.
    """
    kept: list[Row] = []
    dropped: list[Row] = []
    expected: list[tuple[str, str]] = []
    seen: set[str] = set()
    held_out = frozenset(external)

    def drop(structure_id: str, site: str, rule: str, value: Value) -> None:
        dropped.append(dict(zip(DROPPED_COLUMNS, (structure_id, site, rule, value), strict=True)))

    for record in sorted(records, key=lambda r: r["structure_id"]):
        name = record["structure_id"]
        if name in seen:
            raise ValueError(f"two records of structure {name}")
        seen.add(name)
        labels = expected_sites(record)
        if len(set(labels)) < len(labels):
            raise ValueError(f"structure {name} has a site twice: {', '.join(labels)}")
        expected += [(name, label) for label in labels]
        reason = _first(RECORD_RULES, record, calibration["method_hash"])
        if reason:
            for label in labels:
                drop(name, label, *reason)
            continue
        sites = {site["site"]: site for site in fe_sites(record)}
        for label in labels:
            if label not in sites:
                drop(name, label, "not_in_record", "site missing from a converged record")
                continue
            role = Role.EXTERNAL if name in held_out else Role.TRAIN
            row = site_row(record, sites[label], calibration, role)
            reason = _first(SITE_RULES, row, record, limits)
            if reason:
                drop(name, label, *reason)
            else:
                kept.append(row)

    train = [row for row in kept if row[Site.ROLE] == Role.TRAIN]
    outliers = _outliers(train, limits["outlier_mad"])
    broken = {(row[Site.STRUCTURE_ID], row[Site.SITE]) for row, _, _ in outliers}
    kept = [row for row in kept if (row[Site.STRUCTURE_ID], row[Site.SITE]) not in broken]
    for row, rule, value in outliers:
        drop(row[Site.STRUCTURE_ID], row[Site.SITE], rule, value)
    ends = [(row["structure_id"], row["site"]) for row in (*kept, *dropped)]
    if sorted(ends) != sorted(expected):
        lost = set(expected).symmetric_difference(ends)
        raise ValueError(f"sites lost or invented in cleaning: {sorted(lost)}")
    return kept, dropped


def _first(rules: dict[str, Callable[..., Value]], *arguments: Any) -> tuple[str, Value] | None:
    """Name and value of the first rule that is broken."""
    for name, rule in rules.items():
        if (value := rule(*arguments)) is not None:
            return name, value
    return None


def _outliers(rows: list[Row], limit: float) -> list[tuple[Row, str, Value]]:
    """Rows far from the others, with the first rule that says so and the value."""
    if len(rows) < OUTLIER_MIN_ROWS:
        return []
    table = pd.DataFrame(rows)
    broken: dict[int, tuple[Row, str, Value]] = {}
    for name, (score, column) in TABLE_RULES.items():
        for index in np.flatnonzero(score(table).to_numpy() > limit):
            broken.setdefault(int(index), (rows[index], name, rows[index][column]))
    return list(broken.values())


def clean_sites(
    record_paths: Iterable[str | Path],
    calibration_json: str | Path,
    rules: Row,
    sites_parquet: str | Path,
    training_parquet: str | Path,
    dropped_csv: str | Path,
    external: Iterable[str] = (),
    reference_paths: Iterable[str | Path] = (),
) -> None:
    """Write the tables of trusted Fe sites, and the table of what was dropped by which rule.

    The site table is that of the campaign; the training table holds the sites of the reference set
    as well. ``external`` as for :func:`sort_out`. The CSV twin of the site table leaves out the
    nested columns of equivalent tensors.

    Raises
    ------
    ValueError
        No site is left; the message counts the rules, ``dropped_csv`` is written first.
    """
    calibration = read_json(calibration_json)
    own = [read_json(path) for path in record_paths]
    names = {record["structure_id"] for record in own}
    reference = [read_json(path) for path in reference_paths]
    reference = [record for record in reference if record["structure_id"] not in names]
    all_kept, all_dropped = sort_out([*own, *reference], calibration, rules, external)
    kept = [row for row in all_kept if row[Site.STRUCTURE_ID] in names]
    dropped = [row for row in all_dropped if row["structure_id"] in names]
    print(
        f"{len(kept)} sites of {len(own)} records, {len(all_kept) - len(kept)} of "
        f"{len(reference)} records of the reference set; {len(dropped)} and "
        f"{len(all_dropped) - len(dropped)} dropped"
    )
    losses = pd.DataFrame(dropped, columns=list(DROPPED_COLUMNS))
    write_csv(dropped_csv, losses.sort_values(["structure_id", "site"]))
    if not kept:
        counts = losses["rule"].value_counts().to_dict()
        advice = (
            f"; the calibration holds for method {calibration['method_hash']}: calibrate and "
            "compute with the same gpaw settings, PAW datasets and version of GPAW"
            if "other_settings" in counts
            else ""
        )
        raise ValueError(f"no Fe site passed the cleaning rules ({counts}){advice}")
    columns = [str(column) for column in Site]
    training = pd.DataFrame(all_kept)[columns].astype(COLUMN_TYPES)
    table = training[training[Site.STRUCTURE_ID].isin(names)].reset_index(drop=True)
    write_table(training_parquet, training, csv_twin=False)
    write_table(sites_parquet, table, csv_twin=False)
    write_csv(
        Path(sites_parquet).with_suffix(".csv"), table.drop(columns=list(ORBIT_COLUMNS.values()))
    )
