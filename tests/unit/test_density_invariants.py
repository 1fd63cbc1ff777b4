"""Terms of one, two and three atoms: explicit sums, invariance, counts, and their tensors."""

import itertools

import numpy as np
import pytest
from density_reference import harmonic, plain_features, random_basis, sphere
from scipy.spatial.transform import Rotation

from dft2spectra.density.couplings import LANES, MAX_DEGREE, couplings, gaunt_coefficients
from dft2spectra.density.invariants import Tensors, features, three_body, three_body_change
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
    np.testing.assert_allclose(gaunt_coefficients(4), expected, atol=1e-12)
    # ∫ Y10 Y10 Y20 = 1/√(5π), as from Wigner's 3j symbols
    assert gaunt_coefficients(2)[2, 2, 6] == pytest.approx(1 / np.sqrt(5 * np.pi), rel=1e-12)


@pytest.mark.parametrize(
    ("l_max", "l_total", "channels"), [(0, 0, 3), (2, 6, 2), (3, 6, 3), (3, 9, 2)]
)
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


def three_body_sum(small, flat):
    """Value (P,) and derivatives by the mixed moments (channels, moments, P) from the kernel."""
    channels, size, count = small.shape
    padded = np.zeros((channels, size, LANES))
    padded[:, :, :count] = small
    slope = np.zeros((channels, size * LANES))
    three_body(padded.reshape(channels, -1), *flat, slope)
    slope = slope.reshape(padded.shape)[:, :, :count]
    return (small * slope).sum(axis=(0, 1)) / 3, slope


def mixed_moments(basis, two):
    size = (basis.terms.l_three + 1) ** 2
    return np.einsum("cq,iqp->cip", basis.terms.mixing, two[:size])


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
    triples = three_body_sum(mixed_moments(basis, two), tensors.flat)[0]
    found = (tensors.one @ one[0], pairs, triples)
    for value, part in zip(found, parts, strict=True):
        np.testing.assert_allclose(value, terms[:, part] @ coefficients[part], rtol=1e-10)


@pytest.mark.parametrize("channels", [1, 3])
def test_derivatives_of_the_three_body_sum(channels):
    settings = {
        "two_body": {"n_max": 3, "l_max": MAX_DEGREE, "cutoff_ang": 2.0, "map_scale_bohr": 0.5},
        "three_body": {"n_max": 2, "l_max": MAX_DEGREE, "l_total": 3 * MAX_DEGREE},
    }
    basis = random_basis(channels=channels, **settings)
    random = np.random.default_rng(7)
    coefficients = random.normal(size=sum(basis.terms.sizes))
    flat = Tensors(basis.terms, coefficients).flat
    two = moments_around(basis, POINTS, POSITIONS, basis.numbered(SYMBOLS))[1]
    small = mixed_moments(basis, two)
    # a step much smaller than the moments loses no digits
    change = 1e-4 * random.normal(size=small.shape)
    slope = three_body_sum(small, flat)[1]
    h = 10.0
    above, slope_above = three_body_sum(small + h * change, flat)
    below, slope_below = three_body_sum(small - h * change, flat)
    # values are cubic: the central difference of one is off by h² of the value at ``change``
    numeric = (above - below) / (2 * h) - h * h * three_body_sum(change, flat)[0]
    found = (slope * change).sum(axis=(0, 1))
    np.testing.assert_allclose(found, numeric, rtol=1e-8, atol=1e-10 * np.abs(numeric).max())
    # derivatives are quadratic: the central difference is exact
    numeric = (slope_above - slope_below) / (2 * h)
    padded = np.zeros((2, len(small), small.shape[1], LANES))
    padded[0, :, :, : len(POINTS)], padded[1, :, :, : len(POINTS)] = small, change
    second = np.zeros((len(small), small.shape[1] * LANES))
    three_body_change(*padded.reshape(2, len(small), -1), *flat, second)
    second = second.reshape(padded.shape[1:])[:, :, : len(POINTS)]
    np.testing.assert_allclose(second, numeric, atol=1e-9 * np.abs(second).max())


def test_moments_that_do_not_change_change_no_derivative():
    basis = random_basis()
    flat = Tensors(basis.terms, np.ones(sum(basis.terms.sizes))).flat
    small = np.ones((len(basis.terms.mixing), (basis.terms.l_three + 1) ** 2 * LANES))
    change = np.zeros(small.shape)
    three_body_change(small, np.zeros(small.shape), *flat, change)
    assert not change.any()


def test_degrees_that_are_not_compiled_are_refused():
    with pytest.raises(ValueError, match=f"up to degree {MAX_DEGREE}, not {MAX_DEGREE + 1}"):
        couplings(MAX_DEGREE + 1, 6, 2)


def test_models_without_three_body_terms_have_empty_tensors():
    basis = random_basis(three_body=None)
    assert basis.terms.sizes[2] == 0
    flat = Tensors(basis.terms, np.ones(sum(basis.terms.sizes))).flat
    assert all(len(array) == 0 for array in flat)


def test_coefficients_of_another_basis_are_refused():
    terms = random_basis().terms
    with pytest.raises(ValueError, match=f"{sum(terms.sizes)} terms, but"):
        Tensors(terms, np.zeros(sum(terms.sizes) + 1))
