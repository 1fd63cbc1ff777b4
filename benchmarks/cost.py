"""Constants of the cost estimate from measured run times, and its errors: docs/cost.csv.

    python benchmarks/cost.py results/reference

The table holds every self-consistent run of the records of a campaign; the constants are fitted to
the logarithms of processor times, so that a minute and an hour count the same, and with less weight
for outliers: machines do other work, too. Every run is predicted with constants fitted to the other
compounds.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from dft2spectra.columns import Status
from dft2spectra.crystals.cost import Scf, scf_runs
from dft2spectra.crystals.semicore import NO_MOMENT_MUB
from dft2spectra.records import read_json, write_csv
from dft2spectra.structures.canonical import reduced_formula

TABLE = Path("docs/cost.csv")
SPREAD = 0.3  # of the logarithm of a time; beyond, a point counts less


def points(results: Path, path: Path) -> list[dict]:
    """Measured runs of a record: each start, and the semicore run, with all their attempts."""
    record = read_json(path)
    if record["status"] != Status.CONVERGED or record["mpi_ranks"] != 1:
        return []
    structure = read_json(results / "structures" / "crystals" / path.name)
    runs = [start for start in record["starts"] if start["attempts"]]
    sizes = dict(
        zip([run["name"] for run in runs], scf_runs(structure, record["settings"]), strict=False)
    )
    if record.get("semicore"):
        runs.append({"name": "semicore", **record["semicore"]})
        sizes["semicore"] = scf_runs(structure, record["settings"])[-1]
    if sizes[runs[0]["name"]].kpoints != record["n_kpoints"]:
        print(f"{path}: {sizes[runs[0]['name']].kpoints} k-points expected")
        return []
    chosen = next(run for run in runs if run["name"] == record["chosen_start"])
    nonmagnetic = max(map(abs, chosen["moments_mub"])) < NO_MOMENT_MUB
    measured = sum(a["processor_time_s"] for run in runs for a in run["attempts"])
    return [
        row(record, run, sizes[run["name"]], nonmagnetic and run["name"] == "semicore")
        | {"rest_s": round(record["processor_time_s"] - measured, 2)}
        for run in runs
    ]


def row(record: dict, run: dict, size: Scf, spin_paired: bool) -> dict:
    """Size, iterations and time of one run."""
    return {
        "structure_id": record["structure_id"],
        "run": run["name"],
        "formula": reduced_formula(record["symbols"]),
        "n_atoms": size.atoms,
        "cutoff_ev": record["settings"]["cutoff_ev"],
        "kpoint_density_ang": record["settings"]["kpoint_density_ang"],
        "n_kpoints": size.kpoints,
        "n_spins": 1 if spin_paired else size.spins,
        "n_bands": size.bands,
        "n_plane_waves": round(size.plane_waves, 1),
        "iterations": sum(attempt["iterations"] for attempt in run["attempts"]),
        "processor_time_s": round(sum(a["processor_time_s"] for a in run["attempts"]), 2),
    }


def fit(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Seconds per k-point and per coefficient; iterations without atoms and per atom."""
    kpoints = table.n_kpoints * table.n_spins
    terms = np.stack([kpoints, kpoints * table.n_bands * table.n_plane_waves], axis=1)
    atoms = np.stack([np.ones(len(table)), table.n_atoms], axis=1)

    def solve(columns: np.ndarray, wanted: np.ndarray, start: list[float]) -> np.ndarray:
        def residuals(logarithms: np.ndarray) -> np.ndarray:
            return np.log(columns @ np.exp(logarithms)) - np.log(wanted)

        found = least_squares(residuals, np.log(start), loss="soft_l1", f_scale=SPREAD)
        return np.exp(found.x)

    per_iteration = table.processor_time_s / table.iterations
    seconds = solve(terms, per_iteration.to_numpy(), [5e-3, 1e-6])
    return seconds, solve(atoms, table.iterations.to_numpy(float), [10.0, 1.0])


def predict(table: pd.DataFrame, seconds: np.ndarray, iterations: np.ndarray) -> pd.Series:
    """Time of every run (s), whatever number of iterations it took."""
    kpoints = table.n_kpoints * table.n_spins
    each = seconds[0] * kpoints + seconds[1] * kpoints * table.n_bands * table.n_plane_waves
    return (iterations[0] + iterations[1] * table.n_atoms) * each


def describe(ratio: pd.Series) -> str:
    """Median and 90 % interval."""
    low, median, high = ratio.quantile([0.05, 0.5, 0.95])
    return f"median {median:.2f}, 90 % between {low:.2f} and {high:.2f} ({len(ratio)})"


def main(results: Path) -> None:
    """Fit to the records of a campaign, predict each compound from the others, write the table."""
    paths = sorted((results / "hyperfine").glob("*.json"))
    table = pd.DataFrame([point for path in paths for point in points(results, path)])
    table = table.sort_values(["formula", "structure_id", "run"], ignore_index=True)
    for formula in table.formula.unique():
        own = table.formula == formula
        table.loc[own, "predicted_s"] = predict(table[own], *fit(table[~own])).round(1)
    write_csv(TABLE, table)
    seconds, iterations = fit(table)
    rest = table.drop_duplicates("structure_id").rest_s
    print(f"seconds per k-point {seconds[0]:.3g}, per coefficient {seconds[1]:.3g}")
    print(f"iterations {iterations[0]:.3g} + {iterations[1]:.3g} per atom")
    print(f"before the first and after the last iteration {rest.median():.1f} s")
    records = table.groupby("structure_id")[["processor_time_s", "predicted_s"]].sum()
    records += rest.median()
    print("measured over predicted:", describe(records.eval("processor_time_s/predicted_s")))
    total = records.sum()
    print(f"all {len(records)} together: {total.processor_time_s / total.predicted_s:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
