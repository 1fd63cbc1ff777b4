"""A tight-binding model of a metal: the Hamiltonian of its s, p and d states.

A fingerprint knows where the neighbours are and what they are. Whether iron is magnetic among them
is decided by the width of its d band and by how it hybridises with theirs: near the Stoner limit
the moment jumps, and no smooth function of the surroundings does. The field gradient follows which
p and d states are filled. So the bands are made (s and p states only, outside the transition
metals) with the two-centre integrals of Harrison's solid-state table,

    V_ll'm = η_ll'm (ħ²/m) d⁻²,   V_ldm = η_ldm (ħ²/m) r_d^(3/2) d^(−7/2),
    V_ddm = η_ddm (ħ²/m) (r_d r_d')^(3/2) d⁻⁵

(Electronic Structure and the Properties of Solids, 1980; the canonical ratios of V_ddm as in
Elementary Electronic Structure, 1999), rotated as Slater and Koster, Phys. Rev. 94, 1498 (1954),
do. :mod:`dft2spectra.learning.band_states` fills them.

No electronic structure of any crystal enters but for :data:`FITTED`, eight numbers for all
elements, which were fitted to computed moments (docs/learning.md says to which).
"""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd
import spglib
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list
from pymatgen.core import Element

# ħ²/m in eV Å².
HBAR2_OVER_M = 7.62
# Harrison's coefficients of sp and sp-d integrals by pair of shells and m.
ETA = {
    **{"ss": (-1.40,), "sp": (1.84,), "pp": (3.24, -0.81)},
    **{"sd": (-3.16,), "pd": (-2.95, 1.36)},
    "dd": (-45 / np.pi, 30 / np.pi, -7.5 / np.pi),
}


class Parameters(NamedTuple):
    """What is common to all elements."""

    dd: float  # factor on V_ddm
    spd: float  # factor on V_ldm of an sp element of covalent radius 1.2 Å
    size_power: float  # … which grows with this power of that radius
    metal_spd: float  # … and this factor if the s or p state is of a transition metal
    sp: float  # factor on V_ll'm
    sp_range: float  # cutoff of V_ll'm over the sum of covalent radii
    d_electrons: float  # added to the electrons of each d shell
    exchange: float  # factor on I


# Twelve crystals of the external set were among those of the fit; see docs/learning.md.
FITTED = Parameters(0.833, 1.818, 0.744, 0.854, 0.884, 1.609, 0.077, 0.914)

# Range of V_ldm and V_ddm, and widths of the cutoffs (Å).
D_RANGE_ANG, D_WIDTH_ANG, SP_WIDTH_ANG = 4.8, 0.2, 0.25
NEIGHBOURS_ANG = 6.5
REFERENCE_RADIUS_ANG = 1.2
# Points along an axis over the length of that of the reciprocal cell (Å).
KPOINT_DENSITY_ANG = 1.7
# Electrons in s and p states of a transition metal; the rest of its valence is d, but for a filled
# shell that mixes a little. About what band structures of the metals give; a shift of it is fitted.
SP_ELECTRONS = 1.2
MOST_D_ELECTRONS = 9.85

# Radius r_d (Å) of Harrison's table. Lanthanides: that of Lu by covalent radius.
D_RADIUS_ANG = {
    **{"Sc": 1.24, "Ti": 1.08, "V": 0.98, "Cr": 0.90, "Mn": 0.86, "Fe": 0.80, "Co": 0.76},
    **{"Ni": 0.71, "Cu": 0.67, "Y": 1.58, "Zr": 1.41, "Nb": 1.28, "Mo": 1.20, "Tc": 1.11},
    **{"Ru": 1.05, "Rh": 0.99, "Pd": 0.94, "Ag": 0.89, "Lu": 1.58, "Hf": 1.44, "Ta": 1.34},
    **{"W": 1.27, "Re": 1.20, "Os": 1.13, "Ir": 1.08, "Pt": 1.04, "Au": 1.01},
}
# Stoner's I (eV), about those of Janak, Phys. Rev. B 16, 255 (1977), from memory; a factor on all
# is fitted. Those not here have the value of their row, guessed from his of the 4d metals.
EXCHANGE_EV = {
    **{"Sc": 0.70, "Ti": 0.70, "V": 0.75, "Cr": 0.82, "Mn": 0.86, "Fe": 0.92},
    **{"Co": 0.98, "Ni": 1.01},
}
EXCHANGE_OF_ROW_EV = {4: 0.73, 5: 0.60, 6: 0.50, 7: 0.50}
SYMPREC = 1e-4
SHELLS = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])

# Symmetric traceless matrices of the five d states: 3z² − r², xz, yz, xy, x² − y².
D_STATES = np.array(
    [
        np.diag([-1.0, -1.0, 2.0]) / np.sqrt(6.0),
        np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]]) / np.sqrt(2.0),
        np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0]]) / np.sqrt(2.0),
        np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]) / np.sqrt(2.0),
        np.diag([1.0, -1.0, 0.0]) / np.sqrt(2.0),
    ]
)


