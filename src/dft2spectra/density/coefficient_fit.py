"""Fit of a density model in coefficients, in the Coulomb metric of whole geometries.

Regression of coefficients themselves fails: functions on neighbours nearly depend on each other,
and fits of two geometries differ by combinations that hardly change the density. What is minimised
is the Coulomb energy of the error of the density, all functions of a geometry together,

    ½ Σ_g (c_g − c⁰_g)ᵀ V_g (c_g − c⁰_g) + ½ λ |u|²,   c_g = P(s · Φ_g u),

without ever needing c⁰: only ``b_g = V_g c⁰_g``, the potential of the true density.
Φ are features turned to their principal axes, s the usual sizes of coefficients, so that unknowns u
of size one are as likely as others, and P keeps the charge. Conjugate gradients start from the
least squares of fitted coefficients.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from dft2spectra.density.atom_fields import evaluate_fields, sum_tables, tabulate
from dft2spectra.density.coefficient_model import Charge, CoefficientBasis, CoefficientModel
from dft2spectra.density.committee import assign_parts
from dft2spectra.density.comparison import error_percent
from dft2spectra.density.equivariants import features, split_degrees
from dft2spectra.density.free_atom import atomic_density
from dft2spectra.density.gaussian_basis import (
    FIT_RIDGE,
    AtomFunctions,
    charges,
    coulomb_metric,
    coulomb_projections,
    fitted,
    place_functions,
    places,
    primitive_functions,
    principal_contraction,
)
from dft2spectra.density.least_squares import SingularFitError
from dft2spectra.density.predictor import ModelError
from dft2spectra.density.sampling_points import label_grid, needs_tau, positions_bohr
from dft2spectra.density.surroundings import find_neighbours, radial, sum_neighbours
from dft2spectra.molecules.pyscf_input import build_molecule

# So many fitted atoms of each element, of geometries spread over the training set, decide on the
# functions.
CONTRACTION_ATOMS = 30
# Validation geometries on which the fit itself, the floor of all errors, is judged.
FLOOR_GEOMETRIES = 5
# Features with less of the largest variance are noise; the same of channels.
SMALLEST_FEATURE = 1e-10
SMALLEST_CHANNEL = 1e-10
# Part of the mean square of coefficients that is taken as their prior variance.
PRIOR_PART = 0.1
# Ridge of the fits that say how large coefficients usually are and where to start: those of
# neighbours that nearly cancel would not.
SMOOTH_RIDGE = 1e-3
# Ridge of the least squares from which the conjugate gradients start.
START_RIDGE = 0.1
# Relative residual of the equations at which they end, the most iterations, and the residual that
# they must have come to by then. To stop early is a ridge, too: at 1e-5 no ridge below 1e-7 changes
# anything, and water's mixed dipoles are twice as far off as at 1e-7.
RESIDUAL = 1e-7
MOST_ITERATIONS = 500
LARGEST_RESIDUAL = 1e-4

Label = Mapping[str, Any]
Progress = Callable[[str], None]


class _Block(NamedTuple):
    """Features of one element and degree, and where its coefficients stand."""

    symbol: str
    degree: int
    features: np.ndarray  # (geometries, atoms, 2 L + 1, turned features)
    turn: np.ndarray  # (features, turned features), the scale of the element divided out
    where: np.ndarray  # (atoms, functions, 2 L + 1)
    place: slice  # of the unknowns

    def of(self, chosen: np.ndarray) -> np.ndarray:
        """Features of the chosen geometries, ascending; of all of them without a copy."""
        return self.features if len(chosen) == len(self.features) else self.features[chosen]


class CoefficientFit:
    """Equations of a model in coefficients; a context, whose matrices stand in temporary files.

    Parameters
    ----------
    train, validation
        Converged labels of one molecule. Validation geometries only say how well the functions can
        represent a density.
    settings
        ``cutoff_ang``, ``n_max``, ``l_max``, ``channels``, ``smallest_energy_ha`` and
        ``committee``.
    pyscf_settings
        The ``pyscf`` section, complete.
    progress
        Receives one line per stage.

    Raises
    ------
    ModelError
        The functional depends on the kinetic energy density, which has no coefficients.
    """

    def __init__(
        self,
        train: Sequence[Label],
        validation: Sequence[Label],
        settings: Mapping[str, Any],
        pyscf_settings: Mapping[str, Any],
        progress: Progress,
    ) -> None:
        if needs_tau(pyscf_settings):
            raise ModelError(
                f"{pyscf_settings['xc']} depends on the kinetic energy density, of which the"
                " density_model.kind coefficients has no model: take jacobi_legendre"
            )
        self._folder = tempfile.TemporaryDirectory(prefix="coulomb-metrics-")
        self.symbols, self.pyscf = list(train[0]["symbols"]), pyscf_settings
        self.name = train[0]["name"]
        self.free = [
            atomic_density(s, pyscf_settings["xc"], pyscf_settings["basis"]) for s in self.symbols
        ]
        self.parts = np.array(assign_parts(train, settings["committee"]))
        self._start: np.ndarray | None = None
        functions = self._choose_functions(train, settings, progress)
        self.functions = [functions[symbol] for symbol in self.symbols]
        self.where = places(self.functions)
        self.charge = Charge(charges(self.functions), -float(train[0]["charge"]))
        self._integrate(train, progress)
        self.basis, self.blocks = self._make_features(train, functions, settings)
        self.unknowns = self.blocks[-1].place.stop
        self._scale()
        self.solutions: dict[float, dict[str, Any]] = {}
        floor = [self._floor(label) for label in validation[:FLOOR_GEOMETRIES]]
        self.card: dict[str, Any] = {
            "terms": {
                "functions": {s: functions[s].counts for s in sorted(functions)},
                "functions_of_the_molecule": len(self.charge.charges),
                "weights": self.basis.size,
                "unknowns": self.unknowns,
            },
            "n_points": 0,
            "fit_floor_percent": float(np.mean(floor)),
        }
        progress(
            f"{self.name}: {len(self.charge.charges)} functions, {self.unknowns} unknowns; the"
            f" functions alone leave {np.mean(floor):.3f} % of the density"
        )

    def __enter__(self) -> "CoefficientFit":
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    # --- functions, integrals, features ----------------------------------------------------------

    def _integrals(
        self, label: Label, functions: Sequence[AtomFunctions]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Metric (size, size) and projections (size,) of a geometry."""
        mol = build_molecule(label["symbols"], label["positions_ang"], label["charge"], self.pyscf)
        placed = place_functions(functions, mol.atom_coords())
        projections = coulomb_projections(placed, mol, label["density_matrix"], self.free)
        return coulomb_metric(placed), projections

    def _choose_functions(
        self, train: Sequence[Label], settings: Mapping[str, Any], progress: Progress
    ) -> dict[str, AtomFunctions]:
        primitive = {s: primitive_functions(s, self.pyscf["basis"]) for s in set(self.symbols)}
        placed = [primitive[symbol] for symbol in self.symbols]
        rarest = min(self.symbols.count(symbol) for symbol in primitive)
        count = min(-(-CONTRACTION_ATOMS // rarest), len(train))
        chosen = np.linspace(0, len(train) - 1, count).round().astype(int)
        fits = [fitted(*self._integrals(train[i], placed), FIT_RIDGE) for i in chosen]
        progress(
            f"{self.name}: {sum(f.size for f in placed)} Gaussians fitted to {count} geometries"
        )
        return principal_contraction(primitive, self.symbols, fits, settings["smallest_energy_ha"])

    def _integrate(self, train: Sequence[Label], progress: Progress) -> None:
        size = len(self.charge.charges)
        # Single precision: its rounding is far below what the ridge leaves.
        self.metrics = np.memmap(
            Path(self._folder.name) / "metrics",
            dtype=np.float32,
            mode="w+",
            shape=(len(train), size, size),
        )
        self.targets, self.fits = np.empty((len(train), size)), np.empty((len(train), size))
        for number, label in enumerate(train):
            metric, projections = self._integrals(label, self.functions)
            self.metrics[number], self.targets[number] = metric, projections
            self.fits[number] = fitted(metric, projections, SMOOTH_RIDGE)
            if (number + 1) % 10 == 0 or number + 1 == len(train):
                progress(f"{self.name}: integrals of geometry {number + 1}/{len(train)}")

    def _make_features(
        self,
        train: Sequence[Label],
        functions: dict[str, AtomFunctions],
        settings: Mapping[str, Any],
    ) -> tuple[CoefficientBasis, list[_Block]]:
        form, species = radial(dict(settings)), sorted(functions)
        kinds = np.array([species.index(symbol) for symbol in self.symbols])
        sums = np.array(
            [
                sum_neighbours(find_neighbours(positions_bohr(label), form), kinds, len(species))
                for label in train
            ]
        )
        projections, blocks, start = {}, [], 0
        for kind, symbol in enumerate(species):
            atoms = np.flatnonzero(kinds == kind)
            own = sums[:, atoms].reshape(-1, *sums.shape[2:])
            projections[symbol] = _leading_channels(own, form.l_max, settings["channels"])
            highest = len(functions[symbol].counts) - 1
            of_degrees = features(split_degrees(own, projections[symbol]), highest)
            scalar = of_degrees[0].reshape(len(train), len(atoms), -1)
            size = np.sqrt(((scalar - scalar.mean(axis=0)) ** 2).sum(axis=2).mean())
            if not size > 0.0:
                raise SingularFitError(
                    f"the surroundings of {symbol} are the same in all training geometries: sample"
                    " different ones"
                )
            for degree, raw in enumerate(of_degrees):
                if not raw.shape[2]:
                    continue  # no coupling reaches it, and its coefficients stay zero
                flat = raw.reshape(-1, raw.shape[2]) / size
                values, axes = np.linalg.eigh(flat.T @ flat)
                turn = axes[:, values > SMALLEST_FEATURE * values[-1]][:, ::-1]
                turned = (flat @ turn).reshape(len(train), len(atoms), 2 * degree + 1, -1)
                where = np.array([self.where[atom][degree] for atom in atoms])
                end = start + where.shape[1] * turn.shape[1]
                blocks.append(_Block(symbol, degree, turned, turn / size, where, slice(start, end)))
                start = end
        kept = {key: settings[key] for key in ("cutoff_ang", "n_max", "l_max")}
        return CoefficientBasis(functions, projections, kept), blocks

    def _scale(self) -> None:
        """Usual sizes of the coefficients, the same for all components and atoms of an element."""
        self.sizes = np.ones(len(self.charge.charges))
        square = (self.fits**2).mean(axis=0)
        for block in self.blocks:
            mean = square[block.where].mean(axis=(0, 2))
            self.sizes[block.where] = np.sqrt(PRIOR_PART * mean + 1e-10)[None, :, None]

    def _floor(self, label: Label) -> float:
        """Density error of the best coefficients of a geometry, percent."""
        best = fitted(*self._integrals(label, self.functions), FIT_RIDGE)
        tables, grid = tabulate(self.functions), label_grid(label, self.pyscf)
        value, _ = evaluate_fields(
            tables, sum_tables(tables, best), positions_bohr(label), grid.points, grid.owner
        )
        return error_percent(value, "difference", label, grid, self.pyscf).model_percent

    # --- equations -------------------------------------------------------------------------------

    def _forward(self, unknowns: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Coefficients (geometries, size) in units of their sizes."""
        result = np.zeros((len(chosen), len(self.sizes)))
        for block in self.blocks:
            weights = unknowns[block.place].reshape(block.where.shape[1], -1)
            mapped = block.of(chosen) @ weights.T
            result[:, block.where] = mapped.transpose(0, 1, 3, 2)
        return result

    def _backward(self, pull: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The transpose of :meth:`_forward`."""
        result = np.empty(self.unknowns)
        for block in self.blocks:
            own = pull[:, block.where].transpose(2, 0, 1, 3)
            turned = block.of(chosen).reshape(-1, block.features.shape[3])
            result[block.place] = (own.reshape(len(own), -1) @ turned).ravel()
        return result

    def _metric(self, coefficients: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """``sizes · P V P`` (sizes · coefficients) of every geometry."""
        result = np.empty_like(coefficients)
        for row, number in enumerate(chosen):
            scaled = self.charge.project(self.sizes * coefficients[row])
            field = self.metrics[number] @ scaled.astype(np.float32)
            result[row] = self.sizes * self.charge.project(field.astype(float))
        return result

    def solve(self, ridge: float, without: int | None = None) -> np.ndarray:
        """Weights of the model at a ridge, with one part of the geometries left out if named.

        Raises
        ------
        SingularFitError
            The conjugate gradients did not come to their residual.
        """
        chosen = np.flatnonzero(self.parts != (-1 if without is None else without))
        none = self.charge.correct(np.zeros(len(self.sizes)))
        right = np.empty((len(chosen), len(self.sizes)))
        for row, number in enumerate(chosen):
            field = self.targets[number] - self.metrics[number] @ none.astype(np.float32)
            right[row] = self.sizes * self.charge.project(field)
        right_side = self._backward(right, chosen)
        diagonal, first = self._diagonal_and_start(chosen)
        start = first if self._start is None else self._start

        def apply(unknowns: np.ndarray) -> np.ndarray:
            pushed = self._metric(self._forward(unknowns, chosen), chosen)
            return self._backward(pushed, chosen) + ridge * unknowns

        iterations = 0

        def count(_: np.ndarray) -> None:
            nonlocal iterations
            iterations += 1

        shape = (self.unknowns, self.unknowns)
        solution, failed = cg(
            LinearOperator(shape, matvec=apply),  # type: ignore[arg-type,call-arg]
            right_side,
            x0=start,
            rtol=RESIDUAL,
            maxiter=MOST_ITERATIONS,
            M=LinearOperator(shape, matvec=lambda x: x / (diagonal + ridge)),  # type: ignore[arg-type,call-arg]
            callback=count,
        )
        residual = np.linalg.norm(right_side - apply(solution)) / np.linalg.norm(right_side)
        if without is None:
            self._start = solution
            self.solutions[ridge] = {"iterations": iterations, "residual": float(residual)}
        if failed and residual > LARGEST_RESIDUAL:
            raise SingularFitError(
                f"the equations of the fit are solved to {residual:.1e} only, after {iterations}"
                " iterations: raise density_model.coefficients.ridge"
            )
        return self._weights(solution)

    def _diagonal_and_start(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """About the diagonal of the equations, and least squares of the fitted coefficients."""
        diagonal, start = np.empty(self.unknowns), np.empty(self.unknowns)
        for block in self.blocks:
            turned = block.of(chosen).reshape(-1, block.features.shape[3])
            square = (turned**2).sum(axis=0)
            sizes = (self.sizes[block.where] ** 2).mean(axis=(0, 2))
            diagonal[block.place] = np.outer(sizes, square).ravel()
            wanted = (self.fits[chosen] / self.sizes)[:, block.where].transpose(2, 0, 1, 3)
            projected = wanted.reshape(len(wanted), -1) @ turned
            start[block.place] = (projected / (square + START_RIDGE)).ravel()
        return diagonal, start

    def _weights(self, unknowns: np.ndarray) -> np.ndarray:
        parts = []
        for block in self.blocks:
            own = unknowns[block.place].reshape(block.where.shape[1], -1) @ block.turn.T
            parts.append((own * self.sizes[block.where[0, :, :1]]).ravel())
        return np.concatenate(parts)

    # --- models ----------------------------------------------------------------------------------

    def model(self, ridge: float, card: dict[str, Any]) -> CoefficientModel:
        """The model at a ridge, without a committee."""
        return CoefficientModel(self.basis, self.solve(ridge), np.empty((0, self.basis.size)), card)

    def committee(self, ridge: float) -> np.ndarray:
        """Weights of fits that each leave one part out, (parts, weights)."""
        numbers = range(int(self.parts.max()) + 1)
        return np.array([self.solve(ridge, without=part) for part in numbers])

    def scores(self, model: CoefficientModel, ridge: float) -> dict[str, Any]:
        """How far the equations were solved."""
        return {f"fit_{key}": value for key, value in self.solutions[ridge].items()}


def _leading_channels(sums: np.ndarray, l_max: int, count: int) -> list[np.ndarray]:
    """For each degree the combinations of sums (…, all) with most variance, (all, kept)."""
    found = []
    for l in range(l_max + 1):
        rows = sums[:, l * l : (l + 1) ** 2].reshape(-1, sums.shape[2])
        values, axes = np.linalg.eigh(rows.T @ rows)
        kept = min(count, max(1, int((values > SMALLEST_CHANNEL * values[-1]).sum())))
        found.append(axes[:, ::-1][:, :kept].copy())
    return found
