"""A tight-binding model of a metal: whether an Fe site carries a moment, and how large a one.

A fingerprint knows where the neighbours are and what they are. Whether iron is magnetic among them
is decided by the width of its d band and by how it hybridises with theirs: near the Stoner limit
the moment jumps, and no smooth function of the surroundings does. So the bands are made, of s, p
and d states (s and p only outside the transition metals), with the two-centre integrals of
Harrison's solid-state table,

    V_ll'm = η_ll'm (ħ²/m) d⁻²,   V_ldm = η_ldm (ħ²/m) r_d^(3/2) d^(−7/2),
    V_ddm = η_ddm (ħ²/m) (r_d r_d')^(3/2) d⁻⁵

(Electronic Structure and the Properties of Solids, 1980; the canonical ratios of V_ddm as in
Elementary Electronic Structure, 1999), rotated as Slater and Koster, Phys. Rev. 94, 1498 (1954),
do. Every atom keeps the electrons of its d shell and those of its s and p shells: their levels move
until it does. An exchange splitting I m between the spins of the d states makes moments
self-consistent (Stoner; I of Janak, Phys. Rev. B 16, 255 (1977)).

No electronic structure of any crystal enters but for :data:`FITTED`, eight numbers for all
elements, which were fitted to computed moments (docs/learning.md says to which). A crystal of a few
atoms takes a tenth of a second. It is a model: a correlation of about 0.8 with the moments of DFT,
worth having as features beside the fingerprint, not instead of DFT.
"""

from collections.abc import Sequence
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


FITTED = Parameters(0.833, 1.818, 0.744, 0.854, 0.884, 1.399, 0.077, 0.914)

# Range of V_ldm and V_ddm, and widths of the cutoffs (Å).
D_RANGE_ANG, D_WIDTH_ANG, SP_WIDTH_ANG = 4.8, 0.2, 0.25
NEIGHBOURS_ANG = 6.5
REFERENCE_RADIUS_ANG = 1.2
# The radii are stretched by this before sp_range.
STRETCH = 1.15
SMEARING_EV = 0.1
# Points along an axis times its length over 2π (Å).
KPOINT_DENSITY_ANG = 1.7
# Electrons in s and p states of a transition metal; the rest of its valence is d.
SP_ELECTRONS = 1.2
MOST_D_ELECTRONS = 9.85

# Radius r_d (Å) of Harrison's table. Lanthanides: that of Lu by covalent radius.
D_RADIUS_ANG = {
    **{"Sc": 1.24, "Ti": 1.08, "V": 0.98, "Cr": 0.90, "Mn": 0.86, "Fe": 0.80, "Co": 0.76},
    **{"Ni": 0.71, "Cu": 0.67, "Y": 1.58, "Zr": 1.41, "Nb": 1.28, "Mo": 1.20, "Tc": 1.11},
    **{"Ru": 1.05, "Rh": 0.99, "Pd": 0.94, "Ag": 0.89, "Lu": 1.58, "Hf": 1.44, "Ta": 1.34},
    **{"W": 1.27, "Re": 1.20, "Os": 1.13, "Ir": 1.08, "Pt": 1.04, "Au": 1.01},
}
# Stoner's I (eV); those not here have the value of their row.
EXCHANGE_EV = {
    **{"Sc": 0.70, "Ti": 0.70, "V": 0.75, "Cr": 0.82, "Mn": 0.86, "Fe": 0.92},
    **{"Co": 0.98, "Ni": 1.01},
}
EXCHANGE_OF_ROW_EV = {4: 0.73, 5: 0.60, 6: 0.50, 7: 0.50}
# Moment (Bohr magnetons) from which the spins start.
START_MUB = {"Fe": 2.5, "Mn": 2.5, "Co": 1.5, "Ni": 0.5}

MAX_STEPS = 60
SYMPREC = 1e-4
# Self-consistent to this many electrons.
TOLERANCE = 1e-5
# Steps of the levels (eV) per missing electron in sp and d shells, and of the moments.
CAUTION = (0.8, 0.6, 0.5)
SHELLS = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])

# Symmetric traceless matrices of the five d states: 3z² − r², xz, yz, xy, x² − y².
_D_STATES = np.array(
    [
        np.diag([-1.0, -1.0, 2.0]) / np.sqrt(6.0),
        np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]]) / np.sqrt(2.0),
        np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0]]) / np.sqrt(2.0),
        np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]) / np.sqrt(2.0),
        np.diag([1.0, -1.0, 0.0]) / np.sqrt(2.0),
    ]
)


