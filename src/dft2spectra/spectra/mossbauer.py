"""Mössbauer spectra of structures and of phase mixtures from the table of Fe sites.

Every spectrum has area 1 over the whole velocity axis: per Fe atom of the structure, or of the
mixture after weighting each phase with its recoil-free fraction. Absorber and source are thin, no
saturation and no texture beyond the chosen direction of the γ ray.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase.formula import Formula

from dft2spectra.columns import FRACTION_TOLERANCE, Site
from dft2spectra.records import write_csv
from dft2spectra.spectra.components import (
    Component,
    Measurement,
    area_in_range,
    has_spectrum,
    read_measurement,
    spectrum,
    structure_components,
)
from dft2spectra.spectra.conditions import phase_measurement, phase_recoilless, phase_sites
from dft2spectra.spectra.figures import (
    Curve,
    chemical_text,
    component_text,
    draw_note,
    draw_spectrum,
)

# Counts for components, doppler, lineshape and nuclear too.
METHOD_VERSION = 2

LINE_COLUMNS = (
    "structure_id",
    "formula",
    "site",
    "component",
    "n_atoms",
    "position_mm_s",
    "intensity",
)
COMPONENT_COLUMNS = (
    "phase",
    "site",
    "isomer_shift_mm_s",
    "quadrupole_splitting_mm_s",
    "quadrupole_shift_mm_s",
    "bhf_t",
    "area_fraction",
)
# A warning follows where the velocity range holds less of the area than this.
LEAST_AREA_IN_RANGE = 0.9

logger = logging.getLogger(__name__)


def plot_structures(
    sites_parquet: str | Path,
    index_csv: str | Path,
    settings: Mapping[str, Any],
    out_dir: str | Path,
    lines_csv: str | Path,
    components_csv: str | Path,
) -> None:
    """Write the spectrum of every structure of the site table, and tables of lines and components.

    Parameters
    ----------
    sites_parquet
        Site table; a table without rows gives a line table without rows and an empty folder.
    index_csv
        List of structures that gives their names.
    settings
        The ``mossbauer`` section of the configuration; its ``phases`` that are no structures of
        this campaign are passed over.
    out_dir
        Folder for ``<structure_id>.csv`` (velocity_mm_s, absorption in (mm/s)⁻¹),
        ``<structure_id>.components.csv`` (one column per component), ``.png`` and ``.svg``.
    lines_csv
        Lines of every component; the intensities of a structure add up to 1.
    components_csv
        Parameters of every component, as a fit would print them.

    Raises
    ------
    ValueError
        A setting is impossible, or a site lacks a number that its spectrum needs.
    """
    measurement = read_measurement(settings)
    sites = _good_sites(sites_parquet)
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if not sites:
        logger.warning("%s holds no converged Fe site: no Mössbauer spectrum drawn", sites_parquet)
    lines: list[dict[str, Any]] = []
    table: list[dict[str, Any]] = []
    known = _phases_by_id(settings, _read_index(index_csv), sites)
    for structure_id, rows in sites.items():
        phase = known.get(structure_id, {})
        own = phase_measurement(measurement, phase)
        components = structure_components(phase_sites(rows, phase), own)
        _warn_if_cut_off(structure_id, components, measurement)
        curves = [_curve(component_text(c), [c], measurement) for c in components]
        formula = str(rows[0][Site.FORMULA])
        _write_spectrum(folder / f"{structure_id}.csv", measurement, curves)
        _write_parts(
            folder / f"{structure_id}.components.csv",
            measurement,
            {c.label: curve for c, curve in zip(components, curves, strict=True)},
        )
        draw_spectrum(
            folder / f"{structure_id}.png",
            measurement.velocity_mm_s,
            curves,
            f"{chemical_text(formula)}  ({structure_id})",
            measurement.description + _missing_text(_missing_iron(rows, None), separator="\n"),
        )
        for c in components:
            common = (structure_id, formula, c.site, c.number, c.n_atoms)
            for line in zip(c.positions, c.intensities, strict=True):
                lines.append(dict(zip(LINE_COLUMNS, (*common, *line), strict=True)))
        table.extend(_component_rows(structure_id, components, 1.0))
    write_csv(lines_csv, pd.DataFrame(lines, columns=list(LINE_COLUMNS)))
    write_csv(components_csv, pd.DataFrame(table, columns=list(COMPONENT_COLUMNS)))


def plot_mixture(
    sites_parquet: str | Path,
    index_csv: str | Path,
    mixture: Mapping[str, Any],
    settings: Mapping[str, Any],
    out_csv: str | Path,
    out_png: str | Path,
    out_areas_csv: str | Path,
) -> None:
    """Write the spectrum of a mixture of phases, its sub-spectra and the areas of the phases.

    Beside ``out_csv`` (velocity_mm_s, absorption) stand ``<stem>.phases.csv`` with one column per
    phase, ``<stem>.components.csv`` with the parameters of its components and, beside ``out_png``,
    the SVG. Where a phase has no site with trusted parameters, the
    tables hold their headers alone, the areas table says which phase, and the figure says why: one
    calculation that did not converge fails no campaign.

    Parameters
    ----------
    sites_parquet, index_csv
        Site table and the list of structures that gives their names.
    mixture
        ``name`` and ``phases``: each has ``structure`` (identifier, name or formula), ``fraction``
        (share of the Fe atoms of the sample; the fractions add up to 1) and, for all phases or for
        none, ``f`` (recoil-free fraction) or the temperatures that it follows from. Without them it
        is taken as equal in all phases, and the areas are the fractions. What ``settings`` say of a
        phase, its own keys overrule.
    settings
        The ``mossbauer`` section of the configuration.

    Raises
    ------
    ValueError
        A phase is unknown, ambiguous or listed twice (the message names those available), or the
        fractions are impossible.
    """
    measurement = read_measurement(settings)
    sites = _good_sites(sites_parquet)
    index = _read_index(index_csv)
    known = _phases_by_id(settings, index, sites)
    phases = list(mixture["phases"])
    names = [str(phase["structure"]) for phase in phases]
    ids = [_find_structure(name, index, sites) for name in names]
    if len(set(ids)) < len(ids):
        raise ValueError(f"mixture {mixture['name']}: a phase is listed twice: {', '.join(names)}")
    phases = [known.get(i, {}) | dict(phase) for i, phase in zip(ids, phases, strict=True)]
    fractions, recoilless, areas = _phase_areas(mixture["name"], phases)
    absent = [name for name, identity in zip(names, ids, strict=True) if identity not in sites]
    if absent:
        _write_incomplete(mixture, names, ids, absent, out_csv, out_png, out_areas_csv)
        return
    atoms = index.set_index("structure_id")["n_atoms"]
    curves: dict[str, Curve] = {}
    table, component_rows = [], []
    for i, (name, structure_id) in enumerate(zip(names, ids, strict=True)):
        rows = phase_sites(sites[structure_id], phases[i])
        components = structure_components(rows, phase_measurement(measurement, phases[i]))
        component_rows.extend(_component_rows(name, components, areas[i]))
        _warn_if_cut_off(structure_id, components, measurement)
        missing = _missing_iron(rows, int(atoms[structure_id]))
        label = f"{chemical_text(name)}: {100.0 * areas[i]:.1f} % of the area"
        label += _missing_text(missing, separator=", ")
        curves[name] = _curve(label, components, measurement, areas[i])
        table.append(
            {
                "phase": name,
                "structure_id": structure_id,
                "formula": rows[0][Site.FORMULA],
                "iron_fraction": fractions[i],
                "recoil_free_fraction": recoilless[i],
                "area_fraction": areas[i],
                "area_in_range": areas[i] * area_in_range(components, measurement),
                "iron_atoms_missing": missing,
                "status": "computed",
            }
        )
    _write_spectrum(Path(out_csv), measurement, list(curves.values()))
    _write_parts(Path(out_csv).with_suffix(".phases.csv"), measurement, curves)
    _write_components(out_csv, component_rows)
    equal = "equal" if np.isnan(recoilless).all() else "given"
    draw_spectrum(
        out_png,
        measurement.velocity_mm_s,
        list(curves.values()),
        str(mixture["name"]),
        f"{measurement.description} · {equal} recoil-free fractions",
    )
    write_csv(out_areas_csv, pd.DataFrame(table))


def _write_incomplete(
    mixture: Mapping[str, Any],
    names: list[str],
    ids: list[str],
    absent: list[str],
    out_csv: str | Path,
    out_png: str | Path,
    out_areas_csv: str | Path,
) -> None:
    """Files of a mixture that cannot be computed, with the reason in table and figure."""
    reason = f"no Fe site with trusted parameters in {', '.join(absent)}"
    logger.warning("mixture %s: %s", mixture["name"], reason)
    write_csv(out_csv, pd.DataFrame(columns=["velocity_mm_s", "absorption"]))
    write_csv(Path(out_csv).with_suffix(".phases.csv"), pd.DataFrame(columns=["velocity_mm_s"]))
    _write_components(out_csv, [])
    status = [reason if name in absent else "computed" for name in names]
    table = pd.DataFrame({"phase": names, "structure_id": ids, "status": status})
    write_csv(out_areas_csv, table)
    draw_note(
        out_png,
        str(mixture["name"]),
        f"No spectrum: {reason}.\nSee hyperfine/summary.csv and sites/dropped.csv.",
    )


def _read_index(index_csv: str | Path) -> pd.DataFrame:
    return pd.read_csv(index_csv, dtype={"structure_id": str, "formula": str, "name": str})


def _phases_by_id(
    settings: Mapping[str, Any], index: pd.DataFrame, sites: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """What the settings say of phases, by the identifier of the structure."""
    found = {}
    for phase in settings.get("phases", []):
        name = str(phase["structure"])
        if any((index[column] == name).any() for column in ("structure_id", "name", "formula")):
            found[_find_structure(name, index, sites)] = dict(phase)
        else:
            logger.info("mossbauer.phases: no structure %s in this campaign", name)
    return found


def _component_rows(
    phase: str, components: Sequence[Component], area: float
) -> list[dict[str, Any]]:
    """Rows of the table of components, in the columns of a measured spectrum's."""
    return [
        dict(
            zip(
                COMPONENT_COLUMNS,
                (
                    phase,
                    c.label,
                    c.shift_mm_s,
                    c.quadrupole_splitting_mm_s,
                    c.quadrupole_shift_mm_s,
                    c.field_t,
                    area * float(c.intensities.sum()),
                ),
                strict=True,
            )
        )
        for c in components
    ]


