"""Moments of the atoms around points, and the derivatives that come back from them."""

import numpy as np
import pytest
from density_reference import harmonic, radial

from dft2spectra.density.harmonics import gradient_table, normalisation
from dft2spectra.density.moments import moments, one_body, one_body_gradient, pull_back
from dft2spectra.density.radial import MAX_ALPHA, recurrences

CUTOFF, SCALE, N_MAX, L_MAX = 4.5, 0.4, 3, 4
KIND = (
    CUTOFF, SCALE, recurrences(N_MAX, MAX_ALPHA + 1), L_MAX, normalisation(L_MAX),
    *gradient_table(L_MAX),
)  # fmt: skip
RANDOM = np.random.default_rng(4)
POINTS = RANDOM.uniform(-2.0, 2.0, (3, 37))
CENTRES = np.array([[0.1, 0.2, -0.3], [1.7, -0.4, 0.6], [-0.8, 1.9, 0.2], [2.2, 2.1, -1.0]])
SPECIES = np.array([0, 1, 1, 0])
DIRECTION = RANDOM.normal(size=POINTS.shape)
SHAPE = ((L_MAX + 1) ** 2, 2 * N_MAX, POINTS.shape[1])
ADJOINT, SECOND = RANDOM.normal(size=SHAPE), RANDOM.normal(size=SHAPE)
NO_DIRECTION, NOTHING = np.empty((3, 0)), np.empty((0, 0, 0))
H = 1e-4


def around(points=POINTS, centres=CENTRES, direction=NO_DIRECTION):
    shape = (*SHAPE[:2], points.shape[1])
    a = np.full(shape, np.nan)
    da = np.full(shape, np.nan) if direction.shape[1] else NOTHING
    moments(np.ascontiguousarray(points), centres, SPECIES, *KIND, direction, a, da)
    return a, da


def five_points(function):
    e = [function(k * H) for k in (-2, -1, 1, 2)]
    return (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * H)


def moved(atom, axis, step):
    centres = CENTRES.copy()
    centres[atom, axis] += step
    return centres


def test_moments_are_sums_over_the_atoms():
    found = around()[0]
    for l in range(L_MAX + 1):
        for m in range(-l, l + 1):
            for q in range(2 * N_MAX):
                species, n = divmod(q, N_MAX)
                d = POINTS.T[:, None] - CENTRES[species == SPECIES]
                r = np.linalg.norm(d, axis=2)
                expected = (radial(n, l, r, CUTOFF, SCALE) * harmonic(l, m, d)).sum(axis=1)
                np.testing.assert_allclose(found[l * l + l + m, q], expected, atol=1e-12)


def test_change_is_the_derivative_along_the_direction():
    a, da = around(direction=DIRECTION)
    np.testing.assert_array_equal(a, around()[0])
    numeric = five_points(lambda h: around(POINTS + h * DIRECTION)[0])
    np.testing.assert_allclose(da, numeric, atol=1e-8 * np.abs(da).max())


def test_a_point_on_a_nucleus_has_the_moments_of_its_neighbourhood():
    nucleus = np.repeat(CENTRES[:1].T, 2, axis=1)
    nucleus[:, 1] += 1e-8 * np.array([0.6, 0.0, 0.8])
    a, da = around(nucleus, direction=np.ones((3, 2)))
    assert np.isfinite(a).all()
    assert np.isfinite(da).all()
    np.testing.assert_allclose(a[:, :, 0], a[:, :, 1], atol=1e-6)


def test_atoms_beyond_the_cutoff_add_nothing():
    far = np.vstack([CENTRES, [[0.0, 0.0, 40.0]]])
    a = np.empty(SHAPE)
    moments(POINTS, far, np.append(SPECIES, 0), *KIND, NO_DIRECTION, a, NOTHING)
    np.testing.assert_array_equal(a, around()[0])


def back(direction, second):
    gradient, field = np.zeros(CENTRES.shape), np.full(POINTS.shape, np.nan)
    pull_back(POINTS, CENTRES, SPECIES, *KIND, ADJOINT, direction, second, gradient, field)
    return gradient, field


def test_field_is_the_slope_along_the_point():
    field = back(NO_DIRECTION, NOTHING)[1]
    for axis in range(3):
        shift = np.eye(3)[axis][:, None]
        numeric = five_points(lambda h, s=shift: (ADJOINT * around(POINTS + h * s)[0]).sum((0, 1)))
        np.testing.assert_allclose(field[axis], numeric, atol=1e-8 * np.abs(field).max())


@pytest.mark.parametrize("tangent", [False, True])
def test_gradient_is_the_derivative_with_respect_to_the_atoms(tangent):
    direction, second = (DIRECTION, SECOND) if tangent else (NO_DIRECTION, NOTHING)
    gradient = back(direction, second)[0]

    def number(centres):
        a, da = around(centres=centres, direction=direction)
        return (ADJOINT * a).sum() + ((SECOND * da).sum() if tangent else 0.0)

    for atom in range(len(CENTRES)):
        for axis in range(3):
            numeric = five_points(lambda h, i=atom, k=axis: number(moved(i, k, h)))
            allowed = 1e-8 * np.abs(gradient).max()
            assert gradient[atom, axis] == pytest.approx(numeric, abs=allowed)


# --- the shortcut of the one-body terms ----------------------------------------------------------

COEFFICIENTS = RANDOM.normal(size=(2, N_MAX))
ROWS = recurrences(N_MAX, 1)
WEIGHT = RANDOM.normal(size=POINTS.shape[1])


def shells(centres=CENTRES, points=POINTS):
    value, slope = np.zeros(points.shape[1]), np.zeros(points.shape)
    one_body(points, centres, SPECIES, CUTOFF, SCALE, ROWS, COEFFICIENTS, value, slope)
    return value, slope


def test_one_body_part_is_a_sum_of_radial_functions():
    value, slope = shells()
    expected = np.zeros(len(value))
    for centre, species in zip(CENTRES, SPECIES, strict=True):
        r = np.linalg.norm(POINTS.T - centre, axis=1)
        for n in range(N_MAX):
            expected += COEFFICIENTS[species, n] * radial(n, 0, r, CUTOFF, SCALE)
    np.testing.assert_allclose(value, expected, atol=1e-12)
    for axis in range(3):
        shift = np.eye(3)[axis][:, None]
        numeric = five_points(lambda h, s=shift: shells(points=POINTS + h * s)[0])
        np.testing.assert_allclose(slope[axis], numeric, atol=1e-8 * np.abs(slope).max())


def test_gradient_of_the_one_body_part():
    gradient = np.zeros(CENTRES.shape)
    one_body_gradient(
        POINTS, CENTRES, SPECIES, CUTOFF, SCALE, ROWS, COEFFICIENTS, WEIGHT, DIRECTION, gradient
    )

    def number(centres):
        value, slope = shells(centres)
        return WEIGHT @ value + (DIRECTION * slope).sum()

    for atom in range(len(CENTRES)):
        for axis in range(3):
            numeric = five_points(lambda h, i=atom, k=axis: number(moved(i, k, h)))
            allowed = 1e-8 * np.abs(gradient).max()
            assert gradient[atom, axis] == pytest.approx(numeric, abs=allowed)
