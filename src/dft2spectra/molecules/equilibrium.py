"""Equilibrium geometry of a molecule: quasi-Newton steps on Kohn–Sham forces, restartable.

A molecule that came as a SMILES starts from several conformers; the lowest is kept. Energies and
forces of all steps stand in one record, rewritten whole after each step. A job that starts again
walks the same path through the recorded steps without computing them, so a kill at any moment loses
the step in hand. A second job waits, and then walks the path of the first.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS
from numpy.typing import NDArray

from dft2spectra.locks import Lock, output_lock
from dft2spectra.molecules.conformers import start_geometries
from dft2spectra.molecules.isomers import (
    bonds_meant,
    bonds_of,
    changed_bonds,
    describe,
    isomer_of,
)
from dft2spectra.molecules.pyscf_input import (
    build_mean_field,
    build_molecule,
    complete_settings,
    settings_hash,
)
from dft2spectra.molecules.shape import is_straight, straightened
from dft2spectra.records import content_hash, read_json, write_json
from dft2spectra.units import BOHR_ANG, HARTREE_EV

METHOD_VERSION = 3  # covers conformers and isomers, too

FMAX_EV_ANG = 0.005
# Conformers are compared where no force is larger: 1 meV above their minima, where a force constant
# is 1 eV/Å². Those whose energies agree to twice as much are one.
ROUGH_FMAX_EV_ANG = 0.05
SAME_ENERGY_EV = 0.002
MAX_STEPS = 200
EXACTLY_STRAIGHT_ANG = 1e-6


def relax(
    molecule: Mapping[str, Any],
    settings: Mapping[str, Any],
    record_json: str | Path,
    fmax_ev_ang: float = FMAX_EV_ANG,
    max_steps: int = MAX_STEPS,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Molecule at the minimum nearest to where it starts, or at the lowest of its conformers.

    Parameters
    ----------
    molecule
        As :func:`dft2spectra.molecules.sources.read_molecule` returns it.
    settings
        The ``pyscf`` section; see :func:`dft2spectra.molecules.pyscf_input.build_molecule`.
    record_json
        Record of the steps. One of the same start and settings is continued, any other replaced.
    fmax_ev_ang
        Largest force on an atom at the end, eV/Å.
    max_steps
        Steps after which the search is given up.
    progress
        Receives one line per step.

    Returns
    -------
    dict
        The molecule with ``positions_ang`` at the minimum, those of a linear one exactly on a line,
        ``energy_ev``, ``max_force_ev_ang``, ``n_steps``, ``inchikey``, ``notes`` (sentences about
        bonds that changed and stereochemistry that was left open), of a SMILES ``isomer`` and, if
        several conformers were compared, the other ``conformers`` with what they stand above it;
        ``settings``, ``settings_hash`` and ``method_version``.

    Raises
    ------
    LockLostError
        This process was silent for so long that another one took the record over.
    ValueError
        A step or the search did not converge; the message says what to change.
    """
    if not fmax_ev_ang > 0.0:
        raise ValueError(f"fmax_ev_ang must be positive, not {fmax_ev_ang}")
    name = molecule["name"]
    starts = start_geometries(molecule)
    with output_lock(record_json, progress) as lock:
        theory = _RecordedKohnSham(molecule, settings, Path(record_json), lock, progress)
        conformers: list[_Conformer] = []
        if len(starts) > 1:
            progress(f"{name}: {len(starts)} conformers are compared")
            conformers = _compared(molecule, starts, theory, max_steps)
            starts = [conformers[0].positions_ang]
        theory.density = None
        atoms = Atoms(molecule["symbols"], positions=starts[0], calculator=theory)
        # The optimizer itself is silent: its log would show recorded steps as new.
        search = BFGS(atoms, logfile=None)
        converged = search.run(fmax=fmax_ev_ang, steps=max_steps)
        n_steps = search.nsteps
        if converged and _bent_by_a_little(atoms):
            # What soft bending modes left is taken away, and what that changed along the axis.
            atoms.positions = straightened(atoms.get_masses(), atoms.positions)
            search = BFGS(atoms, logfile=None)
            converged = search.run(fmax=fmax_ev_ang, steps=max_steps)
            n_steps += search.nsteps
            atoms.positions = straightened(atoms.get_masses(), atoms.positions)
        largest = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    if not converged:
        raise ValueError(
            f"{name}: a force of {largest:.4f} eV/Å is left after {n_steps} steps (wanted"
            f" {fmax_ev_ang}); raise pyscf.grid_level or lower pyscf.conv_tol, allow more steps, or"
            " start from a better geometry"
        )
    description = describe(molecule, atoms.positions)
    for note in description["notes"]:
        progress(f"{name}: {note}")
    if conformers:
        description["conformers"] = [
            {"isomer": each.isomer, "above_ev": each.energy_ev - conformers[0].energy_ev}
            for each in conformers[1:]
            if not each.changed
        ]
    return {
        **molecule,
        "positions_ang": atoms.positions.tolist(),
        "energy_ev": float(atoms.get_potential_energy()),
        "max_force_ev_ang": largest,
        "n_steps": n_steps,
        **description,
        "settings": complete_settings(settings),
        "settings_hash": settings_hash(settings),
        "method_version": METHOD_VERSION,
    }