Cell = tuple[np.ndarray, np.ndarray, np.ndarray]


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
    average: np.ndarray  # (n_atoms, n_atoms): mean over the atoms that symmetry makes equal


class State(NamedTuple):
    """A self-consistent solution."""

    shifts: np.ndarray  # (2, n_atoms): of the sp and d levels, eV
    moments: np.ndarray  # (n_atoms,), of the d shells, Bohr magnetons
    electrons: np.ndarray  # (3, n_atoms): in s, p and d states
    density: np.ndarray  # (n_atoms,): d states of both spins per eV at the Fermi level
    error: float  # electrons by which it is not self-consistent


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
        "mab,zbc,ncd,zad->zmn", _D_STATES, frames, _D_STATES, frames, optimize=True
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
    reach = parameters.sp_range * STRETCH * (r_left + r_right)
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
    cell = (atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers)
    points, weights = _mesh(cell)
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
    same = np.array(spglib.get_symmetry_dataset(cell, symprec=SYMPREC).equivalent_atoms)
    average = (same[:, None] == same) / np.bincount(same, minlength=number)[same][:, None]
    return Bands(
        matrices, weights, levels[atom, shell][kept], atom[kept], shell[kept], kinds, average
    )


def _mesh(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) in 1/Å that symmetry leaves of a mesh around Γ, and their weights (n,)."""
    reciprocal = 2.0 * np.pi * np.linalg.inv(cell[0]).T
    sizes = np.ceil(KPOINT_DENSITY_ANG * np.linalg.norm(reciprocal, axis=1)).astype(int)
    sizes = np.maximum(sizes, 1)
    kept, grid = spglib.get_ir_reciprocal_mesh(sizes, cell, is_shift=[0, 0, 0], symprec=SYMPREC)
    chosen, counts = np.unique(kept, return_counts=True)
    return grid[chosen] / sizes @ reciprocal, counts / counts.sum()


def solve(
    bands: Bands, start: np.ndarray, exchange: float = 1.0, shifts: np.ndarray | None = None
) -> State:
    """Self-consistent shifts and moments.

    Parameters
    ----------
    start
        Moments (n_atoms,) to begin with; all zero keeps the spins paired.
    exchange
        Factor on I of all elements.
    shifts
        To begin with, as in :class:`State`; none by default.
    """
    number = len(bands.species)
    has_d = np.array([kind.d_radius > 0.0 for kind in bands.species])
    wanted = np.array([[kind.sp_electrons, kind.d_electrons] for kind in bands.species]).T
    splitting = exchange * np.array([kind.exchange for kind in bands.species])
    of_d, paired = bands.shell == 2, not np.any(start)
    vector = np.concatenate([np.zeros(2 * number) if shifts is None else shifts.ravel(), start])
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(MAX_STEPS):
        shifts, moments = vector[: 2 * number].reshape(2, number), vector[2 * number :]
        base = bands.levels + np.where(of_d, shifts[1][bands.atom], shifts[0][bands.atom])
        half = np.where(of_d, 0.5 * (splitting * moments)[bands.atom], 0.0)
        up, down, density = _occupy(bands, [base] if paired else [base - half, base + half])
        electrons, polarised = up + down, (up - down)[2]
        missing_d = np.where(has_d, electrons[2] - wanted[1], 0.0)
        residual = np.concatenate(
            [
                CAUTION[0] * (electrons[0] + electrons[1] - wanted[0]),
                CAUTION[1] * missing_d,
                CAUTION[2] * (0.0 if paired else 1.0) * (polarised - moments),
            ]
        )
        error = float(np.abs(residual).max())
        steps.append((vector, residual))
        if error < TOLERANCE:
            break
        vector = _next(steps)
        vector[2 * number :] = np.clip(vector[2 * number :], -5.0, 5.0)
    return State(shifts, polarised, electrons, density[2], error)


# Factors on I of the moments among the features: their spread shows a site near the Stoner limit.
FACTORS = (0.88, 0.96, 1.04, 1.12)
BAND_FEATURES = (
    *(f"moment_{factor}" for factor in FACTORS),
    "density_of_states",
    "s_electrons",
    "p_electrons",
    "mean_moment",
)


def band_features(atoms: Atoms, centers: Sequence[int]) -> np.ndarray:
    """Features (len(centers), 8) of atoms with the given indices, rounded to 1e-4.

    Moments with :data:`FACTORS` on I, signed relative to the total one as those of the site table
    (Bohr magnetons); of the state with paired spins, d states of an atom per eV at the Fermi level,
    electrons in its s and p states; the total moment per atom for the third factor. The same for
    any cell of the crystal.

    Raises
    ------
    ValueError
        As :func:`species`.
    """
    primitive, place = _primitive(atoms)
    bands = make_bands(primitive)
    paired = solve(bands, np.zeros(len(primitive)))
    start = np.array([START_MUB.get(symbol, 0.0) for symbol in primitive.get_chemical_symbols()])
    shifts, moments = paired.shifts, []
    # From the largest down: each starts where the one before ended.
    for factor in reversed(FACTORS):
        state = solve(bands, start, factor, shifts)
        shifts = state.shifts
        total = float(state.moments.sum())
        leading = total if abs(total) > 0.05 else state.moments[np.argmax(np.abs(state.moments))]
        moments.append(state.moments * (np.sign(leading) or 1.0))
    moments = moments[::-1]
    mean = np.full(len(primitive), moments[2].sum() / len(primitive))
    found = np.array([*moments, paired.density, *paired.electrons[:2], mean]).T
    return np.round(found[[place[center] for center in centers]], 4)


def _primitive(atoms: Atoms) -> tuple[Atoms, np.ndarray]:
    """A primitive cell of the same orientation, and the atom of it that each atom is (n_atoms,)."""
    cell = (atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)
    place = np.array(found.mapping_to_primitive)
    _, first = np.unique(place, return_index=True)
    lattice = spglib.niggli_reduce(np.array(found.primitive_lattice))
    return Atoms(atoms.numbers[first], atoms.positions[first], cell=lattice, pbc=True), place


# Steps that Anderson's mixing looks back at.
HISTORY = 6


def _next(steps: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Anderson's next vector, J. ACM 12, 547 (1965)."""
    vector, residual = steps[-1]
    earlier = steps[-HISTORY - 1 : -1]
    if not earlier:
        return vector + residual
    d_residual = np.array([residual - other for _, other in earlier]).T
    d_vector = np.array([vector - other for other, _ in earlier]).T
    weights = np.linalg.lstsq(d_residual, residual, rcond=1e-6)[0]
    return vector - d_vector @ weights + residual - d_residual @ weights


