"""Fit the eight numbers of the tight-binding model to moments of every second shipped crystal.

    python benchmarks/fit_band_model.py --records data/reference/records --steps 150

Prints what goes into ``FITTED`` of :mod:`dft2spectra.learning.band_model`, and the error of the
crystals that were left out. Crystals of the external set and those of more than six atoms are in
neither half.
"""

import argparse
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from scipy.optimize import minimize

from dft2spectra.learning.band_model import FITTED, Parameters, make_bands
from dft2spectra.learning.band_states import solve, start_moments
from dft2spectra.learning.soap import site_atom, structure_atoms
from dft2spectra.records import read_json

MOST_ATOMS = 6
# Errors beyond this (Bohr magnetons) count linearly: a state on the wrong side of a jump.
HUBER_MUB = 0.5
# First steps of the parameters.
STEPS = (0.05, 0.15, 0.2, 0.15, 0.1, 0.08, 0.1, 0.03)


def moments(record: dict, atoms: Atoms, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes by DFT and by the model of the Fe sites of a record."""
    bands = make_bands(atoms, parameters)
    found = solve(bands, start_moments(atoms)).moments
    places = [site_atom(record, site["site"]) for site in record["sites"]]
    computed = np.array([site["moment_mub"] for site in record["sites"]])
    return np.abs(computed), np.abs(found[places])


def deviation(parameters: np.ndarray, crystals: list, pool: Pool, say: str) -> float:
    """Mean Huber loss; infinite where a parameter is negative."""
    if min(parameters[:6]) <= 0.0 or parameters[7] <= 0.0:
        return np.inf
    tasks = [(record, atoms, Parameters(*parameters)) for record, atoms in crystals]
    pairs = pool.starmap(moments, tasks, chunksize=4)
    truth, found = (np.concatenate(part) for part in zip(*pairs, strict=True))
    error = np.abs(found - truth)
    loss = np.where(error < HUBER_MUB, error**2, 2 * HUBER_MUB * error - HUBER_MUB**2).mean()
    print(
        say,
        " ".join(f"{value:.3f}" for value in parameters),
        f"loss {loss:.4f} mean {error.mean():.3f} rms {np.sqrt(np.mean(error**2)):.3f}",
        f"correlation {np.corrcoef(truth, found)[0, 1]:.3f}",
        flush=True,
    )
    return float(loss)


def main() -> None:
    """Fit on one half, judge on the other."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--records", type=Path, default=Path("data/reference/records"))
    options.add_argument("--steps", type=int, default=150)
    options = options.parse_args()
    design = pd.read_csv(options.records.parent / "design.csv", index_col="structure_id")
    crystals = []
    for path in sorted(options.records.glob("*.json")):
        record = read_json(path)
        if record["n_atoms"] <= MOST_ATOMS and design.role.get(path.stem) != "external":
            crystals.append((record, structure_atoms(record)))
    start = np.array(FITTED)
    simplex = np.vstack([start, start + np.diag(STEPS)])
    settings = {"initial_simplex": simplex, "maxfev": options.steps, "fatol": 1e-4, "xatol": 1e-3}
    with Pool() as pool:
        arguments = (crystals[::2], pool, "fit")
        best = minimize(deviation, start, arguments, method="Nelder-Mead", options=settings)
        deviation(best.x, crystals[1::2], pool, "left out")


if __name__ == "__main__":
    main()
