"""Constants of the cost estimate from measured run times, and its errors: docs/cost.csv.

    python benchmarks/cost.py [hyperfine records to add]

The table holds every self-consistent run that was measured; records named on the command line join
it. The constants are fitted to the logarithms of the times, so that a minute and an hour count the
same, and with less weight for outliers: the times come from machines that did other work, too.
Every run is predicted with constants fitted to the other compounds.
"""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from dft2spectra.crystals.cost import scf_runs
from dft2spectra.records import content_hash, read_json, write_csv
from dft2spectra.structures.canonical import reduced_formula
from dft2spectra.structures.sources import collect

TABLE = Path("docs/cost.csv")
KEYS = ["record", "run"]
SPREAD = 0.3  # of the logarithm of a time; beyond, a point counts less


@cache
def bundled() -> dict[str, dict]:
    """Bundled crystals by their content hash."""
    accepted, _ = collect([{"kind": "files", "path": "data/structures"}], {"max_atoms": 24})
    return {structure["content_hash"]: structure for structure in accepted}


def structure_of(path: Path, record: dict) -> dict | None:
    """Structure behind a record, bundled or in a file beside it; records hold no start moments."""
    found = bundled().get(record["structure_hash"])
    for beside in path.parent.glob("*.structure.json"):
        if read_json(beside)["content_hash"] == record["structure_hash"]:
            found = read_json(beside)
    return found


def points(path: Path) -> list[dict]:
    """Measured runs of a record: the first attempt of each start, and of the semicore run."""
    record = read_json(path)
    if not isinstance(record, dict) or "n_kpoints" not in record or record["mpi_ranks"] != 1:
        return []
    structure = structure_of(path, record)
    if structure is None:
        print(f"{path}: left out, its structure is not at hand")
        return []
    settings = {"semicore_efg": False, **record["settings"]}
    sizes = scf_runs(structure, settings)
    runs = [start for start in record["starts"] if start["attempts"]]
    runs += [record["semicore"]] if record.get("semicore") else []
    if len(runs) != len(sizes) or sizes[0].kpoints != record["n_kpoints"]:
        print(
            f"{path}: left out, {sizes[0].kpoints} k-points expected, {record['n_kpoints']} found"
        )
        return []
    name = content_hash([record["structure_id"], record["settings"], record["wall_time_s"]])
    return [
        {
            "record": name[:8],
            "run": run["name"],
            "formula": reduced_formula(structure["symbols"]),
            "n_atoms": size.atoms,
            "cutoff_ev": settings["cutoff_ev"],
            "kpoint_density_ang": settings["kpoint_density_ang"],
            "n_kpoints": size.kpoints,
            "n_spins": size.spins,
            "n_bands": size.bands,
            "n_plane_waves": round(size.plane_waves, 1),
            "iterations": run["attempts"][0]["iterations"],
            "wall_time_s": run["attempts"][0]["wall_time_s"],
        }
        for size, run in zip(sizes, runs, strict=True)
    ]


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

    per_iteration = table.wall_time_s / table.iterations
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


def main(paths: list[str]) -> None:
    """Add records, fit, predict each compound from the others, write the table."""
    old = [pd.read_csv(TABLE, dtype={"record": str})] if TABLE.exists() else []
    new = pd.DataFrame([point for path in paths for point in points(Path(path))])
    table = pd.concat([*old, new]).drop_duplicates(KEYS)
    table = table.sort_values(["formula", "record", "run"], ignore_index=True)
    for formula in table.formula.unique():
        own = table.formula == formula
        table.loc[own, "predicted_s"] = predict(table[own], *fit(table[~own])).round(1)
    write_csv(TABLE, table)
    seconds, iterations = fit(table)
    print(f"seconds per k-point {seconds[0]:.3g}, per coefficient {seconds[1]:.3g}")
    print(f"iterations {iterations[0]:.3g} + {iterations[1]:.3g} per atom")
    records = table.groupby("record")[["wall_time_s", "predicted_s"]].sum()
    print(
        "measured over predicted time of a record:",
        describe(records.eval("wall_time_s/predicted_s")),
    )
    again = table.groupby(["formula", "cutoff_ev", "kpoint_density_ang", "run"]).wall_time_s
    repeated = table.wall_time_s[again.transform("size") > 2] / again.transform("median")
    print("the same run repeated, over its median:", describe(repeated.dropna()))


if __name__ == "__main__":
    main(sys.argv[1:])
