"""Errors of the volume predictors for the bundled compounds: docs/volumes.csv.

    python benchmarks/volumes.py --output docs/volumes.csv

Prints the constants of dft2spectra.structures.volumes as fitted to the compounds among the AFLOW
prototypes of pymatgen, without hydrogen and without those that are bundled.
"""

import argparse

import numpy as np
import pandas as pd
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.core import Structure
from pymatgen.core.structure_prediction.volume_predictor import DLSVolumePredictor

from dft2spectra.structures import volumes
from dft2spectra.structures.canonical import reduced_formula
from dft2spectra.structures.files import read_file
from dft2spectra.structures.listing import list_files
from dft2spectra.structures.raw import RawStructure, Rejected

MOST_ATOMS = 60
OUTLIER = 0.1  # of ln V, beyond which a compound counts less in the fit (Huber)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--output", required=True)
    options = options.parse_args()
    bundled = [read_file(path)[0] for path in list_files({"path": "data/structures"})]
    known = {reduced_formula(raw.symbols) for raw in bundled}
    prototypes = [raw for raw in aflow() if reduced_formula(raw.symbols) not in known]
    train, test = table(prototypes), table(bundled)
    constants = fit(train)
    print(f"fitted to {len(train)} compounds: c, w, p =", np.round(constants, 3))

    rows = []
    for name, columns in {
        "volumes of the elements (Zen)": test["zen"],
        "pymatgen DLSVolumePredictor": test["dls"],
        "dft2spectra": test["bonds"] * np.exp(design(test) @ in_use()),
    }.items():
        error = 100 * (columns / test["measured"] - 1)
        low, high = np.percentile(error, [5, 95])
        rows.append(
            {
                "predictor": name,
                "compounds": len(error),
                "median_error_percent": np.median(error),
                "mean_error_percent": np.mean(error),
                "median_absolute_error_percent": np.median(abs(error)),
                "mean_absolute_error_percent": np.mean(abs(error)),
                "percentile_5_percent": low,
                "percentile_95_percent": high,
                "largest_absolute_error_percent": abs(error).max(),
            }
        )
    result = pd.DataFrame(rows)
    result.to_csv(options.output, index=False, float_format="%.1f")
    print(result.T.to_string(float_format=lambda value: f"{value:.1f}"))


def aflow() -> list[RawStructure]:
    """Compounds without hydrogen among the prototypes, whose volume is that of the real crystal."""
    found = []
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        structure = entry["snl"].structure
        symbols = [site.specie.symbol for site in structure]
        if len(symbols) <= MOST_ATOMS and len(set(symbols)) > 1 and "H" not in symbols:
            found.append(RawStructure(structure.lattice.matrix, symbols, structure.frac_coords))
    return found


def table(crystals: list[RawStructure]) -> pd.DataFrame:
    """Measured and predicted volumes of the cells (Å³), and the coordination."""
    rows = []
    for raw in crystals:
        try:
            bonds, coordination = volumes.bond_volume(raw.cell, raw.symbols, raw.scaled_positions)
            zen = sum(map(volumes.element_volume, raw.symbols))
        except Rejected:
            continue
        structure = Structure(raw.cell, raw.symbols, raw.scaled_positions)
        measured = structure.volume
        structure.scale_lattice(zen)
        dls = DLSVolumePredictor(min_scaling=None, max_scaling=None).predict(structure)
        rows.append((measured, zen, dls, bonds, coordination))
    return pd.DataFrame(rows, columns=["measured", "zen", "dls", "bonds", "coordination"])


def design(data: pd.DataFrame) -> np.ndarray:
    """Columns of ln(V / V_DLS) = c + w ln(V_Zen / V_DLS) + p ln n."""
    ratio = np.log(data["zen"] / data["bonds"])
    return np.column_stack([np.ones(len(data)), ratio, np.log(data["coordination"])])


def in_use() -> np.ndarray:
    return np.array([volumes.CONSTANT, volumes.ZEN_WEIGHT, volumes.COORDINATION_POWER])


def fit(data: pd.DataFrame) -> np.ndarray:
    """c, w, p of least weight to outliers."""
    matrix, target = design(data), np.log(data["measured"] / data["bonds"]).to_numpy()
    weight = np.ones(len(target))
    for _ in range(100):
        root = np.sqrt(weight)
        constants = np.linalg.lstsq(matrix * root[:, None], target * root, rcond=None)[0]
        weight = np.minimum(1.0, OUTLIER / np.abs(target - matrix @ constants).clip(1e-9))
    return constants


if __name__ == "__main__":
    main()
