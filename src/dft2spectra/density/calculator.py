"""ASE calculator of the one-shot Kohn–Sham step, watched by its guards."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from dft2spectra.density import guards as guards_module
from dft2spectra.density import one_shot as one_shot_module
from dft2spectra.density.dipole_motion import thermal_dipole_jump
from dft2spectra.density.guards import (
    SCF,
    STOP,
    History,
    check,
    check_compatible,
    geometry_uncertainty,
    measure,
    read_guards,
    self_consistent,
)
from dft2spectra.density.kinds import METHOD_VERSIONS, read_model
from dft2spectra.density.one_shot import OneShot, OneShotError
from dft2spectra.density.predictor import ModelError, Predictor
from dft2spectra.dynamics.settings import check_timestep, read_settings
from dft2spectra.dynamics.stops import TrajectoryStopped
from dft2spectra.molecules.contacts import COLLISION, closest_contact
from dft2spectra.molecules.pyscf_input import build_molecule, complete_settings
from dft2spectra.records import content_hash, read_json
from dft2spectra.units import BOHR_ANG, HARTREE_EV

METHOD_VERSION = 2  # covers the conversion of results and what a remedy replaces

logger = logging.getLogger(__name__)


class DensityCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and dipole (e Å) from one diagonalisation per geometry.

    The energy is that of Harris and Foulkes and the forces are its exact gradient. Both depend on
    the geometry alone; only the guards look back, at the steps before. The dipole is about the
    centre of mass, on which that of an ion depends.

    Next to the properties, ``results`` holds ``diagnostics``: the numbers of
    :func:`~dft2spectra.density.guards.measure` and, zero where no remedy was needed,
    ``guard_scf_cycles``, ``guard_scf_residual_ha`` and ``guard_energy_change_ev``, the jump of the
    energy that a remedy makes; and ``frames``: a sentence for every guard that this geometry broke.

    Parameters
    ----------
    model
        Density model made for this molecule's elements and charge and for these settings.
    molecule
        ``symbols``, ``positions_ang`` and ``charge``. The axes of the grid are Eckart's on these
        positions, so that results depend on them, too, by the noise of the grid. A linear molecule
        takes those of the laboratory, which is logged.
    pyscf_settings
        The ``pyscf`` section.
    guards
        The ``guards`` section; without one nothing is limited.
    dipole_sigma_debye
        What motion makes of a jump, see
        :func:`~dft2spectra.density.dipole_motion.thermal_dipole_jump`.

    Raises
    ------
    ModelError
        The model does not fit molecule or settings, or uncertainty is limited and the model has no
        committee.
    """

    implemented_properties = ["energy", "free_energy", "forces", "dipole"]  # noqa: RUF012  (ASE's)

    def __init__(
        self,
        model: Predictor,
        molecule: Mapping[str, Any],
        pyscf_settings: Mapping[str, Any],
        guards: Mapping[str, Any] | None = None,
        dipole_sigma_debye: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.dipole_sigma_debye = dipole_sigma_debye
        self.guards = read_guards(guards)
        self.symbols = list(molecule["symbols"])
        self.settings = complete_settings(pyscf_settings)
        check_compatible(model, self.settings, molecule["charge"], self.symbols)
        self.committee = len(model.committee) > 1
        if self.guards.max_uncertainty_percent is not None and not self.committee:
            raise ModelError(
                "guards.max_uncertainty_percent needs a model with a committee: fit it again, or"
                " set the limit to null"
            )
        mol = build_molecule(
            self.symbols, molecule["positions_ang"], molecule["charge"], self.settings
        )
        self.shot = OneShot(mol, model, self.settings)
        if self.shot.laboratory_axes:
            logger.warning(
                "%s is linear and has no axes of its own: its energy changes by the noise of the"
                " grid, some 1e-5 hartree, as it turns",
                molecule.get("name", "the molecule"),
            )
        self.history = History.empty()
        self.identity = content_hash(
            {
                "model": model.identity(),
                "symbols": self.symbols,
                "charge": molecule["charge"],
                "axes": None
                if self.shot.laboratory_axes
                else self.shot.reference.positions.round(8).tolist(),
                "settings": self.settings,
                "guards": vars(self.guards),
                "dipole_sigma_debye": dipole_sigma_debye,
                "method_versions": [
                    METHOD_VERSION,
                    guards_module.METHOD_VERSION,
                    one_shot_module.METHOD_VERSION,
                    METHOD_VERSIONS[model.kind],
                ],
            }
        )

    @classmethod
    def from_files(
        cls,
        model_path: str | Path,
        molecule_json: str | Path,
        pyscf_settings: Mapping[str, Any],
        guards: Mapping[str, Any],
        harmonic: Mapping[str, Any],
        dynamics: Mapping[str, Any],
    ) -> "DensityCalculator":
        """The calculator of a model file and a molecule's record, for the dynamics of a campaign.

        Parameters
        ----------
        harmonic
            As :func:`dft2spectra.molecules.harmonic.harmonic_reference` returns it.
        dynamics
            The ``dynamics`` section.

        Raises
        ------
        ValueError
            The time step is too long for the fastest vibration.
        """
        s = read_settings(dynamics)
        check_timestep(s.timestep_fs, harmonic["frequencies_cm1"][-1])
        sigma = thermal_dipole_jump(harmonic, s.temperature_k, s.timestep_fs, s.friction_per_ps)
        model, molecule = read_model(model_path), read_json(molecule_json)
        return cls(model, molecule, pyscf_settings, guards, sigma)

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        """Set ``results``, whatever property was asked for: a step has them all.

        Raises
        ------
        ValueError
            The atoms are not those of the molecule, or periodic.
        TrajectoryStopped
            The geometry has broken down, or a guard with the action ``stop`` was broken.
        """
        super().calculate(atoms, properties, system_changes)
        here: Atoms = self.atoms  # type: ignore[assignment]
        self._check(here)
        positions = here.get_positions() / BOHR_ANG
        try:
            self._step(here, positions)
        except (OneShotError, np.linalg.LinAlgError) as error:
            raise TrajectoryStopped(f"the one-shot step failed: {error}", here.copy()) from error

    def state(self) -> dict[str, NDArray]:
        """What the guards compare with, for an exact restart."""
        return dict(vars(self.history))

    def restore(self, state: Mapping[str, NDArray]) -> None:
        """Go on from the result of :meth:`state`."""
        self.history = History(**state)
        self.reset()

    def _check(self, atoms: Atoms) -> None:
        if list(atoms.symbols) != self.symbols:
            raise ValueError(
                f"this calculator is for the atoms {' '.join(self.symbols)} in this order, not"
                f" {' '.join(atoms.symbols)}"
            )
        if atoms.pbc.any():
            raise ValueError("the density model is for free molecules: no periodic boundaries")
        positions = atoms.get_positions()
        if not np.isfinite(positions).all():
            raise TrajectoryStopped("positions are not finite", atoms.copy())
        ratio, first, second = closest_contact(self.symbols, positions)
        if ratio < COLLISION:
            raise TrajectoryStopped(
                f"atoms {first} and {second} ({self.symbols[first]} and {self.symbols[second]})"
                f" collide: {ratio:.2f} of the sum of their covalent radii",
                atoms.copy(),
            )

    def _step(self, atoms: Atoms, positions: NDArray) -> None:
        result = self.shot.step(positions)
        uncertainty = float("nan")
        if self.committee:
            uncertainty = geometry_uncertainty(
                self.model, self.symbols, positions, self.settings["grid_level"]
            )
        measured = measure(result, self.history, uncertainty)
        reasons = check(measured, self.guards, self.dipole_sigma_debye)
        if reasons and self.guards.action == STOP:
            raise TrajectoryStopped("; ".join(reasons), atoms.copy())
        energy, gradient = result.energy, result.gradient
        mixing = self.model.card.get("dipole_mixing", 1.0)
        dipole = mixing * result.dipole + (1.0 - mixing) * result.input_dipole
        remedy = {"cycles": 0.0, "residual": 0.0, "change": 0.0}
        if reasons and self.guards.action == SCF:
            better = self_consistent(self.shot, result, positions, self.guards.scf_cycles)
            energy, gradient, dipole = better.energy, better.gradient, better.dipole
            remedy = {
                "cycles": better.cycles,
                "residual": better.residual,
                "change": (better.energy - result.energy) * HARTREE_EV,
            }
            reasons = [f"{reason}; {better.sentence}" for reason in reasons]
        # Also after a remedy the next step is compared with the one-shot result: like with like.
        self.history = self.history.after(result)
        self.results = {
            "energy": energy * HARTREE_EV,
            "free_energy": energy * HARTREE_EV,
            "forces": -np.asarray(gradient) * HARTREE_EV / BOHR_ANG,
            "dipole": dipole * BOHR_ANG,
            "diagnostics": {
                **measured,
                "guard_scf_cycles": float(remedy["cycles"]),
                "guard_scf_residual_ha": remedy["residual"],
                "guard_energy_change_ev": remedy["change"],
            },
            "frames": reasons,
        }
