"""Rotation-invariant terms of one to three atoms around a point, and the tensors that sum them up.

One-body terms depend on the distance to one atom; two-body terms are the sums over pairs of atoms
of ``f_n(r₁) f_n'(r₂) P_l(cos)``; three-body terms couple the moments of three atoms with Gaunt
coefficients. Sums run over all atoms, an atom with itself included, which only moves part of the
lower body orders into the higher ones. Terms that differ only by a permutation of the atoms are one
term. A linear model is a set of coefficients, which :class:`Tensors` holds in the shape that
evaluates fastest.
"""

import math
from dataclasses import dataclass

import numba as nb
import numpy as np

from dft2spectra.density.couplings import LANES, Coupling, couplings, products_of_pairs

_kernel = nb.njit(cache=True, fastmath=True, error_model="numpy")


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
def _degree(a, total):  # type: ignore[no-untyped-def]
    """Rows of one degree, shape (channels, (2 total + 1) LANES)."""
    first, last = total * total * LANES, (total + 1) * (total + 1) * LANES
    out = np.empty((a.shape[0], last - first))
    for c in range(a.shape[0]):
        for p in range(last - first):
            out[c, p] = a[c, first + p]
    return out


@_kernel
def three_body(a, heads, pairs, tensor, slope):  # type: ignore[no-untyped-def]
    """Add the derivatives of the three-body terms by the mixed moments ``a`` to ``slope``.

    ``a`` and ``slope`` have the shape (mixed channels, moments · LANES); the other arguments are
    :attr:`Tensors.flat`. The terms are of third degree in ``a``: their sum is a third of
    a·slope (Euler).
    """
    for head in heads:
        number, total, start, end = head[0], head[1], head[2], head[3]
        matrix = tensor[start:end]
        weight = np.dot(matrix, _degree(a, total))
        product = np.empty(weight.shape)
        products_of_pairs(number, a, pairs[start:end], weight, product, slope)
        back = np.dot(matrix.T, product)
        first = total * total * LANES
        for c in range(back.shape[0]):
            for p in range(back.shape[1]):
                slope[c, first + p] += back[c, p]


@_kernel
def three_body_change(a, da, heads, pairs, tensor, change):  # type: ignore[no-untyped-def]
    """Add to ``change`` how the derivatives of :func:`three_body` change as ``a`` does by ``da``.

    They are of second degree, so that half the difference of two of them is no approximation.
    """
    size, step = 0.0, 0.0
    for c in range(a.shape[0]):
        for p in range(a.shape[1]):
            size += a[c, p] * a[c, p]
            step += da[c, p] * da[c, p]
    if step == 0.0 or size == 0.0:
        return
    # steps as large as the moments keep all digits
    scale = math.sqrt(size / step)
    ahead, behind = np.zeros(a.shape), np.zeros(a.shape)
    three_body(a + scale * da, heads, pairs, tensor, ahead)
    three_body(a - scale * da, heads, pairs, tensor, behind)
    for c in range(a.shape[0]):
        for p in range(a.shape[1]):
            change[c, p] += (ahead[c, p] - behind[c, p]) / (2.0 * scale)


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
        """Heads, pairs and tensor of all couplings, for the kernels.

        A head holds number and total degree of a coupling and its first and last pair.
        """
        heads, start = [], 0
        couplings = self.terms.couplings
        for coupling in couplings:
            end = start + len(coupling.first)
            heads.append((coupling.number, coupling.total, start, end))
            start = end
        if not couplings:
            whole = np.empty((0, 4), dtype=np.int64)
            return whole, whole[:, :2].copy(), np.empty((0, 0))
        pairs = [np.stack([coupling.first, coupling.second], axis=1) for coupling in couplings]
        return (
            np.array(heads, dtype=np.int64),
            np.concatenate(pairs).astype(np.int64),
            np.concatenate(self.three),
        )
