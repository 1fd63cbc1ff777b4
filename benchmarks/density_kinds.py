"""Both kinds of density models on the same labels, side by side: docs/density-kinds-<molecule>.csv.

    python benchmarks/density_kinds.py results/demo/molecules/water/labels/*.npz \
        --grid-level 2 --output docs/density-kinds-water.csv

Fitted in one process with the settings of config.yaml, or of a second configuration, to training
and validation labels of the files, judged on their test labels. Processor time of one core; a step
is energy, forces and dipole of a geometry that follows another one.
"""

import argparse
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd

from dft2spectra.columns import DensityTest as Column
from dft2spectra.config import read_config
from dft2spectra.density.evaluation import compare_all
from dft2spectra.density.one_shot import OneShot
from dft2spectra.density.predictor import KINDS
from dft2spectra.density.sampling_points import positions_bohr
from dft2spectra.density.training import fit_density_model
from dft2spectra.molecules.labels import read_labels
from dft2spectra.molecules.pyscf_input import build_molecule, complete_settings

STEPS = 5
STEP_BOHR = 0.005


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("labels", nargs="+")
    options.add_argument("--config", help="whose density_model section overrides config.yaml's")
    options.add_argument("--grid-level", type=int, required=True)
    options.add_argument("--test", type=int, default=None, help="most test geometries")
    options.add_argument("--output", required=True)
    options = options.parse_args()
    config = read_config(["config.yaml", *([options.config] if options.config else [])])
    section = config["density_model"]
    settings = complete_settings({**config["pyscf"], "grid_level": options.grid_level})
    labels = read_labels(options.labels)
    seen = [label for label in labels if label["split"] != "test"]
    test = [label for label in labels if label["split"] == "test"][: options.test]
    rows = [judge({**section, "kind": kind}, settings, seen, test) for kind in KINDS]
    table = pd.DataFrame(rows)
    table.to_csv(options.output, index=False, float_format="%.4g")
    print(table.T.to_string())


def judge(section, settings, seen, test):
    """Errors and times of one kind."""
    began = time.process_time()
    model = fit_density_model(seen, section, settings)
    fitted = time.process_time() - began
    found = pd.DataFrame(compare_all(model, test, settings)[0])
    found.columns = [str(column) for column in found.columns]
    return {
        "molecule": model.card["molecule"],
        "kind": section["kind"],
        "grid_level": settings["grid_level"],
        "train": model.card["n_train"],
        "test": len(test),
        "ridge": model.card["ridge"],
        "density_percent": found[Column.DENSITY].mean(),
        "functions_alone_percent": model.card.get("fit_floor_percent", np.nan),
        "force_mae_mev_ang": found[Column.FORCE_MAE].mean(),
        "force_rms_mev_ang": np.sqrt((found[Column.FORCE_RMSE] ** 2).mean()),
        "energy_rms_about_mean_mev": found[Column.ENERGY].std(ddof=0),
        "dipole_of_density_matrix_md": 1e3 * found[Column.DIPOLE].mean(),
        "mixed_dipole_md": 1e3 * found[Column.MIXED_DIPOLE].mean(),
        "gap_mae_mev": found[Column.GAP].abs().mean(),
        "fit_seconds": fitted,
        **step_seconds(model, test[0], settings),
    }


def step_seconds(model, label, settings):
    """Shortest of some steps, and what the model takes of it: processor time."""
    mol = build_molecule(label["symbols"], label["positions_ang"], label["charge"], settings)
    shot, positions = OneShot(mol, model, settings), positions_bohr(label)
    spent = {"evaluate": [], "gradient": []}
    for name in spent:
        setattr(model, name, timed(getattr(model, name), spent[name]))
    random, steps = np.random.default_rng(0), []
    for _ in range(STEPS + 1):  # the first compiles and fills buffers
        moved = positions + STEP_BOHR * random.standard_normal(positions.shape)
        began = time.process_time()
        shot.step(moved)
        steps.append(time.process_time() - began)
    best = int(np.argmin(steps[1:])) + 1
    return {
        "step_seconds": steps[best],
        "model_value_seconds": spent["evaluate"][best],
        "model_gradient_seconds": spent["gradient"][best],
    }


def timed(function, seconds):
    def wrapped(*arguments):
        began = time.process_time()
        result = function(*arguments)
        seconds.append(time.process_time() - began)
        return result

    return wrapped


if __name__ == "__main__":
    main()
