"""Self-consistent states of the tight-binding model, and what they say of a site.

Every atom keeps the electrons of its d shell and those of its s and p shells: their levels move
until it does. An exchange splitting I m between the spins of the d states makes moments
self-consistent (Stoner). A crystal of a few atoms takes a tenth of a second and state. It is a
model, worth having as features beside the fingerprint, not instead of DFT (docs/learning.md).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import spglib
from ase import Atoms

from dft2spectra.learning.band_model import D_STATES, Bands, make_bands, symmetry

SMEARING_EV = 0.1
# Moment (Bohr magnetons) from which the spins start.
START_MUB = {"Fe": 2.5, "Mn": 2.5, "Co": 1.5, "Ni": 0.5}
MAX_STEPS = 60
# Self-consistent to this many electrons.
TOLERANCE = 2e-5
# Steps of the levels (eV) per surplus electron in sp and d shells, and of the moments; and factors
# on them where they do not get there, as from one start in a hundred.
STEP = (0.8, 0.6, 0.5)
GENTLER = (0.3, 0.1)


class State(NamedTuple):
    """A self-consistent solution."""

    shifts: np.ndarray  # (2, n_atoms): of the sp and d levels, eV
    moments: np.ndarray  # (n_atoms,), of the d shells, Bohr magnetons
    electrons: np.ndarray  # (3, n_atoms): in s, p and d states
    density: np.ndarray  # (n_atoms,): d states of both spins per eV at the Fermi level
    levels: np.ndarray  # (1 or 2, n_states): shifted ones of each spin, eV
    error: float  # electrons by which it is not self-consistent


def solve(
    bands: Bands, start: np.ndarray, exchange: float = 1.0, shifts: np.ndarray | None = None
) -> State:
    """Self-consistent shifts and moments; where no steps get there, the nearest that was seen.

    Parameters
    ----------
    start
        Moments (n_atoms,) to begin with; all zero keeps the spins paired.
    exchange
        Factor on I of all elements.
    shifts
        To begin with, as in :class:`State`; none by default.
    """
    shifts = np.zeros((2, len(bands.species))) if shifts is None else shifts
    best = _iterate(bands, start, exchange, shifts, 1.0)
    for caution in GENTLER:
        if best.error < TOLERANCE:
            break
        again = _iterate(bands, start, exchange, shifts, caution)
        best = min(best, again, key=_error)
    return best


def _error(state: State) -> float:
    return state.error


def _iterate(
    bands: Bands, start: np.ndarray, exchange: float, shifts: np.ndarray, caution: float
) -> State:
    """The state of least error on a way that is taken in steps of one size."""
    number = len(bands.species)
    has_d = np.array([kind.d_radius > 0.0 for kind in bands.species])
    wanted = np.array([[kind.sp_electrons, kind.d_electrons] for kind in bands.species]).T
    splitting = exchange * np.array([kind.exchange for kind in bands.species])
    of_d, paired = bands.shell == 2, not np.any(start)
    size = caution * np.repeat(STEP, number)
    vector = np.concatenate([shifts.ravel(), start])
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    states: list[State] = []
    for _ in range(MAX_STEPS):
        shifts, moments = vector[: 2 * number].reshape(2, number), vector[2 * number :]
        base = bands.levels + np.where(of_d, shifts[1][bands.atom], shifts[0][bands.atom])
        half = np.where(of_d, 0.5 * (splitting * moments)[bands.atom], 0.0)
        levels = base[None] if paired else np.array([base - half, base + half])
        up, down, density = _occupy(bands, levels)
        electrons, polarised = up + down, (up - down)[2]
        surplus = np.concatenate(
            [
                electrons[0] + electrons[1] - wanted[0],
                np.where(has_d, electrons[2] - wanted[1], 0.0),
                np.zeros(number) if paired else polarised - moments,
            ]
        )
        error = float(np.abs(surplus).max())
        states.append(State(shifts, polarised, electrons, density[2], levels, error))
        if error < TOLERANCE:
            break
        steps.append((vector, size * surplus))
        vector = _next(steps)
        vector[2 * number :] = np.clip(vector[2 * number :], -5.0, 5.0)
    return min(states, key=_error)


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


def _diagonalise(bands: Bands, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies (n_spins, n_k, n_bands) and states (n_spins, n_k, n_states, n_bands)."""
    diagonal = np.arange(levels.shape[1])
    matrices = np.repeat(bands.matrices[None], len(levels), axis=0)
    matrices[:, :, diagonal, diagonal] += levels[:, None]
    return np.linalg.eigh(matrices)


def _fill(bands: Bands, energies: np.ndarray) -> np.ndarray:
    """Electrons in each band (n_spins, n_k, n_bands): two where there is one spin."""
    electrons = sum(kind.sp_electrons + kind.d_electrons for kind in bands.species)
    low, high = energies.min() - 1.0, energies.max() + 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        filled = 2 / len(energies) * _fermi(energies, middle)
        count = float(bands.weights @ filled.sum(axis=(0, 2)))
        low, high = (low, middle) if count > electrons else (middle, high)
    return filled


def _fermi(energies: np.ndarray, level: float) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(np.clip((energies - level) / SMEARING_EV, -50.0, 50.0)))


