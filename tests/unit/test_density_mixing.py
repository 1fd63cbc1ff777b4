"""Channels of the three-body terms: a fit that needs few of them gives them back."""

import numpy as np
import pytest
from density_reference import random_basis

from dft2spectra.density.invariants import Tensors
from dft2spectra.density.mixing import leading_channels

TWO = {"n_max": 4, "l_max": 3, "cutoff_ang": 2.0, "map_scale_bohr": 0.5}
THREE = {"n_max": 4, "l_max": 2, "l_total": 6}
FULL = random_basis(two_body=TWO, three_body=THREE)


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
    found = leading_channels(FULL.terms, coefficients, channels)
    assert found.shape == mixing.shape
    np.testing.assert_allclose(found @ found.T, np.eye(channels), atol=1e-12)
    # the same space: nothing of the found ones lies outside that of the given ones
    inside = np.linalg.qr(mixing.T)[0]
    np.testing.assert_allclose(found @ inside @ inside.T, found, atol=1e-9)


def test_the_most_used_channel_comes_first():
    _, strong = low_rank(1, seed=1)
    _, weak = low_rank(1, seed=2)
    expected = leading_channels(FULL.terms, strong, 1)
    found = leading_channels(FULL.terms, strong + 1e-6 * weak, 2)
    np.testing.assert_allclose(found[:1], expected, atol=1e-5)


def test_signs_and_scale_of_a_fit_do_not_matter():
    _, coefficients = low_rank(3)
    found = leading_channels(FULL.terms, coefficients, 3)
    other = leading_channels(FULL.terms, -7.0 * coefficients, 3)
    np.testing.assert_allclose(other, found, atol=1e-10)
    assert (found[np.arange(3), np.abs(found).argmax(axis=1)] > 0).all()


def test_combinations_are_of_the_channels_before_a_mixing():
    """A second compression acts on the moments, not on the channels of the first."""
    basis = random_basis(channels=4, two_body=TWO, three_body=THREE)
    coefficients = np.random.default_rng(3).normal(size=sum(basis.terms.sizes))
    found = leading_channels(basis.terms, coefficients, 4)
    inside = np.linalg.qr(basis.terms.mixing.T)[0]
    assert found.shape == (4, 8)
    np.testing.assert_allclose(found @ inside @ inside.T, found, atol=1e-9)
