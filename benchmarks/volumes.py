"""Fit of the volume predictor and its errors: docs/volumes.csv and docs/volumes-by-type.csv.

    python benchmarks/volumes.py --output docs/volumes.csv --types docs/volumes-by-type.csv

The constants of dft2spectra.structures.volumes are fitted to the bundled compounds with measured
lattices, without the IONIC ones, and with little weight to the compounds among the AFLOW prototypes
of pymatgen (without hydrogen, without those that are bundled), which keep them sensible for other
chemistry. Errors of the predictor in use are out of sample: for every compound the constants are
fitted again without all crystals of its structure type, AFLOW's among them.
"""

import argparse

import numpy as np
import pandas as pd
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.core import Structure
from pymatgen.core.structure_prediction.volume_predictor import DLSVolumePredictor

from dft2spectra.structures import volumes
from dft2spectra.structures.canonical import canonical_form, reduced_formula
from dft2spectra.structures.files import read_file
from dft2spectra.structures.listing import list_files
from dft2spectra.structures.raw import RawStructure, Rejected

MOST_ATOMS = 60
AFLOW_WEIGHT = 0.03  # of a compound of the library; that of a bundled one is 1
OUTLIER = 0.1  # of ln V, beyond which a compound counts less in the fit (Huber)

# Left out of the fit before it was made: oxides, halides, a carbonate and a hydride, and sulphides
# whose Fe has the moment of a free ion. Named by reduced formula and space group.
IONIC = {"FeO", "FeF2", "FeCl2", "FeCO3", "Fe2O3", "Fe3O4", "TiFeO3", "SrFeO2", "Mg2FeH6"}
IONIC |= {"FeCuS2", "FeS 190"}

# c, w and p before the fractions of sp elements and of early transition metals were terms,
# fitted to the AFLOW compounds alone.
THREE_CONSTANTS = np.array([-0.376, 0.317, 0.201])


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--output", required=True, help="table of predictors")
    options.add_argument("--types", required=True, help="table of structure types")
    options = options.parse_args()
    bundled, library = compounds()
    data = pd.concat([bundled, library], ignore_index=True)
    print("c, w, p, s, e =", np.round(fit(data), 3), "in use:", in_use())

    bundled["left_out"] = bundled["bonds"] * np.exp(left_out(data, bundled))
    bundled["in_use"] = bundled["bonds"] * np.exp(design(bundled) @ in_use())
    bundled["three"] = bundled["bonds"] * np.exp(design(bundled)[:, :3] @ THREE_CONSTANTS)
    predictors = {
        "volumes of the elements (Zen)": "zen",
        "pymatgen DLSVolumePredictor": "dls",
        "three constants": "three",
        "five constants, as fitted": "in_use",
        "five constants, type left out": "left_out",
    }
    rows = []
    for ionic, some in bundled.groupby("ionic"):
        for name, column in predictors.items():
            row = {"compounds": "ionic" if ionic else "metallic", "predictor": name}
            rows.append(row | summary(percent(some, column)))
    table = pd.DataFrame(rows)
    table.to_csv(options.output, index=False, float_format="%.1f")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.1f}"))

    rows = []
    metallic = bundled[~bundled["ionic"]]
    for _, some in metallic.groupby("structure_type"):
        row = {"prototype": some["prototype"].iloc[0], "compounds": len(some)}
        for name, column in (("three", "three"), ("left_out", "left_out")):
            row[f"{name}_mean_percent"] = percent(some, column).mean()
            row[f"{name}_largest_percent"] = percent(some, column).abs().max()
        rows.append(row | {"formulas": " ".join(some["formula"])})
    table = pd.DataFrame(rows).sort_values("prototype")
    table.to_csv(options.types, index=False, float_format="%.1f")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.1f}"))


