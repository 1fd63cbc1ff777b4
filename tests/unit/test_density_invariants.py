"""Terms of one, two and three atoms: explicit sums, invariance, counts, and their tensors."""

import itertools

import numpy as np
import pytest
from density_reference import harmonic, plain_features, random_basis, sphere
from scipy.spatial.transform import Rotation

from dft2spectra.density.invariants import (
    Tensors,
    _gaunt,
    couplings,
    features,
    three_body,
    three_body_tangent,
)
from dft2spectra.density.model import moments_around

SYMBOLS = ["O", "H", "H", "O"]
POSITIONS = np.array([[0.0, 0.1, 0.0], [1.6, 0.2, 0.4], [-0.5, 1.5, 0.3], [-1.2, -1.4, 1.1]])
POINTS = np.random.default_rng(2).uniform(-1.8, 1.8, (30, 3))


def all_terms(basis, points=POINTS, symbols=SYMBOLS, positions=POSITIONS):
    around = moments_around(basis, points, positions, basis.numbered(symbols))
    return features(basis.terms, *around)


@pytest.mark.parametrize("radial_map", ["logarithmic", "plain"])
def test_terms_are_explicit_sums_over_atoms_pairs_and_triples(radial_map):
    basis = random_basis(radial_map=radial_map)
    found, expected = all_terms(basis), plain_features(basis, POINTS, SYMBOLS, POSITIONS)
    assert found.shape == expected.shape == (30, sum(basis.terms.sizes))
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())
    # none is zero by a selection rule
    assert np.abs(expected).max(axis=0).min() > 1e-6


def test_mixed_channels_are_combinations_of_the_others():
    """Coefficients of a mixed model, contracted by hand with the unmixed terms."""
    mixed = random_basis(channels=3)
    plain = random_basis(three_body={"n_max": 3, "l_max": 2, "l_total": 6})
    start = sum(mixed.terms.sizes[:2])
    found, unmixed = all_terms(mixed)[:, start:], all_terms(plain)[:, start:]
    column, start = 0, 0
    for small, large in zip(mixed.terms.couplings, plain.terms.couplings, strict=True):
        index = {}
        for k, third in zip(*np.nonzero(large.allowed), strict=True):
            index[large.first[k], large.second[k], third] = start
            start += 1
        for k, third in zip(*np.nonzero(small.allowed), strict=True):
            rows = mixed.terms.mixing[[small.first[k], small.second[k], third]]
            expected = np.zeros(len(POINTS))
            for triple in itertools.product(range(rows.shape[1]), repeat=3):
                weight = rows[0, triple[0]] * rows[1, triple[1]] * rows[2, triple[2]]
                expected += weight * unmixed[:, index[_canonical(triple, large)]]
            np.testing.assert_allclose(found[:, column], expected, rtol=1e-9, atol=1e-12)
            column += 1
    assert column == found.shape[1]


def _canonical(triple, coupling):
    a, b, c = triple
    if coupling.pair == (coupling.total, coupling.total):
        return tuple(sorted(triple))
    return (min(a, b), max(a, b), c) if coupling.pair[0] == coupling.pair[1] else triple


def test_terms_do_not_turn_and_do_not_know_the_order_of_atoms():
    basis = random_basis(channels=2)
    expected = all_terms(basis)
    allowed = 1e-12 * np.abs(expected).max()
    turn = Rotation.from_rotvec([0.4, -1.1, 2.0]).as_matrix()
    for operation in (turn, -turn):
        found = all_terms(basis, POINTS @ operation.T + 3.0, SYMBOLS, POSITIONS @ operation.T + 3.0)
        np.testing.assert_allclose(found, expected, atol=allowed)
    for order in itertools.permutations(range(4)):
        symbols = [SYMBOLS[i] for i in order]
        found = all_terms(basis, POINTS, symbols, POSITIONS[list(order)])
        np.testing.assert_allclose(found, expected, atol=allowed)
    swapped = all_terms(basis, POINTS, ["H", "O", "H", "O"])
    assert np.abs(swapped - expected).max() > 0.01


def test_gaunt_coefficients():
    points, weights = sphere()
    y = np.array([harmonic(l, m, points) for l in range(5) for m in range(-l, l + 1)])
    expected = np.einsum("ip,jp,kp,p->ijk", y, y, y, weights)
    np.testing.assert_allclose(_gaunt(4), expected, atol=1e-12)
    # ∫ Y10 Y10 Y20 = 1/√(5π), as from Wigner's 3j symbols
    assert _gaunt(2)[2, 2, 6] == pytest.approx(1 / np.sqrt(5 * np.pi), rel=1e-12)


@pytest.mark.parametrize(("l_max", "l_total", "channels"), [(0, 0, 3), (2, 6, 2), (3, 6, 3)])
def test_every_term_is_there_once(l_max, l_total, channels):
    """As many terms as unordered triples of (degree, channel) that the sphere allows."""
    kinds = list(itertools.product(range(l_max + 1), range(channels)))
    expected = 0
    for triple in itertools.combinations_with_replacement(kinds, 3):
        a, b, c = sorted(l for l, _ in triple)
        expected += (a + b + c) % 2 == 0 and c <= a + b and a + b + c <= l_total
    found = sum(int(c.allowed.sum()) for c in couplings(l_max, l_total, channels))
    assert found == expected


