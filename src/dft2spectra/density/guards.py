"""Guards of the one-shot step: what is watched at every geometry, its limits, and the remedy.

A density model is wrong without notice where it was not trained. Five numbers tell: electrons that
the predicted density had too many, the gap, how far the occupied orbitals turned since the step
before, how far the dipole is from where it was heading, and the disagreement of the committee.
Where one passes its limit the geometry is recorded, the run is stopped, or a few self-consistent
cycles start from the one-shot density matrix.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from dft2spectra.density.frame import centre_of_mass
from dft2spectra.density.grid import atom_grid, build_grid
from dft2spectra.density.one_shot import OneShot, Result
from dft2spectra.density.predictor import ModelError, Predictor
from dft2spectra.molecules.pyscf_input import build_mean_field, complete_settings
from dft2spectra.units import EBOHR_DEBYE, HARTREE_EV

METHOD_VERSION = 3  # covers what is measured, the scale of dipole jumps, and the remedy

RECORD, STOP, SCF = "record", "stop", "scf"
ACTIONS = (RECORD, STOP, SCF)
# The remedy counts as converged when a cycle changes the energy by less, and when the orbital
# gradient, on which the error of the forces depends to first order, is below the second number.
SCF_TOLERANCE_HA = 1e-6
SCF_GRADIENT_HA = 1e-4
# A jump of the dipole below this is no change of state, which moves an electron by part of a bond:
# 0.01 e Å. It is the limit where motion is silent, as in N2, and only the model's noise is left.
DIPOLE_FLOOR_DEBYE = 0.05
# Sample points thin out as (r + this length in bohr)⁻⁴ from their atom, about as committees
# disagree: 400 points then give the sum over the whole grid of water to 7 %.
SAMPLE_LENGTH_BOHR = 0.3


@dataclass(frozen=True)
class Guards:
    """The ``guards`` section: limits, None where nothing is limited, and what happens beyond.

    Attributes
    ----------
    max_dipole_jump_sigma
        In units of :func:`~dft2spectra.density.dipole_motion.thermal_dipole_jump`. Of a harmonic
        mode one step in a million is beyond 5; the wall of a bond, some 15 kT up, accelerates 1.3
        times as much as harmonically, and the slope of the dipole grows as much again.
    action
        ``record`` flags the geometry; ``stop`` ends the run there; ``scf`` replaces the results by
        those of up to ``scf_cycles`` self-consistent cycles, and flags.
    scf_cycles
        Where the model is good, one or two cycles are worse than none (water: forces off by 5 to 15
        meV/Å), and three or four converge.
    """

    min_gap_ev: float | None = None
    max_excess_electrons: float | None = None
    min_overlap: float | None = None
    max_dipole_jump_sigma: float | None = None
    max_uncertainty_percent: float | None = None
    action: str = SCF
    scf_cycles: int = 6

    def __post_init__(self) -> None:
        for limit in fields(self)[:5]:
            value = getattr(self, limit.name)
            if value is not None and not 0.0 <= value < float("inf"):
                raise ValueError(
                    f"guards.{limit.name} must be zero, positive or null (off), not {value}"
                )
        if self.min_overlap is not None and self.min_overlap > 1.0:
            raise ValueError(f"guards.min_overlap is at most 1, not {self.min_overlap}")
        if self.action not in ACTIONS:
            raise ValueError(f"guards.action is one of {', '.join(ACTIONS)}, not {self.action!r}")
        if not (isinstance(self.scf_cycles, int) and self.scf_cycles >= 1):
            raise ValueError(
                f"guards.scf_cycles must be a positive whole number, not {self.scf_cycles!r}"
            )


def read_guards(section: Mapping[str, Any] | None) -> Guards:
    """The ``guards`` section, checked; without one nothing is limited.

    Raises
    ------
    ValueError
        Naming the key that is unknown or whose value cannot be right.
    """
    known = [field.name for field in fields(Guards)]
    foreign = sorted(set(section or {}) - set(known))
    if foreign:
        raise ValueError(f"guards.{foreign[0]} is unknown; known are {', '.join(known)}")
    return Guards(**(section or {}))


@dataclass(frozen=True)
class History:
    """What the steps before leave for comparison; atomic units.

    Attributes
    ----------
    positions, occupied
        Shapes (atoms, 3) and (functions, occupied): geometry of the step before in the frame of its
        result, and its orthonormalised occupied orbitals. Empty before the first step.
    dipoles
        Shape (up to 2, 3): one-shot dipoles of the last two steps, e bohr, the latest last.
    """

    positions: NDArray
    occupied: NDArray
    dipoles: NDArray

    @classmethod
    def empty(cls) -> "History":
        """No step before."""
        return cls(np.zeros((0, 3)), np.zeros((0, 0)), np.zeros((0, 3)))

    def after(self, result: Result) -> "History":
        """The history once ``result`` has become the step before."""
        dipoles = np.vstack([self.dipoles, result.dipole])[-2:]
        return History(result.mol.atom_coords(), orthonormal_occupied(result), dipoles)


def measure(result: Result, history: History, uncertainty_percent: float) -> dict[str, float]:
    """The five watched numbers of a step.

    ``gap_ev``, ``excess_electrons``, ``occupied_overlap`` (see :func:`occupied_overlap`; 1 at the
    first step), ``dipole_jump_debye``, the distance from the straight continuation ``2 d₁ − d₂`` of
    the last two dipoles (0 at the first two steps), and ``uncertainty_percent``.
    """
    jump = 0.0
    if len(history.dipoles) == 2:
        expected = 2.0 * history.dipoles[1] - history.dipoles[0]
        jump = float(np.linalg.norm(result.dipole - expected))
    return {
        "gap_ev": result.gap * HARTREE_EV,
        "excess_electrons": result.excess_electrons,
        "occupied_overlap": occupied_overlap(result, history),
        "dipole_jump_debye": jump * EBOHR_DEBYE,
        "uncertainty_percent": uncertainty_percent,
    }


def check(measured: Mapping[str, float], guards: Guards, dipole_sigma_debye: float) -> list[str]:
    """One sentence for each limit that the numbers of :func:`measure` pass.

    Parameters
    ----------
    dipole_sigma_debye
        The unit of ``guards.max_dipole_jump_sigma``; the limit is not below
        :data:`DIPOLE_FLOOR_DEBYE`.
    """
    jump = guards.max_dipole_jump_sigma
    if jump is not None:
        jump = max(jump * dipole_sigma_debye, DIPOLE_FLOOR_DEBYE)
    lower = (
        ("gap_ev", "gap of {:.3f} eV", guards.min_gap_ev),
        ("occupied_overlap", "occupied orbitals overlap by {:.3f}", guards.min_overlap),
    )
    upper = (
        ("excess_electrons", "electron count off by {:+.4f}", guards.max_excess_electrons),
        ("dipole_jump_debye", "dipole jumped by {:.3f} D", jump),
        ("uncertainty_percent", "density uncertain by {:.3f} %", guards.max_uncertainty_percent),
    )
    # Negated comparisons, so that a number that is none passes no guard.
    broken = [
        (name, text, limit)
        for name, text, limit in lower
        if limit is not None and not measured[name] >= limit
    ]
    broken += [
        (name, text, limit)
        for name, text, limit in upper
        if limit is not None and not abs(measured[name]) <= limit
    ]
    return [f"{text.format(measured[name])}, limit {limit:.3g}" for name, text, limit in broken]


def orthonormal_occupied(result: Result) -> NDArray:
    """Occupied orbitals in Löwdin's basis, ``S^½ C``: orthonormal columns (functions, occupied)."""
    values, vectors = np.linalg.eigh(result.mol.intor("int1e_ovlp"))
    root = (vectors * np.sqrt(values.clip(0.0))) @ vectors.T
    return root @ result.orbitals[:, : result.occupied]


