"""The terms of the density model written out plainly, with SciPy's polynomials and harmonics."""

import math
from functools import cache

import numpy as np
from scipy.integrate import lebedev_rule
from scipy.special import eval_jacobi, sph_harm_y

from dft2spectra.density.model import Basis, DensityModel
from dft2spectra.density.radial import BETA, MAX_ALPHA


def radial(n: int, degree: int, r: np.ndarray, cutoff: float, scale: float) -> np.ndarray:
    """The n-th radial function of a term of some degree; a plain map where ``scale`` is 0."""
    alpha = min(degree, MAX_ALPHA)
    r = np.asarray(r, dtype=float)
    inside = np.minimum(r, cutoff)
    t = np.log1p(inside / scale) / np.log1p(cutoff / scale) if scale else inside / cutoff
    x = np.cos(np.pi * t)
    total = alpha + BETA
    # Abramowitz and Stegun 22.2.1, for the weight ((1 − x)/2)^α ((1 + x)/2)^β, of which the
    # square root is sin^α cos^β of half the angle
    norm = (
        2 / (2 * n + total + 1)
        * math.gamma(n + alpha + 1) * math.gamma(n + BETA + 1)
        / (math.factorial(n) * math.gamma(n + total + 1))
    )  # fmt: skip
    weight = np.sin(np.pi * t / 2) ** alpha * np.cos(np.pi * t / 2) ** BETA
    return np.where(r < cutoff, weight * eval_jacobi(n, alpha, BETA, x) / math.sqrt(norm), 0.0)


def harmonic(l: int, m: int, d: np.ndarray) -> np.ndarray:
    """Real orthonormal harmonics of the directions ``d`` (..., 3), no Condon–Shortley sign."""
    r = np.linalg.norm(d, axis=-1)
    theta, phi = np.arccos(np.clip(d[..., 2] / r, -1, 1)), np.arctan2(d[..., 1], d[..., 0])
    value = sph_harm_y(l, abs(m), theta, phi)
    if m == 0:
        return value.real
    return math.sqrt(2) * (-1) ** m * (value.real if m > 0 else value.imag)


@cache
def sphere() -> tuple[np.ndarray, np.ndarray]:
    """Directions (N, 3) and weights of a rule exact up to degree 31."""
    points, weights = lebedev_rule(31)
    return points.T, weights


def random_basis(species=("H", "O"), seed=0, channels=None, **change) -> Basis:
    """A small basis; ``channels`` mixes the three-body channels at random."""
    settings = {
        "radial_map": "logarithmic",
        "one_body": {"n_max": 5, "cutoff_ang": 2.4, "map_scale_bohr": 0.3},
        "two_body": {"n_max": 3, "l_max": 3, "cutoff_ang": 2.0, "map_scale_bohr": 0.5},
        "three_body": {"n_max": 2, "l_max": 2, "l_total": 6},
    } | change
    mixing = None
    if channels:
        mixing = np.random.default_rng(seed).normal(
            size=(channels, len(species) * settings["two_body"]["n_max"])
        )
    return Basis(tuple(species), settings, mixing)


def random_model(basis: Basis, seed=0, members=3, card=None) -> DensityModel:
    """Coefficients that were fitted to nothing."""
    random, size = np.random.default_rng(seed), sum(basis.terms.sizes)
    return DensityModel(
        basis, random.normal(size=size), random.normal(size=(members, size)), card or {}
    )


def plain_features(
    basis: Basis, points: np.ndarray, symbols: list[str], positions: np.ndarray
) -> np.ndarray:
    """All terms (P, terms), with sums over atoms, pairs and triples of atoms; identity mixing.

    The sum over components of ``∫ Y Y Y · Y(u₁) Y(u₂) Y(u₃)`` is, by the addition theorem, the
    integral over directions s of the product of the three ``(2l + 1)/4π P_l(u·s)``.
    """
    terms = basis.terms
    kind = basis.numbered(symbols)
    (cut_one, cut_two), (scale_one, scale_two) = basis.cutoffs, basis.scales
    d = points[:, None] - positions
    r = np.linalg.norm(d, axis=2)
    u = d / r[:, :, None]

    def f(degree: int, channel: int) -> np.ndarray:
        species, n = divmod(channel, terms.n_two)
        return radial(n, degree, r, cut_two, scale_two) * (kind == species)

    columns = [
        (radial(n, 0, r, cut_one, scale_one) * (kind == s)).sum(axis=1) / math.sqrt(4 * math.pi)
        for s in range(terms.species)
        for n in range(terms.n_one)
    ]
    channels = terms.species * terms.n_two
    cosine = np.einsum("pix,pjx->pij", u, u)
    for l in range(terms.l_two + 1):
        shape = (2 * l + 1) / (4 * math.pi) * np.polynomial.legendre.Legendre.basis(l)(cosine)
        for q in range(channels):
            for s in range(q, channels):
                columns.append(np.einsum("pi,pj,pij->p", f(l, q), f(l, s), shape))
    directions, weights = sphere()
    toward = np.einsum("pix,sx->pis", u, directions)
    chosen = [s * terms.n_two + n for s in range(terms.species) for n in range(_n_three(basis))]
    for coupling in terms.couplings:
        degrees = (*coupling.pair, coupling.total)
        fields = [
            [
                np.einsum(
                    "pi,pis->ps",
                    f(l, channel),
                    (2 * l + 1) / (4 * math.pi) * np.polynomial.legendre.Legendre.basis(l)(toward),
                )
                for channel in chosen
            ]
            for l in degrees
        ]
        pairs = list(zip(coupling.first, coupling.second, strict=True))
        for k, third in zip(*np.nonzero(coupling.allowed), strict=True):
            a, b = pairs[k]
            columns.append((fields[0][a] * fields[1][b] * fields[2][third]) @ weights)
    return np.array(columns).T


def _n_three(basis: Basis) -> int:
    return basis.settings["three_body"]["n_max"] if basis.settings["three_body"] else 0
