"""Processor time of whole crystals by an older checkout and by this one: docs/crystal-price.csv.

    python benchmarks/crystal_price.py --before older/.venv/bin/python --before-source older/

Both compute the same bundled crystals with the defaults of their own ``config.yaml``, in turn, each
in a process of its own. Processor time, not wall time: a shared machine makes others wait, too.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from dft2spectra.records import read_json, write_csv, write_json
from dft2spectra.structures.sources import collect

NAMES = ("FeAl", "FeCo", "Fe3Si", "FePt", "FeSi", "Fe-hcp", "FeSn", "YFe2Ge2")
# Runs in either checkout: both have these functions.
PROGRAM = """
import sys
from pathlib import Path
from dft2spectra.config import read_config, split_gpaw
from dft2spectra.crystals.gpaw_runner import compute_record
from dft2spectra.records import read_json, write_json
settings, _ = split_gpaw(read_config(["config.yaml"]))
folder = Path(sys.argv[1])
structure = read_json(folder / "structure.json")
record = compute_record(structure, settings, lambda line: None, folder, None)
write_json(folder / "record.json", record)
"""


def compute(python: str, source: Path, structure: dict) -> dict:
    """Processor time (s), iterations, k-points and status of one crystal."""
    environment = os.environ | {"PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder, "structure.json"), structure)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [python, "-W", "ignore", "-c", PROGRAM, folder], cwd=source, env=environment, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        record = read_json(Path(folder, "record.json"))
    runs = [*record["starts"], record.get("semicore") or {"attempts": []}]
    return {
        "processor_time_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "iterations": sum(attempt["iterations"] for run in runs for attempt in run["attempts"]),
        "n_kpoints": record.get("n_kpoints"),
        "status": record["status"],
    }


def main() -> None:
    """Compute all crystals both ways and write the table."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--before", required=True, help="Python of the older environment")
    options.add_argument("--before-source", type=Path, required=True, help="older checkout")
    options.add_argument("--output", default="docs/crystal-price.csv")
    options.add_argument("names", nargs="*", default=NAMES, help="bundled crystals")
    options = options.parse_args()
    accepted, _ = collect([{"kind": "files", "path": "data/structures"}], {"max_atoms": 24})
    structures = {structure["name"]: structure for structure in accepted}
    rows = []
    for name in options.names:
        structure = structures[name]
        old = compute(options.before, options.before_source.resolve(), structure)
        new = compute(sys.executable, Path.cwd(), structure)
        row = {"name": name, "spacegroup": structure["spacegroup"]}
        row["n_atoms"] = len(structure["symbols"])
        for key in old:
            row |= {f"{key}_before": old[key], f"{key}_now": new[key]}
        row["ratio"] = old["processor_time_s"] / new["processor_time_s"]
        rows.append(row)
        print(row, flush=True)
        write_csv(options.output, pd.DataFrame(rows).round(2))
    table = pd.DataFrame(rows)
    total = table.processor_time_s_before.sum() / table.processor_time_s_now.sum()
    print(f"median ratio {table.ratio.median():.2f}, all together {total:.2f}")


if __name__ == "__main__":
    main()