def occupied_overlap(result: Result, history: History) -> float:
    """How much of every occupied orbital is still occupied since the step before, 0 to 1.

    Smallest singular value of ``C₁ᵀ U C₂``: the cosine of the largest angle between the occupied
    spaces. C are the coefficients in Löwdin's basis, orthonormal and moving with the atoms, so that
    it does not matter that tight functions at two geometries hardly overlap. U turns the functions
    with the molecule, which makes the number independent of axes and rotation. An occupied orbital
    that became empty gives 0.
    """
    if not len(history.positions):
        return 1.0
    positions = result.mol.atom_coords()
    # PySCF's matrix is that of the inverse rotation, against what its documentation says.
    turn = result.mol.ao_rotation_matrix(aligning_rotation(history.positions, positions).T)
    cosines = np.linalg.svd(
        orthonormal_occupied(result).T @ turn @ history.occupied, compute_uv=False
    )
    return float(min(cosines.min(), 1.0))


def aligning_rotation(before: NDArray, after: NDArray) -> NDArray:
    """Rotation R (3, 3) for which ``before @ R.T`` lies nearest to ``after``, apart from a shift.

    W. Kabsch, Acta Cryst. A 32, 922 (1976). Where the atoms leave it open, as about the axis of a
    linear molecule, the smallest.
    """
    x, y = before - before.mean(axis=0), after - after.mean(axis=0)
    moment = y.T @ x
    left, _, right = np.linalg.svd(moment + 1e-9 * np.linalg.norm(moment) * np.eye(3))
    left[:, 2] *= np.sign(np.linalg.det(left @ right))
    return left @ right


