"""The ``dynamics`` section of the configuration in steps, checked."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dft2spectra.units import wavenumber_to_period_fs

# Verlet is unstable below π steps per period, and shifts a mode of m steps per period by a factor
# of 1 + (π/m)²/6: 2.6 % at 8 steps.
LEAST_STEPS_PER_PERIOD = 3.1416
WARN_STEPS_PER_PERIOD = 8.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DynamicsSettings:
    """Checked settings; lengths of time counted in steps."""

    temperature_k: float
    timestep_fs: float
    friction_per_ps: float
    equilibration_steps: int
    spacing_steps: int
    trajectories: int
    trajectory_steps: int
    rotation: bool
    max_energy_change_ev_per_atom: float
    stride: int
    chunk_steps: int
    seed: int


def read_settings(section: Mapping[str, Any]) -> DynamicsSettings:
    """Settings in steps from the ``dynamics`` section.

    Raises
    ------
    ValueError
        Naming the key whose value cannot be right.
    """
    for key in (
        "temperature_k",
        "timestep_fs",
        "friction_per_ps",
        "spacing_ps",
        "trajectories",
        "trajectory_ps",
        "max_energy_change_mev_per_atom",
        "stride",
        "chunk_steps",
    ):
        if not 0 < section[key] < float("inf"):
            raise ValueError(f"dynamics.{key} must be a positive number, not {section[key]}")
    for key in ("equilibration_ps", "seed"):
        if not 0 <= section[key] < float("inf"):
            raise ValueError(f"dynamics.{key} must be zero or positive, not {section[key]}")
    steps = {}
    for key in ("equilibration", "spacing", "trajectory"):
        steps[key] = round(1e3 * section[f"{key}_ps"] / section["timestep_fs"])
    if steps["spacing"] < 1 or steps["trajectory"] < 1:
        raise ValueError("dynamics.spacing_ps and trajectory_ps must be longer than a time step")
    return DynamicsSettings(
        temperature_k=float(section["temperature_k"]),
        timestep_fs=float(section["timestep_fs"]),
        friction_per_ps=float(section["friction_per_ps"]),
        equilibration_steps=steps["equilibration"],
        spacing_steps=steps["spacing"],
        trajectories=int(section["trajectories"]),
        trajectory_steps=steps["trajectory"],
        rotation=bool(section["rotation"]),
        max_energy_change_ev_per_atom=1e-3 * section["max_energy_change_mev_per_atom"],
        stride=int(section["stride"]),
        chunk_steps=int(section["chunk_steps"]),
        seed=int(section["seed"]),
    )


def check_timestep(timestep_fs: float, highest_cm1: float) -> None:
    """Compare the time step with the period of the fastest vibration.

    Warns below ``WARN_STEPS_PER_PERIOD`` steps per period.

    Raises
    ------
    ValueError
        Below ``LEAST_STEPS_PER_PERIOD`` steps per period, where no Verlet integrator is stable.
    """
    period_fs = wavenumber_to_period_fs(highest_cm1)
    if period_fs < LEAST_STEPS_PER_PERIOD * timestep_fs:
        raise ValueError(
            f"dynamics.timestep_fs: {timestep_fs} fs is too long for a vibration at"
            f" {highest_cm1:.0f} cm⁻¹ (period {period_fs:.1f} fs); take {period_fs / 20:.2f} fs"
        )
    if period_fs < WARN_STEPS_PER_PERIOD * timestep_fs:
        logger.warning(
            "time step %.2f fs: fewer than %.0f steps per period (%.1f fs) of the vibration at"
            " %.0f cm⁻¹; its band comes out at too high a wavenumber",
            timestep_fs,
            WARN_STEPS_PER_PERIOD,
            period_fs,
            highest_cm1,
        )
