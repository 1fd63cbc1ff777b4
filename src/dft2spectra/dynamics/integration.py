"""Equations of motion with ASE's integrators, exactly restartable.

ASE 3.29 keeps no hidden state in ``VelocityVerlet`` and ``Langevin``: both go from positions,
momenta and the forces there, handed to ``step(forces)``, and Langevin draws from the generator it
is given. A run that goes on from these, and from what the calculator says is its own state, is the
undisturbed run bit by bit, provided that the calculator itself is reproducible. Momenta are kept
rather than velocities: the division by the masses does not come back exactly.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from dft2spectra.dynamics.chunks import (
    CALCULATOR,
    DIAGNOSTIC,
    Arrays,
    ChunkBuffer,
    chunk_folder,
    read_chunks,
    remove_chunks,
    with_prefix,
    without_prefix,
    write_chunk,
)
from dft2spectra.dynamics.output import Finish, read_output, write_output
from dft2spectra.dynamics.progress import Progress
from dft2spectra.dynamics.stops import Limits, TrajectoryStopped, limits_of
from dft2spectra.locks import Lock, output_lock
from dft2spectra.records import content_hash
from dft2spectra.units import BOLTZMANN_EV_K, EANG_DEBYE

# Counts for chunks, output and stops too.
METHOD_VERSION = 1


@dataclass(frozen=True)
class Run:
    """What to integrate, beside the start and the calculator.

    ``friction_per_ps`` zero is constant energy (velocity Verlet), otherwise Langevin at
    ``temperature_k`` with random numbers from ``seed``. Frames are kept every ``stride`` steps and
    at ``extra_frames``. How often a chunk is written, ``chunk_steps``, changes no result.
    """

    steps: int
    timestep_fs: float
    temperature_k: float
    degrees_of_freedom: int
    stride: int
    chunk_steps: int
    max_energy_change_ev: float = np.inf
    friction_per_ps: float = 0.0
    seed: int = 0
    extra_frames: tuple[int, ...] = ()


def integrate(
    atoms: Atoms, calculator: Any, run: Run, output_npz: str | Path, progress: TextIO | None
) -> Arrays:
    """Arrays of the trajectory, which is also written; resumes what an earlier process began.

    A finished trajectory of the same start, settings and calculator is returned as it is. While
    another process writes this output, it is waited for.

    Parameters
    ----------
    atoms
        Start with momenta; constraints and periodic boundaries are refused.
    calculator
        ASE calculator with energy, forces and dipole (e Å). It may have ``identity`` (JSON-able:
        whatever decides on its results), ``state()`` and ``restore(state)`` for a dict of arrays,
        and put ``diagnostics`` (name → number, the same names at every step) and ``frames``
        (sentences why this geometry is to be kept) into its ``results``.
    output_npz
        See :func:`dft2spectra.dynamics.output.write_output`.
    progress
        Open text stream for lines of progress.

    Raises
    ------
    LockLostError
        This process was silent for so long that another one took the output over.
    ValueError
        Something about the start or the results cannot be right.
    """
    check_start(atoms)
    output = Path(output_npz)
    identity = _identity(atoms, calculator, run)
    folder = chunk_folder(output)
    with output_lock(output) as lock:
        result = read_output(output, identity)
        if result is None:
            limits = limits_of(
                atoms, run.degrees_of_freedom, run.temperature_k, run.max_energy_change_ev
            )
            chunks = read_chunks(folder, identity)
            if not chunks or str(chunks[-1]["status"]) == "":
                _advance(atoms, calculator, run, limits, chunks, folder, identity, lock, progress)
            lock.check()
            result = write_output(
                output, atoms, run.timestep_fs, run.friction_per_ps == 0.0, identity, chunks
            )
        remove_chunks(folder)
    return result


def temperature_k(kinetic_energy_ev: float, degrees_of_freedom: int) -> float:
    """Temperature (K) at which this kinetic energy is the mean: 2 E / (f k)."""
    return 2.0 * kinetic_energy_ev / (degrees_of_freedom * BOLTZMANN_EV_K)


def _advance(
    start: Atoms,
    calculator: Any,
    run: Run,
    limits: Limits,
    chunks: list[Arrays],
    folder: Path,
    identity: str,
    lock: Lock,
    stream: TextIO | None,
) -> None:
    """Integrate to the end of the run or to a stop; append the chunks made to ``chunks``."""
    atoms = _GuardedAtoms(
        numbers=start.numbers,
        positions=start.positions,
        momenta=start.get_momenta(),
        masses=start.get_masses(),
        calculator=calculator,
    )
    atoms.limits = limits
    rng = np.random.default_rng([run.seed, 1])
    step, forces = -1, None
    if chunks:
        step, forces = _restore(atoms, rng, chunks[-1])
    dynamics = _integrator(atoms, run, rng)
    title = "thermostat" if run.friction_per_ps else "trajectory"
    meter = Progress(stream, title, run.steps, max(step, 0))
    if chunks:
        meter.say(f"goes on after step {step} of {run.steps}")
    first_energy_ev = float(chunks[0]["total_energy_ev"][0]) if chunks else None
    buffer = ChunkBuffer(step + 1, len(atoms))

    def close(finish: Finish) -> ChunkBuffer:
        previous = str(chunks[-1]["digest"]) if chunks else ""
        arrays = buffer.arrays() | _state(atoms, forces, rng) | finish.arrays()
        lock.check()
        chunks.append(write_chunk(folder, identity, buffer.first_step, previous, arrays))
        return ChunkBuffer(step + 1, len(atoms))

    while step < run.steps:
        try:
            forces = atoms.get_forces() if step < 0 else dynamics.step(forces)
            row, flags = _sample(atoms, forces, run)
            if first_energy_ev is None:
                first_energy_ev = row["total_energy_ev"]
            change_ev = row["total_energy_ev"] - first_energy_ev
            limits.check_energy(row["temperature_k"], change_ev, len(atoms))
        except TrajectoryStopped as stop:
            kept = atoms if stop.atoms is None else stop.atoms
            close(Finish.stopped(stop.reason, kept.get_positions()))
            meter.say(f"stopped at step {step + 1}: {stop.reason}")
            return
        step += 1
        buffer.add({"step": step, **row})
        positions = atoms.get_positions()
        if step % run.stride == 0 or step in run.extra_frames:
            buffer.frames.append((step, positions, atoms.get_velocities() * units.fs))
        buffer.flagged += [(step, reason, positions) for reason in flags]
        if step == run.steps:
            close(Finish.finished())
        elif step > 0 and step % run.chunk_steps == 0:
            buffer = close(Finish.open())
        meter.update(step, _note(row, change_ev, run, len(atoms)), last=step == run.steps)


class _GuardedAtoms(Atoms):
    """Atoms whose geometry is checked before a calculator sees it."""

    limits: Limits

    def get_forces(self, *args: Any, **keywords: Any) -> NDArray:
        self.limits.check_geometry(self.positions)
        return super().get_forces(*args, **keywords)


def _sample(atoms: Atoms, forces: NDArray, run: Run) -> tuple[dict[str, Any], list[str]]:
    """Numbers of the step at hand, and why its geometry is to be kept."""
    results = getattr(atoms.calc, "results", {})
    potential = float(atoms.get_potential_energy())
    dipole = np.asarray(atoms.get_dipole_moment(), dtype=float)
    if not (np.isfinite(potential) and np.isfinite(forces).all() and np.isfinite(dipole).all()):
        raise TrajectoryStopped("energy, forces or dipole moment are not finite")
    kinetic = float(0.5 * (atoms.get_momenta() ** 2 / atoms.get_masses()[:, None]).sum())
    row = {
        "potential_energy_ev": potential,
        "kinetic_energy_ev": kinetic,
        "total_energy_ev": potential + kinetic,
        "temperature_k": temperature_k(kinetic, run.degrees_of_freedom),
        "dipole_debye": dipole * EANG_DEBYE,
    }
    diagnostics = {DIAGNOSTIC + n: float(v) for n, v in results.get("diagnostics", {}).items()}
    return row | diagnostics, list(results.get("frames", []))


def _integrator(atoms: Atoms, run: Run, rng: np.random.Generator) -> VelocityVerlet | Langevin:
    timestep = run.timestep_fs * units.fs
    if run.friction_per_ps == 0.0:
        return VelocityVerlet(atoms, timestep)
    # All 3N degrees of freedom: ASE's fixcm does not sample the canonical distribution.
    return Langevin(
        atoms,
        timestep,
        temperature_K=run.temperature_k,
        friction=run.friction_per_ps / (1e3 * units.fs),
        fixcm=False,
        rng=rng,
    )


def _state(atoms: Atoms, forces: NDArray | None, rng: np.random.Generator) -> Arrays:
    state: Callable[[], Mapping[str, NDArray]] = getattr(atoms.calc, "state", dict)
    return {
        "end_positions_ang": atoms.get_positions(),
        "end_momenta": atoms.get_momenta(),
        "end_forces_ev_ang": np.zeros((0, 3)) if forces is None else np.array(forces),
        "end_rng": np.array(json.dumps(rng.bit_generator.state)),
        **with_prefix(CALCULATOR, state()),
    }


def _restore(atoms: Atoms, rng: np.random.Generator, chunk: Arrays) -> tuple[int, NDArray]:
    """Set the state at the end of a chunk; its last step and the forces there."""
    atoms.set_positions(chunk["end_positions_ang"])
    atoms.set_momenta(chunk["end_momenta"])
    rng.bit_generator.state = json.loads(str(chunk["end_rng"]))
    state = without_prefix(CALCULATOR, chunk)
    if state:
        atoms.calc.restore(state)
    return int(chunk["step"][-1]), chunk["end_forces_ev_ang"]


def _identity(atoms: Atoms, calculator: Any, run: Run) -> str:
    """Hash of all that decides on the numbers of the trajectory."""
    kind = type(calculator)
    default = {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "parameters": dict(getattr(calculator, "parameters", {})),
    }
    settings = {n: v for n, v in vars(run).items() if n != "chunk_steps"}
    settings["max_energy_change_ev"] = repr(run.max_energy_change_ev)  # JSON knows no infinity
    return content_hash(
        {
            "method_version": METHOD_VERSION,
            "numbers": atoms.numbers,
            "masses_amu": atoms.get_masses(),
            "positions_ang": atoms.get_positions(),
            "momenta": atoms.get_momenta(),
            "run": settings,
            "calculator": getattr(calculator, "identity", default),
        }
    )


def check_start(atoms: Atoms) -> None:
    """Raise ``ValueError`` if ``atoms`` is no free molecule with finite positions and momenta."""
    if len(atoms) < 2:
        raise ValueError("a single atom has no infrared spectrum: dynamics needs a molecule")
    if atoms.pbc.any() or atoms.constraints:
        raise ValueError("dynamics is for free molecules: no periodic boundaries, no constraints")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.get_momenta()).all()):
        raise ValueError("start of the trajectory: positions and momenta must be finite")


def _note(row: dict[str, Any], change_ev: float, run: Run, n_atoms: int) -> str:
    note = f"{row['temperature_k']:.0f} K"
    if not run.friction_per_ps:
        note += f", energy {1e3 * change_ev / n_atoms:+.3f} meV/atom"
    return note
