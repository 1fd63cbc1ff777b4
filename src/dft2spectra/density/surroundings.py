"""What an atom sees of its neighbours: sums over them of radial functions times harmonics.

    A_i,lm,zn = Σ_j δ_z,z(j) R_n(r_ij) Y_lm(direction from i to j),  j ≠ i

turn with the molecule as the harmonics do and do not change when like atoms change places. The
radial functions are Chebyshev polynomials of a logarithmic distance, times a weight that lets
distant atoms count less and vanish at the cutoff with zero slope,

    R_n(r) = T_n(1 − 2 ln(1 + r/a)/ln(1 + c/a)) · ½ (1 + cos πr/c) / (1 + (r/w)²).

Products of these sums, coupled to all degrees, are the features of the model in coefficients (as in
A. Grisafi, D. M. Wilkins, G. Csányi and M. Ceriotti, Phys. Rev. Lett. 120, 036002 (2018)).
"""

from typing import NamedTuple

import numba as nb
import numpy as np

from dft2spectra.density.harmonics import gradient_table, normalisation, solid_harmonics
from dft2spectra.units import BOHR_ANG

# Lengths of the logarithm and of the weight, bohr.
MAP_SCALE = 2.0
WEIGHT_SCALE = 4.0


class Radial(NamedTuple):
    """Radial functions of the surroundings: cutoff (bohr), their number, and the highest degree."""

    cutoff: float
    n_max: int
    l_max: int


def radial(settings: dict) -> Radial:
    """From ``cutoff_ang``, ``n_max`` and ``l_max``."""
    return Radial(settings["cutoff_ang"] / BOHR_ANG, settings["n_max"], settings["l_max"])


class Neighbours(NamedTuple):
    """Pairs of atoms within the cutoff, with all that the sums and their derivatives need.

    Attributes
    ----------
    pairs
        Shape (pairs, 2): centre and neighbour.
    distances, directions
        Shapes (pairs,) and (3, pairs).
    harmonics
        Shape ((l_max + 1)², pairs).
    values, slopes
        Radial functions and their derivatives, (n_max, pairs).
    """

    pairs: np.ndarray
    distances: np.ndarray
    directions: np.ndarray
    harmonics: np.ndarray
    values: np.ndarray
    slopes: np.ndarray


def find_neighbours(positions: np.ndarray, form: Radial) -> Neighbours:
    """Neighbours of all atoms at ``positions`` (atoms, 3), bohr."""
    difference = positions[None] - positions[:, None]
    distances = np.linalg.norm(difference, axis=2)
    np.fill_diagonal(distances, np.inf)
    first, second = np.nonzero(distances < form.cutoff)
    r = distances[first, second]
    directions = np.ascontiguousarray((difference[first, second] / r[:, None]).T)
    harmonics = np.empty(((form.l_max + 1) ** 2, len(r)))
    solid_harmonics(form.l_max, normalisation(form.l_max), directions, harmonics)
    return Neighbours(
        np.stack([first, second], axis=1), r, directions, harmonics, *radial_functions(r, form)
    )


def radial_functions(r: np.ndarray, form: Radial) -> tuple[np.ndarray, np.ndarray]:
    """Radial functions at distances ``r`` (P,) below the cutoff, and slopes; (n_max, P) each."""
    length = np.log1p(form.cutoff / MAP_SCALE)
    u, slope_u = 1.0 - 2.0 * np.log1p(r / MAP_SCALE) / length, -2.0 / (length * (MAP_SCALE + r))
    angle = np.pi * r / form.cutoff
    switch, slope_s = 0.5 * (1.0 + np.cos(angle)), -0.5 * np.pi / form.cutoff * np.sin(angle)
    decay = 1.0 / (1.0 + (r / WEIGHT_SCALE) ** 2)
    slope_d = -2.0 * decay**2 * r / WEIGHT_SCALE**2
    weight, slope_w = switch * decay, slope_s * decay + switch * slope_d
    t, slope_t = np.zeros((form.n_max, len(r))), np.zeros((form.n_max, len(r)))
    t[0] = 1.0
    for n in range(1, form.n_max):
        # T_n = 2u T_{n−1} − T_{n−2}, with T_{−1} = T_1 = u
        older, slope_older = (t[n - 2], slope_t[n - 2]) if n > 1 else (u, 1.0)
        t[n] = 2.0 * u * t[n - 1] - older
        slope_t[n] = 2.0 * (t[n - 1] + u * slope_t[n - 1]) - slope_older
    return t * weight, slope_t * slope_u * weight + t * slope_w


def sum_neighbours(near: Neighbours, kinds: np.ndarray, n_kinds: int) -> np.ndarray:
    """The sums A, shape (atoms, (l_max + 1)², n_kinds · n_max); ``kinds`` (atoms,) from 0."""
    total = np.zeros((len(kinds), len(near.harmonics), n_kinds * len(near.values)))
    _sum(near.pairs, kinds, near.harmonics, near.values, total)  # type: ignore[call-arg]
    return total


def pull_neighbours(near: Neighbours, kinds: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Gradient (atoms, 3) of ``Σ weight A``; ``weight`` has the shape of A."""
    l_max = round(len(near.harmonics) ** 0.5) - 1
    result = np.zeros((len(kinds), 3))
    _pull(*near, kinds, *gradient_table(l_max), weight, result)  # type: ignore[call-arg]
    return result


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _sum(pairs, kinds, harmonics, values, total):
    n_max = len(values)
    for p in range(len(pairs)):
        i, first = pairs[p, 0], kinds[pairs[p, 1]] * n_max
        for m in range(len(harmonics)):
            for n in range(n_max):
                total[i, m, first + n] += harmonics[m, p] * values[n, p]


@nb.njit(cache=True, fastmath=True, error_model="numpy")
def _pull(
    pairs, distances, directions, harmonics, values, slopes, kinds, indices, factors, weight, result
):
    n_max, size = len(values), len(harmonics)
    for p in range(len(pairs)):
        i, j = pairs[p, 0], pairs[p, 1]
        first = kinds[j] * n_max
        along = 0.0
        across = np.zeros(3)
        for m in range(size):
            outward, around = 0.0, 0.0
            for n in range(n_max):
                outward += weight[i, m, first + n] * slopes[n, p]
                around += weight[i, m, first + n] * values[n, p]
            along += outward * harmonics[m, p]
            # Gradient of the solid harmonic at the unit vector; its part along it is taken off.
            for axis in range(3):
                across[axis] += around * (
                    factors[axis, m, 0] * harmonics[indices[axis, m, 0], p]
                    + factors[axis, m, 1] * harmonics[indices[axis, m, 1], p]
                )
        radial = 0.0
        for axis in range(3):
            radial += across[axis] * directions[axis, p]
        for axis in range(3):
            u = directions[axis, p]
            change = along * u + (across[axis] - radial * u) / distances[p]
            result[j, axis] += change
            result[i, axis] -= change
