"""The density model at all points of a grid, block by block: value, gradient, and the way back.

A block is a run of points of one atom's grid, the vector axis of all kernels; it sees the atoms
within the cutoff of its middle plus its reach, so that the cost grows with the number of points.
"""

import math

import numba as nb
import numpy as np

from dft2spectra.density.couplings import COMPILED, LANES
from dft2spectra.density.invariants import three_body, three_body_change
from dft2spectra.density.moments import moments, one_body, one_body_gradient, pull_back

_kernel = nb.njit(cache=True, fastmath=True, error_model="numpy")

# Highest degree of every compiled coupling.
HIGHEST = np.array([max(*pair, total) for pair, total in COMPILED])


@_kernel
def _near(points, centres, cutoff):  # type: ignore[no-untyped-def]
    """Indices of the atoms that can matter to a block ``points`` (3, P)."""
    count = points.shape[1]
    middle = np.zeros(3)
    for axis in range(3):
        for p in range(count):
            middle[axis] += points[axis, p]
        middle[axis] /= count
    reach = 0.0
    for p in range(count):
        square = 0.0
        for axis in range(3):
            square += (points[axis, p] - middle[axis]) ** 2
        reach = max(reach, square)
    reach = math.sqrt(reach) + cutoff
    found = np.empty(len(centres), dtype=np.int64)
    number = 0
    for atom in range(len(centres)):
        square = 0.0
        for axis in range(3):
            square += (centres[atom, axis] - middle[axis]) ** 2
        if square < reach * reach:
            found[number] = atom
            number += 1
    return found[:number]


@_kernel
def _block(points, first, last):  # type: ignore[no-untyped-def]
    out = np.empty((3, last - first))
    for p in range(first, last):
        for axis in range(3):
            out[axis, p - first] = points[p, axis]
    return out


@_kernel
def _matrices(matrix, two, out, factor):  # type: ignore[no-untyped-def]
    """``out`` = factor · matrix of the degree times the moments."""
    for l in range(matrix.shape[0]):
        for i in range(l * l, (l + 1) * (l + 1)):
            np.dot(matrix[l], two[i], out[i])
            for q in range(out.shape[1]):
                for p in range(out.shape[2]):
                    out[i, q, p] *= factor


@_kernel
def evaluate_blocks(  # type: ignore[no-untyped-def]
    points,
    blocks,
    centres,
    species,
    shell,
    many,
    shells,
    two_body,
    mixing,
    three,
    kept,
    value,
    slope,
):
    """Fill ``value`` (N,) and ``slope`` (N, 3) at ``points`` (N, 3).

    ``blocks`` (n, 3): first and last point and owner; ``shell`` and ``many``: cutoff, scale, rows,
    l_max, factors, indices and values of the one-body and of the other moments; ``shells``
    (species, n) the one-body coefficients; ``three`` from
    :attr:`~dft2spectra.density.invariants.Tensors.flat`; ``kept`` (blocks, moments, channels,
    points of a block) receives what :func:`gradient_blocks` can use again, if it is not empty.
    """
    along = np.empty((3, 0))
    nothing = np.empty((0, 0, 0))
    size_two, channels = (many[3] + 1) ** 2, two_body.shape[1]
    mixed = len(three[0]) > 0
    degrees = _degrees(three[0])
    for block in range(len(blocks)):
        first, last = blocks[block, 0], blocks[block, 1]
        count = last - first
        x = _block(points, first, last)
        out = np.zeros(count)
        field = np.empty((3, count))
        total = np.zeros((3, count))

        near = _near(x, centres, shell[0])
        one_body(x, centres[near], species[near], shell[0], shell[1], shell[2], shells, out, total)

        near = _near(x, centres, many[0])
        here, kinds = centres[near], species[near]
        ignored = np.zeros((len(near), 3))
        two, adjoint = np.empty((size_two, channels, count)), np.empty((size_two, channels, count))
        moments(x, here, kinds, *many, along, two, nothing)  # type: ignore[call-arg]
        _matrices(two_body, two, adjoint, 1.0)
        for i in range(size_two):
            for q in range(channels):
                for p in range(count):
                    out[p] += adjoint[i, q, p] * two[i, q, p]
                    adjoint[i, q, p] *= 2.0
        if mixed:
            small = _mix(mixing, two, degrees)
            own = np.zeros(small.shape)
            three_body(small, three[0], three[1], three[2], own)
            for c in range(own.shape[0]):
                for i in range(degrees):
                    for p in range(count):
                        out[p] += small[c, i * LANES + p] * own[c, i * LANES + p] / 3.0
            _unmix(mixing, own, adjoint, degrees)
        if len(kept):
            kept[block, :, :, :count] = adjoint
        pull_back(x, here, kinds, *many, adjoint, along, nothing, ignored, field)  # type: ignore[call-arg]
        total += field
        for p in range(count):
            value[first + p] = out[p]
            for axis in range(3):
                slope[first + p, axis] = total[axis, p]


