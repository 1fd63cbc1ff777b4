"""Jacobi–Legendre model of a molecule's difference density: evaluation, gradients, file.

The model gives the electron density minus a superposition of spherical atoms at any point, linear
in its coefficients, from one-, two- and three-body terms (:mod:`dft2spectra.density.invariants`),
and the gradient of that density. Because the terms vanish at their cutoffs the cost is proportional
to the number of atoms. Points come in blocks, each with the atoms near it.

For functionals that depend on the kinetic energy density a second model of the same terms gives its
Pauli part (:mod:`dft2spectra.density.exchange_correlation`) minus that of the spherical atoms.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dft2spectra.density.blocks import evaluate_blocks, gradient_blocks
from dft2spectra.density.couplings import LANES
from dft2spectra.density.grid import point_blocks
from dft2spectra.density.harmonics import gradient_table, normalisation
from dft2spectra.density.invariants import Tensors, Terms
from dft2spectra.density.moments import moments
from dft2spectra.density.predictor import (
    JACOBI_LEGENDRE,
    ModelError,
    Predictor,
    jackknife_spread,
)
from dft2spectra.density.radial import MAX_ALPHA, recurrences
from dft2spectra.units import BOHR_ANG

METHOD_VERSION = 2  # covers radial, harmonics, moments, couplings and invariants

Y_00 = 0.5 / np.sqrt(np.pi)  # the harmonic of degree 0, part of the one-body moments
NOTHING = np.empty((0, 0, 0, 0))
SPARE_BLOCKS = 8  # the number of points that are asked for changes a little from step to step
KEPT_BYTES = 1e9  # most memory for what is kept between value and gradient
BLOCK = LANES  # points at once: enough for the vector units, few enough for the cache


@dataclass(frozen=True)
class Basis:
    """Species, body orders and cutoffs of a model.

    Parameters
    ----------
    species
        Element symbols in alphabetical order.
    settings
        ``radial_map`` (logarithmic or plain), ``one_body`` (n_max, cutoff_ang, map_scale_bohr),
        ``two_body`` (n_max, l_max, cutoff_ang, map_scale_bohr) and ``three_body`` (n_max, l_max,
        l_total) or None.
    """

    species: tuple[str, ...]
    settings: dict[str, Any]
    mixing: np.ndarray | None = None
    terms: Terms = field(init=False)

    def __post_init__(self) -> None:
        one, two = self.settings["one_body"], self.settings["two_body"]
        three = self.settings["three_body"] or {"n_max": 0, "l_max": -1, "l_total": 0}
        mixing = self.mixing
        if mixing is None:
            first = np.eye(two["n_max"])[: three["n_max"]]
            mixing = np.kron(np.eye(len(self.species)), first)
        terms = Terms(
            species=len(self.species),
            n_one=one["n_max"],
            n_two=two["n_max"],
            l_two=two["l_max"],
            mixing=mixing,
            l_three=three["l_max"],
            l_total=three["l_total"],
        )
        object.__setattr__(self, "terms", terms)

    @property
    def scales(self) -> tuple[float, float]:
        """Lengths of the logarithmic map in bohr, one-body and other terms; 0 is the plain map."""
        if self.settings["radial_map"] == "plain":
            return 0.0, 0.0
        return (
            float(self.settings["one_body"]["map_scale_bohr"]),
            float(self.settings["two_body"]["map_scale_bohr"]),
        )

    @property
    def cutoffs(self) -> tuple[float, float]:
        """Cutoffs of the one-body and of the other terms, in bohr."""
        settings = self.settings
        return (
            settings["one_body"]["cutoff_ang"] / BOHR_ANG,
            settings["two_body"]["cutoff_ang"] / BOHR_ANG,
        )

    @property
    def kernels(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Arguments of the kernels for the one-body and for the other moments."""
        terms = self.terms
        kinds = []
        for number, (l_max, n_max) in enumerate(((0, terms.n_one), (terms.l_two, terms.n_two))):
            rows = recurrences(n_max, min(l_max, MAX_ALPHA) + 1)
            tables = normalisation(l_max), *gradient_table(l_max)
            kinds.append((self.cutoffs[number], self.scales[number], rows, l_max, *tables))
        return kinds[0], kinds[1]

    def numbered(self, symbols: list[str]) -> np.ndarray:
        """Index of every atom's species.

        Raises
        ------
        ModelError
            A species that the model was not made for.
        """
        foreign = sorted(set(symbols) - set(self.species))
        if foreign:
            raise ModelError(
                f"the density model knows {', '.join(self.species)}, not {', '.join(foreign)}; "
                "train one on molecules with these elements"
            )
        return np.array([self.species.index(symbol) for symbol in symbols])


