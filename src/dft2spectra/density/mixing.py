"""Channels of the three-body terms, compressed from those that matter in a first fit.

Three-body terms cost between the square and the cube of the number of their channels (species and
radial functions).
A first fit with the leading radial functions of every species gives a coefficient tensor per
coupling; the left singular vectors of all its unfoldings, the higher-order singular value
decomposition (De Lathauwer, De Moor and Vandewalle, SIAM J. Matrix Anal. Appl. 21, 1253 (2000)),
are the linear combinations of channels that it uses most. What counts is not the size of a
coefficient but what it adds to the density, so channels are first scaled and turned to have unit
covariance on the points of the fit. In water five of eight then leave a density error of 0.070 %,
without the scaling 0.082 %.
"""

from collections.abc import Iterable
from itertools import permutations

import numpy as np

from dft2spectra.density.grid import point_blocks
from dft2spectra.density.invariants import Tensors, Terms
from dft2spectra.density.model import Basis, moments_around
from dft2spectra.density.sampling_points import Sample

# Combinations of channels with less of the largest variance are noise.
SMALLEST_VARIANCE = 1e-12


def channel_covariance(basis: Basis, samples: Iterable[Sample]) -> np.ndarray:
    """Weighted products of the three-body channels, shape (channels, channels).

    Summed over points and degrees; of a degree the mean of its components.
    """
    mixing = basis.terms.mixing
    total = np.zeros((len(mixing), len(mixing)))
    for sample in samples:
        species = basis.numbered(sample.symbols)
        for first, last, _ in point_blocks(sample.owner):
            points, weights = sample.points[first:last], sample.weights[first:last]
            two = moments_around(basis, points, sample.positions, species)[1]
            for l in range(basis.terms.l_three + 1):
                small = np.matmul(mixing, two[l * l : (l + 1) ** 2])
                total += np.einsum("mqp,mrp,p->qr", small, small, weights) / (2 * l + 1)
    return total


def leading_channels(
    terms: Terms, coefficients: np.ndarray, count: int, covariance: np.ndarray
) -> np.ndarray:
    """The ``count`` combinations of channels that a fit used most, shape (count, channels).

    Parameters
    ----------
    terms, coefficients
        Of the first fit.
    covariance
        Of its channels, :func:`channel_covariance`.
    """
    channels = len(terms.mixing)
    variances, axes = np.linalg.eigh(covariance)
    deviations = np.sqrt(np.clip(variances, SMALLEST_VARIANCE * variances.max(), None))
    unscaled = (axes * deviations) @ axes.T
    unfolded = []
    tensors = Tensors(terms, coefficients).three
    for coupling, tensor in zip(terms.couplings, tensors, strict=True):
        full = np.zeros((channels, channels, channels))
        full[coupling.first, coupling.second] = tensor
        full = np.einsum("abc,ax,by,cz->xyz", full, *[unscaled] * 3, optimize=True)
        if coupling.pair == (coupling.total, coupling.total):
            full = np.mean([full.transpose(order) for order in permutations(range(3))], axis=0)
        elif coupling.pair[0] == coupling.pair[1]:
            full = (full + full.transpose(1, 0, 2)) / 2
        unfolded += [np.moveaxis(full, axis, 0).reshape(channels, -1) for axis in range(3)]
    vectors, _, _ = np.linalg.svd(np.concatenate(unfolded, axis=1), full_matrices=False)
    found = vectors.T[:count] @ (axes / deviations) @ axes.T @ terms.mixing
    # Lengths do not matter to a fit, and the sign of a singular vector is an accident.
    found /= np.linalg.norm(found, axis=1)[:, None]
    largest = found[np.arange(count), np.abs(found).argmax(axis=1)]
    return found * np.sign(largest)[:, None]
