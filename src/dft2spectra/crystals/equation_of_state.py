"""``python -m dft2spectra.crystals.equation_of_state``: volume of least energy of one crystal.

Energies of spin-polarised DFT with a low cutoff and few k-points on a row of volumes around the
predicted one, as many as it takes to have the lowest inside, and a Birch–Murnaghan equation of
state (:mod:`ase.eos`) through the five around it. Shape and coordinates stay as they are.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dft2spectra.records import read_json, write_json

# Raised when the same crystal would get another volume.
METHOD_VERSION = 2

# FeAl with 400 eV and 3.5 Å instead: 0.13 % more volume, twice the time.
SETTINGS: dict[str, Any] = {
    "cutoff_ev": 300,
    "kpoint_density_ang": 2.5,
    "smearing_ev": 0.1,
    "eigensolver": "davidson",
    "max_iterations": 100,
    "convergence": {"energy_ev_per_electron": 1e-4, "density": 1e-3, "eigenstates": 1e-5},
    "hubbard_u_ev": {},
}
# Of the volume, from one energy to the next; the first five reach from -11 % to 12 %.
STEP = 0.06
MOST_ENERGIES = 12
# GPa; diamond, the stiffest solid, has 443.
BULK_MODULI_GPA = (1.0, 500.0)


class NoMinimum(ValueError):
    """Why there is no volume of least energy."""


def lowest_volume(energy: Callable[[float], float], start: float) -> dict[str, Any]:
    """Volume of least energy (Å³), bulk modulus (GPa), and the volumes and energies behind them.

    Parameters
    ----------
    energy
        Energy (eV) of the cell at a volume (Å³).
    start
        Volume to begin at.

    Raises
    ------
    NoMinimum
        The energy still falls after :data:`MOST_ENERGIES`, or the curve is none of a solid.
    """
    from ase.eos import EquationOfState
    from ase.units import GPa

    steps = {step: energy(start * (1 + STEP) ** step) for step in (0, 1, -1, 2, -2)}
    while True:
        lowest = min(steps, key=lambda step: steps[step])
        wanted = [step for step in range(lowest - 2, lowest + 3) if step not in steps]
        if not wanted:
            break
        if len(steps) + len(wanted) > MOST_ENERGIES:
            raise NoMinimum(
                f"the energy still falls at {(1 + STEP) ** lowest:.2f} times the predicted volume"
            )
        for step in wanted:
            steps[step] = energy(start * (1 + STEP) ** step)
    near = range(lowest - 2, lowest + 3)
    volumes = [start * (1 + STEP) ** step for step in near]
    try:
        volume, _, modulus = EquationOfState(
            volumes, [steps[step] for step in near], eos="birchmurnaghan"
        ).fit(warn=False)
    except (RuntimeError, ValueError, ArithmeticError) as error:
        raise NoMinimum(f"no equation of state goes through the energies ({error})") from None
    if not volumes[0] < volume < volumes[-1]:
        raise NoMinimum("the equation of state has its minimum outside the energies")
    if not BULK_MODULI_GPA[0] < modulus / GPa < BULK_MODULI_GPA[1]:
        raise NoMinimum(f"a bulk modulus of {modulus / GPa:.0f} GPa is that of no solid")
    found = sorted((start * (1 + STEP) ** step, value) for step, value in steps.items())
    return {
        "volume_ang3": float(volume),
        "bulk_modulus_gpa": float(modulus / GPa),
        "volumes_ang3": [float(one) for one, _ in found],
        "energies_ev": [float(one) for _, one in found],
    }


def relaxed_record(crystal: dict[str, Any], xc: str, log: str) -> dict[str, Any]:
    """Result of :func:`lowest_volume` with GPAW, or ``reason`` where there is none.

    Parameters
    ----------
    crystal
        ``cell_ang, symbols, scaled_positions`` and ``moments_mub``, the starting moments.
    xc
        Functional.
    log
        File for GPAW's own output.
    """
    from ase import Atoms
    from gpaw import GPAW, ConvergenceError

    from dft2spectra.crystals.gpaw_input import gpaw_parameters

    atoms = Atoms(
        crystal["symbols"],
        cell=crystal["cell_ang"],
        scaled_positions=crystal["scaled_positions"],
        pbc=True,
        magmoms=crystal["moments_mub"],
    )
    cell, predicted = np.array(atoms.cell), atoms.get_volume()
    # One mesh for all volumes: another number of k-points is a step in the energy.
    parameters = gpaw_parameters(atoms, {**SETTINGS, "xc": xc}, {})

    def energy(volume: float) -> float:
        atoms.set_cell(cell * np.cbrt(volume / predicted), scale_atoms=True)
        atoms.calc = GPAW(**parameters, txt=log)
        value = float(atoms.get_potential_energy())
        if not np.isfinite(value):
            raise NoMinimum(f"the energy at {volume:.2f} Å³ is {value}")
        return value

    try:
        return lowest_volume(energy, predicted)
    except NoMinimum as why:
        return {"reason": str(why)}
    except ConvergenceError:
        return {"reason": "the SCF cycle of a volume did not converge"}


def main() -> None:
    """Compute the crystal of one file and write the record."""
    parser = argparse.ArgumentParser(
        prog="python -m dft2spectra.crystals.equation_of_state", description=__doc__
    )
    parser.add_argument("crystal", type=Path, help="JSON file of the crystal")
    parser.add_argument("--xc", required=True, help="functional")
    parser.add_argument("--output", type=Path, required=True, help="record to write")
    arguments = parser.parse_args()
    crystal = read_json(arguments.crystal)
    record = relaxed_record(crystal, arguments.xc, str(arguments.crystal.with_suffix(".gpaw.txt")))
    write_json(arguments.output, json.loads(json.dumps(record)))


if __name__ == "__main__":
    main()