def moments_around(
    basis: Basis, points: np.ndarray, positions: np.ndarray, species: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One-body and other moments at ``points`` (P, 3), as the kernels lay them out.

    Shapes (1, species · n_one, P) and ((l_two + 1)², species · n_two, P).
    """
    terms = basis.terms
    one = np.empty((1, terms.species * terms.n_one, len(points)))
    two = np.empty(((terms.l_two + 1) ** 2, terms.species * terms.n_two, len(points)))
    turned, nothing = np.ascontiguousarray(points.T), np.empty((0, 0, 0))
    for kind, out in zip(basis.kernels, (one, two), strict=True):
        moments(turned, positions, species, *kind, np.empty((3, 0)), out, nothing)  # type: ignore[call-arg]
    return one, two


@dataclass
class DensityModel(Predictor):
    """Coefficients of the difference density and what they were made for.

    Parameters
    ----------
    basis
        Terms of the model.
    coefficients
        Shape (number of terms,), electrons per bohr³.
    committee
        Shape (members, number of terms): fits that each left a part of the training set out.
    card
        What the model was made from and for: functional, basis, charge, scores, hashes.
    pauli
        Model of the Pauli kinetic energy density, hartree per bohr³, in the same basis; None for
        functionals that do not depend on it.
    """

    basis: Basis
    coefficients: np.ndarray
    committee: np.ndarray
    card: dict[str, Any]
    pauli: "DensityModel | None" = None

    kind = JACOBI_LEGENDRE
    format_version = 2

    @property
    def species(self) -> tuple[str, ...]:
        """Elements that the model knows, in alphabetical order."""
        return self.basis.species

    def __post_init__(self) -> None:
        self._tensors = self._arguments(self.coefficients)
        self._members = [self._arguments(member) for member in self.committee]
        # Points and positions of the last evaluation, and what the gradient there can use again.
        self._kept: tuple[np.ndarray, np.ndarray, np.ndarray] = (NOTHING, NOTHING, NOTHING)

    def _arguments(self, coefficients: np.ndarray) -> tuple[Any, ...]:
        tensors = Tensors(self.basis.terms, coefficients)
        shells = tensors.one.reshape(len(self.basis.species), -1) * Y_00
        return shells, tensors.two, self.basis.terms.mixing, tensors.flat

    def evaluate(
        self, symbols: list[str], positions: np.ndarray, points: np.ndarray, owner: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Difference density (N,) and its gradient (N, 3) at points; atomic units.

        ``owner``, ascending, says near which atom each point is, and only helps the speed.
        """
        terms = self.basis.terms
        shape = (
            len(point_blocks(owner, BLOCK)),
            (terms.l_two + 1) ** 2,
            terms.species * terms.n_two,
            BLOCK,
        )
        kept = self._kept[2]
        if math.prod(shape) * 8 >= KEPT_BYTES:
            kept = NOTHING
        elif len(kept) < shape[0] or kept.shape[1:] != shape[1:]:
            # Otherwise the memory of the last step serves again: fresh pages are slow.
            kept = np.empty((shape[0] + SPARE_BLOCKS, *shape[1:]))
        self._kept = points, np.array(positions), kept
        return self._evaluate(self._tensors, symbols, positions, points, owner, kept)

    def _evaluate(
        self,
        tensors: tuple[Any, ...],
        symbols: list[str],
        positions: np.ndarray,
        points: np.ndarray,
        owner: np.ndarray,
        kept: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        value, slope = np.empty(len(points)), np.empty((len(points), 3))
        evaluate_blocks(  # type: ignore[call-arg]
            np.ascontiguousarray(points, dtype=float),
            point_blocks(owner, BLOCK),
            np.ascontiguousarray(positions, dtype=float),
            self.basis.numbered(symbols),
            *self.basis.kernels,
            *tensors,
            kept,
            value,
            slope,
        )
        return value, slope

    def gradient(
        self,
        symbols: list[str],
        positions: np.ndarray,
        points: np.ndarray,
        owner: np.ndarray,
        weight: np.ndarray,
        direction: np.ndarray,
    ) -> np.ndarray:
        """As :meth:`Predictor.gradient`; points of the last evaluation save a third of the time."""
        total = np.zeros((len(positions), 3))
        asked, where, kept = self._kept
        same = points is asked and np.array_equal(positions, where)
        gradient_blocks(  # type: ignore[call-arg]
            np.ascontiguousarray(points, dtype=float),
            point_blocks(owner, BLOCK),
            np.ascontiguousarray(positions, dtype=float),
            self.basis.numbered(symbols),
            *self.basis.kernels,
            *self._tensors,
            kept if same else NOTHING,
            np.ascontiguousarray(weight, dtype=float),
            np.ascontiguousarray(direction, dtype=float),
            total,
        )
        return total

    def spread(
        self, symbols: list[str], positions: np.ndarray, points: np.ndarray, owner: np.ndarray
    ) -> np.ndarray:
        """Standard deviation (N,) of the committee at points, e/bohr³."""
        values = np.array(
            [
                self._evaluate(member, symbols, positions, points, owner, NOTHING)[0]
                for member in self._members
            ]
        )
        return jackknife_spread(values)

    def judged_by(self, committee: np.ndarray, card: dict[str, Any]) -> "DensityModel":
        """The same model with a committee and another card."""
        return replace(self, committee=committee, card=card)

    def header(self) -> dict[str, Any]:
        """Species and settings of the basis."""
        return {"species": list(self.basis.species), "settings": self.basis.settings}

    def arrays(self) -> dict[str, np.ndarray]:
        """Channels and coefficients."""
        result = {
            "mixing": self.basis.terms.mixing,
            "coefficients": self.coefficients,
            "committee": self.committee,
        }
        if self.pauli is not None:
            result["pauli"] = self.pauli.coefficients
        return result

    @classmethod
    def from_file(
        cls,
        species: tuple[str, ...],
        settings: dict[str, Any],
        arrays: Mapping[str, np.ndarray],
        card: dict[str, Any],
    ) -> "DensityModel":
        """The model of a file's species, settings, arrays and card."""
        basis = Basis(species, settings, arrays["mixing"])
        pauli = pauli_model(basis, arrays["pauli"]) if "pauli" in arrays else None
        return cls(basis, arrays["coefficients"], arrays["committee"], card, pauli)


def pauli_model(basis: Basis, coefficients: np.ndarray) -> DensityModel:
    """Model of a Pauli kinetic energy density: coefficients (terms,), no committee, no card."""
    return DensityModel(basis, coefficients, np.empty((0, len(coefficients))), {})
