"""Moments of the atoms around a point and what they give back: the kernels of the density model.

Around a point r every atom i at d = r − R_i adds, in the channel (species, n) = q, the term

    A_(lm)q = Σ_i f_n(d) Y_lm(d/|d|),    f_n from :mod:`dft2spectra.density.radial`.

By the addition theorem a sum over pairs of atoms of f_n f_n' P_l(cos) is a scalar product of
moments, so all body orders cost one sum over the neighbours (Drautz, Phys. Rev. B 99, 014104
(2019)). Arrays end with the points, the vector axis: A has the shape ((l_max+1)², channels, P).
"""

import math

import numba as nb
import numpy as np

from dft2spectra.density.harmonics import solid_harmonics
from dft2spectra.density.radial import radial_functions, radial_sum

_kernel = nb.njit(cache=True, fastmath=True, error_model="numpy")

TINY = 1e-12  # shortest distance, bohr: keeps u = d/r finite on a nucleus


@_kernel
def _unit_vectors(points, centre, d, r):  # type: ignore[no-untyped-def]
    nearest = 1e300
    for p in range(points.shape[1]):
        x, y, z = points[0, p] - centre[0], points[1, p] - centre[1], points[2, p] - centre[2]
        r[p] = max(math.sqrt(x * x + y * y + z * z), TINY)
        d[0, p], d[1, p], d[2, p] = x / r[p], y / r[p], z / r[p]
        nearest = min(nearest, r[p])
    return nearest


@_kernel
def _along(lmax, indices, values, direction, harmonics, out):  # type: ignore[no-untyped-def]
    """``out`` = (direction · ∂) of every harmonic, ((lmax+1)², P)."""
    for i in range((lmax + 1) * (lmax + 1)):
        for p in range(out.shape[1]):
            out[i, p] = 0.0
        for k in range(3):
            for term in range(2):
                value, j = values[k, i, term], indices[k, i, term]
                if value != 0.0:
                    for p in range(out.shape[1]):
                        out[i, p] += value * direction[k, p] * harmonics[j, p]


@_kernel
def _forward(u, direction, out):  # type: ignore[no-untyped-def]
    """``out`` (P,) = u · direction."""
    for p in range(out.shape[0]):
        out[p] = u[0, p] * direction[0, p] + u[1, p] * direction[1, p] + u[2, p] * direction[2, p]


@_kernel
def moments(  # type: ignore[no-untyped-def]
    points, centres, species, cutoff, scale, rows, lmax, factors, indices, values, direction, a, da
):
    """Fill the moments ``a`` and, where ``direction`` (3, P) is not empty, their change ``da``.

    ``points`` (3, P), ``centres`` (n, 3) of the atoms near them, ``species`` (n,) their channels;
    ``da`` is the derivative of ``a`` as every point moves along its ``direction``.
    """
    count, n_max = points.shape[1], rows.shape[1]
    size = (lmax + 1) * (lmax + 1)
    tangent = direction.shape[1] > 0
    u, r = np.empty((3, count)), np.empty(count)
    radial = np.empty((rows.shape[0], n_max, 3, count))
    harmonics, along = np.empty((size, count)), np.empty((size, count))
    forward = np.empty(count)
    a[:] = 0.0
    if tangent:
        da[:] = 0.0
    for atom in range(centres.shape[0]):
        if _unit_vectors(points, centres[atom], u, r) >= cutoff:
            continue
        radial_functions(r, cutoff, scale, rows, radial)
        solid_harmonics(lmax, factors, u, harmonics)
        if tangent:
            _along(lmax, indices, values, direction, harmonics, along)
            _forward(u, direction, forward)
        for l in range(lmax + 1):
            k = min(l, rows.shape[0] - 1)
            for i in range(l * l, (l + 1) * (l + 1)):
                for n in range(n_max):
                    q = species[atom] * n_max + n
                    for p in range(count):
                        a[i, q, p] += radial[k, n, 0, p] * harmonics[i, p]
                    if tangent:
                        for p in range(count):
                            over = radial[k, n, 0, p] / r[p]
                            da[i, q, p] += (radial[k, n, 1, p] - l * over) * forward[p] * harmonics[
                                i, p
                            ] + over * along[i, p]


