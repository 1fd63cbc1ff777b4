"""What a density model is fitted to: points of a geometry's grid with their weights and targets.

The points are drawn uniformly from the integration grid, the far tail included: what is missing
there is charge that the model may invent anywhere. The weight of a point is that of the grid over
the density, the weight of least squares in ``∫ (n − n_scf)²/n``, which counts a relative error of
the tail like one of the core. A constant keeps the emptiest points from ruling.

For functionals that depend on the kinetic energy density its Pauli part τ_P is taken at the same
points, with the weight of ``∫ (τ_P − τ_P,scf)²/n²``. These functionals see τ_P relative to the τ of
the uniform gas, ∝ n^(5/3), times an energy density ∝ n^(4/3), so that the second derivative of the
energy, which judges an error, goes as n^(4/3 − 10/3).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from pyscf import dft

from dft2spectra.density.atoms import density_on_grid
from dft2spectra.density.free_atom import atomic_density
from dft2spectra.density.grid import Grid, build_grid, point_blocks
from dft2spectra.density.invariants import features
from dft2spectra.density.model import Basis, moments_around
from dft2spectra.density.orbitals import evaluate
from dft2spectra.density.pauli_atoms import atomic_pauli_density, pauli_on_grid
from dft2spectra.molecules.pyscf_input import build_molecule
from dft2spectra.units import BOHR_ANG

# Added to the density in the weights of the fit, e/bohr³.
WEIGHT_FLOOR = 0.01
# The same for τ_P. With 0.01 the tail is worse, and forces of water are three times as far off.
PAULI_FLOOR = 0.001
CHUNK = 16_000  # points at once, to bound the memory of basis functions on them
BLOCK = 256  # points at once in the terms of the model
TARGETS = ("difference", "full")


class Sample(NamedTuple):
    """Points of one geometry for the fit; atomic units.

    Attributes
    ----------
    symbols, positions
        The atoms; positions (atoms, 3).
    points, owner
        Shapes (N, 3) and (N,), the owner ascending.
    weights
        Shape (N,): weights of the squared residual.
    target
        Shape (N,): the density the model is to give, e/bohr³.
    pauli
        Shape (N,): the Pauli kinetic energy density it is to give, hartree/bohr³; None if the
        functional does not depend on it.
    pauli_weights
        Shape (N,): weights of its squared residual.
    """

    symbols: list[str]
    positions: np.ndarray
    points: np.ndarray
    owner: np.ndarray
    weights: np.ndarray
    target: np.ndarray
    pauli: np.ndarray | None
    pauli_weights: np.ndarray


def label_grid(label: Mapping[str, Any], pyscf_settings: Mapping[str, Any]) -> Grid:
    """Integration grid of a labelled geometry, along the axes of its coordinates; bohr."""
    mol = build_molecule(label["symbols"], label["positions_ang"], label["charge"], pyscf_settings)
    return build_grid(mol.atom_charges(), mol.atom_coords(), pyscf_settings["grid_level"])


def scf_density(
    label: Mapping[str, Any], points: np.ndarray, pyscf_settings: Mapping[str, Any]
) -> np.ndarray:
    """Self-consistent density of a label (N,) at ``points`` (N, 3) in bohr; e/bohr³."""
    mol = build_molecule(label["symbols"], label["positions_ang"], label["charge"], pyscf_settings)
    density = np.empty(len(points))
    for first in range(0, len(points), CHUNK):
        part = slice(first, first + CHUNK)
        functions = evaluate(mol, points[part])[0]
        density[part] = np.einsum("pi,pi->p", functions @ label["density_matrix"], functions)
    return density


def free_atom_density(
    label: Mapping[str, Any], points: np.ndarray, pyscf_settings: Mapping[str, Any]
) -> np.ndarray:
    """Density (N,) of the superposed free atoms of a label at ``points`` (N, 3); atomic units."""
    xc, basis = pyscf_settings["xc"], pyscf_settings["basis"]
    mol = build_molecule(label["symbols"], label["positions_ang"], label["charge"], pyscf_settings)
    atoms = [atomic_density(symbol, xc, basis) for symbol in label["symbols"]]
    return density_on_grid(atoms, mol.atom_coords(), points)[0]


def needs_tau(pyscf_settings: Mapping[str, Any]) -> bool:
    """Whether the functional depends on the kinetic energy density."""
    return bool(dft.libxc.xc_type(pyscf_settings["xc"]) == "MGGA")


def scf_pauli_density(
    label: Mapping[str, Any], points: np.ndarray, pyscf_settings: Mapping[str, Any]
) -> np.ndarray:
    """Pauli kinetic energy density ``½ Σ f_i |∇ψ_i|² − |∇n|²/(8n)`` (N,) of a label; atomic units.

    ``points`` (N, 3) in bohr. It is cut at zero, below which only rounding leads.
    """
    mol = build_molecule(label["symbols"], label["positions_ang"], label["charge"], pyscf_settings)
    pauli = np.empty(len(points))
    for first in range(0, len(points), CHUNK):
        part = slice(first, first + CHUNK)
        functions, *slopes = evaluate(mol, points[part], deriv=1)
        half = functions @ label["density_matrix"]
        density = np.einsum("pi,pi->p", half, functions)
        kinetic, square = np.zeros((2, len(density)))
        for slope in slopes:
            kinetic += 0.5 * np.einsum("pi,pi->p", slope @ label["density_matrix"], slope)
            square += (2.0 * np.einsum("pi,pi->p", half, slope)) ** 2
        pauli[part] = kinetic - square / (8.0 * np.maximum(density, 1e-300))
    return np.clip(pauli, 0.0, None)


def free_atom_pauli_density(
    label: Mapping[str, Any], points: np.ndarray, pyscf_settings: Mapping[str, Any]
) -> np.ndarray:
    """Pauli kinetic energy density (N,) of the superposed free atoms of a label; atomic units."""
    xc, basis = pyscf_settings["xc"], pyscf_settings["basis"]
    atoms = [atomic_pauli_density(symbol, xc, basis) for symbol in label["symbols"]]
    return pauli_on_grid(atoms, positions_bohr(label), points)


def positions_bohr(label: Mapping[str, Any]) -> np.ndarray:
    """Positions (atoms, 3) of a label in bohr."""
    return np.asarray(label["positions_ang"], dtype=float) / BOHR_ANG


def draw_sample(
    label: Mapping[str, Any],
    pyscf_settings: Mapping[str, Any],
    count: int,
    seed: int,
    target: str = "difference",
) -> Sample:
    """Points of a label for the fit, the same whatever other labels there are.

    Parameters
    ----------
    label
        As :func:`dft2spectra.molecules.labels.read_labels` gives it.
    count
        Number of points; the whole grid if it has fewer.
    seed
        Together with the name of the frame it decides on the points.
    target
        ``difference``: density minus that of the free atoms; ``full``: the density.

    Raises
    ------
    ValueError
        The target is unknown or the count is not positive.
    """
    if target not in TARGETS:
        raise ValueError(f"density_model.target: {target!r} is none of {', '.join(TARGETS)}")
    if count < 1:
        raise ValueError(f"density_model.points_per_geometry must be positive, not {count}")
    grid = label_grid(label, pyscf_settings)
    total = len(grid.weights)
    random = np.random.default_rng([seed, *str(label["frame"]).encode()])
    chosen = np.sort(random.choice(total, min(count, total), replace=False))
    points = grid.points[chosen]
    density = scf_density(label, points, pyscf_settings)
    # Some Lebedev rules have negative weights; a squared residual cannot.
    share = np.clip(grid.weights[chosen], 0.0, None) * (total / len(chosen))
    positive = np.clip(density, 0.0, None)
    weights = share / (positive + WEIGHT_FLOOR)
    pauli = None
    if needs_tau(pyscf_settings):
        pauli = scf_pauli_density(label, points, pyscf_settings)
    if target == "difference":
        density = density - free_atom_density(label, points, pyscf_settings)
        if pauli is not None:
            pauli -= free_atom_pauli_density(label, points, pyscf_settings)
    return Sample(
        list(label["symbols"]),
        positions_bohr(label),
        points,
        grid.owner[chosen],
        weights,
        density,
        pauli,
        share / (positive + PAULI_FLOOR) ** 2,
    )


def design_matrix(basis: Basis, sample: Sample) -> np.ndarray:
    """All terms at the points of a sample, shape (N, terms), e/bohr³ per unit coefficient."""
    species = basis.numbered(sample.symbols)
    matrix = np.empty((len(sample.points), sum(basis.terms.sizes)))
    for first, last, _ in point_blocks(sample.owner):
        around = moments_around(basis, sample.points[first:last], sample.positions, species)
        matrix[first:last] = features(basis.terms, *around)
    return matrix
