"""Labelled geometries of water in a minimal basis, computed once: food of density models."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dft2spectra.molecules.labels import label_batch, label_geometry
from dft2spectra.molecules.pyscf_input import complete_settings, settings_hash

PYSCF = complete_settings({"xc": "LDA,VWN", "basis": "sto-3g", "grid_level": 1})
SECTION: dict[str, Any] = {
    "target": "difference",
    "radial_map": "logarithmic",
    "one_body": {"n_max": 12, "cutoff_ang": 5.0, "map_scale_bohr": 0.2},
    "two_body": {"n_max": 4, "l_max": 3, "cutoff_ang": 4.0, "map_scale_bohr": 0.4},
    "three_body": {"n_max": 2, "l_max": 2, "l_total": 4, "channels": 4},
    "electrostatic_weight": 10.0,
    "points_per_geometry": 500,
    "committee": 4,
    "ridge": [1e-5, 1e-8],
    "seed": 0,
}
SYMBOLS = ["O", "H", "H"]
WATER_ANG = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.49], [0.0, -0.76, -0.49]])
COUNTS = {"train": 10, "validation": 4, "test": 4}
MOLECULE = {"name": "water", "symbols": SYMBOLS, "charge": 0}


def frames(split: str) -> list[dict[str, Any]]:
    """Displaced water molecules at two nominal temperatures that take turns."""
    stream = list(COUNTS).index(split)
    found = []
    for number in range(COUNTS[split]):
        random = np.random.default_rng([stream, number])
        found.append(
            {
                "frame": f"{split}-{number:04d}",
                "split": split,
                "temperature_k": (300.0, 600.0)[number % 2],
                "positions_ang": WATER_ANG + random.normal(0.0, (0.03, 0.05)[number % 2], (3, 3)),
            }
        )
    return found


@cache
def labels(split: str) -> tuple[dict[str, Any], ...]:
    """Converged labels of a split, as they are read from a file."""
    common = {**MOLECULE, "settings_hash": settings_hash(PYSCF), "method_version": 1}
    return tuple(
        {**common, **frame, **label_geometry(MOLECULE, frame["positions_ang"], PYSCF)}
        for frame in frames(split)
    )


def write_label_file(path: Path, *splits: str) -> Path:
    """A batch file with all geometries of some splits."""
    geometries = [frame for split in splits for frame in frames(split)]
    label_batch(MOLECULE, geometries, PYSCF, path, progress=lambda line: None)
    return path