# Lattice, fractional positions and atomic numbers, as spglib takes them.
Cell = tuple[list[list[float]], list[list[float]], list[int]]


class Species(NamedTuple):
    """An element in the model; energies in eV, lengths in Å."""

    s_level: float
    p_level: float
    d_level: float
    d_radius: float  # 0 without d states
    radius: float
    d_electrons: float
    sp_electrons: float
    exchange: float


class Bands(NamedTuple):
    """The Hamiltonian of a primitive cell, without the shifts of the levels."""

    matrices: np.ndarray  # complex (n_k, n_states, n_states), eV
    weights: np.ndarray  # (n_k,), of sum 1
    levels: np.ndarray  # (n_states,), eV
    atom: np.ndarray  # int (n_states,)
    shell: np.ndarray  # int (n_states,): 0, 1, 2 for s, p, d
    species: list[Species]
    operations: list[tuple[np.ndarray, np.ndarray]]  # rotation (3, 3), images (n_atoms,)


@cache
def _levels() -> pd.DataFrame:
    with files("dft2spectra.learning").joinpath("band_levels.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, comment="#", index_col="symbol", keep_default_na=False)


@cache
def species(symbol: str, parameters: Parameters = FITTED) -> Species:
    """An element as the model sees it.

    Raises
    ------
    ValueError
        An element without levels: those heavier than Cm.
    """
    if symbol not in _levels().index:
        raise ValueError(f"the tight-binding model does not know {symbol}")
    s_level, p_level = _levels().loc[symbol, ["s_ev", "p_ev"]].astype(float)
    element = Element(symbol)
    radius = float(covalent_radii[atomic_numbers[symbol]])
    f_metal = element.is_lanthanoid or element.is_actinoid
    if symbol in D_RADIUS_ANG or f_metal:
        valence = 3.0 if f_metal else float(element.group)
        d_radius = D_RADIUS_ANG.get(
            symbol, D_RADIUS_ANG["Lu"] * radius / covalent_radii[atomic_numbers["Lu"]]
        )
        # Early metals keep a little more in the d shell.
        inside = valence - SP_ELECTRONS + 0.1 * max(5.0 - valence, 0.0)
        d_electrons = min(inside + parameters.d_electrons, MOST_D_ELECTRONS)
        exchange = EXCHANGE_EV.get(symbol, EXCHANGE_OF_ROW_EV[element.row]) * parameters.exchange
    else:
        valence = float(element.group if element.group <= 2 else element.group - 10)
        d_radius = d_electrons = exchange = 0.0
    levels = (s_level, p_level, s_level - 2.0)
    return Species(*levels, d_radius, radius, d_electrons, valence - d_electrons, exchange)


def _frames(directions: np.ndarray) -> np.ndarray:
    """Rotations (n, 3, 3) whose third column is each unit vector (n, 3)."""
    steep = np.abs(directions[:, 2]) < 0.9
    other = np.where(steep[:, None], [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(other, directions)
    first /= np.linalg.norm(first, axis=1)[:, None]
    return np.stack([first, np.cross(directions, first), directions], axis=2)


def _rotations(directions: np.ndarray) -> np.ndarray:
    """From states along each direction to those along z of the crystal, (n, 9, 9)."""
    frames = _frames(directions)
    turned = np.zeros((len(directions), 9, 9))
    turned[:, 0, 0] = 1.0
    turned[:, 1:4, 1:4] = frames
    turned[:, 4:, 4:] = np.einsum(
        "mab,zbc,ncd,zad->zmn", D_STATES, frames, D_STATES, frames, optimize=True
    )
    return turned


def hopping(
    left: list[Species], right: list[Species], vectors: np.ndarray, parameters: Parameters = FITTED
) -> np.ndarray:
    """Two-centre matrices (n, 9, 9) in eV of s, p (x, y, z) and d (3z² − r², xz, yz, xy, x² − y²).

    Parameters
    ----------
    left, right
        Elements of the two atoms of each bond.
    vectors
        From the left to the right one (n, 3), Å.
    """
    distance = np.linalg.norm(vectors, axis=1)
    d_left, d_right = (np.array([one.d_radius for one in side]) for side in (left, right))
    r_left, r_right = (np.array([one.radius for one in side]) for side in (left, right))
    reach = parameters.sp_range * (r_left + r_right)
    sp = parameters.sp * HBAR2_OVER_M / distance**2 * _fade(distance, reach, SP_WIDTH_ANG)
    near = _fade(distance, D_RANGE_ANG, D_WIDTH_ANG)
    dd = parameters.dd * HBAR2_OVER_M * (d_left * d_right) ** 1.5 / distance**5 * near
    to_right, to_left = (
        parameters.spd
        * np.where(
            other_d > 0.0,
            parameters.metal_spd,
            (radius / REFERENCE_RADIUS_ANG) ** parameters.size_power,
        )
        * HBAR2_OVER_M
        * d_radius**1.5
        / distance**3.5
        * near
        for d_radius, radius, other_d in ((d_right, r_left, d_left), (d_left, r_right, d_right))
    )
    local = np.zeros((len(distance), 9, 9))
    local[:, 0, 0] = ETA["ss"][0] * sp
    local[:, 0, 3], local[:, 3, 0] = ETA["sp"][0] * sp, -ETA["sp"][0] * sp
    local[:, 3, 3] = ETA["pp"][0] * sp
    local[:, 1, 1] = local[:, 2, 2] = ETA["pp"][1] * sp
    local[:, 0, 4], local[:, 4, 0] = ETA["sd"][0] * to_right, ETA["sd"][0] * to_left
    local[:, 3, 4], local[:, 4, 3] = ETA["pd"][0] * to_right, -ETA["pd"][0] * to_left
    for p_state, d_state in ((1, 5), (2, 6)):
        local[:, p_state, d_state] = ETA["pd"][1] * to_right
        local[:, d_state, p_state] = -ETA["pd"][1] * to_left
    for m, states in enumerate(((4,), (5, 6), (7, 8))):
        for state in states:
            local[:, state, state] = ETA["dd"][m] * dd
    turned = _rotations(vectors / distance[:, None])
    return np.einsum("zab,zbc,zdc->zad", turned, local, turned, optimize=True)


def _fade(distance: np.ndarray, reach: np.ndarray | float, width: float) -> np.ndarray:
    return 1.0 / (1.0 + np.exp((distance - reach) / width))


def make_bands(atoms: Atoms, parameters: Parameters = FITTED) -> Bands:
    """The Hamiltonian of a primitive cell.

    Raises
    ------
    ValueError
        As :func:`species`.
    """
    kinds = [species(symbol, parameters) for symbol in atoms.get_chemical_symbols()]
    number = len(kinds)
    i, j, vectors = neighbor_list("ijD", atoms, NEIGHBOURS_ANG)
    blocks = hopping([kinds[k] for k in i], [kinds[k] for k in j], vectors, parameters)
    points, weights = _mesh(_cell(atoms))
    whole = np.zeros((len(points), number, 9, number, 9), dtype=complex)
    for pair in np.unique(i * number + j):
        bonds = i * number + j == pair
        phases = np.exp(1j * points @ vectors[bonds].T)
        summed = phases @ blocks[bonds].reshape(-1, 81)
        whole[:, pair // number, :, pair % number] = summed.reshape(-1, 9, 9)
    atom, shell = np.repeat(np.arange(number), 9), np.tile(SHELLS, number)
    has_d = np.array([kind.d_radius > 0.0 for kind in kinds])
    kept = (shell < 2) | has_d[atom]
    levels = np.array([[kind.s_level, kind.p_level, kind.d_level] for kind in kinds])
    matrices = whole.reshape(len(points), 9 * number, 9 * number)[:, kept][:, :, kept]
    operations = _operations(atoms)
    return Bands(
        matrices, weights, levels[atom, shell][kept], atom[kept], shell[kept], kinds, operations
    )


def _operations(atoms: Atoms) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rotations in space and images of the atoms, for each operation of the space group."""
    found = symmetry(atoms)
    axes, places = atoms.cell.array.T, atoms.get_scaled_positions()
    operations = []
    for rotation, translation in zip(found.rotations, found.translations, strict=True):
        apart = (places @ rotation.T + translation)[:, None] - places
        image = np.argmin(np.abs(apart - np.rint(apart)).sum(axis=2), axis=1)
        operations.append((axes @ rotation @ np.linalg.inv(axes), image))
    return operations


def _cell(atoms: Atoms) -> Cell:
    positions = atoms.get_scaled_positions().tolist()
    return atoms.cell.array.tolist(), positions, atoms.numbers.tolist()


def symmetry(atoms: Atoms) -> spglib.SpglibDataset:
    """Symmetry of a crystal, by spglib."""
    cell = _cell(atoms)
    found = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)
    if found is None:
        raise ValueError(f"spglib finds no symmetry, not even the identity: {cell}")
    return found


def _mesh(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) in 1/Å that symmetry leaves of a mesh around Γ, and their weights (n,)."""
    reciprocal = 2.0 * np.pi * np.linalg.inv(cell[0]).T
    sizes = np.ceil(KPOINT_DENSITY_ANG * np.linalg.norm(reciprocal, axis=1)).astype(int)
    sizes = np.maximum(sizes, 1)
    kept, grid = spglib.get_ir_reciprocal_mesh(sizes, cell, is_shift=[0, 0, 0], symprec=SYMPREC)
    chosen, counts = np.unique(kept, return_counts=True)
    return grid[chosen] / sizes @ reciprocal, counts / counts.sum()
