"""Total energy along a trajectory on the density model and along one on converged DFT.

    python benchmarks/energy_conservation.py results/demo/molecules/water \
        --output docs/energy-conservation.csv

Same start, same grid, same time step; PySCF starts every cycle from the density matrix of the step
before and leaves the motion of the grid out of its forces, as is its default.
"""

import argparse
import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.units import fs

from dft2spectra.density.calculator import DensityCalculator
from dft2spectra.density.kinds import read_model
from dft2spectra.dynamics.energy import energy_drift
from dft2spectra.molecules.pyscf_input import build_mean_field, build_molecule
from dft2spectra.records import read_json
from dft2spectra.units import BOHR_ANG, HARTREE_EV


class Converged(Calculator):
    """Energy and forces of a self-consistent calculation started from the step before."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (ASE's way)

    def __init__(self, molecule, settings):
        super().__init__()
        self.molecule, self.settings, self.dm = molecule, settings, None

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        mol = build_molecule(
            self.molecule["symbols"], atoms.positions, self.molecule["charge"], self.settings
        )
        mean_field = build_mean_field(mol, self.settings)
        energy = mean_field.kernel(self.dm)
        self.dm = mean_field.make_rdm1()
        forces = -mean_field.nuc_grad_method().kernel() * HARTREE_EV / BOHR_ANG
        self.results = {"energy": energy * HARTREE_EV, "forces": forces}


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("folder", type=Path, help="with model.npz and equilibrium.json")
    options.add_argument("--output", required=True)
    options.add_argument("--picoseconds", type=float, default=2.0)
    options.add_argument("--timestep", type=float, default=0.5, help="fs")
    options.add_argument("--temperature", type=float, default=600.0, help="K, at the minimum")
    options = options.parse_args()
    model = read_model(options.folder / "model.npz")
    molecule = read_json(options.folder / "equilibrium.json")
    settings = model.card["pyscf"]
    ways = {
        "density model": DensityCalculator(model, molecule, settings),
        "PySCF, converged": Converged(molecule, settings),
    }
    rows = []
    for way, calculator in ways.items():
        time_fs, energy_ev = run(molecule, calculator, options)
        drift = energy_drift(time_fs, energy_ev, len(molecule["symbols"]))
        rows.append(
            {
                "forces": way,
                "timestep_fs": options.timestep,
                "length_ps": options.picoseconds,
                **drift,
            }
        )
        pd.DataFrame(rows).to_csv(options.output, index=False, float_format="%.4g")
        print(pd.DataFrame(rows).to_string(index=False), flush=True)


def run(molecule, calculator, options):
    """Times (fs) and total energies (eV) of a constant-energy run."""
    atoms = Atoms(molecule["symbols"], molecule["positions_ang"], calculator=calculator)
    rng = np.random.default_rng(1)
    thermalize_momenta(atoms, options.temperature, rng=rng)
    Stationary(atoms)
    ZeroRotation(atoms)
    steps = round(1000 * options.picoseconds / options.timestep)
    energies = []
    dynamics = VelocityVerlet(atoms, timestep=options.timestep * fs)
    for _ in dynamics.irun(steps):
        energies.append(atoms.get_total_energy())
    return np.arange(len(energies)) * options.timestep, np.array(energies)


if __name__ == "__main__":
    main()
