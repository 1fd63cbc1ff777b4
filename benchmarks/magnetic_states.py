"""States, iterations and losses of the same crystals by an older method and now.

    python benchmarks/magnetic_states.py older-records/ results/hard/

Crystals of the older records that have no record in the second folder, nor in ``data/reference``,
are computed into it with the defaults of ``config.yaml``; a run that was cut short goes on.
Writes docs/magnetic-states.csv.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from ase.data import atomic_numbers

from dft2spectra.config import read_config, split_gpaw
from dft2spectra.crystals.gpaw_runner import compute_record
from dft2spectra.records import content_hash, read_json, write_csv, write_json
from dft2spectra.structures.canonical import DEFAULT_MOMENTS_MUB
from dft2spectra.structures.sources import HASHED_KEYS

STORE = Path("data/reference/records")
KEPT = ("structure_id", "formula", "spacegroup", "prototype", "parent", *HASHED_KEYS[:4])


def structure_of(record: dict[str, Any]) -> dict[str, Any]:
    """The crystal of an older record, as it is computed now."""
    structure = {key: record[key] for key in KEPT}
    moments = [DEFAULT_MOMENTS_MUB.get(symbol, 0.0) for symbol in record["symbols"]]
    structure["initial_moments_mub"] = moments
    return structure | {"content_hash": content_hash({key: structure[key] for key in HASHED_KEYS})}


def iterations(record: dict[str, Any], semicore: bool) -> int:
    """Iterations of the standard runs, or of the semicore run."""
    runs = [record.get("semicore") or {"attempts": []}] if semicore else record["starts"]
    return sum(attempt["iterations"] for run in runs for attempt in run["attempts"])


def states(record: dict[str, Any]) -> str:
    """Total moment and energy above the lowest of every start that ended: "2.51 0; 0.00 71"."""
    ends = [start for start in record["starts"] if start.get("energy_ev") is not None]
    lowest = min((start["energy_ev"] for start in ends), default=0.0)
    return "; ".join(
        f"{start['total_moment_mub']:.2f} {1000 * (start['energy_ev'] - lowest):.0f}"
        for start in ends
    )


def main() -> None:
    """Compute what is missing and write the table."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("before", type=Path, help="folder of older records")
    options.add_argument("now", type=Path, help="folder of records by the present method")
    options.add_argument("--output", default="docs/magnetic-states.csv")
    options = options.parse_args()
    settings, _ = split_gpaw(read_config(["config.yaml"]))
    options.now.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in sorted(options.before.glob("*.json")):
        old, target = read_json(path), options.now / path.name
        if (STORE / path.name).exists():
            target = STORE / path.name
        if not target.exists():
            with tempfile.TemporaryDirectory() as folder:
                record = compute_record(
                    structure_of(old), settings, lambda line: None, Path(folder), None
                )
            write_json(target, record)
        new = read_json(target)
        row = {"structure_id": path.stem, "n_atoms": old["n_atoms"]}
        row["elements"] = " ".join(sorted(set(old["symbols"]) - {"Fe"}, key=atomic_numbers.get))
        for name, record in (("before", old), ("now", new)):
            row |= {
                f"status_{name}": record["status"],
                f"iterations_{name}": iterations(record, semicore=False),
                f"semicore_iterations_{name}": iterations(record, semicore=True),
                f"total_moment_mub_{name}": record.get("total_moment_mub"),
                f"wall_time_s_{name}": record["wall_time_s"],
            }
        row["states_mub_mev"] = states(new)
        row["note"] = new["note"] if new["status"] == "converged" else new["reason"]
        rows.append(row)
        print(row, flush=True)
        write_csv(options.output, pd.DataFrame(rows).round(3))
    table = pd.DataFrame(rows)
    for name in ("before", "now"):
        lost = (table[f"status_{name}"] != "converged").sum()
        print(
            f"{name}: {table[f'iterations_{name}'].sum()} iterations, {lost} of {len(table)} lost"
        )


if __name__ == "__main__":
    main()
