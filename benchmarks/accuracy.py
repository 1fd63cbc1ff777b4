"""Accuracy of density models on test geometries, from finished campaigns: docs/accuracy.csv.

    python benchmarks/accuracy.py results/demo/molecules/water results/uracil/molecules/uracil \
        --output docs/accuracy.csv
"""

import argparse
from pathlib import Path

import pandas as pd

from dft2spectra.records import read_json

ROWS = {
    "density error (%)": ("density_error_percent", 1),
    "energy, rms about its mean (meV)": ("energy_rms_about_mean_mev", 1),
    "energy, mean (meV)": ("energy_mean_error_mev", 1),
    "forces, mean absolute (meV/Å)": ("force_mae_mev_ang", 1),
    "dipole of the density matrix (mD)": ("dipole_error_mean_debye", 1e3),
    "dipole of the dynamics (mD)": ("mixed_dipole_error_mean_debye", 1e3),
    "gap, mean absolute (meV)": ("gap_mae_mev", 1),
    "uncertainty covers the error (share)": ("uncertainty_coverage", 1),
}


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("folders", nargs="+", type=Path)
    options.add_argument("--output", required=True)
    options = options.parse_args()
    rows = []
    for folder in options.folders:
        card, result = read_json(folder / "card.json"), read_json(folder / "evaluation.json")
        for quantity, (key, factor) in ROWS.items():
            estimate = result["all"][key]
            low, high = estimate["ci95"]
            rows.append(
                {
                    "molecule": card["molecule"],
                    "functional": card["pyscf"]["xc"],
                    "grid_level": card["pyscf"]["grid_level"],
                    "train": card["n_train"],
                    "test": result["n_test"],
                    "temperatures_k": " ".join(f"{t:g}" for t in card["temperatures_k"]),
                    "quantity": quantity,
                    "value": factor * estimate["value"],
                    "ci95_low": factor * low,
                    "ci95_high": factor * high,
                }
            )
    table = pd.DataFrame(rows)
    table.to_csv(options.output, index=False, float_format="%.3g")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))


if __name__ == "__main__":
    main()
