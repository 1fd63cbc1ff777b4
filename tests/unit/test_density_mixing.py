"""Channels of the three-body terms: a fit that needs few of them gives them back."""

from types import SimpleNamespace

import numpy as np
import pytest
from density_reference import random_basis

from dft2spectra.density.invariants import Tensors
from dft2spectra.density.mixing import channel_covariance, leading_channels
from dft2spectra.density.model import moments_around

TWO = {"n_max": 4, "l_max": 3, "cutoff_ang": 2.0, "map_scale_bohr": 0.5}
THREE = {"n_max": 4, "l_max": 2, "l_total": 6}
FULL = random_basis(two_body=TWO, three_body=THREE)
EQUAL = np.eye(len(FULL.terms.mixing))


def low_rank(channels, seed=0):
    """A basis of few channels and its random coefficients, written in all channels."""
    small = random_basis(channels=channels, two_body=TWO, three_body=THREE, seed=seed)
    random = np.random.default_rng(seed)
    tensors = Tensors(small.terms, random.normal(size=sum(small.terms.sizes))).three
    mixing, rows = small.terms.mixing, [np.zeros(sum(FULL.terms.sizes[:2]))]
    for tensor, few, many in zip(tensors, small.terms.couplings, FULL.terms.couplings, strict=True):
        compact = np.zeros((channels,) * 3)
        compact[few.first, few.second] = tensor
        whole = np.einsum("abc,ai,bj,ck->ijk", compact, mixing, mixing, mixing)
        # Terms that are permutations of each other are one term.
        folded, like = np.zeros(whole.shape), len({*few.pair, few.total})
        for triple in np.ndindex(whole.shape):
            if like == 1:
                place = tuple(sorted(triple))
            elif few.pair[0] == few.pair[1]:
                place = (*sorted(triple[:2]), triple[2])
            else:
                place = triple
            folded[place] += whole[triple]
        rows.append(folded[many.first, many.second][many.allowed])
    return mixing, np.concatenate(rows)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_of_a_low_rank_fit_are_found(channels):
    mixing, coefficients = low_rank(channels)
    found = leading_channels(FULL.terms, coefficients, channels, EQUAL)
    assert found.shape == mixing.shape
    np.testing.assert_allclose(found @ found.T, np.eye(channels), atol=1e-12)
    # the same space: nothing of the found ones lies outside that of the given ones
    inside = np.linalg.qr(mixing.T)[0]
    np.testing.assert_allclose(found @ inside @ inside.T, found, atol=1e-9)
    any_covariance = np.cov(np.random.default_rng(5).normal(size=(len(EQUAL), 40)))
    found = leading_channels(FULL.terms, coefficients, channels, any_covariance)
    np.testing.assert_allclose(found @ inside @ inside.T, found, atol=1e-9)
    assert np.linalg.matrix_rank(found) == channels


def test_what_a_channel_adds_counts_not_its_coefficient():
    """The stronger of two channels loses where the moments hardly have it."""
    first, strong = low_rank(1, seed=1)
    second, weak = low_rank(1, seed=2)
    coefficients = 10 * strong + weak

    def alike(found, channel, covariance):
        """Correlation of two channels over moments of that covariance."""
        both = np.concatenate([found, channel])
        products = both @ covariance @ both.T
        return abs(products[0, 1]) / np.sqrt(products[0, 0] * products[1, 1])

    found = leading_channels(FULL.terms, coefficients, 1, EQUAL)
    assert alike(found, first, EQUAL) > 0.99
    # moments that lie almost wholly across the first channel
    rare = EQUAL - (1 - 1e-4) * first.T @ first / (first @ first.T)
    found = leading_channels(FULL.terms, coefficients, 1, rare)
    assert alike(found, second, rare) > 0.99


def test_covariance_of_the_channels():
    """By hand for one point; it adds up over points with their weights."""
    random = np.random.default_rng(8)
    points, positions = random.uniform(-1, 1, (5, 3)), random.uniform(-1, 1, (3, 3))
    weights, owner = random.uniform(0.1, 2, 5), np.array([0, 0, 1, 2, 2])
    sample = SimpleNamespace(
        symbols=["O", "H", "H"], positions=positions, points=points, owner=owner, weights=weights
    )
    expected = np.zeros(EQUAL.shape)
    for point, weight in zip(points, weights, strict=True):
        two = moments_around(FULL, point[None], positions, FULL.numbered(sample.symbols))[1][..., 0]
        for l in range(THREE["l_max"] + 1):
            for row in two[l * l : (l + 1) ** 2] @ FULL.terms.mixing.T:
                expected += weight * np.outer(row, row) / (2 * l + 1)
    np.testing.assert_allclose(channel_covariance(FULL, [sample]), expected, rtol=1e-12)


def test_the_most_used_channel_comes_first():
    _, strong = low_rank(1, seed=1)
    _, weak = low_rank(1, seed=2)
    expected = leading_channels(FULL.terms, strong, 1, EQUAL)
    found = leading_channels(FULL.terms, strong + 1e-6 * weak, 2, EQUAL)
    np.testing.assert_allclose(found[:1], expected, atol=1e-5)


def test_signs_and_scale_of_a_fit_do_not_matter():
    _, coefficients = low_rank(3)
    found = leading_channels(FULL.terms, coefficients, 3, EQUAL)
    other = leading_channels(FULL.terms, -7.0 * coefficients, 3, EQUAL)
    np.testing.assert_allclose(other, found, atol=1e-10)
    assert (found[np.arange(3), np.abs(found).argmax(axis=1)] > 0).all()


def test_combinations_are_of_the_channels_before_a_mixing():
    """A second compression acts on the moments, not on the channels of the first."""
    basis = random_basis(channels=4, two_body=TWO, three_body=THREE)
    coefficients = np.random.default_rng(3).normal(size=sum(basis.terms.sizes))
    found = leading_channels(basis.terms, coefficients, 4, np.eye(4))
    inside = np.linalg.qr(basis.terms.mixing.T)[0]
    assert found.shape == (4, 8)
    np.testing.assert_allclose(found @ inside @ inside.T, found, atol=1e-9)
