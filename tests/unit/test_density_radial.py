"""Radial functions of the density model: definition, orthonormality, derivatives, both ends."""

import numpy as np
import pytest
from density_reference import radial

from dft2spectra.density.radial import radial_functions, radial_sum, recurrences

CUTOFF, N_MAX, CLASSES = 7.3, 12, 3
SCALES = pytest.mark.parametrize("scale", [0.3, 2.0, 0.0], ids=["log", "wide log", "plain"])


def functions(r, scale, n_max=N_MAX):
    r = np.asarray(r, dtype=float)
    out = np.full((CLASSES, n_max, 3, len(r)), np.nan)
    radial_functions(r, CUTOFF, scale, recurrences(n_max), out)
    return out


def inside(count=200):
    return np.random.default_rng(0).uniform(0.01, CUTOFF - 0.01, count)


@SCALES
def test_they_are_weighted_jacobi_polynomials(scale):
    r = np.concatenate([inside(), [1e-9, 1e-4, CUTOFF - 1e-6]])
    found = functions(r, scale)
    for alpha in range(CLASSES):
        for n in range(N_MAX):
            expected = radial(n, alpha, r, CUTOFF, scale)
            np.testing.assert_allclose(found[alpha, n, 0], expected, rtol=1e-10, atol=1e-12)


@SCALES
def test_they_are_orthonormal_in_the_mapped_variable(scale):
    x, weights = np.polynomial.legendre.leggauss(60)
    t = np.arccos(x) / np.pi
    r = scale * np.expm1(t * np.log1p(CUTOFF / scale)) if scale else t * CUTOFF
    for values in functions(r, scale)[:, :, 0]:
        np.testing.assert_allclose((values * weights) @ values.T, np.eye(N_MAX), atol=1e-11)


@SCALES
def test_slopes_are_derivatives(scale):
    r, h = inside(), 1e-4
    steps = [functions(r + k * h, scale) for k in (-2, -1, 1, 2)]
    for order in (0, 1):
        e = [step[:, :, order] for step in steps]
        numeric = (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * h)
        analytic = functions(r, scale)[:, :, order + 1]
        # the error of the rule is h⁴/30 of the fifth derivative, large near the nucleus
        allowed = 1e-7 * np.abs(analytic).max(axis=2, keepdims=True)
        assert (np.abs(analytic - numeric) < allowed).all()


@SCALES
def test_value_and_three_derivatives_vanish_at_the_cutoff(scale):
    gap = np.array([2e-3, 1e-3])
    found = functions(CUTOFF - gap, scale)
    for order in range(3):
        ratio = found[:, :, order, 0] / found[:, :, order, 1]
        np.testing.assert_allclose(ratio, 2.0 ** (4 - order), rtol=0.1)
    # the third derivative, from differences of the second, goes with the distance as well
    third = np.diff(functions(CUTOFF - np.array([2.01, 2.0, 1.01, 1.0]) * 1e-3, scale)[:, :, 2])
    np.testing.assert_allclose(third[:, :, 0] / third[:, :, 2], 2.0, rtol=0.1)


@SCALES
def test_nothing_is_left_at_and_beyond_the_cutoff(scale):
    assert not functions([CUTOFF, CUTOFF + 1e-12, CUTOFF + 1.0, 1e3], scale).any()
    out = np.full((3, 2), np.nan)
    rows = recurrences(N_MAX, 1)
    radial_sum(np.array([CUTOFF, 50.0]), CUTOFF, scale, rows, np.ones(N_MAX), out)
    assert not out.any()


@SCALES
def test_they_start_with_the_power_of_their_class(scale):
    found = functions([1e-6, 2e-6], scale, n_max=4)[:, :, 0]
    for alpha in range(CLASSES):
        ratio = found[alpha, :, 1] / found[alpha, :, 0]
        np.testing.assert_allclose(ratio, 2.0**alpha, rtol=1e-3)
    assert np.isfinite(functions([0.0], scale)).all()


@SCALES
def test_sum_is_the_sum_of_the_functions(scale):
    r = np.concatenate([inside(), [CUTOFF + 0.1]])
    coefficients = np.random.default_rng(1).normal(size=N_MAX)
    out = np.full((3, len(r)), np.nan)
    radial_sum(r, CUTOFF, scale, recurrences(N_MAX, 1), coefficients, out)
    expected = np.einsum("n,nop->op", coefficients, functions(r, scale)[0])
    for found, wanted in zip(out, expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-12 * np.abs(wanted).max())