@dataclass(frozen=True)
class Remedy:
    """What some self-consistent cycles gave; atomic units, axes of the laboratory.

    Attributes
    ----------
    residual
        Norm of the orbital gradient, hartree. Unless the cycles converged the energy is not at its
        minimum, and ``gradient`` misses its derivative to first order in the residual.
    """

    energy: float
    gradient: NDArray
    dipole: NDArray
    cycles: int
    residual: float
    converged: bool

    @property
    def sentence(self) -> str:
        """What was done, for the record."""
        outcome = "converged" if self.converged else f"not converged to {SCF_TOLERANCE_HA:g} Ha"
        return f"{self.cycles} self-consistent cycles, {outcome}, residual {self.residual:.1e} Ha"


def self_consistent(shot: OneShot, result: Result, positions: NDArray, cycles: int) -> Remedy:
    """Density-fitted Kohn–Sham from the one-shot density matrix, at most ``cycles`` cycles.

    In the axes of ``result``, and with the turning of those axes in the gradient, so that energy
    and forces are as invariant as those of the one-shot step. The two energies differ by the error
    of the predicted density and by that of fitting the whole density instead of a difference.

    Parameters
    ----------
    positions
        Shape (atoms, 3), bohr, in the axes of the laboratory.
    """
    mean_field = build_mean_field(result.mol, shot.settings)
    mean_field.max_cycle = cycles
    mean_field.conv_tol, mean_field.conv_tol_grad = SCF_TOLERANCE_HA, SCF_GRADIENT_HA
    residuals: list[float] = []
    mean_field.callback = lambda local: residuals.append(float(local["norm_gorb"]))
    energy = mean_field.kernel(dm0=result.density_matrix)
    gradients = mean_field.nuc_grad_method()
    gradients.grid_response = True
    gradient = gradients.kernel()
    inside = result.mol.atom_coords()
    if not shot.laboratory_axes:
        gradient = shot.reference.gradient(gradient, inside)
    rotation = aligning_rotation(inside, positions)
    centre = centre_of_mass(shot.numbers, inside)
    dipole = mean_field.dip_moment(unit="AU", origin=centre, verbose=0)
    return Remedy(
        energy=float(energy),
        gradient=gradient @ rotation.T,
        dipole=dipole @ rotation.T,
        cycles=int(mean_field.cycles),
        residual=residuals[-1],
        converged=bool(mean_field.converged),
    )


