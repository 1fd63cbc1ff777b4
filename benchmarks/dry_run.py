"""Processor time and memory of a dry-run with 10,000 crystals, before and after their screening.

    python benchmarks/dry_run.py [--structures 10000] [--per-job 1] [--output docs/dry-run.csv]

The crystals are the bundled compounds of up to eight atoms under strains that make each another
crystal, in one extended XYZ file. The first dry-run reads and screens them, the second finds them
screened. Times are those of Snakemake with all its children, user and system.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write

from dft2spectra.structures.sources import collect, to_atoms

ROOT = Path(__file__).parents[1]
SMALL = 8
STRETCHES = 12


def strained_copies(number: int) -> list[Atoms]:
    """So many crystals, all distinct: volumes in steps of 1.8 %, twelve axial ratios each."""
    accepted, _ = collect(
        [{"kind": "files", "path": str(ROOT / "data" / "structures")}], {"max_atoms": SMALL}
    )
    copies = []
    for i in range(number):
        copy, parent = divmod(i, len(accepted))
        atoms = to_atoms(accepted[parent])
        stretch = np.diag([1.0, 1.0, 1.0 + 0.01 * (copy % STRETCHES)])
        scale = 0.9 + 0.006 * (copy // STRETCHES)
        atoms.set_cell(atoms.cell.array @ stretch * scale, scale_atoms=True)
        copies.append(Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True))
    return copies


def measured(folder: Path, *arguments: str) -> tuple[float, float, str]:
    """Processor time (s) and peak memory (MB) of a Snakemake command, and what it wrote."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--workflow-profile", str(ROOT / "profiles" / "default"), "--cores", "1"]
    log = folder / "log"
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [*command, *arguments, "--configfile", str(folder / "many.yaml")],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
    output = log.read_text(encoding="utf-8")
    if status:
        raise SystemExit(output[-3000:])
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output


def jobs(output: str) -> int:
    """Number of jobs that a dry-run announced."""
    totals = [line.split() for line in output.splitlines() if line.split()[:1] == ["total"]]
    return int(totals[0][1])


def main() -> None:
    """Measure, print and write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--structures", type=int, default=10000)
    parser.add_argument("--per-job", type=int, default=1, help="gpaw.structures_per_job")
    parser.add_argument("--output", type=Path, help="table to append to (CSV)")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "many.xyz", strained_copies(arguments.structures), format="extxyz")
        (folder / "data").symlink_to(ROOT / "data")
        (folder / "many.yaml").write_text(
            "run: many\nbranches: [mossbauer]\n"
            "structures: {sources: [{kind: files, path: many.xyz}], max_atoms: 24}\n"
            f"gpaw: {{structures_per_job: {arguments.per_job}}}\n"
            "mossbauer: {mixtures: []}\n",
            encoding="utf-8",
        )
        for step, command in {
            "first dry-run": ["--dry-run"],
            "screening": ["results/many/structures/index.csv"],
            "dry-run after screening": ["--dry-run"],
        }.items():
            seconds, memory, output = measured(folder, *command)
            row = {
                "step": step,
                "structures": arguments.structures,
                "structures_per_job": arguments.per_job,
                "jobs": jobs(output),
                "cpu_time_s": round(seconds, 1),
                "max_rss_mb": round(memory),
            }
            rows.append(row)
            print(row, flush=True)
    if arguments.output:
        new = not arguments.output.exists()
        with open(arguments.output, "a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            if new:
                writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
