"""Molecules made of springs and point charges: ASE calculators with known answers, for tests."""

import time

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

# The dynamics section of a configuration.
SECTION = {
    "temperature_k": 300,
    "timestep_fs": 0.5,
    "friction_per_ps": 10,
    "equilibration_ps": 1,
    "spacing_ps": 0.25,
    "trajectories": 4,
    "trajectory_ps": 5,
    "rotation": False,
    "max_energy_change_mev_per_atom": 20,
    "stride": 10,
    "chunk_steps": 100,
    "seed": 0,
}

WATER_BOND_ANG = 0.96
WATER_HH_ANG = 1.52


def hydrogen_fluoride(stretch_ang: float = 0.0) -> Atoms:
    """HF along x around its centre of mass, stretched by ``stretch_ang``; at rest."""
    atoms = Atoms("HF", positions=[(0, 0, 0), (0.92 + stretch_ang, 0, 0)])
    atoms.positions -= atoms.get_center_of_mass()
    return atoms


def water() -> Atoms:
    """Spring water at its equilibrium; at rest."""
    x = WATER_HH_ANG / 2
    y = np.sqrt(WATER_BOND_ANG**2 - x**2)
    atoms = Atoms("OHH", positions=[(0, 0, 0), (x, y, 0), (-x, y, 0)])
    atoms.positions -= atoms.get_center_of_mass()
    return atoms


class Springs(Calculator):
    """Pairs of atoms on harmonic (``width`` 0) or Morse springs, and point charges.

    Each spring is (i, j, length Å, force constant eV/Å²); a Morse spring of inverse width a (Å⁻¹)
    has the depth k/2a², so that its force constant is the same.
    """

    implemented_properties = ("energy", "forces", "dipole")
    default_parameters = {"springs": [], "charges": [], "width": 0.0}  # noqa: RUF012 (ASE's way)
    delay_s = 0.0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        time.sleep(self.delay_s)
        r = self.atoms.positions
        energy, forces = 0.0, np.zeros_like(r)
        a = self.parameters["width"]
        for i, j, length, k in self.parameters["springs"]:
            d = r[j] - r[i]
            distance = np.sqrt(d @ d)
            x = distance - length
            if a == 0.0:
                energy, slope = energy + 0.5 * k * x**2, k * x
            else:
                e = np.exp(-a * x)
                energy, slope = energy + k / (2 * a**2) * (1 - e) ** 2, k / a * (1 - e) * e
            forces[i] += slope * d / distance
            forces[j] -= slope * d / distance
        dipole = np.asarray(self.parameters["charges"]) @ r
        self.results = {"energy": energy, "forces": forces, "dipole": dipole}


class RememberingSprings(Springs):
    """Springs whose force lags: each step sees a little of the bond lengths of the one before.

    Not a physical force; it stands for a calculator whose result depends on its history.
    """

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.memory = np.zeros(3)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["dipole"] = self.results["dipole"] + 0.1 * self.memory
        self.results["forces"] = self.results["forces"] * (1 + 1e-3 * self.memory[0])
        self.results["diagnostics"] = {"memory": self.memory[0]}
        if self.results["energy"] > 0.01:
            self.results["frames"] = ["high energy"]
        self.memory = 0.9 * self.memory + 0.1 * self.results["dipole"]

    def state(self):
        return {"memory": self.memory}

    def restore(self, state):
        self.memory = state["memory"]


def spring_hydrogen_fluoride(k: float = 60.0, width: float = 0.0) -> Springs:
    """HF: with 60 eV/Å² at 4128 cm⁻¹; charges ±0.4 e."""
    return Springs(springs=[(0, 1, 0.92, k)], charges=[0.4, -0.4], width=width)


def spring_water(kind: type[Springs] = Springs) -> Springs:
    """Water with springs along O–H and H–H: at 1060, 3738 and 3959 cm⁻¹."""
    springs = [
        (0, 1, WATER_BOND_ANG, 48.0),
        (0, 2, WATER_BOND_ANG, 48.0),
        (1, 2, WATER_HH_ANG, 6.0),
    ]
    return kind(springs=springs, charges=[-0.66, 0.33, 0.33])
