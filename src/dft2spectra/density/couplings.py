"""Couplings of three moments to an invariant, and their sums as compiled straight-line code.

The three-body terms take most of the time of a step. As loops over tables of Gaunt coefficients
they would spend it on loops and memory; written out, the products of a coupling stay in registers
and take a third. The text is made of the coefficients when this module is imported, and compiled
and cached by numba like any other kernel.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numba as nb
import numpy as np

from dft2spectra.density.harmonics import normalisation, solid_harmonics

# Highest degree in a three-body term; every coupling costs a second of compilation, once.
MAX_DEGREE = 3
# Points at once. Only with a fixed number does the compiler see that rows do not overlap.
LANES = 128

_kernel = nb.njit(cache=True, fastmath=True, error_model="numpy")


def triples(l_max: int, l_total: int) -> list[tuple[tuple[int, int], int]]:
    """Pairs of degrees, and the degree that they are coupled to, of all terms up to ``l_max``.

    Degrees add up to at most ``l_total``. A pair of equal degrees comes first, as it has only half
    the products; of three different degrees the lowest is the last, which makes small arrays.
    """
    found = []
    for a in range(l_max + 1):
        for b in range(a, l_max + 1):
            for c in range(b, min(a + b, l_max) + 1):
                if (a + b + c) % 2 == 0 and a + b + c <= l_total:
                    found.append(((a, b), c) if a == b else ((b, c), a))
    return found


@dataclass(frozen=True)
class Coupling:
    """Two moments of degrees ``pair`` coupled to the degree ``total``; shapes for Q channels.

    Attributes
    ----------
    number
        Place in :data:`COMPILED`.
    terms, gaunt
        Rows (i₁, i₂, M) of moment indices and component, and ∫ Y Y Y for each.
    first, second
        Channels of every pair, q₁ ≤ q₂ where the degrees are equal.
    allowed
        (pairs, Q) mask of the terms that are no permutation of another.
    """

    number: int
    pair: tuple[int, int]
    total: int
    terms: np.ndarray
    gaunt: np.ndarray
    first: np.ndarray
    second: np.ndarray
    allowed: np.ndarray


@cache
def couplings(l_max: int, l_total: int, channels: int) -> tuple[Coupling, ...]:
    """Couplings of three moments of degrees up to ``l_max`` that add up to at most ``l_total``.

    Raises
    ------
    ValueError
        The degree is above :data:`MAX_DEGREE`.
    """
    if l_max > MAX_DEGREE:
        raise ValueError(f"three-body terms go up to degree {MAX_DEGREE}, not {l_max}")
    found = []
    for pair, total in triples(l_max, l_total):
        if pair[0] == pair[1]:
            first, second = np.triu_indices(channels)
        else:
            first, second = (index.ravel() for index in np.indices((channels, channels)))
        allowed = np.ones((len(first), channels), dtype=bool)
        if pair == (total, total):
            allowed = second[:, None] <= np.arange(channels)
        number = COMPILED.index((pair, total))
        found.append(Coupling(number, pair, total, *products(pair, total), first, second, allowed))
    return tuple(found)


def products(pair: tuple[int, int], total: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (i₁, i₂, M) of moment indices and component, and the Gaunt coefficient of each."""
    la, lb = pair
    full = gaunt_coefficients(max(la, lb, total))
    block = full[la**2 : (la + 1) ** 2, lb**2 : (lb + 1) ** 2, total**2 : (total + 1) ** 2]
    i, j, m = np.nonzero(np.abs(block) > 1e-12)
    return np.stack([i + la**2, j + lb**2, m], axis=1), block[i, j, m]


@cache
def gaunt_coefficients(l_max: int) -> np.ndarray:
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


# --- straight-line code --------------------------------------------------------------------------

COMPILED = triples(MAX_DEGREE, 3 * MAX_DEGREE)


def _rows(terms: np.ndarray, gaunt: np.ndarray, column: int) -> dict[int, list[tuple[int, ...]]]:
    """Terms by the index in one column; each with its coefficient's place."""
    rows: dict[int, list[tuple[int, ...]]] = {}
    for place, term in enumerate(terms.tolist()):
        rows.setdefault(term[column], []).append((place, *term))
    return rows


def _text(number: int) -> Iterator[str]:
    """Source of two kernels: products and derivative by the first moment; by the second one."""
    terms, gaunt = products(*COMPILED[number])
    g = [repr(float(value)) for value in gaunt]
    load = {
        "u": ("left", sorted(set(terms[:, 0].tolist()))),
        "v": ("right", sorted(set(terms[:, 1].tolist()))),
        "w": ("weight", sorted(set(terms[:, 2].tolist()))),
    }

    def loads(names: str) -> Iterator[str]:
        for name in names:
            array, rows = load[name]
            factor = "factor * " if name == "w" else ""
            for row in rows:
                yield f"        {name}{row} = {factor}{array}[{row * LANES} + p]"

    def sums(target: str, operator: str, column: int, product: str) -> Iterator[str]:
        for row, members in _rows(terms, gaunt, column).items():
            total = " + ".join(
                f"{g[place]} * " + product.format(i=i, j=j, m=m) for place, i, j, m in members
            )
            yield f"        {target}[{row * LANES} + p] {operator} {total}"

    yield f"def first_{number}(left, right, weight, factor, product, slope):"
    yield f"    for p in range({LANES}):"
    yield from loads("uvw")
    yield from sums("product", "=", 2, "u{i} * v{j}")
    yield from sums("slope", "+=", 0, "w{m} * v{j}")
    yield f"def second_{number}(left, weight, factor, slope):"
    yield f"    for p in range({LANES}):"
    yield from loads("uw")
    yield from sums("slope", "+=", 1, "w{m} * u{i}")


def _pairs_text() -> Iterator[str]:
    """Source of the loop over the pairs of a coupling, by its number."""
    yield "def products_of_pairs(number, a, pairs, weight, product, slope):"
    for number, (pair, _) in enumerate(COMPILED):
        yield f"    if number == {number}:"
        yield "        for k in range(len(pairs)):"
        yield "            q, s = pairs[k, 0], pairs[k, 1]"
        # a product of one moment with itself has the two derivatives in one
        factor = "2.0 if q == s else 1.0" if pair[0] == pair[1] else "1.0"
        yield f"            first_{number}(a[q], a[s], weight[k], {factor}, product[k], slope[q])"
        if pair[0] == pair[1]:
            yield "            if q == s:"
            yield "                continue"
        yield f"            second_{number}(a[q], weight[k], 1.0, slope[s])"


def _compiled() -> Any:
    space: dict[str, Any] = {}
    texts = [*(list(_text(number)) for number in range(len(COMPILED))), list(_pairs_text())]
    # Numba files compiled code under the file and line of its source: this file, a line of its own.
    start = 1
    for lines in texts:
        code = compile("\n" * start + "\n".join(lines), __file__, "exec")
        space |= {"__name__": __name__}
        before = set(space)
        exec(code, space)
        for name in set(space) - before - {"__builtins__"}:
            space[name] = _kernel(space[name])
        start += len(lines)
    return space["products_of_pairs"]


# products_of_pairs(number, a, pairs, weight, product, slope): for the coupling of a number and rows
# a (channels, moments · LANES) fill ``product`` (pairs, (2 total + 1) · LANES) and add the
# derivative of weight·product by a to ``slope``.
products_of_pairs = _compiled()
