"""The finished trajectory: one file of arrays, and extended XYZ for viewers."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from numpy.typing import NDArray

from dft2spectra.arrays import DamagedFileError, read_arrays
from dft2spectra.dynamics.chunks import Arrays, merged_samples
from dft2spectra.dynamics.energy import LEAST_SAMPLES, energy_drift
from dft2spectra.records import whole_file

FINISHED = "finished"
STOPPED = "stopped"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finish:
    """How a chunk ends: in the middle of the run (status empty), at its end, or at a stop."""

    status: str
    reason: str
    positions_ang: NDArray

    @classmethod
    def open(cls) -> "Finish":
        """More chunks follow."""
        return cls("", "", np.zeros((0, 3)))

    @classmethod
    def finished(cls) -> "Finish":
        """All steps are done."""
        return cls(FINISHED, "", np.zeros((0, 3)))

    @classmethod
    def stopped(cls, reason: str, positions_ang: NDArray) -> "Finish":
        """The physics went wrong at ``positions_ang`` (n_atoms, 3)."""
        return cls(STOPPED, reason, positions_ang)

    def arrays(self) -> Arrays:
        """The same as arrays of a chunk."""
        return {
            "status": np.array(self.status),
            "reason": np.array(self.reason),
            "stopped_positions_ang": self.positions_ang,
        }


def write_output(
    output_npz: str | Path,
    start: Atoms,
    timestep_fs: float,
    conserved: bool,
    identity: str,
    chunks: list[Arrays],
) -> Arrays:
    """Merge the chunks; write the trajectory and return its arrays.

    ``<output>.npz`` holds, per step, ``step, time_fs, potential_energy_ev, kinetic_energy_ev,
    total_energy_ev, temperature_k, dipole_debye`` and ``diagnostic_<name>``; per frame,
    ``frame_step, positions_ang, velocities_ang_per_fs``; per flagged geometry, ``flagged_step,
    flagged_reason, flagged_positions_ang``; and ``numbers, masses_amu, timestep_fs, status, reason,
    stopped_positions_ang, identity`` and the keys of
    :func:`dft2spectra.dynamics.energy.energy_drift`, NaN for fewer than ``LEAST_SAMPLES`` steps or
    where a thermostat acts. Step 0 is the start; a stopped run has the steps before the stop.

    ``<output>.xyz`` holds the frames, ``<output>.flagged.xyz`` the flagged geometries and
    ``<output>.stopped.xyz`` the geometry at which a run was stopped, each only if there is one.
    """
    output = Path(output_npz)
    samples = merged_samples(chunks)
    end = chunks[-1]
    time_fs = samples["step"] * timestep_fs
    result: Arrays = {
        "time_fs": time_fs,
        **samples,
        "numbers": start.numbers,
        "masses_amu": start.get_masses(),
        "timestep_fs": np.array(timestep_fs),
        "status": end["status"],
        "reason": end["reason"],
        "stopped_positions_ang": end["stopped_positions_ang"],
        "identity": np.array(identity),
        **_drift(time_fs, samples["total_energy_ev"], len(start), conserved),
    }
    _write_frames(output.with_suffix(".xyz"), start, _frames(samples, time_fs))
    flagged = zip(
        samples["flagged_positions_ang"],
        samples["flagged_step"],
        samples["flagged_reason"],
        strict=True,
    )
    _write_frames(
        output.with_suffix(".flagged.xyz"),
        start,
        [(p, {"step": int(s), "reason": str(r)}) for p, s, r in flagged],
    )
    info = {"step": len(time_fs), "reason": str(end["reason"])}
    stopped = end["stopped_positions_ang"]
    _write_frames(
        output.with_suffix(".stopped.xyz"), start, [(stopped, info)] if len(stopped) else []
    )
    # The arrays come last: where they are, all else is.
    with whole_file(output) as temporary:
        np.savez(temporary, allow_pickle=False, **result)
    return result


def read_output(output_npz: str | Path, identity: str) -> Arrays | None:
    """Arrays of a trajectory that is already there and has this identity, else ``None``."""
    path = Path(output_npz)
    if not path.exists():
        return None
    try:
        found = str(read_arrays(path, ["identity"])["identity"])
        result = read_arrays(path) if found == identity else None
    except DamagedFileError as error:
        logger.warning("%s is no trajectory (%s): written again", path, error)
        return None
    if result is None:
        logger.warning("%s comes from other settings: written again", path)
    return result


def _drift(time_fs: NDArray, total_energy_ev: NDArray, n_atoms: int, conserved: bool) -> Arrays:
    if conserved and len(time_fs) >= LEAST_SAMPLES:
        drift = energy_drift(time_fs, total_energy_ev, n_atoms)
    else:
        names = energy_drift(np.arange(LEAST_SAMPLES), np.zeros(LEAST_SAMPLES), 1)
        drift = dict.fromkeys(names, np.nan)
    return {name: np.array(value) for name, value in drift.items()}


def _frames(samples: Arrays, time_fs: NDArray) -> list[tuple[NDArray, dict[str, Any]]]:
    return [
        (
            positions,
            {
                "step": int(step),
                "time_fs": float(time_fs[step]),
                "total_energy_ev": float(samples["total_energy_ev"][step]),
                "dipole_debye": samples["dipole_debye"][step],
            },
        )
        for step, positions in zip(samples["frame_step"], samples["positions_ang"], strict=True)
    ]


def _write_frames(path: Path, start: Atoms, frames: list[tuple[NDArray, dict[str, Any]]]) -> None:
    """Write geometries as extended XYZ; remove a file of an earlier run if there are none."""
    if not frames:
        path.unlink(missing_ok=True)
        return
    images = [Atoms(numbers=start.numbers, positions=p, info=info) for p, info in frames]
    with whole_file(path) as temporary:
        write(temporary, images, format="extxyz")
