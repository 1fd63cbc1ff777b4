"""Time of one step of the dynamics, energy, forces and dipole, against self-consistent ones.

    python benchmarks/one_shot_step.py results/demo/molecules/water/model.npz \
        results/demo/molecules/water/labels/test-000.npz --output docs/step-times-water.csv

One core, one run, the same grid for all, processor time. Each geometry is followed by one of half a
femtosecond later; every self-consistent cycle starts from the density matrix of the first. Beside
PySCF stands a cycle built from the kernels of the one-shot step, which shows what comes from
skipping the cycles and what from the kernels.
"""

import argparse
import cProfile
import os
import pstats
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
from pyscf import lib

from dft2spectra.density.harris_foulkes import Step
from dft2spectra.density.kinds import read_model
from dft2spectra.density.one_shot import OneShot
from dft2spectra.density.orbitals import evaluate
from dft2spectra.molecules.labels import read_labels
from dft2spectra.molecules.pyscf_input import build_mean_field, build_molecule
from dft2spectra.units import AMU_ME, BOHR_ANG, BOLTZMANN_HA_K

TIMESTEP_AU = 0.5 * 41.341373336
TEMPERATURE_K = 300.0
GEOMETRIES = 2
# Functions of the one-shot step, by what they are for.
PARTS = {
    "density model, value": ["evaluate_blocks", "_field_values"],
    "density model, gradient": ["gradient_blocks", "_field_derivatives"],
    "basis functions on the grid": ["_evaluate", "_density_force"],
    "electrostatics of the difference": ["_project", "_potential", "_potential_gradient"],
    "integrals": ["getints2c", "getints3c", "getints"],
    "exchange and correlation": ["eval_xc_eff"],
    "grid and weights": ["_partition", "_weight_gradient"],
    "free atoms on the grid": ["_density", "_density_gradient"],
}


class SelfConsistent(Step):
    """A step whose input density is that of a density matrix; for the cycle on the same kernels."""

    def difference(self):
        values = [
            evaluate(self.mol, self.grid.points[part], 1) if self.first else self.kept[number]
            for number, part in enumerate(self.chunks)
        ]
        rho = np.empty((4, len(self.grid.weights)))
        for part, functions in zip(self.chunks, values, strict=True):
            x = self.dm @ functions[0].T
            rho[0, part] = np.einsum("ip,ip->p", x, functions[0].T)
            for axis in range(1, 4):
                rho[axis, part] = 2 * np.einsum("ip,ip->p", x, functions[axis].T)
        if self.first:
            self.kept.extend(values)
            self.first = False
        return rho[0] - self.n_at, rho[1:].T - self.slope_at

    def converge(self, tolerance):
        """Density mixing by DIIS on density matrices; the number of cycles."""
        diis, energy, cycles = lib.diis.DIIS(), np.inf, 0
        while True:
            self.predict()
            result = self.run(False)
            cycles += 1
            if abs(result.energy - energy) < tolerance:
                return cycles
            energy = result.energy
            self.dm = diis.update(result.density_matrix, xerr=result.density_matrix - self.dm)


class NoModel:
    """Stands in for the model of a self-consistent step, whose density does not respond."""

    card: dict = {}  # noqa: RUF012
    pauli = None

    def gradient(self, symbols, positions, *rest):
        return np.zeros_like(positions)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("model")
    options.add_argument("labels", nargs="+")
    options.add_argument("--output", required=True)
    options = options.parse_args()
    model = read_model(options.model)
    settings = model.card["pyscf"]
    labels = [label for label in read_labels(options.labels) if label["split"] == "test"]
    rows = [row for label in labels[:GEOMETRIES] for row in compare(model, settings, label)]
    table = pd.DataFrame(rows).groupby("what", sort=False).median().reset_index()
    one = float(table.loc[table.what == "one-shot step", "seconds"].iloc[0])
    whole = ~table.what.str.startswith("  ")
    table["ratio_to_one_shot"] = np.where(whole, table.seconds / one, np.nan)
    table.to_csv(options.output, index=False, float_format="%.4g")
    print(table.to_string(index=False))


def compare(model, settings, label):
    """Processor times of the step after one geometry, by every way."""
    rng = np.random.default_rng(0)
    first = build_molecule(label["symbols"], label["positions_ang"], label["charge"], settings)
    x = first.atom_coords()
    masses = first.atom_mass_list() * AMU_ME
    speed = rng.standard_normal(x.shape) * np.sqrt(BOLTZMANN_HA_K * TEMPERATURE_K / masses)[:, None]
    later = x + speed * TIMESTEP_AU
    start = build_mean_field(first, settings)
    start.kernel()
    dm = start.make_rdm1()

    shot = OneShot(first, model, settings)
    shot.step(x)  # compiles and fills buffers
    profile, began = cProfile.Profile(), time.process_time()
    shot.step(later)
    seconds = time.process_time() - began
    rows = [{"what": "one-shot step", "seconds": seconds, "cycles": 1}]
    profile.enable()
    shot.step(later)
    profile.disable()
    spent = {}
    for (_, _, name), (_, _, own, total, _) in pstats.Stats(profile).stats.items():
        spent[name] = spent.get(name, 0.0) + (total if name == "eval_xc_eff" else own)
    scale = seconds / pstats.Stats(profile).total_tt
    for part, names in PARTS.items():
        rows.append({"what": f"  {part}", "seconds": scale * sum(spent.get(n, 0) for n in names)})
    known = sum(row["seconds"] for row in rows[1:])
    rows.append({"what": "  linear algebra and the rest", "seconds": seconds - known})

    silent = NoModel()
    for tolerance in (1e-6, 1e-9):
        began = time.process_time()
        turned = OneShot(first, silent, settings, laboratory_axes=True)
        mol = turned.mol.set_geom_(later, unit="Bohr", inplace=False)
        cycle = SelfConsistent.__new__(SelfConsistent)
        cycle.first, cycle.dm = True, dm
        cycle.__init__(turned, mol, later)
        cycles = cycle.converge(tolerance)
        cycle.run(True)
        seconds = time.process_time() - began
        rows.append(
            {"what": f"own kernels, SCF to {tolerance:g}", "seconds": seconds, "cycles": cycles}
        )

        began = time.process_time()
        mol = build_molecule(label["symbols"], later * BOHR_ANG, label["charge"], settings)
        mean_field = build_mean_field(mol, {**settings, "conv_tol": tolerance})
        mean_field.kernel(dm)
        middle = time.process_time()
        mean_field.nuc_grad_method().kernel()
        end = time.process_time()
        name = f"PySCF, SCF to {tolerance:g} and gradient"
        rows.append({"what": name, "seconds": end - began, "cycles": mean_field.cycles})
        rows.append({"what": f"  gradient after {tolerance:g}", "seconds": end - middle})
    return rows


if __name__ == "__main__":
    main()