@_kernel
def pull_back(  # type: ignore[no-untyped-def]
    points, centres, species, cutoff, scale, rows, lmax, factors, indices, values,
    adjoint, direction, second, gradient, field,
):  # fmt: skip
    """Derivatives with respect to the atoms of what depends on the moments.

    ``adjoint`` ((lmax+1)², channels, P) is the derivative of a number per point with respect to the
    moments. ``field`` (3, P) receives its gradient with respect to the point, ``gradient`` (n, 3)
    the sum over the points of its derivatives with respect to the atoms. Where ``direction`` (3, P)
    is not empty, the derivative of ``second``·moments along ``direction`` is added to ``gradient``
    (second derivatives of the moments); ``field`` means nothing then.
    """
    count, n_max = points.shape[1], rows.shape[1]
    size = (lmax + 1) * (lmax + 1)
    tangent = direction.shape[1] > 0
    u, r = np.empty((3, count)), np.empty(count)
    radial = np.empty((rows.shape[0], n_max, 3, count))
    harmonics, along = np.empty((size, count)), np.empty((size, count))
    forward = np.empty(count)
    zero, one = np.empty(count), np.empty(count)
    zero2, one2, two2 = np.empty(count), np.empty(count), np.empty(count)
    own = np.empty((3, count))
    field[:] = 0.0
    for atom in range(centres.shape[0]):
        if _unit_vectors(points, centres[atom], u, r) >= cutoff:
            continue
        radial_functions(r, cutoff, scale, rows, radial)
        solid_harmonics(lmax, factors, u, harmonics)
        own[:] = 0.0
        if tangent:
            _along(lmax, indices, values, direction, harmonics, along)
            _forward(u, direction, forward)
        for l in range(lmax + 1):
            k = min(l, rows.shape[0] - 1)
            for i in range(l * l, (l + 1) * (l + 1)):
                # radial sums: g r^l, g' r^l and g'' r^l of φ = g(r) S(d)
                zero[:] = 0.0
                one[:] = 0.0
                for n in range(n_max):
                    q = species[atom] * n_max + n
                    for p in range(count):
                        zero[p] += adjoint[i, q, p] * radial[k, n, 0, p]
                        one[p] += adjoint[i, q, p] * radial[k, n, 1, p]
                for p in range(count):
                    zero[p] /= r[p]
                    one[p] = (one[p] - l * zero[p]) * harmonics[i, p]
                if tangent:
                    zero2[:] = 0.0
                    one2[:] = 0.0
                    two2[:] = 0.0
                    for n in range(n_max):
                        q = species[atom] * n_max + n
                        for p in range(count):
                            zero2[p] += second[i, q, p] * radial[k, n, 0, p]
                            one2[p] += second[i, q, p] * radial[k, n, 1, p]
                            two2[p] += second[i, q, p] * radial[k, n, 2, p]
                    for p in range(count):
                        g = zero2[p] / r[p]
                        g1 = one2[p] - l * g
                        g2 = two2[p] - (2.0 * l * one2[p] - l * (l + 1) * g) / r[p]
                        g1, g = g1 / r[p], g / r[p]
                        # terms along u, along the direction, and with one or two ∂ of S
                        one[p] += (g2 - g1) * forward[p] * harmonics[i, p] + g1 * along[i, p]
                        zero[p] += g1 * forward[p]
                        two2[p] = g1 * harmonics[i, p]
                        zero2[p] = g
                    for axis in range(3):
                        for p in range(count):
                            own[axis, p] += two2[p] * direction[axis, p]
                        for term in range(2):
                            value, j = values[axis, i, term], indices[axis, i, term]
                            if value != 0.0:
                                for p in range(count):
                                    own[axis, p] += value * zero2[p] * along[j, p]
                for axis in range(3):
                    for p in range(count):
                        own[axis, p] += one[p] * u[axis, p]
                    for term in range(2):
                        value, j = values[axis, i, term], indices[axis, i, term]
                        if value != 0.0:
                            for p in range(count):
                                own[axis, p] += value * zero[p] * harmonics[j, p]
        for axis in range(3):
            total = 0.0
            for p in range(count):
                field[axis, p] += own[axis, p]
                total += own[axis, p]
            gradient[atom, axis] -= total


@_kernel
def one_body(points, centres, species, cutoff, scale, rows, coefficients, value, slope):  # type: ignore[no-untyped-def]
    """Add the sum over atoms of their radial functions to ``value`` (P,) and ``slope`` (3, P).

    ``coefficients`` (species, n). The one-body terms of a finished model need no moments.
    """
    count = points.shape[1]
    u, r, radial = np.empty((3, count)), np.empty(count), np.empty((3, count))
    for atom in range(centres.shape[0]):
        if _unit_vectors(points, centres[atom], u, r) >= cutoff:
            continue
        radial_sum(r, cutoff, scale, rows, coefficients[species[atom]], radial)
        for p in range(count):
            value[p] += radial[0, p]
        for axis in range(3):
            for p in range(count):
                slope[axis, p] += radial[1, p] * u[axis, p]


@_kernel
def one_body_gradient(  # type: ignore[no-untyped-def]
    points, centres, species, cutoff, scale, rows, coefficients, weight, direction, gradient
):
    """Add the derivatives of the one-body part of ``Σ weight n + direction·∇n`` to ``gradient``."""
    count = points.shape[1]
    u, r, radial = np.empty((3, count)), np.empty(count), np.empty((3, count))
    for atom in range(centres.shape[0]):
        if _unit_vectors(points, centres[atom], u, r) >= cutoff:
            continue
        radial_sum(r, cutoff, scale, rows, coefficients[species[atom]], radial)
        x, y, z = 0.0, 0.0, 0.0
        for p in range(count):
            forward = (
                u[0, p] * direction[0, p] + u[1, p] * direction[1, p] + u[2, p] * direction[2, p]
            )
            bend = radial[1, p] / r[p]
            along = weight[p] * radial[1, p] + (radial[2, p] - bend) * forward
            x += along * u[0, p] + bend * direction[0, p]
            y += along * u[1, p] + bend * direction[1, p]
            z += along * u[2, p] + bend * direction[2, p]
        gradient[atom, 0] -= x
        gradient[atom, 1] -= y
        gradient[atom, 2] -= z
