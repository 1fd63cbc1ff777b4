"""Radial tables: accuracy, smoothness, tails."""

import numpy as np
import pytest

from dft2spectra.density.tables import build_tables, evaluate_tables, gaussians

EXPONENTS = np.array([1500.0, 30.0, 1.0, 0.2])


def gaussian_functions(r: np.ndarray) -> np.ndarray:
    a = EXPONENTS[:, None]
    e = np.exp(-a * r**2)
    return np.array([e, -2 * a * r * e, (4 * a**2 * r**2 - 2 * a) * e])


def coulomb_like(r: np.ndarray) -> np.ndarray:
    # (1 + r²)^(-1/2), which is not exactly its tail 1/r anywhere
    u = 1.0 + r**2
    return np.array([[u**-0.5], [-r * u**-1.5], [(2 * r**2 - 1) * u**-2.5]])


def test_error_is_below_1e_9_of_the_maximum():
    tables = build_tables(gaussian_functions, 0.5 / np.sqrt(1500.0), 15.0, 500)
    r = np.random.default_rng(0).uniform(0.0, 15.0, 5000) ** 2 / 15.0
    values, slopes = evaluate_tables(tables, r)
    exact, exact_slopes, _ = gaussian_functions(r)
    np.testing.assert_allclose(values, exact, atol=1e-10)
    steepest = np.abs(exact_slopes).max(axis=1, keepdims=True)
    np.testing.assert_allclose(slopes / steepest, exact_slopes / steepest, atol=1e-8)


def test_knots_hold_value_and_slope_exactly():
    tables = build_tables(gaussian_functions, 0.1, 5.0, 40)
    r = 0.1 * np.expm1(tables.step * np.arange(40))
    values, slopes = evaluate_tables(tables, r)
    exact, exact_slopes, _ = gaussian_functions(r)
    np.testing.assert_allclose(values, exact, atol=1e-12)
    np.testing.assert_allclose(slopes, exact_slopes, atol=1e-9)


def test_slope_is_the_derivative_of_the_interpolant_even_on_a_coarse_mesh():
    tables = build_tables(coulomb_like, 0.3, 8.0, 6)
    r, h = np.linspace(0.2, 7.5, 101), 1e-4
    _, slopes = evaluate_tables(tables, r)
    shifted = [evaluate_tables(tables, r + k * h)[0] for k in (-2, -1, 1, 2)]
    numeric = (shifted[0] - 8 * shifted[1] + 8 * shifted[2] - shifted[3]) / (12 * h)
    np.testing.assert_allclose(slopes, numeric, atol=1e-9)


def test_second_derivative_is_continuous_over_a_knot():
    tables = build_tables(coulomb_like, 0.3, 8.0, 6)
    knot, h = 0.3 * np.expm1(3 * tables.step), 1e-5
    _, slopes = evaluate_tables(tables, knot + h * np.array([-2.0, -1.0, 1.0, 2.0]))
    left, right = slopes[0, 1] - slopes[0, 0], slopes[0, 3] - slopes[0, 2]
    assert left / h == pytest.approx(coulomb_like(np.array([knot]))[2, 0, 0], abs=1e-3)
    assert left / h == pytest.approx(right / h, abs=1e-3)


def test_tail_takes_over_beyond_the_last_knot():
    tables = build_tables(coulomb_like, 0.3, 8.0, 50, np.array([2.5]), np.array([3]))
    assert tables.range_bohr == pytest.approx(8.0)
    values, slopes = evaluate_tables(tables, np.array([7.9, 8.1, 20.0]))
    assert values[0, 0] == pytest.approx(1 / np.sqrt(1 + 7.9**2), rel=1e-9)
    np.testing.assert_allclose(values[0, 1:], 2.5 * np.array([8.1, 20.0]) ** -3, rtol=1e-14)
    np.testing.assert_allclose(slopes[0, 1:], -7.5 * np.array([8.1, 20.0]) ** -4, rtol=1e-14)


def test_without_a_tail_functions_end():
    tables = build_tables(gaussian_functions, 0.1, 5.0, 40)
    values, slopes = evaluate_tables(tables, np.array([5.1, 50.0]))
    assert not values.any()
    assert not slopes.any()


@pytest.mark.parametrize(("scale", "length", "count"), [(0.0, 5.0, 10), (0.1, -1.0, 10), (1, 5, 0)])
def test_impossible_mesh_is_refused(scale, length, count):
    with pytest.raises(ValueError, match="positive"):
        build_tables(gaussian_functions, scale, length, count)


def test_function_that_diverges_is_refused():
    with (
        np.errstate(divide="ignore", invalid="ignore"),
        pytest.raises(ValueError, match="not finite"),
    ):
        build_tables(lambda r: np.array([[1 / r], [-1 / r**2], [2 / r**3]]), 0.1, 5.0, 10)


def test_vectorised_exponential_is_exact_to_rounding():
    r2 = np.concatenate(([0.0], np.geomspace(1e-12, 500.0, 300)))
    out = np.empty(len(r2))
    gaussians(1.3, r2, len(r2), np.empty(len(r2), dtype=np.int64), out)
    np.testing.assert_allclose(out, np.exp(-1.3 * r2), rtol=5e-16)


def test_vectorised_exponential_of_huge_arguments_is_negligible():
    out = np.empty(2)
    gaussians(1e6, np.array([1e3, 1e6]), 2, np.empty(2, dtype=np.int64), out)
    assert (out >= 0.0).all()
    assert out.max() < 1e-300
