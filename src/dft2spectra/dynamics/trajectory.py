"""Constant-energy trajectories from which the infrared spectrum is taken."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from ase import Atoms

from dft2spectra.arrays import read_arrays
from dft2spectra.dynamics.chunks import Arrays, ChunkBuffer
from dft2spectra.dynamics.equilibration import read_state
from dft2spectra.dynamics.integration import Run, check_start, integrate
from dft2spectra.dynamics.output import STOPPED, Finish, write_output
from dft2spectra.dynamics.rigid import degrees_of_freedom, is_linear
from dft2spectra.dynamics.settings import read_settings


def run_trajectory(
    atoms: Atoms,
    calculator: Any,
    settings: Mapping[str, Any],
    output_npz: str | Path,
    progress: TextIO | None = None,
    freedom: int | None = None,
) -> Arrays:
    """Arrays of a constant-energy trajectory, also written; goes on where a killed one was.

    Ends as ``finished`` or, if the calculator raises
    :class:`dft2spectra.dynamics.stops.TrajectoryStopped` or a limit is passed (atoms collide, the
    molecule falls apart, the temperature explodes, the total energy changes by more than
    ``max_energy_change_mev_per_atom``), as ``stopped`` with the steps before.

    Parameters
    ----------
    atoms
        Start with momenta.
    calculator, output_npz, progress
        See :func:`dft2spectra.dynamics.integration.integrate`.
    settings
        The ``dynamics`` section of the configuration.
    freedom
        Degrees of freedom that the temperature counts; by default from ``atoms``, which then has to
        be straight if the molecule is linear.
    """
    s = read_settings(settings)
    check_start(atoms)
    if freedom is None:
        freedom = degrees_of_freedom(len(atoms), is_linear(atoms), s.rotation)
    run = Run(
        steps=s.trajectory_steps,
        timestep_fs=s.timestep_fs,
        temperature_k=s.temperature_k,
        degrees_of_freedom=freedom,
        stride=s.stride,
        chunk_steps=s.chunk_steps,
        max_energy_change_ev=s.max_energy_change_ev_per_atom * len(atoms),
    )
    return integrate(atoms, calculator, run, output_npz, progress)


def run_from_state(
    states_npz: str | Path,
    number: int,
    calculator: Any,
    settings: Mapping[str, Any],
    output_npz: str | Path,
    progress: TextIO | None = None,
) -> Arrays:
    """Trajectory ``number`` (from 0) of the start states written by ``equilibrate``.

    If the thermostatted run was stopped before this state, the trajectory is written as ``stopped``
    with no steps and the reason of that run.

    Raises
    ------
    ValueError
        If the states were made for fewer trajectories.
    """
    states = read_arrays(states_npz)
    if number >= states["requested"]:
        raise ValueError(f"{states_npz} was made for {states['requested']} trajectories")
    if number < len(states["step"]):
        atoms, freedom = read_state(states_npz, number)
        return run_trajectory(atoms, calculator, settings, output_npz, progress, freedom)
    atoms = Atoms(numbers=states["numbers"], masses=states["masses_amu"])
    reason = f"no start state: the thermostatted run was {STOPPED}, {states['reason']}"
    finish = Finish.stopped(reason, states["stopped_positions_ang"])
    chunk = ChunkBuffer(0, len(atoms)).arrays() | finish.arrays()
    timestep_fs = read_settings(settings).timestep_fs
    return write_output(output_npz, atoms, timestep_fs, False, "", [chunk])