def test_no_term_repeats_another():
    """On atoms anywhere no combination of terms vanishes."""
    basis = random_basis(
        one_body={"n_max": 3, "cutoff_ang": 2.4, "map_scale_bohr": 0.3},
        two_body={"n_max": 2, "l_max": 2, "cutoff_ang": 2.0, "map_scale_bohr": 0.5},
        three_body={"n_max": 2, "l_max": 2, "l_total": 6},
    )
    random, rows = np.random.default_rng(5), []
    for number in range(160):
        symbols = list(random.choice(["H", "O"], size=3 + number % 3))
        positions = random.uniform(-1.6, 1.6, (len(symbols), 3))
        rows.append(all_terms(basis, random.uniform(-1, 1, (8, 3)), symbols, positions))
    matrix = np.concatenate(rows)
    values = np.linalg.svd(matrix / np.linalg.norm(matrix, axis=0), compute_uv=False)
    assert values[-1] > 1e-9 * values[0]


# --- tensors -------------------------------------------------------------------------------------


def three_body_sum(basis, coefficients, two):
    """Value (P,) and derivatives by the mixed moments (channels, moments, P) from the kernel."""
    size = (basis.terms.l_three + 1) ** 2
    small = np.ascontiguousarray(np.einsum("cq,iqp->cip", basis.terms.mixing, two[:size]))
    value, slope = np.zeros(two.shape[2]), np.zeros(small.shape)
    flat = Tensors(basis.terms, coefficients).flat
    three_body(small, *flat, value, slope)
    return value, slope, small, flat


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_tensors_sum_what_the_terms_sum(channels):
    basis = random_basis(channels=channels)
    coefficients = np.random.default_rng(6).normal(size=sum(basis.terms.sizes))
    one, two = moments_around(basis, POINTS, POSITIONS, basis.numbered(SYMBOLS))
    parts = np.split(np.arange(len(coefficients)), np.cumsum(basis.terms.sizes)[:-1])
    terms, tensors = features(basis.terms, one, two), Tensors(basis.terms, coefficients)
    pairs = np.zeros(len(POINTS))
    for l, matrix in enumerate(tensors.two):
        np.testing.assert_array_equal(matrix, matrix.T)
        block = two[l * l : (l + 1) ** 2]
        pairs += np.einsum("iqp,qs,isp->p", block, matrix, block)
    found = (tensors.one @ one[0], pairs, three_body_sum(basis, coefficients, two)[0])
    for value, part in zip(found, parts, strict=True):
        np.testing.assert_allclose(value, terms[:, part] @ coefficients[part], rtol=1e-10)


@pytest.mark.parametrize("channels", [1, 3])
def test_derivatives_of_the_three_body_sum(channels):
    basis = random_basis(channels=channels)
    random = np.random.default_rng(7)
    coefficients = random.normal(size=sum(basis.terms.sizes))
    two = moments_around(basis, POINTS, POSITIONS, basis.numbered(SYMBOLS))[1]
    _, slope, small, flat = three_body_sum(basis, coefficients, two)
    change = random.normal(size=small.shape)
    h = 1e-3

    def at(step):
        value, derivative = np.zeros(small.shape[2]), np.zeros(small.shape)
        three_body(small + step * change, *flat, value, derivative)
        return value, derivative

    (above, slope_above), (below, slope_below) = at(h), at(-h)
    # values are cubic: the central difference of one is off by h² of the value at ``change``
    error = np.zeros(small.shape[2])
    three_body(np.ascontiguousarray(change), *flat, error, np.zeros(small.shape))
    numeric = (above - below) / (2 * h) - h * h * error
    np.testing.assert_allclose((slope * change).sum(axis=(0, 1)), numeric, rtol=1e-8, atol=1e-8)
    # derivatives are quadratic: the central difference is exact
    first, second = np.zeros(small.shape), np.zeros(small.shape)
    three_body_tangent(small, change, *flat, first, second)
    np.testing.assert_allclose(first, slope, rtol=1e-12, atol=1e-12 * np.abs(slope).max())
    numeric = (slope_above - slope_below) / (2 * h)
    np.testing.assert_allclose(second, numeric, atol=1e-9 * np.abs(second).max())


def test_models_without_three_body_terms_have_empty_tensors():
    basis = random_basis(three_body=None)
    assert basis.terms.sizes[2] == 0
    flat = Tensors(basis.terms, np.ones(sum(basis.terms.sizes))).flat
    assert all(len(array) == 0 for array in flat)


def test_coefficients_of_another_basis_are_refused():
    terms = random_basis().terms
    with pytest.raises(ValueError, match=f"{sum(terms.sizes)} terms, but"):
        Tensors(terms, np.zeros(sum(terms.sizes) + 1))