def _occupy(bands: Bands, levels: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Electrons of both spins and the density at the Fermi level, each (3, n_atoms) by shell."""
    diagonal = np.arange(len(bands.levels))
    energies, weights = [], []
    for one in levels:
        matrices = bands.matrices.copy()
        matrices[:, diagonal, diagonal] += one
        values, vectors = np.linalg.eigh(matrices)
        energies.append(values)
        weights.append(np.abs(vectors) ** 2 * bands.weights[:, None, None])
    electrons = sum(kind.sp_electrons + kind.d_electrons for kind in bands.species)
    low, high = min(e.min() for e in energies) - 1.0, max(e.max() for e in energies) + 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        filled = [_fermi(values, middle) for values in energies]
        count = sum(float(bands.weights @ part.sum(axis=1)) for part in filled) * 2 / len(filled)
        low, high = (low, middle) if count > electrons else (middle, high)
    slopes = [part * (1.0 - part) / SMEARING_EV for part in filled]
    up, *down = (
        _by_shell(bands, np.einsum("kn,kan->a", part, weight))
        for part, weight in zip(filled, weights, strict=True)
    )
    densities = [
        _by_shell(bands, np.einsum("kn,kan->a", slope, weight))
        for slope, weight in zip(slopes, weights, strict=True)
    ]
    return up, down[0] if down else up, sum(densities) * 2 / len(densities)


def _by_shell(bands: Bands, values: np.ndarray) -> np.ndarray:
    """Sums of values of states (n_states,) over shells (3, n_atoms), equal at equal atoms."""
    found = np.zeros((3, len(bands.species)))
    np.add.at(found, (bands.shell, bands.atom), values)
    return found @ bands.average.T


def _fermi(values: np.ndarray, level: float) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(np.clip((values - level) / SMEARING_EV, -50.0, 50.0)))
