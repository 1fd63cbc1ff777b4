"""Start states of constant-energy trajectories: snapshots of one run with a thermostat."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import thermalize_momenta

from dft2spectra.arrays import read_arrays
from dft2spectra.dynamics.chunks import Arrays
from dft2spectra.dynamics.energy import correlation_steps
from dft2spectra.dynamics.integration import Run, integrate
from dft2spectra.dynamics.rigid import degrees_of_freedom, is_linear, remove_rigid_motion
from dft2spectra.dynamics.settings import DynamicsSettings, check_timestep, read_settings
from dft2spectra.records import read_json, whole_file

# Counts for rigid and settings too.
METHOD_VERSION = 1

# A warning follows where the mean temperature is off by more standard errors than this.
WARN_ERRORS = 5.0

logger = logging.getLogger(__name__)


def equilibrate(
    atoms: Atoms,
    calculator: Any,
    settings: Mapping[str, Any],
    trajectory_npz: str | Path,
    states_npz: str | Path,
    progress: TextIO | None = None,
) -> Arrays:
    """Run Langevin dynamics from the equilibrium geometry; write its snapshots as start states.

    Momenta start from the Maxwell–Boltzmann distribution, and the thermostat acts on all 3N degrees
    of freedom. After ``equilibration_ps`` a snapshot is taken every ``spacing_ps``; its centre of
    mass is put at rest in the origin and, unless ``rotation``, its rotation is stopped: the
    spectrum then shows vibrations without their rotational envelope, and without the centrifugal
    stretching of a rotating molecule. The kinetic energy of the vibrations is not rescaled: that of
    single snapshots scatters as it does in the canonical ensemble.

    Parameters
    ----------
    atoms
        Equilibrium geometry; decides whether the molecule counts as linear.
    calculator
        See :func:`dft2spectra.dynamics.integration.integrate`.
    settings
        The ``dynamics`` section of the configuration.
    trajectory_npz, states_npz
        The thermostatted run, see :func:`dft2spectra.dynamics.output.write_output`; and the states:
        ``step (n,), positions_ang, velocities_ang_per_fs (n, n_atoms, 3), numbers, masses_amu,
        degrees_of_freedom``, the ``requested`` number of states, ``status`` and ``reason`` of the
        run (stopped early it gives fewer states), ``stopped_positions_ang``, and what was seen
        after the equilibration: ``mean_temperature_k``, ``temperature_error_k`` and
        ``correlation_fs`` of the potential energy (NaN without a sample).
    progress
        Open text stream for lines of progress.

    Returns
    -------
    dict
        The arrays of ``states_npz``.
    """
    s = read_settings(settings)
    start = Atoms(
        numbers=atoms.numbers,
        positions=atoms.get_positions() - atoms.get_center_of_mass(),
        masses=atoms.get_masses(),
        pbc=atoms.pbc,
        constraint=atoms.constraints,
    )
    thermalize_momenta(start, s.temperature_k, rng=np.random.default_rng([s.seed, 0]))
    snapshots = s.equilibration_steps + s.spacing_steps * np.arange(1, s.trajectories + 1)
    run = Run(
        steps=int(snapshots[-1]),
        timestep_fs=s.timestep_fs,
        temperature_k=s.temperature_k,
        degrees_of_freedom=3 * len(atoms),
        stride=s.stride,
        chunk_steps=s.chunk_steps,
        friction_per_ps=s.friction_per_ps,
        seed=s.seed,
        extra_frames=tuple(int(step) for step in snapshots),
    )
    trajectory = integrate(start, calculator, run, trajectory_npz, progress)
    states = _states(trajectory, snapshots, is_linear(atoms), s)
    with whole_file(states_npz) as temporary:
        np.savez(temporary, allow_pickle=False, **states)
    return states


def start_geometry(harmonic_json: str | Path, timestep_fs: float) -> Atoms:
    """The molecule at its minimum, if the time step is short enough for its fastest vibration.

    Raises
    ------
    ValueError
        As :func:`dft2spectra.dynamics.settings.check_timestep`.
    """
    minimum = read_json(harmonic_json)
    check_timestep(timestep_fs, minimum["frequencies_cm1"][-1])
    return Atoms(minimum["symbols"], minimum["positions_ang"], masses=minimum["masses_amu"])


def read_state(states_npz: str | Path, number: int) -> tuple[Atoms, int]:
    """Start state ``number`` (from 0) with its momenta, and its degrees of freedom.

    Raises
    ------
    IndexError
        If the thermostatted run was stopped before it came to this state, or it was not asked for.
    """
    states = read_arrays(states_npz)
    if not 0 <= number < len(states["step"]):
        raise IndexError(
            f"{states_npz}: no state {number}, {len(states['step'])} of {states['requested']} are"
            f" there (status {states['status']}) {states['reason']}"
        )
    atoms = Atoms(
        numbers=states["numbers"],
        positions=states["positions_ang"][number],
        masses=states["masses_amu"],
    )
    atoms.set_velocities(states["velocities_ang_per_fs"][number] / units.fs)
    return atoms, int(states["degrees_of_freedom"])


def _states(trajectory: Arrays, snapshots: Any, linear: bool, s: DynamicsSettings) -> Arrays:
    numbers, masses = trajectory["numbers"], trajectory["masses_amu"]
    chosen = np.flatnonzero(np.isin(trajectory["frame_step"], snapshots))
    shape = (len(chosen), len(numbers), 3)
    positions, velocities = np.empty(shape), np.empty(shape)
    for i, frame in enumerate(chosen):
        atoms = Atoms(numbers=numbers, positions=trajectory["positions_ang"][frame], masses=masses)
        atoms.set_velocities(trajectory["velocities_ang_per_fs"][frame])
        # In Å/fs in and out: the removal is linear in the velocities.
        remove_rigid_motion(atoms, linear, s.rotation)
        positions[i], velocities[i] = atoms.get_positions(), atoms.get_velocities()
    return {
        "step": trajectory["frame_step"][chosen],
        "positions_ang": positions,
        "velocities_ang_per_fs": velocities,
        "numbers": numbers,
        "masses_amu": masses,
        "degrees_of_freedom": np.array(degrees_of_freedom(len(numbers), linear, s.rotation)),
        "requested": np.array(s.trajectories),
        "status": trajectory["status"],
        "reason": trajectory["reason"],
        "stopped_positions_ang": trajectory["stopped_positions_ang"],
        **_thermometer(trajectory, s),
    }


def _thermometer(trajectory: Arrays, s: DynamicsSettings) -> Arrays:
    """Mean temperature, its error and the correlation time; warns if they are not as wanted."""
    after = trajectory["step"] > s.equilibration_steps
    temperature = trajectory["temperature_k"][after]
    mean = error = correlation_fs = np.nan
    if len(temperature):
        steps = correlation_steps(trajectory["potential_energy_ev"][after])
        correlation_fs = steps * s.timestep_fs
        mean = temperature.mean()
        # The kinetic energy has its variance from the ensemble: 2 T²/f, f = 3N.
        variance = 2.0 * s.temperature_k**2 / (3 * len(trajectory["numbers"]))
        error = np.sqrt(variance * correlation_steps(temperature) / len(temperature))
        if abs(mean - s.temperature_k) > WARN_ERRORS * error:
            logger.warning(
                "mean temperature %.0f ± %.0f K of the thermostatted run, target %.0f K: lengthen"
                " dynamics.equilibration_ps or shorten timestep_fs",
                *(mean, error, s.temperature_k),
            )
        if steps > s.spacing_steps:
            logger.warning(
                "start states every %.0f fs are correlated, the potential energy over %.0f fs:"
                " lengthen dynamics.spacing_ps",
                *(s.spacing_steps * s.timestep_fs, correlation_fs),
            )
    return {
        "mean_temperature_k": np.array(mean),
        "temperature_error_k": np.array(error),
        "correlation_fs": np.array(correlation_fs),
    }
