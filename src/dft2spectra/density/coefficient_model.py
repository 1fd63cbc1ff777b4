"""Density model in coefficients: functions on the atoms, their coefficients linear in surroundings.

    δn(r) = Σ_i Σ_klm c_i,klm χ_klm(r − R_i),   c_i,kLM = Σ_f W_kf F_i,LM,f

with contracted Gaussians χ (:mod:`dft2spectra.density.gaussian_basis`), features F of each atom's
surroundings (:mod:`dft2spectra.density.equivariants`) and weights W that atoms of an element share.
An atom without neighbours has no features, and no difference density. The charge is exact: what is
missing is added along the charges of the functions themselves, the change of least Coulomb energy
as long as atoms do not see each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from dft2spectra.density.atom_fields import (
    Tables,
    evaluate_fields,
    pull_fields,
    sum_tables,
    tabulate,
)
from dft2spectra.density.equivariants import LinearMap, feature_counts
from dft2spectra.density.gaussian_basis import AtomFunctions, charges, place_functions
from dft2spectra.density.predictor import COEFFICIENTS, ModelError, Predictor, jackknife_spread
from dft2spectra.density.surroundings import (
    Neighbours,
    Radial,
    find_neighbours,
    pull_neighbours,
    radial,
    sum_neighbours,
)

METHOD_VERSION = 1  # covers gaussian_basis, surroundings, equivariants and atom_fields

SPREAD_POINTS = 2000  # points at once


@dataclass(frozen=True)
class CoefficientBasis:
    """Functions and surroundings of a model, and how its weights lie in one vector.

    Parameters
    ----------
    functions
        By element.
    projections
        By element: for each degree of the surroundings, shape (all channels, kept channels).
    settings
        ``cutoff_ang``, ``n_max``, ``l_max`` of the surroundings and whatever made them.
    """

    functions: Mapping[str, AtomFunctions]
    projections: Mapping[str, list[np.ndarray]]
    settings: dict[str, Any]

    @property
    def species(self) -> tuple[str, ...]:
        """Elements in alphabetical order."""
        return tuple(sorted(self.functions))

    @property
    def form(self) -> Radial:
        """Radial functions of the surroundings."""
        return radial(self.settings)

    def kinds(self, symbols: list[str]) -> np.ndarray:
        """Index of every atom's element."""
        return np.array([self.species.index(symbol) for symbol in symbols])

    def shapes(self, symbol: str) -> list[tuple[int, int]]:
        """Shape of the weights (functions, features) of each degree of an element."""
        counts = self.functions[symbol].counts
        channels = [p.shape[1] for p in self.projections[symbol]]
        return list(zip(counts, feature_counts(channels, len(counts) - 1), strict=True))

    def split(self, weights: np.ndarray) -> dict[str, list[np.ndarray]]:
        """The weights of each element and degree, from one vector."""
        result, start = {}, 0
        for symbol in self.species:
            own = []
            for functions, features in self.shapes(symbol):
                end = start + functions * features
                own.append(weights[start:end].reshape(functions, features))
                start = end
            result[symbol] = own
        return result

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(a * b for symbol in self.species for a, b in self.shapes(symbol))


class Charge(NamedTuple):
    """How coefficients get the right charge, ``c + q (wanted − q·c)/q·q``."""

    charges: np.ndarray
    wanted: float

    def correct(self, coefficients: np.ndarray) -> np.ndarray:
        """Coefficients with the wanted charge."""
        missing = self.wanted - self.charges @ coefficients
        return coefficients + self.charges * (missing / (self.charges @ self.charges))

    def project(self, vector: np.ndarray) -> np.ndarray:
        """Without what changes the charge; the derivative of :meth:`correct`."""
        along = self.charges @ vector / (self.charges @ self.charges)
        return vector - self.charges * along


class _Molecule(NamedTuple):
    symbols: list[str]
    tables: Tables
    kinds: np.ndarray
    charge: Charge