def compounds() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Bundled compounds, and those of the AFLOW library that are not bundled."""
    bundled = [read_file(path)[0] for path in list_files({"path": "data/structures"})]
    known = {reduced_formula(raw.symbols) for raw in bundled}
    library = [raw for raw in aflow() if reduced_formula(raw.symbols) not in known]
    ours, theirs = table(bundled), table(library)
    named = ours["formula"].isin(IONIC) | (ours["formula"] + " " + ours["group"]).isin(IONIC)
    ours["ionic"], theirs["ionic"] = named, False
    ours["weight"], theirs["weight"] = np.where(named, 0.0, 1.0), AFLOW_WEIGHT
    return ours, theirs


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
    """Measured and predicted volumes of the cells (Å³), the terms, and the structure type."""
    rows = []
    for raw in crystals:
        try:
            bonds, coordination = volumes.bond_volume(raw.cell, raw.symbols, raw.scaled_positions)
            zen = sum(map(volumes.element_volume, raw.symbols))
            canonical = canonical_form(raw)
        except Rejected:
            continue
        structure = Structure(raw.cell, raw.symbols, raw.scaled_positions)
        measured = structure.volume
        structure.scale_lattice(zen)
        rows.append(
            {
                "formula": reduced_formula(raw.symbols),
                "prototype": raw.prototype or f"as {reduced_formula(raw.symbols)}",
                "structure_type": canonical["parent"],
                "group": canonical["parent"].split("-")[0],
                "measured": measured,
                "zen": zen,
                "dls": DLSVolumePredictor(min_scaling=None, max_scaling=None).predict(structure),
                "bonds": bonds,
                "coordination": coordination,
                "sp": volumes.fraction(raw.symbols, volumes.SP_ELEMENTS),
                "early": volumes.fraction(raw.symbols, volumes.EARLY_TRANSITION_METALS),
            }
        )
    return pd.DataFrame(rows)


def design(data: pd.DataFrame) -> np.ndarray:
    """Columns of ln(V / V_DLS) = c + w ln(V_Zen / V_DLS) + p ln n + s x_sp + e x_early."""
    ratio = np.log(data["zen"] / data["bonds"])
    terms = [np.ones(len(data)), ratio, np.log(data["coordination"]), data["sp"], data["early"]]
    return np.column_stack(terms)


def in_use() -> np.ndarray:
    return np.array(
        [
            volumes.CONSTANT,
            volumes.ZEN_WEIGHT,
            volumes.COORDINATION_POWER,
            volumes.SP_TERM,
            volumes.EARLY_TERM,
        ]
    )


def fit(data: pd.DataFrame) -> np.ndarray:
    """c, w, p, s and e of least weight to outliers."""
    data = data[data["weight"] > 0]
    matrix, target = design(data), np.log(data["measured"] / data["bonds"]).to_numpy()
    given = data["weight"].to_numpy()
    weight = given
    for _ in range(100):
        root = np.sqrt(weight)
        constants = np.linalg.lstsq(matrix * root[:, None], target * root, rcond=None)[0]
        weight = given * np.minimum(1.0, OUTLIER / np.abs(target - matrix @ constants).clip(1e-9))
    return constants


def left_out(data: pd.DataFrame, bundled: pd.DataFrame) -> np.ndarray:
    """ln(V / V_DLS) of every bundled compound by a fit that saw nothing of its structure type."""
    found = np.empty(len(bundled))
    for structure_type in bundled["structure_type"].unique():
        constants = fit(data[data["structure_type"] != structure_type])
        tested = (bundled["structure_type"] == structure_type).to_numpy()
        found[tested] = design(bundled)[tested] @ constants
    return found


def percent(data: pd.DataFrame, column: str) -> pd.Series:
    """Predicted minus measured volumes in percent of the measured ones."""
    return 100 * (data[column] / data["measured"] - 1)


def summary(error: pd.Series) -> dict[str, float]:
    low, high = np.percentile(error, [5, 95])
    return {
        "number": len(error),
        "median_error_percent": error.median(),
        "mean_error_percent": error.mean(),
        "standard_deviation_percent": error.std(),
        "mean_absolute_error_percent": error.abs().mean(),
        "percentile_5_percent": low,
        "percentile_95_percent": high,
        "largest_absolute_error_percent": error.abs().max(),
    }


if __name__ == "__main__":
    main()