@_kernel
def _degrees(heads):  # type: ignore[no-untyped-def]
    """Number of moments up to the highest degree of the three-body terms."""
    largest = 0
    for head in heads:
        largest = max(largest, HIGHEST[head[0]])
    return (largest + 1) * (largest + 1)


@_kernel
def _mix(mixing, two, size):  # type: ignore[no-untyped-def]
    """Mixed channels of the first ``size`` moments, shape (mixed channels, size · LANES)."""
    out = np.zeros((mixing.shape[0], size * LANES))
    for c in range(mixing.shape[0]):
        for i in range(size):
            for q in range(mixing.shape[1]):
                factor = mixing[c, q]
                if factor != 0.0:
                    for p in range(two.shape[2]):
                        out[c, i * LANES + p] += factor * two[i, q, p]
    return out


@_kernel
def _unmix(mixing, own, adjoint, size):  # type: ignore[no-untyped-def]
    for i in range(size):
        for c in range(mixing.shape[0]):
            for q in range(mixing.shape[1]):
                factor = mixing[c, q]
                if factor != 0.0:
                    for p in range(adjoint.shape[2]):
                        adjoint[i, q, p] += factor * own[c, i * LANES + p]


@_kernel
def gradient_blocks(  # type: ignore[no-untyped-def]
    points, blocks, centres, species, shell, many, shells, two_body, mixing, three,
    kept, weight, direction, gradient,
):  # fmt: skip
    """Add the derivatives of ``Σ weight n + direction·∇n`` to ``gradient`` (atoms, 3).

    Points move with their owners; arguments as in :func:`evaluate_blocks`.
    """
    size_two, channels = (many[3] + 1) ** 2, two_body.shape[1]
    mixed = len(three[0]) > 0
    degrees = _degrees(three[0])
    for block in range(len(blocks)):
        first, last, owner = blocks[block, 0], blocks[block, 1], blocks[block, 2]
        count = last - first
        x, along = _block(points, first, last), _block(direction, first, last)
        field = np.empty((3, count))
        sums = np.zeros(3)

        near = _near(x, centres, shell[0])
        own = np.zeros((len(near), 3))
        one_body_gradient(
            x, centres[near], species[near], shell[0], shell[1], shell[2], shells,
            weight[first:last], along, own,
        )  # fmt: skip
        for k in range(len(near)):
            for axis in range(3):
                gradient[near[k], axis] += own[k, axis]
                sums[axis] += own[k, axis]

        near = _near(x, centres, many[0])
        here, kinds = centres[near], species[near]
        own = np.zeros((len(near), 3))
        shape = (size_two, channels, count)
        two, change = np.empty(shape), np.empty(shape)
        second, bent = np.empty(shape), np.empty(shape)
        moments(x, here, kinds, *many, along, two, change)  # type: ignore[call-arg]
        if len(kept):
            second[:] = kept[block, :, :, :count]
        else:
            _matrices(two_body, two, second, 2.0)
        _matrices(two_body, change, bent, 2.0)
        if mixed:
            small, moved = _mix(mixing, two, degrees), _mix(mixing, change, degrees)
            if not len(kept):
                slope = np.zeros(small.shape)
                three_body(small, three[0], three[1], three[2], slope)
                _unmix(mixing, slope, second, degrees)
            curve = np.zeros(small.shape)
            three_body_change(small, moved, three[0], three[1], three[2], curve)
            _unmix(mixing, curve, bent, degrees)
        for i in range(size_two):
            for q in range(channels):
                for p in range(count):
                    bent[i, q, p] += weight[first + p] * second[i, q, p]
        pull_back(x, here, kinds, *many, bent, along, second, own, field)  # type: ignore[call-arg]
        for k in range(len(near)):
            for axis in range(3):
                gradient[near[k], axis] += own[k, axis]
                sums[axis] += own[k, axis]
        for axis in range(3):
            gradient[owner, axis] -= sums[axis]
