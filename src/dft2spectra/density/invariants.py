"""Rotation-invariant terms of one to three atoms around a point, and the tensors that sum them up.

One-body terms depend on the distance to one atom; two-body terms are the sums over pairs of atoms
of ``f_n(r₁) f_n'(r₂) P_l(cos)``; three-body terms couple the moments of three atoms with Gaunt
coefficients. Sums run over all atoms, an atom with itself included, which only moves part of the
lower body orders into the higher ones. Terms that differ only by a permutation of the atoms are one
term. A linear model is a set of coefficients, which :class:`Tensors` holds in the shape that
evaluates fastest.
"""

from dataclasses import dataclass
from functools import cache

import numba as nb
import numpy as np

from dft2spectra.density.harmonics import normalisation, solid_harmonics

_kernel = nb.njit(cache=True, fastmath=True, error_model="numpy")


@dataclass(frozen=True)
class Coupling:
    """Two moments of degrees ``pair`` coupled to the degree ``total``; shapes for Q channels.

    Attributes
    ----------
    terms, gaunt
        Rows (i₁, i₂, M) of moment indices and component, and ∫ Y Y Y for each.
    first, second
        Channels of every pair, q₁ ≤ q₂ where the degrees are equal.
    allowed
        (pairs, Q) mask of the terms that are no permutation of another.
    """

    pair: tuple[int, int]
    total: int
    terms: np.ndarray
    gaunt: np.ndarray
    first: np.ndarray
    second: np.ndarray
    allowed: np.ndarray


@cache
def couplings(l_max: int, l_total: int, channels: int) -> tuple[Coupling, ...]:
    """Couplings of three moments of degrees up to ``l_max`` that add up to at most ``l_total``."""
    found = []
    for a in range(l_max + 1):
        for b in range(a, l_max + 1):
            for c in range(b, min(a + b, l_max) + 1):
                if (a + b + c) % 2 == 0 and a + b + c <= l_total:
                    pair, total = ((b, c), a) if b == c else ((a, b), c)
                    found.append(_coupling(pair, total, channels))
    return tuple(found)


def _coupling(pair: tuple[int, int], total: int, channels: int) -> Coupling:
    la, lb = pair
    full = _gaunt(max(la, lb, total))
    block = full[la**2 : (la + 1) ** 2, lb**2 : (lb + 1) ** 2, total**2 : (total + 1) ** 2]
    i, j, m = np.nonzero(np.abs(block) > 1e-12)
    if la == lb:
        first, second = np.triu_indices(channels)
    else:
        first, second = (index.ravel() for index in np.indices((channels, channels)))
    allowed = np.ones((len(first), channels), dtype=bool)
    if la == lb == total:
        allowed = second[:, None] <= np.arange(channels)
    terms = np.stack([i + la**2, j + lb**2, m], axis=1)
    return Coupling(pair, total, terms, block[i, j, m], first, second, allowed)


@cache
def _gaunt(l_max: int) -> np.ndarray:
    """Integrals of three real harmonics over the sphere; a product rule that is exact for them."""
    cosine, weight = np.polynomial.legendre.leggauss(2 * l_max + 2)
    angles = 2 * np.pi * np.arange(4 * l_max + 4) / (4 * l_max + 4)
    sine = np.sqrt(1 - cosine**2)
    d = np.stack(
        [
            np.outer(sine, np.cos(angles)).ravel(),
            np.outer(sine, np.sin(angles)).ravel(),
            np.repeat(cosine, len(angles)),
        ]
    )
    y = np.empty(((l_max + 1) ** 2, d.shape[1]))
    solid_harmonics(l_max, normalisation(l_max), d, y)
    weights = np.repeat(weight, len(angles)) * 2 * np.pi / len(angles)
    return np.einsum("ip,jp,kp,p->ijk", y, y, y, weights)


@dataclass(frozen=True)
class Terms:
    """What terms a model has: number of species and sizes of the three body orders.

    ``mixing`` (channels, species · n_two) makes the channels of the three-body terms from those of
    the two-body ones; ``l_three`` < 0 leaves three-body terms out.
    """

    species: int
    n_one: int
    n_two: int
    l_two: int
    mixing: np.ndarray
    l_three: int
    l_total: int

    @property
    def couplings(self) -> tuple[Coupling, ...]:
        """Couplings of the three-body terms."""
        if self.l_three < 0:
            return ()
        return couplings(self.l_three, self.l_total, len(self.mixing))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of one-, two- and three-body terms."""
        channels = self.species * self.n_two
        two = (self.l_two + 1) * channels * (channels + 1) // 2
        three = sum(int(coupling.allowed.sum()) for coupling in self.couplings)
        return self.species * self.n_one, two, three


def features(terms: Terms, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Every term at every point, shape (P, number of terms), from the moments.

    Parameters
    ----------
    one, two
        Moments of shape (1, species · n_one, P) and ((l_two+1)², species · n_two, P).
    """
    count = one.shape[2]
    rows = [one[0]]
    upper = np.triu_indices(two.shape[1])
    for l in range(terms.l_two + 1):
        rows.append(_pairs(two[l * l : (l + 1) ** 2], *upper))
    if terms.couplings:
        small = np.matmul(terms.mixing, two[: (terms.l_three + 1) ** 2])
        for coupling in terms.couplings:
            product = couple(small, coupling)
            block = small[coupling.total**2 : (coupling.total + 1) ** 2]
            i, j = np.nonzero(coupling.allowed)
            rows.append(_contract(product, block, i, j))
    return np.concatenate(rows).reshape(-1, count).T


