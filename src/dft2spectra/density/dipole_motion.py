"""How far the dipole of a vibrating molecule goes off its straight continuation in one step.

The guard against a change of the electronic state looks for jumps of the dipole, and ordinary
motion makes some, too: more with longer steps, in hotter molecules and in stronger bands.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import units

from dft2spectra.molecules.shape import inertia, is_straight
from dft2spectra.units import (
    BOLTZMANN_EV_K,
    EANG_DEBYE,
    KM_MOL_PER_E2_AMU,
    wavenumber_to_period_fs,
)


def thermal_dipole_jump(
    reference: Mapping[str, Any], temperature_k: float, timestep_fs: float, friction_per_ps: float
) -> float:
    """Root mean square of ``|µ(t) − 2 µ(t−τ) + µ(t−2τ)|`` in thermal motion, in D.

    Verlet's positions obey ``x(t) − 2 x(t−τ) + x(t−2τ) = τ² a`` exactly, and Langevin's thermostat
    adds what forces of white noise give: kicks of variance ``2 γ kT/m · ⅔ τ³``, as each acts on two
    steps, rising and falling (``∫(1 − |u|)² du = ⅔``). With the classical variance ``kT/ω²`` of
    each normal coordinate and the slopes ``s = ∂µ/∂Q``, of which intensities are the squares,

        σ² = kT τ² [Σ_modes s² (ω²τ² + 4γτ/3) + Σ_axes |e × µ|²/I 4γτ/3] + 8 (|µ| kT τ²/I₁)².

    The second sum and the last term are the turning of the whole molecule, with the mean of
    ``|ω × (ω × µ)|²``, which the smallest moment of inertia bounds.

    Parameters
    ----------
    reference
        As :func:`dft2spectra.molecules.harmonic.harmonic_reference` returns it.
    temperature_k, timestep_fs, friction_per_ps
        As in the ``dynamics`` section.
    """
    # ASE's units: amu, Å, eV and the time that belongs to them.
    energy = BOLTZMANN_EV_K * temperature_k
    step = timestep_fs * units.fs
    kicks = 4.0 / 3.0 * 1e-3 * friction_per_ps * timestep_fs
    slopes_2 = np.asarray(reference["intensities_km_mol"]) / KM_MOL_PER_E2_AMU
    wavenumbers = np.abs(reference["frequencies_cm1"])
    turns = [2.0 * np.pi * timestep_fs / wavenumber_to_period_fs(each) for each in wavenumbers]
    vibration = slopes_2 @ (np.square(turns) + kicks)

    masses, positions = reference["masses_amu"], reference["positions_ang"]
    moments, axes, _ = inertia(masses, positions)
    first = 1 if is_straight(masses, positions) else 0
    moments, axes = moments[first:], axes.T[first:]
    dipole = np.asarray(reference["dipole_debye"]) / EANG_DEBYE
    turning = (np.cross(axes, dipole) ** 2).sum(axis=1) @ (kicks / moments)
    centripetal = 8.0 * (dipole @ dipole) * (energy * step**2 / moments[0]) ** 2
    variance = energy * step**2 * (vibration + turning) + centripetal
    return float(np.sqrt(variance)) * EANG_DEBYE
