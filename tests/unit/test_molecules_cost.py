"""Cost of molecules: sizes by hand, the measured points, campaigns added up."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from dft2spectra.config import complete_config
from dft2spectra.crystals.plan import MOLECULE_RANGE
from dft2spectra.molecules.cost import (
    Size,
    estimate,
    label_seconds,
    memory_mb,
    modes_seconds,
    size_of,
    step_seconds,
)
from dft2spectra.molecules.sources import read_molecule

ROOT = Path(__file__).parents[2]
MEASURED = pd.read_csv(ROOT / "docs" / "molecule-cost.csv")
WATER = read_molecule({"name": "water"})


def test_size_by_hand():
    """def2-SVP: 3s2p1d on oxygen, 2s1p on hydrogen: 14 + 2·5 functions; STO-3G: 5 + 2·1."""
    size = size_of(WATER, {"xc": "PBE", "basis": "def2-svp", "grid_level": 1})
    assert (size.atoms, size.functions) == (3, 24)
    minimal = size_of(WATER, {"xc": "PBE", "basis": "sto-3g", "grid_level": 1})
    assert minimal == (3, 7, size.points)
    assert size_of(WATER, {"xc": "PBE", "basis": "sto-3g", "grid_level": 2}).points > size.points


@pytest.mark.parametrize(
    ("column", "predict"),
    [("label_s", label_seconds), ("step_s", step_seconds), ("modes_s", modes_seconds)],
)
def test_measured_molecules_are_within_the_stated_range(column, predict):
    rows = MEASURED[MEASURED[column].notna()]
    assert len(rows) >= 4
    for row in rows.itertuples():
        size = Size(row.atoms, row.functions, row.points)
        ratio = getattr(row, column) / predict(size)
        assert MOLECULE_RANGE[0] <= ratio <= MOLECULE_RANGE[1], (row.molecule, row.basis)


def test_memory_of_measured_molecules_is_enough():
    for row in MEASURED.itertuples():
        memory = memory_mb(Size(row.atoms, row.functions, row.points))
        assert row.memory_mb < memory < 2.6 * row.memory_mb, (row.molecule, row.basis)


def campaign(**changes):
    config = complete_config(yaml.safe_load((ROOT / "config.yaml").read_text("utf-8")))
    return config | {key: config[key] | section for key, section in changes.items()}


def test_campaign_of_water_by_hand():
    config = campaign(
        sampling={"train": 5, "validation": 2, "test": 3, "geometries_per_job": 3},
        dynamics={
            "timestep_fs": 0.5,
            "equilibration_ps": 1.0,
            "spacing_ps": 0.5,
            "trajectories": 4,
            "trajectory_ps": 5.0,
        },
    )
    size = size_of(WATER, config["pyscf"])
    rows = estimate([WATER, WATER], config)
    # Batches of 3 and 2, of 2 and of 3 geometries.
    assert rows["label_densities"]["jobs"] == 2 * 4
    labels = rows["label_densities"]
    assert labels["core_hours"] == pytest.approx(2 * 10 * label_seconds(size) / 3600)
    assert labels["longest_job_h"] == pytest.approx(3 * label_seconds(size) / 3600)
    assert labels["memory_mb"] == memory_mb(size)
    # 10,000 steps each; 6,000 with the thermostat.
    runs, start = rows["run_trajectory"], rows["equilibrate"]
    assert runs["jobs"] == 8
    assert runs["core_hours"] == pytest.approx(2 * 4 * 10_000 * step_seconds(size) / 3600)
    assert start["longest_job_h"] == pytest.approx(6_000 * step_seconds(size) / 3600)
    assert rows["fit_density_model"]["core_hours"] is None
    assert step_seconds(size, "coefficients") == pytest.approx(0.42 * step_seconds(size))


MOLECULES = {
    "water": "O",
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "caffeine": "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
}


def test_larger_molecules_cost_more():
    """Aspirin and caffeine: days of labels are seen before they are computed."""
    config = campaign()
    hours = {}
    for name, smiles in MOLECULES.items():
        rows = estimate([read_molecule({"name": name, "smiles": smiles})], config)
        hours[name] = sum(row["core_hours"] or 0.0 for row in rows.values())
    assert min(hours["aspirin"], hours["caffeine"]) > 10 * hours["water"]