@_kernel
def _pairs(block, first, second):  # type: ignore[no-untyped-def]
    out = np.zeros((len(first), block.shape[2]))
    for k in range(len(first)):
        for m in range(block.shape[0]):
            for p in range(block.shape[2]):
                out[k, p] += block[m, first[k], p] * block[m, second[k], p]
    return out


@_kernel
def _contract(product, block, i, j):  # type: ignore[no-untyped-def]
    out = np.zeros((len(i), block.shape[2]))
    for k in range(len(i)):
        for m in range(block.shape[0]):
            for p in range(block.shape[2]):
                out[k, p] += product[m, i[k], p] * block[m, j[k], p]
    return out


def couple(a: np.ndarray, coupling: Coupling) -> np.ndarray:
    """Products of pairs of moments coupled to one degree, shape (2 total + 1, pairs, P)."""
    out = np.zeros((2 * coupling.total + 1, len(coupling.first), a.shape[2]))
    _couple(a, coupling.terms, coupling.gaunt, coupling.first, coupling.second, out)
    return out


@_kernel
def _couple(a, terms, gaunt, first, second, out):  # type: ignore[no-untyped-def]
    for k in range(len(first)):
        for t in range(len(gaunt)):
            i, j, m, g = terms[t, 0], terms[t, 1], terms[t, 2], gaunt[t]
            for p in range(a.shape[2]):
                out[m, k, p] += g * a[i, first[k], p] * a[j, second[k], p]


@_kernel
def _products(a, b, head, terms, gaunt, pairs, out):  # type: ignore[no-untyped-def]
    """Add the coupled products of the pairs of one coupling to ``out`` (pairs, 2L + 1, P)."""
    count = a.shape[2]
    scaled = np.empty(count)
    k = head[3]
    while k < head[4]:
        q = pairs[k, 0]
        last = k
        while last < head[4] and pairs[last, 0] == q:
            last += 1
        for t in range(head[1], head[2]):
            i, j, m, g = terms[t, 0], terms[t, 1], terms[t, 2], gaunt[t]
            left = a[q, i]
            for p in range(count):
                scaled[p] = g * left[p]
            for pair in range(k, last):
                right, target = b[pairs[pair, 1], j], out[pair - head[3], m]
                for p in range(count):
                    target[p] += scaled[p] * right[p]
        k = last


@_kernel
def _products_back(a, weight, head, terms, gaunt, pairs, out):  # type: ignore[no-untyped-def]
    """Add the derivative of ``weight``·products with respect to the moments ``a`` to ``out``."""
    channels, count = a.shape[0], a.shape[2]
    row = np.empty(count)
    # position of each ordered pair; the products of equal degrees are symmetric
    place = np.full((channels, channels), -1)
    for k in range(head[3], head[4]):
        place[pairs[k, 0], pairs[k, 1]] = k - head[3]
    symmetric = place[channels - 1, 0] < 0 and channels > 1
    for t in range(head[1], head[2]):
        i, j, m, g = terms[t, 0], terms[t, 1], terms[t, 2], gaunt[t]
        for q in range(channels):
            for p in range(count):
                row[p] = 0.0
            for s in range(channels):
                k = place[q, s]
                if symmetric and k < 0:
                    k = place[s, q]
                factor, other = weight[k, m], a[s, j]
                twice = 2.0 if symmetric and s == q else 1.0
                for p in range(count):
                    row[p] += twice * factor[p] * other[p]
            target = out[q, i]
            for p in range(count):
                target[p] += g * row[p]
            if not symmetric:
                for p in range(count):
                    row[p] = 0.0
                for s in range(channels):
                    factor, other = weight[place[s, q], m], a[s, i]
                    for p in range(count):
                        row[p] += factor[p] * other[p]
                target = out[q, j]
                for p in range(count):
                    target[p] += g * row[p]


@_kernel
def _degree(a, head):  # type: ignore[no-untyped-def]
    """Moments of the total degree of a coupling, shape (channels, (2L + 1) P)."""
    channels, size, count = a.shape[0], 2 * head[0] + 1, a.shape[2]
    out = np.empty((channels, size * count))
    for c in range(channels):
        for m in range(size):
            for p in range(count):
                out[c, m * count + p] = a[c, head[0] * head[0] + m, p]
    return out


@_kernel
def _add_degree(flat, head, out):  # type: ignore[no-untyped-def]
    count = out.shape[2]
    for c in range(out.shape[0]):
        for m in range(2 * head[0] + 1):
            for p in range(count):
                out[c, head[0] * head[0] + m, p] += flat[c, m * count + p]


