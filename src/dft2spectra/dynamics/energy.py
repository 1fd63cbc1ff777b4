"""Conservation of the energy along a trajectory, and how fast a series forgets."""

import numpy as np
from numpy.typing import NDArray

# Blocks of the drift's error; each should be longer than the oscillation of the total energy.
BLOCKS = 20
LEAST_SAMPLES = 60


def energy_drift(time_fs: NDArray, total_energy_ev: NDArray, n_atoms: int) -> dict[str, float]:
    """Linear drift of the total energy with its standard error, and the fluctuation around it.

    The error comes from a straight line through the means of ``BLOCKS`` equal stretches (the
    remainder at the end is left out): the total energy of a Verlet run oscillates with the
    vibrations, neighbouring samples are not independent, and a line through all of them would
    claim an error that is too small (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989)).

    Parameters
    ----------
    time_fs, total_energy_ev : (n,) arrays
        Equally spaced samples, ``LEAST_SAMPLES`` or more.
    n_atoms : int

    Returns
    -------
    dict
        ``drift_mev_per_atom_ps``, ``drift_error_mev_per_atom_ps`` (one standard error) and
        ``fluctuation_mev_per_atom`` (rms around the line).

    Raises
    ------
    ValueError
        If there are too few samples, or a number is not finite.
    """
    time = np.asarray(time_fs, dtype=float)
    energy = np.asarray(total_energy_ev, dtype=float)
    if time.shape != energy.shape or time.ndim != 1 or len(time) < LEAST_SAMPLES:
        raise ValueError(
            f"energy drift needs two equal series of {LEAST_SAMPLES} samples or more,"
            f" not {time.shape} and {energy.shape}"
        )
    if not (np.isfinite(time).all() and np.isfinite(energy).all()):
        raise ValueError("energy drift: time and energy must be finite")
    length = len(time) // BLOCKS
    x = time[: BLOCKS * length].reshape(BLOCKS, length).mean(axis=1) / 1e3
    # Relative to the first sample: total energies are large and their changes small.
    change = 1e3 * (energy - energy[0]) / n_atoms
    y = change[: BLOCKS * length].reshape(BLOCKS, length).mean(axis=1)
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    scatter = y - y.mean() - slope * centred
    error = float(np.sqrt(scatter @ scatter / (BLOCKS - 2) / (centred @ centred)))
    residual = change - slope * time / 1e3
    return {
        "drift_mev_per_atom_ps": slope,
        "drift_error_mev_per_atom_ps": error,
        "fluctuation_mev_per_atom": float(residual.std()),
    }


def correlation_steps(series: NDArray) -> float:
    """Integrated autocorrelation time of a stationary series, in steps; 1 for white noise.

    τ = 1 + 2 Σ ρ(k), summed up to the first window W with W ≥ 5 τ(W) (Sokal 1997, eq. 3.19, in
    Functional Integration, NATO ASI B 361, p. 131). A constant series gives 1.
    """
    centred = np.asarray(series, dtype=float) - np.mean(series)
    n = len(centred)
    spectrum = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    correlation = np.fft.irfft(spectrum)[:n]
    if correlation[0] <= 0.0:
        return 1.0
    times = 2.0 * np.cumsum(correlation / correlation[0]) - 1.0
    enough = np.arange(n) >= 5.0 * times
    return float(max(1.0, times[np.argmax(enough)] if enough.any() else times[-1]))