def _occupy(bands: Bands, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Electrons of both spins and the density at the Fermi level, each (3, n_atoms) by shell."""
    energies, states = _diagonalise(bands, levels)
    filled, most = _fill(bands, energies), 2 / len(levels)
    weights = np.abs(states) ** 2 * bands.weights[:, None, None]
    electrons = [_by_shell(bands, values) for values in np.einsum("skn,skan->sa", filled, weights)]
    slopes = filled * (1.0 - filled / most) / SMEARING_EV
    density = _by_shell(bands, np.einsum("skn,skan->a", slopes, weights))
    up, down = electrons if len(electrons) == 2 else (0.5 * electrons[0], 0.5 * electrons[0])
    return up, down, density


def _by_shell(bands: Bands, values: np.ndarray) -> np.ndarray:
    """Sums of values of states (n_states,) over shells (3, n_atoms), equal at equal atoms."""
    found = np.zeros((3, len(bands.species)))
    np.add.at(found, (bands.shell, bands.atom), values)
    return np.mean([found[:, image] for _, image in bands.operations], axis=0)


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
    start, shifts, moments = start_moments(primitive), paired.shifts, []
    # From the largest down: each starts where the one before ended.
    for factor in reversed(FACTORS):
        state = solve(bands, start, factor, shifts)
        shifts = state.shifts
        moments.append(state.moments * _direction(state))
    moments = moments[::-1]
    mean = np.full(len(primitive), moments[2].sum() / len(primitive))
    found = np.array([*moments, paired.density, *paired.electrons[:2], mean]).T
    return np.round(found[[place[center] for center in centers]], 4)


def _direction(state: State) -> float:
    """Sign of the total moment, or of the largest where they cancel."""
    total = float(state.moments.sum())
    leading = total if abs(total) > 0.05 else state.moments[np.argmax(np.abs(state.moments))]
    return float(np.sign(leading)) or 1.0


def shell_quadrupoles(atoms: Atoms, centers: Sequence[int]) -> np.ndarray:
    """Quadrupole moments of the shells of some atoms, (len(centers), 6, 3, 3), traceless.

    ⟨3 n_i n_j − δ_ij⟩ of the electrons in p and d states (n the direction from the nucleus): p and
    d in the state with paired spins, p and d of spin up in the magnetic one ("up" along the total
    moment), p and d of spin down. They turn with the crystal, and are what symmetry leaves of a
    tensor at the site.
    """
    primitive, place = _primitive(atoms)
    bands = make_bands(primitive)
    paired = solve(bands, np.zeros(len(primitive)))
    magnetic = solve(bands, start_moments(primitive), 1.0, paired.shifts)
    up, down = _quadrupoles(bands, magnetic)[:: int(_direction(magnetic))]
    found = np.concatenate([_quadrupoles(bands, paired)[0], up, down])
    return found.transpose(1, 0, 2, 3)[[place[center] for center in centers]]


# ⟨d_m| 3 n_i n_j − δ_ij |d_n⟩ is 12/7 of the traceless symmetric part of the product of matrices.
_PRODUCTS = np.einsum("mab,nbc->mnac", D_STATES, D_STATES)
_PRODUCTS = 0.5 * (_PRODUCTS + _PRODUCTS.swapaxes(2, 3))
_PRODUCTS -= np.trace(_PRODUCTS, axis1=2, axis2=3)[..., None, None] * np.eye(3) / 3.0
D_QUADRUPOLES = 12.0 / 7.0 * _PRODUCTS


def _quadrupoles(bands: Bands, state: State) -> np.ndarray:
    """Of the p and d shells by spin, (n_spins, 2, n_atoms, 3, 3)."""
    energies, states = _diagonalise(bands, state.levels)
    filled = _fill(bands, energies) * bands.weights[:, None]
    number = len(bands.species)
    found = np.zeros((len(filled), 2, number, 3, 3))
    for atom in range(number):
        for shell in (1, 2):
            of_shell = states[:, :, (bands.atom == atom) & (bands.shell == shell)]
            density = np.einsum(
                "skan,skbn,skn->sab", of_shell.conj(), of_shell, filled, optimize=True
            ).real
            if shell == 1:
                trace = np.trace(density, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3.0
                found[:, 0, atom] = 6.0 / 5.0 * (density - trace)
            elif density.size:
                found[:, 1, atom] = np.einsum("smn,mnij->sij", density, D_QUADRUPOLES)
    whole = np.zeros_like(found)
    for rotation, image in bands.operations:
        whole[:, :, image] += rotation @ found @ rotation.T
    return whole / len(bands.operations)


def start_moments(atoms: Atoms) -> np.ndarray:
    """Moments (n_atoms,) from which the spins start, Bohr magnetons."""
    return np.array([START_MUB.get(symbol, 0.0) for symbol in atoms.get_chemical_symbols()])


def _primitive(atoms: Atoms) -> tuple[Atoms, np.ndarray]:
    """A primitive cell of the same orientation, and the atom of it that each atom is (n_atoms,)."""
    found = symmetry(atoms)
    place = np.array(found.mapping_to_primitive)
    _, first = np.unique(place, return_index=True)
    lattice = spglib.niggli_reduce(np.array(found.primitive_lattice))
    return Atoms(atoms.numbers[first], atoms.positions[first], cell=lattice, pbc=True), place