class _Conformer(NamedTuple):
    """A conformer near its minimum; ``changed`` names the bonds that are not those of the SMILES.

    ``isomer`` is empty where bonds changed.
    """

    positions_ang: NDArray
    energy_ev: float
    changed: str
    isomer: str


def _compared(
    molecule: Mapping[str, Any],
    starts: list[NDArray],
    theory: "_RecordedKohnSham",
    max_steps: int,
) -> list[_Conformer]:
    """Distinct conformers, the lowest first; those with the bonds of the SMILES before others.

    What does not converge is no candidate, unless nothing else is left.
    """
    bonds = bonds_meant(molecule)
    found: list[_Conformer] = []
    for number, start in enumerate(starts, start=1):
        theory.density = None
        atoms = Atoms(molecule["symbols"], positions=start, calculator=theory)
        try:
            BFGS(atoms, logfile=None).run(fmax=ROUGH_FMAX_EV_ANG, steps=max_steps)
            energy = float(atoms.get_potential_energy())
        except ValueError as error:
            theory.progress(f"conformer {number} is left out: {error}")
            continue
        after = bonds_of(molecule["symbols"], atoms.positions)
        changed = changed_bonds(molecule["symbols"], bonds, after)
        isomer = "" if changed else isomer_of(molecule["smiles"], atoms.positions)
        found.append(_Conformer(atoms.positions.copy(), energy, changed, isomer))
    distinct: list[_Conformer] = []
    for each in sorted(found, key=lambda each: (bool(each.changed), each.energy_ev)):
        same = [one.energy_ev for one in distinct if one.isomer == each.isomer]
        if not same or each.energy_ev - max(same) > SAME_ENERGY_EV:
            distinct.append(each)
    return distinct or [_Conformer(starts[0], np.inf, "", "")]


def _bent_by_a_little(atoms: Atoms) -> bool:
    """Whether a molecule counts as linear and is not exactly so."""
    masses, positions = atoms.get_masses(), atoms.positions
    beside = np.abs(straightened(masses, positions) - positions).max()
    return bool(beside > EXACTLY_STRAIGHT_ANG and is_straight(masses, positions))


class _RecordedKohnSham(Calculator):
    """Density-fitted Kohn–Sham energies and forces that remembers every geometry in a file."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (the name is ASE's)

    def __init__(
        self,
        molecule: Mapping[str, Any],
        settings: Mapping[str, Any],
        path: Path,
        lock: Lock,
        progress: Callable[[str], None],
    ):
        super().__init__()
        self.molecule, self.settings = molecule, settings
        self.path, self.lock, self.progress = path, lock, progress
        self.density: NDArray | None = None
        start = [molecule[key] for key in ("symbols", "positions_ang", "charge")]
        self.identity = content_hash([start, settings_hash(settings)])
        self.steps: list[dict[str, Any]] = []
        if path.exists():
            record = read_json(path)
            if record["identity"] == self.identity:
                self.steps = record["steps"]

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        """Set ``results`` (eV, eV/Å) from the record, or compute and record them."""
        super().calculate(atoms, properties, system_changes)
        positions = np.asarray(self.atoms.get_positions()).tolist()  # type: ignore[union-attr]
        # Positions come back from JSON bit by bit, so equality is meant.
        step = next((s for s in self.steps if s["positions_ang"] == positions), None)
        if step is None:
            step = self._compute(positions)
            self.lock.check()
            self.steps.append(step)
            write_json(self.path, {"identity": self.identity, "steps": self.steps})
        self.results = {"energy": step["energy_ev"], "forces": np.array(step["forces_ev_ang"])}

    def _compute(self, positions_ang: list[list[float]]) -> dict[str, Any]:
        name, symbols = self.molecule["name"], self.molecule["symbols"]
        built = build_molecule(symbols, positions_ang, self.molecule["charge"], self.settings)
        mean_field = build_mean_field(built, self.settings)
        energy = mean_field.kernel(dm0=self.density)
        if not mean_field.converged:
            raise ValueError(
                f"{name}: step {len(self.steps)} not converged in {mean_field.max_cycle} cycles;"
                " raise pyscf.max_cycles, or start from a better geometry"
            )
        # The next geometry is close: its cycles start here.
        self.density = mean_field.make_rdm1()
        gradients = mean_field.nuc_grad_method()
        # Without the moving grid, forces are not the gradient of the energy (0.05 eV/Å at coarse
        # grids), and a search below that runs in circles.
        gradients.grid_response = True
        forces = -gradients.kernel() * HARTREE_EV / BOHR_ANG
        self.progress(
            f"{name}: step {len(self.steps)}, energy {energy * HARTREE_EV:.6f} eV, largest force"
            f" {np.linalg.norm(forces, axis=1).max():.4f} eV/Å, {mean_field.cycles} cycles"
        )
        return {
            "positions_ang": positions_ang,
            "energy_ev": float(energy) * HARTREE_EV,
            "forces_ev_ang": forces.tolist(),
        }
