"""A density model against the converged calculation of one geometry: density, energy, forces.

Signs are model minus calculation.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dft2spectra.density.frame import centre_of_mass
from dft2spectra.density.grid import Grid
from dft2spectra.density.one_shot import OneShot
from dft2spectra.density.predictor import Predictor
from dft2spectra.density.sampling_points import (
    free_atom_density,
    label_grid,
    positions_bohr,
    scf_density,
)
from dft2spectra.molecules.pyscf_input import build_molecule, complete_settings
from dft2spectra.units import BOHR_ANG, EBOHR_DEBYE, HARTREE_EV

MEV_PER_HARTREE = 1e3 * HARTREE_EV


class DensityError(NamedTuple):
    """Integrated error of a density, in percent of the electrons.

    Attributes
    ----------
    model_percent
        ``100/N_e ∫ |n − n_scf|`` of the predicted density as it comes from the model.
    free_atoms_percent
        The same of superposed free atoms: what there was to learn.
    """

    model_percent: float
    free_atoms_percent: float


class OneShotErrors(NamedTuple):
    """What one diagonalisation on the predicted density misses.

    Attributes
    ----------
    energy_mev, gap_mev
        Model minus calculation.
    forces_ev_ang, reference_forces_ev_ang
        Shape (atoms, 3): of the model and of the calculation.
    dipole_vector_debye, input_dipole_vector_debye
        Shape (3,): errors of the dipole of the density matrix and of that of the input density.
    excess_electrons
        Electrons that the predicted density had too many.
    """

    energy_mev: float
    gap_mev: float
    forces_ev_ang: np.ndarray
    reference_forces_ev_ang: np.ndarray
    dipole_vector_debye: np.ndarray
    input_dipole_vector_debye: np.ndarray
    excess_electrons: float

    @property
    def dipole_debye(self) -> float:
        """Length of the error of the dipole of the density matrix, debye."""
        return float(np.linalg.norm(self.dipole_vector_debye))

    @property
    def force_mae_mev_ang(self) -> float:
        """Mean absolute error of the force components, meV/Å."""
        return float(1e3 * np.abs(self.forces_ev_ang - self.reference_forces_ev_ang).mean())


def density_error(
    model: Predictor, label: Mapping[str, Any], pyscf_settings: Mapping[str, Any]
) -> DensityError:
    """Integrated error of the predicted density of a converged label."""
    grid = label_grid(label, pyscf_settings)
    value, _ = model.evaluate(
        list(label["symbols"]), positions_bohr(label), grid.points, grid.owner
    )
    return error_percent(value, model.card["target"], label, grid, pyscf_settings)


def error_percent(
    value: np.ndarray,
    target: str,
    label: Mapping[str, Any],
    grid: Grid,
    pyscf_settings: Mapping[str, Any],
) -> DensityError:
    """Integrated error of a density ``value`` (N,) on the grid of a label.

    ``target`` says whether free atoms are to be added: ``difference`` or ``full``.
    """
    truth = scf_density(label, grid.points, pyscf_settings)
    atoms = free_atom_density(label, grid.points, pyscf_settings)
    percent = 100.0 / float(grid.weights @ truth)
    predicted = value if target == "full" else value + atoms
    return DensityError(
        percent * float(grid.weights @ np.abs(predicted - truth)),
        percent * float(grid.weights @ np.abs(atoms - truth)),
    )


def one_shot_errors(
    model: Predictor, label: Mapping[str, Any], pyscf_settings: Mapping[str, Any]
) -> OneShotErrors:
    """Errors of energy, forces, dipole and gap of a converged label.

    Raises
    ------
    OneShotError
        The step gives no usable result.
    """
    settings = complete_settings(pyscf_settings)
    mol = build_molecule(label["symbols"], label["positions_ang"], label["charge"], settings)
    positions = positions_bohr(label)
    # On the grid of the calculation, which lies along the axes of its coordinates: on a coarse grid
    # another orientation alone moves forces by some meV/Å.
    result = OneShot(mol, model, settings, laboratory_axes=True).step(positions)
    assert result.gradient is not None
    # The dipole of a label is about the origin of its coordinates; that of an ion depends on it.
    centre = centre_of_mass(mol.atom_charges(), positions)
    reference = label["dipole_debye"] - label["charge"] * centre * EBOHR_DEBYE
    force_unit = HARTREE_EV / BOHR_ANG
    return OneShotErrors(
        energy_mev=(result.energy - label["energy_ha"]) * MEV_PER_HARTREE,
        gap_mev=(result.gap - (label["lumo_ha"] - label["homo_ha"])) * MEV_PER_HARTREE,
        forces_ev_ang=-result.gradient * force_unit,
        reference_forces_ev_ang=np.asarray(label["forces_ha_per_bohr"]) * force_unit,
        dipole_vector_debye=result.dipole * EBOHR_DEBYE - reference,
        input_dipole_vector_debye=result.input_dipole * EBOHR_DEBYE - reference,
        excess_electrons=result.excess_electrons,
    )