class _Kept(NamedTuple):
    """Of the last geometry, for the gradient there."""

    positions: np.ndarray
    near: Neighbours
    parts: dict[str, list[np.ndarray]]
    summed: np.ndarray


@dataclass
class CoefficientModel(Predictor):
    """A model in coefficients and what it was made for.

    Parameters
    ----------
    basis
        Functions and surroundings.
    coefficients
        Weights, shape (basis.size,).
    committee
        Shape (members, basis.size): fits that each left a part of the training set out.
    card
        What the model was made from and for; ``charge`` is that of the molecule.
    """

    basis: CoefficientBasis
    coefficients: np.ndarray
    committee: np.ndarray
    card: dict[str, Any]

    kind = COEFFICIENTS
    format_version = 1
    pauli = None

    def __post_init__(self) -> None:
        self._molecule: _Molecule | None = None
        self._kept: _Kept | None = None

    @property
    def species(self) -> tuple[str, ...]:
        """Elements that the model knows, in alphabetical order."""
        return self.basis.species

    @cached_property
    def _maps(self) -> dict[str, LinearMap]:
        return self._make_maps(self.coefficients)

    @cached_property
    def _members(self) -> list[dict[str, LinearMap]]:
        return [self._make_maps(member) for member in self.committee]

    def _make_maps(self, weights: np.ndarray) -> dict[str, LinearMap]:
        split = self.basis.split(weights)
        return {s: LinearMap(split[s], self.basis.projections[s]) for s in self.species}

    def molecule(self, symbols: list[str]) -> _Molecule:
        """What all geometries of a molecule share."""
        if self._molecule is None or self._molecule.symbols != symbols:
            self.check_species(symbols)
            functions = [self.basis.functions[symbol] for symbol in symbols]
            wanted = -float(self.card.get("charge", 0))
            self._molecule = _Molecule(
                list(symbols),
                tabulate(functions),
                self.basis.kinds(symbols),
                Charge(charges(functions), wanted),
            )
            self._kept = None
        return self._molecule

    def predict(self, symbols: list[str], positions: np.ndarray) -> np.ndarray:
        """Coefficients of all functions, in the order of the placed functions."""
        molecule = self.molecule(symbols)
        near = find_neighbours(np.asarray(positions, dtype=float), self.basis.form)
        return self._predict(molecule, near, self._maps)[0]

    def _predict(
        self, molecule: _Molecule, near: Neighbours, maps: Mapping[str, LinearMap]
    ) -> tuple[np.ndarray, dict[str, list[np.ndarray]]]:
        sums = sum_neighbours(near, molecule.kinds, len(self.species))
        coefficients, parts = np.zeros(molecule.tables.size), {}
        for kind, symbol in enumerate(self.species):
            atoms = np.flatnonzero(molecule.kinds == kind)
            if len(atoms):
                mapped, parts[symbol] = maps[symbol].forward(sums[atoms])
                for L, values in enumerate(mapped):
                    for atom, value in zip(atoms, values, strict=True):
                        coefficients[molecule.tables.where[atom][L]] = value.T
        return molecule.charge.correct(coefficients), parts

    def _pull(
        self, molecule: _Molecule, near: Neighbours, parts: dict[str, list[np.ndarray]],
        pull: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Gradient (atoms, 3) of ``pull · coefficients``."""
        pull = molecule.charge.project(pull)
        shape = (len(molecule.kinds), len(near.harmonics), len(self.species) * len(near.values))
        slopes = np.zeros(shape)
        for kind, symbol in enumerate(self.species):
            atoms = np.flatnonzero(molecule.kinds == kind)
            if len(atoms):
                degrees = range(len(self.basis.functions[symbol].counts))
                own = [
                    np.array([pull[molecule.tables.where[atom][L]].T for atom in atoms])
                    for L in degrees
                ]
                slopes[atoms] = self._maps[symbol].backward(parts[symbol], own)
        return pull_neighbours(near, molecule.kinds, slopes)

    def _prepare(self, symbols: list[str], positions: np.ndarray) -> tuple[_Molecule, _Kept]:
        molecule = self.molecule(symbols)
        positions = np.array(positions, dtype=float)
        kept = self._kept
        if kept is None or not np.array_equal(kept.positions, positions):
            near = find_neighbours(positions, self.basis.form)
            coefficients, parts = self._predict(molecule, near, self._maps)
            kept = _Kept(positions, near, parts, sum_tables(molecule.tables, coefficients))
            self._kept = kept
        return molecule, kept

    def evaluate(
        self, symbols: list[str], positions: np.ndarray, points: np.ndarray, owner: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Difference density (N,) and its gradient (N, 3) at points; atomic units."""
        molecule, kept = self._prepare(symbols, positions)
        return evaluate_fields(molecule.tables, kept.summed, kept.positions, points, owner)

    def gradient(
        self,
        symbols: list[str],
        positions: np.ndarray,
        points: np.ndarray,
        owner: np.ndarray,
        weight: np.ndarray,
        direction: np.ndarray,
    ) -> np.ndarray:
        """Gradient (atoms, 3) of ``Σ_g weight_g n_g + direction_g·∇n_g``; points ride on atoms."""
        molecule, kept = self._prepare(symbols, positions)
        pull, explicit = pull_fields(
            molecule.tables, kept.summed, kept.positions, points, owner, weight, direction
        )
        return explicit + self._pull(molecule, kept.near, kept.parts, pull)

    def spread(
        self, symbols: list[str], positions: np.ndarray, points: np.ndarray, owner: np.ndarray
    ) -> np.ndarray:
        """Standard deviation (N,) of the committee at points, e/bohr³."""
        molecule = self.molecule(symbols)
        positions = np.asarray(positions, dtype=float)
        near = find_neighbours(positions, self.basis.form)
        members = np.array([self._predict(molecule, near, maps)[0] for maps in self._members])
        placed = place_functions([self.basis.functions[s] for s in symbols], positions)
        values = np.empty((len(members), len(points)))
        for first in range(0, len(points), SPREAD_POINTS):
            part = slice(first, first + SPREAD_POINTS)
            values[:, part] = members @ placed.eval_gto("GTOval_sph", points[part]).T
        return jackknife_spread(values)

    def judged_by(self, committee: np.ndarray, card: dict[str, Any]) -> "CoefficientModel":
        """The same model with a committee and another card."""
        return replace(self, committee=committee, card=card)

    def header(self) -> dict[str, Any]:
        """Species and settings."""
        return {"species": list(self.species), "settings": self.basis.settings}

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights, functions and projections."""
        result = {"coefficients": self.coefficients, "committee": self.committee}
        for symbol in self.species:
            own = self.basis.functions[symbol]
            for l, (exponents, columns) in enumerate(zip(*own, strict=True)):
                result |= {f"{symbol}_{l}_exponents": exponents, f"{symbol}_{l}_columns": columns}
            for l, projection in enumerate(self.basis.projections[symbol]):
                result[f"{symbol}_{l}_projection"] = projection
        return result

    @classmethod
    def from_file(
        cls,
        species: tuple[str, ...],
        settings: dict[str, Any],
        arrays: Mapping[str, np.ndarray],
        card: dict[str, Any],
    ) -> "CoefficientModel":
        """The model of a file's species, settings, arrays and card."""

        def degrees(symbol: str, what: str) -> list[np.ndarray]:
            found: list[np.ndarray] = []
            while (name := f"{symbol}_{len(found)}_{what}") in arrays:
                found.append(arrays[name])
            if not found:
                raise ModelError(f"the file of a density model has no {what} for {symbol}")
            return found

        functions = {
            s: AtomFunctions(tuple(degrees(s, "exponents")), tuple(degrees(s, "columns")))
            for s in species
        }
        projections = {s: degrees(s, "projection") for s in species}
        basis = CoefficientBasis(functions, projections, settings)
        return cls(basis, arrays["coefficients"], arrays["committee"], card)
