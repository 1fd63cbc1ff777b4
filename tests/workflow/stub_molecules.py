"""Stands for density-functional theory of molecules: water on springs, with point charges.

Each function has the name and the parameters of what it stands for, and writes or returns what is
read of it later. ``STUB_STOPPED`` holds the numbers of trajectories that are stopped early,
``STUB_STEP_SECONDS`` how long each of their steps takes.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from ase.calculators.calculator import all_changes
from ase.data import atomic_masses, atomic_numbers
from ase.vibrations import VibrationsData
from spring_molecules import Springs, spring_water, water

from dft2spectra.dynamics.stops import TrajectoryStopped
from dft2spectra.figures import new_figure, save_figure
from dft2spectra.records import read_json, write_json, write_table
from dft2spectra.units import KM_MOL_PER_E2_AMU

DISPLACEMENT_ANG = 1e-3
STOPPED_AFTER = 50  # steps


def relax(molecule, settings, record_json, progress=print):
    """The minimum of the springs."""
    progress("stub")
    write_json(record_json, {"steps": []})
    return {**molecule, "positions_ang": water().positions.tolist()}


def harmonic_reference(molecule, settings, progress=print):
    """Modes of the springs, by finite differences."""
    atoms = water()
    atoms.calc = spring_water()
    hessian = np.zeros((9, 9))
    for column in range(9):
        for sign in (1.0, -1.0):
            moved = atoms.copy()
            moved.calc = spring_water()
            moved.positions.flat[column] += sign * DISPLACEMENT_ANG
            hessian[column] -= sign * moved.get_forces().ravel() / (2 * DISPLACEMENT_ANG)
    vibrations = VibrationsData.from_2d(atoms, 0.5 * (hessian + hessian.T))
    masses = np.array([atomic_masses[atomic_numbers[s]] for s in molecule["symbols"]])
    modes = vibrations.get_modes(all_atoms=True)[6:] * np.sqrt(masses)[:, None]
    modes /= np.linalg.norm(modes, axis=(1, 2))[:, None, None]
    charges = np.array(spring_water().parameters["charges"])
    slopes = np.einsum("mai,a->mi", modes / np.sqrt(masses)[:, None], charges)
    return {
        "name": molecule["name"],
        "symbols": molecule["symbols"],
        "positions_ang": atoms.positions.tolist(),
        "masses_amu": masses.tolist(),
        "frequencies_cm1": vibrations.get_frequencies()[6:].real.tolist(),
        "intensities_km_mol": (KM_MOL_PER_E2_AMU * (slopes**2).sum(axis=1)).tolist(),
        "modes": modes.tolist(),
    }


def label_geometry(molecule, positions_ang, settings):
    """Energy and forces of the springs beside a density matrix of one function."""
    atoms = water()
    atoms.positions = positions_ang
    atoms.calc = spring_water()
    return {
        "density_matrix": np.full((1, 1), 2.0),
        "energy_ha": atoms.get_potential_energy(),
        "forces_ha_per_bohr": atoms.get_forces(),
        "dipole_debye": atoms.get_dipole_moment(),
        **dict.fromkeys(("homo_ha", "lumo_ha", "gap_ev"), 1.0),
        "cycles": 1,
        "seconds": 0.0,
        "status": "converged",
        "reason": "",
    }


def fit_from_files(label_paths, settings, pyscf_settings, model_path, progress=print):
    """A model that says which labels it was made from."""
    frames = []
    for path in label_paths:
        with np.load(path) as labels:
            frames += labels["frame"].tolist()
    np.savez(model_path, frames=frames)
    write_json(Path(model_path).with_name("card.json"), {"frames": frames})


def evaluate_density_model(model_path, label_paths, pyscf_settings, out_json, out_table, *pngs):
    """Which frames the model knows and which it is judged by."""
    with np.load(model_path) as model:
        known = model["frames"].tolist()
    frames = [str(frame) for path in label_paths for frame in np.load(path)["frame"]]
    write_json(out_json, {"known": known, "judged_by": frames})
    write_table(out_table, pd.DataFrame({"frame": frames}))
    for png in pngs:
        save_figure(new_figure(2.0, 1.5)[0], png)


class DensityCalculator(Springs):
    """The springs, until a trajectory is to be stopped."""

    calls = 0

    @classmethod
    def from_files(cls, model_path, molecule_json, pyscf_settings, guards, harmonic, dynamics):
        """Springs of water, whatever the model."""
        assert Path(model_path).exists()
        assert harmonic["frequencies_cm1"]
        assert read_json(molecule_json)["symbols"] == ["O", "H", "H"]
        return spring_water(cls)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """As the springs do."""
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        # Snakemake puts the job into the script that it runs.
        number = sys.modules["__main__"].snakemake.wildcards.get("number")
        if number:
            time.sleep(float(os.environ.get("STUB_STEP_SECONDS", "0")))
        if number in os.environ.get("STUB_STOPPED", "").split() and self.calls > STOPPED_AFTER:
            raise TrajectoryStopped("the stub was told to stop")
