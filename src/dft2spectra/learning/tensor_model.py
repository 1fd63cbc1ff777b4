"""Kernel regression of a rank-two tensor: exact in how it turns, zero where symmetry says so.

The kernel between component m of site i and component n of site j is

    k(x_i, x_j) · Σ_f φ_i,fm φ_j,fn,

k a Matérn kernel of the ordinary fingerprints plus a constant, φ features that turn with the
crystal (:mod:`dft2spectra.learning.tensor_features`): moments of degree two, products of two
moments coupled to degree two, and quadrupole moments of the shells of a tight-binding model, whose
constant is larger: one law for all crystals, with a correction. Tensors of a site live in the space
that its φ span, which is what its symmetry allows; there its components are one to five numbers,
and a site that allows none takes no part. All choices (length, weight of the bands,
penalty) are made with groups left out inside the training rows, in closed form
(:mod:`dft2spectra.learning.kernel`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from dft2spectra.learning.kernel import inverse_of, left_out, matern
from dft2spectra.learning.splits import NEVER, Folds
from dft2spectra.learning.tensor_features import COMPONENTS, Moments, couplings

# Part of the mean power of the surroundings below which a site counts as empty.
LEAST_POWER = 0.1
# Densities per degree that go into products, those of largest variance.
LEADING = 8
# Part of the kernel that does not depend on the surroundings: one set of weights for all.
CONSTANT = 0.2
LENGTHS = (0.5, 1.0, 2.0)  # over the median distance of the training sites
BANDS_CONSTANT = 1.0
BANDS = (3.0, 30.0)  # variance of bands over that of moments and products, which are equal
PENALTIES = (1e-3, 1e-2, 1e-1, 0.3)  # over the mean kernel of a row with itself
# Moments below this in all sites are rounding, forbidden by symmetry; neighbours make about 1.
NOTHING = 1e-5
# Singular values below this part of the largest are rounding: symmetry forbids the direction.
ALLOWED = 1e-5


class Reduction(NamedTuple):
    """How moments become features; made from training sites, the same for all others."""

    sizes: tuple[np.ndarray, ...]  # by degree, (n_densities,): root mean square of each density
    vectors: tuple[np.ndarray, ...]  # by degree, (n_densities, LEADING)
    bands: np.ndarray  # (n_bands,): root mean square of each quadrupole moment
    norms: tuple[float, float]  # root mean square of all moments, of all products
    power: float  # mean squared length of the moments of degree zero


class Sites(NamedTuple):
    """Features of sites, and what symmetry leaves of a tensor at each."""

    points: np.ndarray  # (n_sites, n_features): scaled ordinary fingerprints
    moments: np.ndarray  # (n_sites, n_moments, 5)
    products: np.ndarray  # (n_sites, n_products, 5)
    bands: np.ndarray  # (n_sites, n_bands, 5)
    bases: list[np.ndarray]  # (5, n_allowed) each, orthonormal


class TensorModel(NamedTuple):
    """A fitted model."""

    train: Sites
    row_site: np.ndarray  # int (n_rows,): training site of each row
    length: float
    bands_weight: float
    penalty: float
    coefficients: np.ndarray  # (n_rows,)

    def predict(self, sites: Sites) -> np.ndarray:
        """Components (n_sites, 5) of the tensors of some sites."""
        found = np.zeros((len(sites.points), COMPONENTS))
        rows = _rows(sites)
        if len(rows.site):
            kernel = _kernel(sites, rows, self.train, _rows(self.train), self)
            np.add.at(found, rows.site, (kernel @ self.coefficients)[:, None] * rows.direction)
        return found


class _Rows(NamedTuple):
    site: np.ndarray  # int (n_rows,)
    direction: np.ndarray  # (n_rows, 5)


class _Choice(NamedTuple):
    length: float
    bands_weight: float


def reduction(moments: Sequence[Moments]) -> Reduction:
    """Scaling and leading densities of training sites, without looking at any target."""
    sizes, vectors = [], []
    for degree in range(len(moments[0].by_degree)):
        values = np.array([site.by_degree[degree] for site in moments])
        size = np.sqrt(np.mean(values**2, axis=(0, 2)))
        size = np.where(size > NOTHING, size, np.inf)
        scaled = values / size[:, None]
        _, axes = np.linalg.eigh(np.einsum("afm,agm->fg", scaled, scaled))
        sizes.append(size)
        vectors.append(axes[:, ::-1][:, :LEADING])
    power = float(np.mean([_power(site) for site in moments])) or 1.0
    quadrupoles = np.array([site.bands for site in moments])
    of_bands = np.sqrt(np.mean(np.sum(quadrupoles**2, axis=2), axis=0))
    of_bands = np.where(of_bands > NOTHING, of_bands, np.inf) * np.sqrt(max(len(of_bands), 1))
    first = Reduction(tuple(sizes), tuple(vectors), of_bands, (1.0, 1.0), power)
    features = [_features(site, first) for site in moments]
    norms = (_norm([lines for lines, _, _ in features]), _norm([both for _, both, _ in features]))
    return first._replace(norms=norms)


def _norm(parts: list[np.ndarray]) -> float:
    return float(np.sqrt(np.mean([np.sum(part**2) for part in parts]))) or 1.0


def _power(site: Moments) -> float:
    return float(np.sum(site.by_degree[0] ** 2))


def _features(site: Moments, made: Reduction) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moments (n_moments, 5), products (n_products, 5) and bands (n_bands, 5) of one site.

    Each moment relative to how much there is around the site, by a number that does not turn:
    else the products at a short bond are far beyond all that was trained on.
    """
    amount = np.sqrt(LEAST_POWER + (1.0 - LEAST_POWER) * _power(site) / made.power)
    scaled = [
        part / (size[:, None] * amount)
        for part, size in zip(site.by_degree, made.sizes, strict=True)
    ]
    leading = [axes.T @ part for axes, part in zip(made.vectors, scaled, strict=True)]
    products = [
        np.einsum("fi,gj,ijk->fgk", leading[a], leading[b], tensor, optimize=True).reshape(
            -1, COMPONENTS
        )
        for (a, b), tensor in couplings().items()
    ]
    bands = site.bands / made.bands[:, None]
    return scaled[2] / made.norms[0], np.concatenate(products) / made.norms[1], bands