def _write_components(out_csv: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path = Path(out_csv).with_suffix(".components.csv")
    write_csv(path, pd.DataFrame(rows, columns=list(COMPONENT_COLUMNS)))


def _good_sites(sites_parquet: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Rows with all that a spectrum needs, by structure and in the order of the table."""
    table = pd.read_parquet(sites_parquet)
    table = table[has_spectrum(table)]
    sites: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        sites.setdefault(str(row[Site.STRUCTURE_ID]), []).append(row)  # type: ignore[index]
    return sites


def _find_structure(name: str, index: pd.DataFrame, sites: Mapping[str, Any]) -> str:
    """Identifier of the structure that an identifier, name or formula means."""
    for column in ("structure_id", "name", "formula"):
        found = list(index.loc[index[column] == name, "structure_id"])
        if len(found) > 1:
            raise ValueError(f"phase {name!r} is any of {', '.join(found)}: give the identifier")
        if found:
            return found[0]
    labels = index.set_index("structure_id")["name"].fillna(
        index.set_index("structure_id")["formula"]
    )
    available = sorted(f"{labels.get(i, '')} ({i})" for i in sites)
    raise ValueError(
        f"phase {name!r} is not among the structures; available: {', '.join(available) or 'none'}"
    )


def _phase_areas(
    mixture: str, phases: Sequence[Mapping[str, Any]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fe fractions, recoil-free fractions (NaN where not given) and areas of the phases."""
    fractions = np.array([phase["fraction"] for phase in phases], float)
    if not fractions.size or not np.all(fractions > 0.0):
        raise ValueError(f"mixture {mixture}: every phase needs a fraction above 0")
    if abs(fractions.sum() - 1.0) > FRACTION_TOLERANCE:
        raise ValueError(f"mixture {mixture}: the fractions add up to {fractions.sum():g}, not 1")
    fractions = fractions / fractions.sum()
    found = [phase_recoilless(phase) for phase in phases]
    given = [f is not None for f in found]
    if any(given) and not all(given):
        raise ValueError(f"mixture {mixture}: give f, or debye_k, for every phase or for none")
    recoilless = np.array([np.nan if f is None else f for f in found], float)
    if all(given) and not np.all((recoilless > 0.0) & (recoilless <= 1.0)):
        raise ValueError(f"mixture {mixture}: f must lie above 0 and not above 1")
    areas = fractions * (recoilless if all(given) else 1.0)
    return fractions, recoilless, areas / areas.sum()


def _missing_iron(rows: Sequence[Mapping[str, Any]], n_atoms: int | None) -> int:
    """Fe atoms of the cell that the site table lacks, because cleaning dropped their site.

    Without the number of atoms in the cell only what the formula proves is counted: the atoms that
    bring the sites to the next whole number of formula units.
    """
    formula = Formula(str(rows[0][Site.FORMULA]))
    per_formula = formula.count()["Fe"]
    present = sum(int(row[Site.MULTIPLICITY]) for row in rows)
    if n_atoms is None:
        return -present % per_formula
    return round(n_atoms / len(formula)) * per_formula - present


def _missing_text(missing: int, separator: str) -> str:
    return f"{separator}no parameters for {missing} Fe atoms of the cell" if missing else ""


def _warn_if_cut_off(
    structure_id: str, components: Sequence[Component], measurement: Measurement
) -> None:
    inside = area_in_range(components, measurement)
    if inside < LEAST_AREA_IN_RANGE:
        logger.warning(
            "%s: only %.0f %% of the absorption lies within ±%g mm/s; widen velocity_mm_s",
            structure_id,
            100.0 * inside,
            measurement.velocity_mm_s[-1],
        )


def _curve(
    label: str, components: Sequence[Component], measurement: Measurement, area: float = 1.0
) -> Curve:
    return Curve(
        label=label,
        absorption=area * spectrum(components, measurement),
        positions=np.concatenate([c.positions for c in components]),
        intensities=area * np.concatenate([c.intensities for c in components]),
    )


def _write_spectrum(path: Path, measurement: Measurement, curves: Sequence[Curve]) -> None:
    total = np.sum([curve.absorption for curve in curves], axis=0)
    table = {"velocity_mm_s": measurement.velocity_mm_s, "absorption": total}
    write_csv(path, pd.DataFrame(table))


def _write_parts(path: Path, measurement: Measurement, curves: Mapping[str, Curve]) -> None:
    columns = {name: curve.absorption for name, curve in curves.items()}
    write_csv(path, pd.DataFrame({"velocity_mm_s": measurement.velocity_mm_s, **columns}))
