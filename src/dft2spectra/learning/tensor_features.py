"""Fingerprints that turn with the crystal: what a rank-two tensor of an Fe site is linear in.

The field gradient is a traceless symmetric tensor, five numbers that turn like the spherical
harmonics of degree two. So do the moments of degree two of the neighbour densities, and products of
two moments coupled to degree two (λ-SOAP: Grisafi, Wilkins, Csányi, Ceriotti, PRL 120, 036002
(2018)). Whatever is linear in them with weights that are scalars turns with the crystal, does not
change under inversion, and lies in the space that the symmetry of the site leaves to a tensor: it
is zero at a cubic site, axial at an axial one, without being told.

Each neighbour density weights its atoms by a property of their element relative to Fe
(:mod:`dft2spectra.learning.species`): the density itself, and the differences to Fe. The radial
functions are Gaussians and 1/r³, the gradient of a point charge.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from ase.neighborlist import neighbor_list
from scipy.special import sph_harm_y

from dft2spectra.learning.soap import structure_atoms
from dft2spectra.learning.species import species_weights

# Highest degree of the moments that are coupled.
L_MAX = 4
# Components of degree two, in the order of m: xy, yz, 3z² − r², xz, x² − y².
COMPONENTS = 5
# Gaussians between these distances (Å); the cutoff takes all to zero smoothly.
NEAREST_ANG, WIDTH_ANG = 1.8, 0.6
# Distance (Å) at which the point-charge sum has weight one.
UNIT_ANG = 2.5


class Moments(NamedTuple):
    """Moments of the neighbour densities of one atom by degree, each (n_densities, 2l + 1)."""

    by_degree: tuple[np.ndarray, ...]


def harmonics(degree: int, vectors: np.ndarray) -> np.ndarray:
    """Real orthonormal spherical harmonics (2l + 1, n), m = −l … l, of vectors (n, 3)."""
    distance = np.linalg.norm(vectors, axis=1)
    polar = np.arccos(np.clip(vectors[:, 2] / distance, -1.0, 1.0))
    azimuth = np.arctan2(vectors[:, 1], vectors[:, 0])
    rows = []
    for order in range(-degree, degree + 1):
        value = sph_harm_y(degree, abs(order), polar, azimuth) * (-1.0) ** order
        part = value.imag if order < 0 else value.real
        rows.append(part if order == 0 else np.sqrt(2.0) * part)
    return np.array(rows)


@cache
def couplings() -> dict[tuple[int, int], np.ndarray]:
    """∫ Y_a Y_b Y_2 by the two degrees, each (2a + 1, 2b + 1, 5); those that are not all zero.

    By a product quadrature that is exact for these degrees (Gauss–Legendre times equal angles).
    """
    cosines, weights = np.polynomial.legendre.leggauss(L_MAX + 2)
    number = 4 * L_MAX
    angles = 2.0 * np.pi * np.arange(number) / number
    sines = np.sqrt(1.0 - cosines**2)
    points = np.array(
        [
            [s * np.cos(a), s * np.sin(a), c]
            for c, s in zip(cosines, sines, strict=True)
            for a in angles
        ]
    )
    weight = np.repeat(weights, number) * 2.0 * np.pi / number
    values = [harmonics(degree, points) for degree in range(L_MAX + 1)]
    found = {
        (a, b): np.einsum("ip,jp,kp,p->ijk", values[a], values[b], values[2], weight, optimize=True)
        for a in range(1, L_MAX + 1)
        for b in range(a, L_MAX + 1)
    }
    return {pair: coefficients for pair, coefficients in found.items() if _some(coefficients)}


def _some(coefficients: np.ndarray) -> bool:
    return bool(np.abs(coefficients).max() > 1e-9)


def site_moments(structure: dict[str, Any], atom: int, soap: dict[str, Any]) -> Moments:
    """Moments of the neighbour densities of an atom, of degrees 0 to ``L_MAX``.

    Parameters
    ----------
    structure
        ``cell_ang``, ``symbols``, ``scaled_positions``, ``structure_id``.
    atom
        Its index.
    soap
        The section of the configuration: ``cutoff_ang``, ``n_max`` Gaussians, the channels
        ``species_weighting``.

    Raises
    ------
    ValueError
        What :func:`dft2spectra.learning.soap.structure_atoms` refuses.
    """
    atoms = structure_atoms(structure)
    cutoff = float(soap["cutoff_ang"])
    centre, neighbour, distance, vector = neighbor_list("ijdD", atoms, cutoff)
    near = centre == atom
    neighbour, distance, vector = neighbour[near], distance[near], vector[near]
    radial = _radial(distance, cutoff, soap["n_max"])
    symbols = [structure["symbols"][index] for index in neighbour]
    weights = np.array(
        [
            [_contrast(channel, symbol) for channel in ("density", *soap["species_weighting"])]
            for symbol in symbols
        ]
    )
    return Moments(
        tuple(
            np.einsum("jc,jn,mj->cnm", weights, radial, harmonics(degree, vector)).reshape(
                -1, 2 * degree + 1
            )
            for degree in range(L_MAX + 1)
        )
    )


def _contrast(channel: str, symbol: str) -> float:
    return 1.0 if channel == "density" else species_weights(channel)[symbol] - 1.0


def _radial(distance: np.ndarray, cutoff: float, number: int) -> np.ndarray:
    """Radial functions (n, number + 1) of distances (n,), zero with zero slope at the cutoff."""
    centres = np.linspace(NEAREST_ANG, cutoff, number)
    smooth = 0.5 * (1.0 + np.cos(np.pi * distance / cutoff))
    gaussians = np.exp(-0.5 * ((distance[:, None] - centres) / WIDTH_ANG) ** 2)
    return np.column_stack([gaussians, (UNIT_ANG / distance) ** 3]) * smooth[:, None]


def to_components(tensor: np.ndarray) -> np.ndarray:
    """Five components (n, 5) of symmetric traceless tensors (n, 3, 3), of equal norm."""
    root = np.sqrt(2.0)
    return np.stack(
        [
            root * tensor[:, 0, 1],
            root * tensor[:, 1, 2],
            np.sqrt(1.5) * tensor[:, 2, 2],
            root * tensor[:, 0, 2],
            (tensor[:, 0, 0] - tensor[:, 1, 1]) / root,
        ],
        axis=1,
    )


def to_tensor(components: np.ndarray) -> np.ndarray:
    """Symmetric traceless tensors (n, 3, 3) of five components (n, 5)."""
    xy, yz, zz, xz, difference = np.asarray(components, dtype=float).T
    root = np.sqrt(2.0)
    xy, yz, xz = xy / root, yz / root, xz / root
    zz, difference = zz / np.sqrt(1.5), difference * root
    xx, yy = 0.5 * (difference - zz), -0.5 * (difference + zz)
    rows = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
    return np.moveaxis(np.array(rows), -1, 0)