def describe(points: np.ndarray, moments: Sequence[Moments], made: Reduction) -> Sites:
    """Features of sites; ``points`` are their scaled ordinary fingerprints (n_sites, n)."""
    parts = [_features(site, made) for site in moments]
    lines, products, bands = (np.array(part) for part in zip(*parts, strict=True))
    bases = [allowed(np.concatenate(part[:2])) for part in parts]
    return Sites(np.asarray(points, dtype=float), lines, products, bands, bases)


def allowed(features: np.ndarray) -> np.ndarray:
    """Orthonormal directions (5, n) that the features (n_features, 5) of a site span.

    Features are of the order of one at sites without symmetry: what is far smaller everywhere is
    the rounding of a site that allows nothing.
    """
    _, sizes, directions = np.linalg.svd(features, full_matrices=False)
    return directions[sizes > ALLOWED * max(sizes[0], 1.0)].T


def _rows(sites: Sites) -> _Rows:
    numbers = [basis.shape[1] for basis in sites.bases]
    directions = [basis.T for basis in sites.bases if basis.shape[1]]
    stacked = np.concatenate(directions) if directions else np.empty((0, COMPONENTS))
    return _Rows(np.repeat(np.arange(len(numbers)), numbers), stacked)


def _kernel(
    left: Sites, left_rows: _Rows, right: Sites, right_rows: _Rows, choice: "_Choice | TensorModel"
) -> np.ndarray:
    """Kernel between rows of two sets of sites (n_left_rows, n_right_rows)."""
    scalar = matern(euclidean_distances(left.points, right.points), choice.length)
    parts = _tensor_kernels(left, left_rows, right, right_rows)
    return _combined(scalar[np.ix_(left_rows.site, right_rows.site)], parts, choice)


def _tensor_kernels(
    left: Sites, left_rows: _Rows, right: Sites, right_rows: _Rows
) -> list[np.ndarray]:
    pairs = (
        (left.moments, right.moments),
        (left.products, right.products),
        (left.bands, right.bands),
    )
    return [
        np.einsum("afm,am->af", one[left_rows.site], left_rows.direction)
        @ np.einsum("afm,am->af", other[right_rows.site], right_rows.direction).T
        for one, other in pairs
    ]


def _combined(
    scalar: np.ndarray, parts: list[np.ndarray], choice: "_Choice | TensorModel"
) -> np.ndarray:
    moments, products, bands = parts
    surroundings = (scalar + CONSTANT) * 0.5 * (moments + products)
    return surroundings + choice.bands_weight * (scalar + BANDS_CONSTANT) * bands


def fit_tensor(sites: Sites, tensors: np.ndarray, folds: Folds) -> TensorModel:
    """The model with the least error on parts of the training sites that are left out.

    Parameters
    ----------
    tensors
        Components (n_sites, 5).
    folds
        Parts of these sites.

    Raises
    ------
    ValueError
        No site allows a tensor.
    """
    rows = _rows(sites)
    if not len(rows.site):
        raise ValueError("no training site has a field gradient by symmetry")
    target = np.einsum("rm,rm->r", tensors[rows.site], rows.direction)
    parts = _tensor_kernels(sites, rows, sites, rows)
    distance = euclidean_distances(sites.points)
    others = distance[np.triu_indices(len(distance), 1)]
    median = float(np.median(others)) if len(others) else 1.0
    of_rows = Folds(folds.fold[rows.site], folds.trains[rows.site])
    tested = of_rows.fold != NEVER
    best = (np.inf, _Choice(median or 1.0, BANDS[0]), PENALTIES[-1])
    weights = BANDS if sites.bands.size else (0.0,)
    for factor in LENGTHS if tested.any() else ():
        length = factor * (median or 1.0)
        scalar = matern(distance, length)[np.ix_(rows.site, rows.site)]
        for choice in (_Choice(length, weight) for weight in weights):
            matrix = _combined(scalar, parts, choice)
            for penalty in PENALTIES:
                inverse = _regular_inverse(matrix, penalty)
                residual = left_out(inverse, target, of_rows)[0]
                error = float(np.mean(residual[tested] ** 2))
                if error < best[0]:
                    best = (error, choice, penalty)
    _, choice, penalty = best
    return solve_tensor(sites, tensors, *choice, penalty)


def solve_tensor(
    sites: Sites, tensors: np.ndarray, length: float, bands_weight: float, penalty: float
) -> TensorModel:
    """The model of training sites (n_sites, 5) with these choices."""
    rows = _rows(sites)
    target = np.einsum("rm,rm->r", tensors[rows.site], rows.direction)
    matrix = _kernel(sites, rows, sites, rows, _Choice(length, bands_weight))
    coefficients = _regular_inverse(matrix, penalty) @ target
    return TensorModel(sites, rows.site, length, bands_weight, penalty, coefficients)


def _regular_inverse(matrix: np.ndarray, penalty: float) -> np.ndarray:
    return inverse_of(matrix, penalty * float(np.mean(np.diag(matrix))))
