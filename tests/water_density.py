"""A density model of water good enough to step on, trained in seconds with a minimal basis."""

from functools import cache

import numpy as np

from dft2spectra.density.model import DensityModel
from dft2spectra.density.training import fit_density_model
from dft2spectra.molecules.labels import label_geometry
from dft2spectra.molecules.pyscf_input import DEFAULT_AUXILIARY_BASIS, settings_hash

PYSCF = {
    "xc": "PBE",
    "basis": "sto-3g",
    "auxiliary_basis": DEFAULT_AUXILIARY_BASIS,
    "grid_level": 1,
}
WATER = {
    "name": "water",
    "formula": "H2O",
    "symbols": ["O", "H", "H"],
    "charge": 0,
    "spin": 0,
    "positions_ang": [[0.0, 0.0, 0.12], [0.0, 0.76, -0.50], [0.0, -0.76, -0.50]],
}
DENSITY_MODEL = {
    "target": "difference",
    "radial_map": "logarithmic",
    "one_body": {"n_max": 16, "cutoff_ang": 6.0, "map_scale_bohr": 0.3},
    "two_body": {"n_max": 4, "l_max": 4, "cutoff_ang": 5.0, "map_scale_bohr": 0.3},
    "three_body": {"n_max": 2, "l_max": 2, "l_total": 4, "channels": 4},
    "electrostatic_weight": 10.0,
    "points_per_geometry": 1500,
    "committee": 4,
    "ridge": [1e-9],
    "seed": 0,
}
FRAMES = {"train": 16, "validation": 4}


def water(seed: int, size_ang: float = 0.06) -> np.ndarray:
    """Positions in Å of water, every coordinate displaced by up to ``size_ang``."""
    random = np.random.default_rng(seed)
    return np.array(WATER["positions_ang"]) + random.uniform(-size_ang, size_ang, (3, 3))


@cache
def water_model() -> DensityModel:
    """Model fitted to displaced molecules, those of seeds 0 to 19 of :func:`water`."""
    splits = [split for split, count in FRAMES.items() for _ in range(count)]
    labels = [_label(number, split) for number, split in enumerate(splits)]
    return fit_density_model(labels, DENSITY_MODEL, PYSCF, progress=lambda line: None)


def _label(number: int, split: str) -> dict:
    positions = water(number)
    return {
        **label_geometry(WATER, positions, PYSCF),
        "frame": f"{split}-{number:04d}",
        "split": split,
        "temperature_k": 300.0,
        "positions_ang": positions,
        "name": WATER["name"],
        "symbols": WATER["symbols"],
        "charge": WATER["charge"],
        "settings_hash": settings_hash(PYSCF),
    }
