"""Time of the density model over the number of atoms, for stacked copies of a molecule.

    python benchmarks/density_scaling.py results/uracil/molecules/uracil \
        --output docs/density-scaling.csv

One core, processor time; copies lie 3.4 Å apart, as bases in DNA do. The exponent is that of a
power law through the points beyond 50 atoms.
"""

import argparse
import os
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
from ase.data import atomic_numbers

from dft2spectra.density.grid import build_grid
from dft2spectra.density.kinds import read_model
from dft2spectra.records import read_json
from dft2spectra.units import BOHR_ANG

SPACING_ANG = 3.4
LARGEST = 200  # atoms
LEVEL = 0  # of the grid: the points per atom do not matter here


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("folder", type=Path, help="with model.npz and equilibrium.json")
    options.add_argument("--output", required=True)
    options = options.parse_args()
    model = read_model(options.folder / "model.npz")
    molecule = read_json(options.folder / "equilibrium.json")
    flat = np.asarray(molecule["positions_ang"]) / BOHR_ANG
    flat -= flat.mean(axis=0)
    normal = np.linalg.svd(flat)[2][2]
    size = len(flat)
    copies = [1, 2, 4, 5, 6, 8, 10, 12, 14, 16]
    rows = []
    for number in [n for n in copies if n * size <= LARGEST]:
        positions = np.concatenate(
            [flat + k * SPACING_ANG / BOHR_ANG * normal for k in range(number)]
        )
        symbols = list(molecule["symbols"]) * number
        grid = build_grid([atomic_numbers[symbol] for symbol in symbols], positions, LEVEL)
        if not rows:
            model.evaluate(symbols, positions, grid.points, grid.owner)  # compiles
        began = time.process_time()
        model.evaluate(symbols, positions, grid.points, grid.owner)
        seconds = time.process_time() - began
        rows.append({"atoms": len(symbols), "points": len(grid.owner), "seconds": seconds})
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    large = table[table.atoms > 50]
    exponent = np.polyfit(np.log(large.atoms), np.log(large.seconds), 1)[0]
    table["exponent_beyond_50"] = exponent
    table.to_csv(options.output, index=False, float_format="%.4g")
    print(f"exponent beyond 50 atoms: {exponent:.3f}")


if __name__ == "__main__":
    main()
