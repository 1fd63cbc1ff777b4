"""Geometries of a molecule at given temperatures, drawn from its harmonic vibrations.

Each normal coordinate is Gaussian with the classical variance kT/ω² (mass-weighted), the exact
distribution of a classical harmonic molecule. The classical one is meant: the trajectories for
which a model is trained are classical too.

Normal displacements carry no momentum and no angular momentum, so a drawn geometry has the
centre of mass and, in the sense of Eckart, the orientation of the reference. It is not turned:
models that are invariant under rotations learn nothing from turned copies.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dft2spectra.molecules.contacts import collides
from dft2spectra.units import AMU_ME, BOHR_ANG, BOLTZMANN_HA_K, HARTREE_CM1

METHOD_VERSION = 1

# Order and names fix the random stream of each split: append, never insert.
SPLITS = ("train", "validation", "test")

# A mode below this is sampled as if it were this stiff. Its true potential (a torsion, a pucker)
# bends away from the parabola long before the amplitude √(kT)/ω of the soft mode is reached, and
# straight displacements along it stretch bonds: at 500 K and 20 cm⁻¹ a hydrogen atom would move by
# several Å.
SOFTEST_CM1 = 60.0

MAX_REDRAWS = 100


def sample_geometries(
    harmonic: Mapping[str, Any],
    temperatures_k: Sequence[float],
    counts: Mapping[str, int],
    seed: int,
) -> list[dict[str, Any]]:
    """Independent geometries for training, validation and test.

    Frame i of a split has temperature i modulo their number, and a random stream of its own made of
    seed, split and i: more frames of one split change no other frame.

    Parameters
    ----------
    harmonic
        Result of :func:`dft2spectra.molecules.harmonic.harmonic_reference`.
    temperatures_k
        Temperatures in K, all positive.
    counts
        Number of frames of each split of :data:`SPLITS`; a missing one counts as zero.
    seed
        Whole number, zero or positive.

    Returns
    -------
    list of dict
        ``frame`` (such as ``train-0007``), ``split``, ``temperature_k``, ``positions_ang``,
        ``redraws`` (colliding geometries thrown away before this one).

    Raises
    ------
    ValueError
        The reference has an imaginary mode, a setting is impossible, or only colliding geometries
        are drawn.
    """
    name = harmonic["name"]
    frequencies = np.asarray(harmonic["frequencies_cm1"], dtype=float)
    if (frequencies <= 0.0).any():
        raise ValueError(
            f"{name}: {int((frequencies <= 0).sum())} imaginary mode(s), the lowest"
            f" {abs(frequencies.min()):.0f}i cm⁻¹: the geometry is no minimum, and harmonic"
            " sampling there means nothing. Relax it from a geometry pushed along this mode,"
            " or with a finer pyscf.grid_level"
        )
    temperatures = [float(value) for value in temperatures_k]
    if not temperatures or not all(np.isfinite(t) and t > 0.0 for t in temperatures):
        raise ValueError(f"sampling.temperatures_k must be positive numbers, not {temperatures_k}")
    unknown = set(counts) - set(SPLITS)
    if unknown:
        raise ValueError(f"sampling: unknown split {sorted(unknown)[0]!r}; known are {SPLITS}")
    negative = [split for split, count in counts.items() if count < 0]
    if negative:
        raise ValueError(f"sampling: the number of {negative[0]} frames is negative")
    modes = np.asarray(harmonic["modes"], dtype=float)
    reference = np.asarray(harmonic["positions_ang"], dtype=float)
    # Å per unit of the mass-weighted normal coordinate (√mₑ bohr).
    masses = np.asarray(harmonic["masses_amu"], dtype=float) * AMU_ME
    displacements = modes / np.sqrt(masses)[:, None] * BOHR_ANG
    frames = []
    for number, split in enumerate(SPLITS):
        for index in range(counts.get(split, 0)):
            temperature = temperatures[index % len(temperatures)]
            amplitudes = thermal_amplitudes(frequencies, temperature)
            random = np.random.default_rng([seed, number, index])
            for redraws in range(MAX_REDRAWS):
                normal = amplitudes * random.standard_normal(len(amplitudes))
                positions = reference + np.einsum("m,mai->ai", normal, displacements)
                if not collides(harmonic["symbols"], positions):
                    frames.append(
                        {
                            "frame": f"{split}-{index:04d}",
                            "split": split,
                            "temperature_k": temperature,
                            "positions_ang": positions.tolist(),
                            "redraws": redraws,
                        }
                    )
                    break
            else:
                raise ValueError(
                    f"{name}: {MAX_REDRAWS} geometries in a row collide at {temperature:g} K; lower"
                    " sampling.temperatures_k"
                )
    return frames


def thermal_amplitudes(frequencies_cm1: ArrayLike, temperature_k: float) -> NDArray:
    """Standard deviation √(kT)/ω of each mass-weighted normal coordinate, in √mₑ bohr.

    Modes below :data:`SOFTEST_CM1` get the amplitude of a mode at that wavenumber.
    """
    omega = np.maximum(np.asarray(frequencies_cm1, dtype=float), SOFTEST_CM1) / HARTREE_CM1
    return np.sqrt(BOLTZMANN_HA_K * temperature_k) / omega
