"""GPAW against the all-electron table ``data/reference/elk.json``: docs/all-electron.{csv,png,svg}.

    python benchmarks/compare_all_electron.py [folder for records]

Each compound runs at the k-mesh of its reference; records already there are not computed again.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from dft2spectra.crystals.gpaw_runner import compute_hyperfine
from dft2spectra.crystals.identity import record_is_current
from dft2spectra.figures import new_figure, save_figure
from dft2spectra.records import content_hash, read_json, write_csv, write_json

SETTINGS = {
    "cutoff_ev": 450,
    "xc": "PBE",
    "smearing_ev": 0.05,
    "starts": ["ferromagnetic"],
    "max_iterations": 150,
    "ladder": [{}, {"mixer": "msr1", "mixer_weight": 50}],
    "eigensolver": "davidson",
    "hubbard_u_ev": {},
    "convergence": {"energy_ev_per_electron": 1e-5, "density": 1e-5, "eigenstates": 4e-8},
    "efg_elements": ["Fe"],
    "semicore_efg": True,
    "keep_gpw": False,
}
GUESS = {"Fe": 2.3, "Co": 1.6, "Ni": 0.7, "Pt": 0.3, "Pd": 0.3}
# Limits a comparison at a comparable k-mesh should stay in.
LIMITS = {"moment_mub": 0.1, "bhf_t": 1.5}


def structure_file(compound: dict, folder: Path) -> Path:
    """Structure of a reference compound in the form of the campaign."""
    symbols = compound["symbols"]
    sites = {a: f"Fe{i + 1}" for i, s in enumerate(compound["sites"]) for a in s["atom_indices"]}
    structure = {
        "structure_id": compound["compound"].split()[0],
        "formula": "".join(symbols),
        **{key: compound[key] for key in ("cell_ang", "symbols", "scaled_positions")},
        "site_labels": [sites.get(a, f"{s}{a}") for a, s in enumerate(symbols)],
        "initial_moments_mub": [
            GUESS.get(s, 0.0) if compound["magnetic"] else 0.0 for s in symbols
        ],
    }
    structure["content_hash"] = content_hash(structure)
    path = folder / f"{structure['structure_id']}.structure.json"
    write_json(path, structure)
    return path


def kpoint_density(compound: dict) -> float:
    """Density (points per 1/Å) that gives the reference's mesh along the first axis."""
    reciprocal = np.linalg.norm(np.linalg.inv(np.array(compound["cell_ang"])).T, axis=1)
    return float((compound["kpoints"][0] - 0.5) / (2.0 * np.pi * reciprocal[0]))


def record_of(compound: dict, folder: Path) -> dict:
    """Record of a compound at its reference's k-mesh, computed unless it is there already."""
    structure = structure_file(compound, folder)
    output = structure.with_name(structure.name.replace("structure", "record"))
    settings = {**SETTINGS, "kpoint_density_ang": kpoint_density(compound)}
    old = read_json(output) if output.exists() else {}
    if not record_is_current(old, read_json(structure), settings):
        compute_hyperfine(structure, settings, output, output.with_suffix(".log"))
    return read_json(output)


def compare(compounds: list[dict], records: list[dict]) -> pd.DataFrame:
    """One row per site: GPAW, reference, difference; the first compound is the density's zero."""
    zero = records[0]["sites"][0]["contact_density_e_per_bohr3"]
    zero_reference = compounds[0]["sites"][0]["contact_density_deltaT_e_per_bohr3"]
    rows = []
    for compound, record in zip(compounds, records, strict=True):
        for reference, site in zip(compound["sites"], record["sites"], strict=True):
            rows.append(
                {
                    "compound": compound["compound"],
                    "site": site["site"],
                    "moment_mub": site["moment_mub"],
                    "moment_mub_elk": reference["moment_mub"],
                    "density_difference": site["contact_density_e_per_bohr3"] - zero,
                    "density_difference_elk": reference["contact_density_deltaT_e_per_bohr3"]
                    - zero_reference,
                    "bhf_t": site["bhf_contact_t"],
                    "bhf_t_elk": reference["bhf_contact_deltaT_t"],
                    "vzz_1e21_v_m2": site["vzz_1e21_v_m2"],
                    "vzz_1e21_v_m2_elk": reference["vzz_1e21_v_m2"],
                    "vzz_frozen_core_1e21_v_m2": site["vzz_frozen_core_1e21_v_m2"],
                    "wall_time_s": record["wall_time_s"],
                }
            )
    return pd.DataFrame(rows)


def within_limits(table: pd.DataFrame) -> dict[str, bool]:
    """Whether each quantity agrees with the reference to the project's limits."""
    vzz = table.vzz_1e21_v_m2_elk
    rms = np.sqrt(((table.density_difference - table.density_difference_elk)[1:] ** 2).mean())
    checks = {
        key: bool((abs(table[key] - table[f"{key}_elk"]) <= limit).all())
        for key, limit in LIMITS.items()
    }
    allowed = np.maximum(0.08 * abs(vzz), 0.25)
    checks["vzz_1e21_v_m2"] = bool((abs(table.vzz_1e21_v_m2 - vzz) <= allowed).all())
    checks[f"density_difference (rms {rms:.3f} e/a0³)"] = bool(rms <= 0.1)
    return checks


def plot(table: pd.DataFrame, path: Path) -> None:
    """GPAW over Elk for the four quantities."""
    panels = {
        "moment_mub": "local moment (µB)",
        "density_difference": "contact density − α-Fe (e/a₀³)",
        "bhf_t": "contact field (T)",
        "vzz_1e21_v_m2": "Vzz (10²¹ V/m²)",
    }
    figure, axes = new_figure(7.0, 6.0, nrows=2, ncols=2)
    for (column, label), axis in zip(panels.items(), axes.flat, strict=True):
        reference = table[f"{column}_elk"]
        ends = [min(reference.min(), 0) * 1.1, max(reference.max(), 0) * 1.1]
        axis.plot(ends, ends, color="0.6", lw=0.8)
        axis.plot(reference, table[column], "o", ms=4)
        if column == "vzz_1e21_v_m2":
            axis.plot(reference, table.vzz_frozen_core_1e21_v_m2, "x", ms=4, label="3p frozen")
            axis.legend(fontsize=7)
        axis.set_xlabel(f"Elk: {label}", fontsize=8)
        axis.set_ylabel(f"GPAW: {label}", fontsize=8)
    save_figure(figure, path)


def main(folder: Path) -> None:
    """Run what is missing, write table and figure, print the verdicts."""
    compounds = read_json("data/reference/elk.json")["compounds"]
    table = compare(compounds, [record_of(compound, folder) for compound in compounds])
    write_csv("docs/all-electron.csv", table.round(4))
    plot(table, Path("docs/all-electron.png"))
    print(table.round(3).to_string())
    for name, passed in within_limits(table).items():
        print(f"{'within' if passed else 'OUTSIDE'} limits: {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/all-electron"))