@_kernel
def three_body(a, heads, terms, gaunt, pairs, tensor, value, slope):  # type: ignore[no-untyped-def]
    """Add the three-body terms to ``value`` (P,), their derivatives to ``slope``.

    ``a`` and ``slope`` have the shape (mixed channels, moments, P); the other arguments are
    :attr:`Tensors.flat`.
    """
    count = a.shape[2]
    for head in heads:
        number, size = head[4] - head[3], 2 * head[0] + 1
        matrix = tensor[head[3] : head[4]]
        product = np.zeros((number, size, count))
        _products(a, a, head, terms, gaunt, pairs, product)
        flat = product.reshape(number, size * count)
        weight = np.dot(matrix, _degree(a, head))
        for k in range(number):
            for m in range(size):
                for p in range(count):
                    value[p] += product[k, m, p] * weight[k, m * count + p]
        _add_degree(np.dot(matrix.T, flat), head, slope)
        shaped = weight.reshape(number, size, count)
        _products_back(a, shaped, head, terms, gaunt, pairs, slope)


@_kernel
def three_body_tangent(  # type: ignore[no-untyped-def]
    a, da, heads, terms, gaunt, pairs, tensor, slope, change
):
    """The derivatives as in :func:`three_body`, and their change as ``a`` changes by ``da``.

    An empty ``slope`` leaves out the derivatives themselves, which the caller has.
    """
    count = a.shape[2]
    wanted = slope.shape[0] > 0
    for head in heads:
        number, size = head[4] - head[3], 2 * head[0] + 1
        matrix = tensor[head[3] : head[4]]
        moved = np.zeros((number, size, count))
        _products(da, a, head, terms, gaunt, pairs, moved)
        _products(a, da, head, terms, gaunt, pairs, moved)
        weight = np.dot(matrix, _degree(a, head)).reshape(number, size, count)
        shifted = np.dot(matrix, _degree(da, head)).reshape(number, size, count)
        if wanted:
            product = np.zeros((number, size, count))
            _products(a, a, head, terms, gaunt, pairs, product)
            _add_degree(np.dot(matrix.T, product.reshape(number, size * count)), head, slope)
            _products_back(a, weight, head, terms, gaunt, pairs, slope)
        _add_degree(np.dot(matrix.T, moved.reshape(number, size * count)), head, change)
        _products_back(da, weight, head, terms, gaunt, pairs, change)
        _products_back(a, shifted, head, terms, gaunt, pairs, change)


class Tensors:
    """Coefficients of a model in the shape that evaluates fastest.

    Attributes
    ----------
    one
        Shape (species · n_one,).
    two
        Shape (l_two + 1, channels, channels), symmetric.
    three
        One array (pairs, mixed channels) per coupling.
    """

    def __init__(self, terms: Terms, coefficients: np.ndarray) -> None:
        sizes = terms.sizes
        if coefficients.shape != (sum(sizes),):
            raise ValueError(f"{sum(sizes)} terms, but coefficients of shape {coefficients.shape}")
        self.terms = terms
        one, two, three = np.split(coefficients, np.cumsum(sizes)[:-1])
        self.one = np.ascontiguousarray(one)
        channels = terms.species * terms.n_two
        upper = np.triu_indices(channels)
        self.two = np.zeros((terms.l_two + 1, channels, channels))
        self.two[:, upper[0], upper[1]] = two.reshape(terms.l_two + 1, -1) / 2
        self.two += self.two.transpose(0, 2, 1)
        self.three = []
        start = 0
        for coupling in terms.couplings:
            tensor = np.zeros(coupling.allowed.shape)
            number = int(coupling.allowed.sum())
            tensor[coupling.allowed] = three[start : start + number]
            start += number
            self.three.append(tensor)

    @property
    def flat(self) -> tuple[np.ndarray, ...]:
        """Heads, terms, Gaunt coefficients, pairs and tensor of all couplings, for the kernels.

        A head holds the total degree and the first and last term and pair of a coupling.
        """
        heads, term, pair = [], 0, 0
        couplings = self.terms.couplings
        for coupling in couplings:
            next_term, next_pair = term + len(coupling.gaunt), pair + len(coupling.first)
            heads.append((coupling.total, term, next_term, pair, next_pair))
            term, pair = next_term, next_pair
        if not couplings:
            empty = np.empty((0, 0))
            whole = np.empty((0, 5), dtype=np.int64)
            return whole, whole[:, :3].copy(), empty[:, 0:0].ravel(), whole[:, :2].copy(), empty
        return (
            np.array(heads, dtype=np.int64),
            np.concatenate([coupling.terms for coupling in couplings]).astype(np.int64),
            np.concatenate([coupling.gaunt for coupling in couplings]),
            np.concatenate(
                [np.stack([coupling.first, coupling.second], axis=1) for coupling in couplings]
            ).astype(np.int64),
            np.concatenate(self.three),
        )