def geometry_uncertainty(
    model: Predictor,
    symbols: Sequence[str],
    positions: NDArray,
    grid_level: int,
    points: int = 400,
) -> float:
    """Expected error of the predicted density at a geometry, in % of the electrons.

    ``100 Σ_g w_g s_g / N_e`` with the spread s of the committee, times the ``uncertainty_scale`` of
    the model's card (1 without one), summed over a sample of the integration grid. The sample is
    drawn once per element, rides on the atoms and holds with each point its mirror images in the
    planes of the principal axes: rotations, reflections and renumbering change nothing.

    Parameters
    ----------
    positions
        Shape (atoms, 3), bohr.
    points
        Approximate size of the sample.

    Raises
    ------
    ModelError
        The model has no committee.
    """
    if len(model.committee) < 2:
        raise ModelError(
            "the density model has no committee: fit it again with density_model.committee"
        )
    numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
    inside = _along_principal_axes(numbers, positions)
    grid = build_grid(numbers, inside, grid_level)
    samples = [_sample(int(number), grid_level, points // len(numbers)) for number in numbers]
    first = np.searchsorted(grid.owner, np.arange(len(numbers)))
    chosen = np.concatenate([f + index for f, (index, _) in zip(first, samples, strict=True)])
    weights = grid.weights[chosen] * np.concatenate([factor for _, factor in samples])
    spread = model.spread(list(symbols), inside, grid.points[chosen], grid.owner[chosen])
    electrons = numbers.sum() - model.card.get("charge", 0)
    scale = model.card.get("uncertainty_scale", 1.0)
    return float(100.0 * scale * (weights @ spread) / electrons)


def _along_principal_axes(numbers: NDArray, positions: NDArray) -> NDArray:
    """Positions (atoms, 3) about the centre of the nuclear charges, along their principal axes.

    Any axes of two equal moments will do: a sample of the grid is asked for no derivative.
    """
    centred = positions - numbers @ positions / numbers.sum()
    axes = np.linalg.eigh((numbers[:, None] * centred).T @ centred)[1]
    return centred @ axes


@cache
def _sample(number: int, level: int, count: int) -> tuple[NDArray, NDArray]:
    """Indices of about ``count`` points of an element's grid, and the factors of their weights.

    Whole sets of mirror images, drawn with equal steps along the cumulated weight
    ``bare (r + length)⁻⁴`` from the nucleus outwards, in random directions.
    """
    offsets, bare = atom_grid(number, level)
    folded, image = np.unique(np.abs(offsets).round(8), axis=0, return_inverse=True)
    radius = np.linalg.norm(folded, axis=1)
    size = np.bincount(image, weights=np.abs(bare)) / (radius + SAMPLE_LENGTH_BOHR) ** 4
    random = np.random.default_rng([number, level, count])
    order = np.lexsort((random.random(len(radius)), radius.round(6)))
    total = np.cumsum(size[order]) / size.sum()
    draws = max(1, count // 8)
    picked = order[np.searchsorted(total, (random.random() + np.arange(draws)) / draws)]
    times = np.bincount(picked, minlength=len(radius)) * size.sum() / (draws * size)
    factors = times[image]
    indices = np.flatnonzero(factors)
    return indices, factors[indices]


def check_compatible(
    model: Predictor, pyscf_settings: Mapping[str, Any], charge: int, symbols: Sequence[str]
) -> None:
    """Refuse what the model was not made for: functional, bases, charge, elements.

    Raises
    ------
    ModelError
        Naming the setting, its value and that of the model.
    """
    model.check_species(symbols)
    made = model.card.get("pyscf")
    if made is None or "charge" not in model.card:
        raise ModelError("the card of the density model does not say what it was made for")
    made, wanted = complete_settings(made), complete_settings(pyscf_settings)
    for key in ("xc", "basis", "auxiliary_basis"):
        if _plain(made[key]) != _plain(wanted[key]):
            raise ModelError(
                f"the density model was made for pyscf.{key} {made[key]}, not {wanted[key]}: train"
                " one for these settings"
            )
    if model.card["charge"] != charge:
        raise ModelError(
            f"the density model was made for charge {model.card['charge']:+d}, not {charge:+d}"
        )


def _plain(name: str) -> str:
    """Name as PySCF reads it: case, hyphens and blanks do not matter."""
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
