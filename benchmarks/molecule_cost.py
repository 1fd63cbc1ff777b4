"""Constants of the cost estimate of molecules from measured times: docs/molecule-cost.csv.

    python benchmarks/molecule_cost.py

Each molecule runs in a process of its own, on one core: a label (self-consistent density, forces),
a one-shot step on a model of the default size, and for small molecules the second derivatives. A
step takes the same time whatever its coefficients are, which are zero here. Powers are fitted to
logarithms of processor times, and every molecule is predicted from the others.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import yaml
from scipy.optimize import least_squares

from dft2spectra.config import complete_config
from dft2spectra.density.model import Basis, DensityModel
from dft2spectra.density.one_shot import OneShot
from dft2spectra.molecules.cost import size_of
from dft2spectra.molecules.harmonic import second_derivatives
from dft2spectra.molecules.labels import label_geometry
from dft2spectra.molecules.pyscf_input import build_mean_field, build_molecule
from dft2spectra.molecules.sources import read_molecule
from dft2spectra.records import write_csv

TABLE = Path("docs/molecule-cost.csv")
DEFAULT = Path("config.yaml")
MOLECULES = ["water", "methanol", "acetone", "benzene", "uracil", "caffeine", "aspirin"]
BASES = ["sto-3g", "def2-svp"]
MODES_ATOMS, STEP_ATOMS = 6, 12


def measured(name: str, basis: str) -> dict:
    """Size, times and memory of one molecule; in this process."""
    config = complete_config(yaml.safe_load(DEFAULT.read_text("utf-8")))
    settings = {**config["pyscf"], "basis": basis}
    molecule = read_molecule({"name": name})
    row = {"molecule": name, "basis": basis, **size_of(molecule, settings)._asdict()}
    start = time.process_time()
    label_geometry(molecule, molecule["positions_ang"], settings)
    row["label_s"] = time.process_time() - start
    row["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    mol = build_molecule(molecule["symbols"], molecule["positions_ang"], 0, settings)
    if mol.natm <= STEP_ATOMS:
        section = config["density_model"]
        species = tuple(sorted(set(molecule["symbols"])))
        channels, n_max = section["three_body"]["channels"], section["three_body"]["n_max"]
        mixing = np.random.default_rng(0).normal(size=(channels, len(species) * n_max))
        keys = ("radial_map", "one_body", "two_body", "three_body")
        basis_set = Basis(species, {key: section[key] for key in keys}, mixing)
        nothing = np.zeros(sum(basis_set.terms.sizes))
        model = DensityModel(basis_set, nothing, np.zeros((0, len(nothing))), {})
        shot = OneShot(mol, model, settings)
        shot.step(mol.atom_coords())  # compiled now
        start = time.process_time()
        shot.step(mol.atom_coords())
        row["step_s"] = time.process_time() - start
    if mol.natm <= MODES_ATOMS:
        mean_field = build_mean_field(mol, settings)
        mean_field.kernel()
        start = time.process_time()
        second_derivatives(mean_field)
        row["modes_s"] = time.process_time() - start
    return row


def powers(table: pd.DataFrame, values: pd.Series) -> np.ndarray:
    """Factor and exponents of values ∝ (N/100)^p (G/10,000)^q."""
    sizes = np.log([table.functions / 100, table.points / 1e4])
    return np.linalg.lstsq(np.vstack([np.ones(len(table)), sizes]).T, np.log(values), rcond=None)[0]


def of_powers(table: pd.DataFrame, found: np.ndarray) -> np.ndarray:
    """Values of :func:`powers`."""
    sizes = [table.functions / 100, table.points / 1e4]
    return np.exp(found[0]) * sizes[0] ** found[1] * sizes[1] ** found[2]


def lines(table: pd.DataFrame, values: pd.Series) -> np.ndarray:
    """Start and rate of values = start + rate A N G, by the logarithms."""

    def residuals(logarithms: np.ndarray) -> np.ndarray:
        return np.log(of_lines(table, np.exp(logarithms))) - np.log(values)

    return np.exp(least_squares(residuals, np.log([0.3, 0.15]), loss="soft_l1", f_scale=0.3).x)


def of_lines(table: pd.DataFrame, found: np.ndarray) -> np.ndarray:
    """Values of :func:`lines`."""
    return found[0] + found[1] * table.atoms * table.functions * table.points / 1e6


def rate(table: pd.DataFrame, values: pd.Series) -> np.ndarray:
    """No start, and the geometric mean of the rates."""
    product = table.atoms * table.functions * table.points / 1e6
    return np.array([0.0, np.exp(np.log(values / product).mean())])


FORMS = {
    "label_s": (lines, of_lines),
    "step_s": (powers, of_powers),
    "modes_s": (rate, of_lines),
    "memory_mb": (powers, of_powers),
}


def fit(table: pd.DataFrame) -> pd.DataFrame:
    """Print the constants and what molecules left out took over their estimate; add estimates."""
    for column, (fitted, values) in FORMS.items():
        there = table[table[column].notna()]
        print(column, fitted(there, there[column]))
        for name in there.molecule.unique():
            own, others = there[there.molecule == name], there[there.molecule != name]
            predicted = values(own, fitted(others, others[column]))
            table.loc[own.index, f"{column}_predicted"] = predicted
        ratios = sorted(table[column] / table[f"{column}_predicted"])
        print("  measured over predicted:", " ".join(f"{each:.2f}" for each in ratios))
    return table


def main() -> None:
    """Measure all molecules and fit."""
    rows = []
    for name in MOLECULES:
        for basis in BASES:
            command = [sys.executable, __file__, name, basis]
            rows.append(json.loads(subprocess.check_output(command).splitlines()[-1]))
            print(rows[-1], flush=True)
    write_csv(TABLE, fit(pd.DataFrame(rows)).round(4))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measured(*sys.argv[1:])))
    else:
        main()
