"""Real solid harmonics: values, gradients, order."""

import numpy as np
import pytest
from pyscf import gto
from scipy.special import sph_harm_y

from dft2spectra.density.harmonics import (
    PYSCF_P_ORDER,
    gradient_table,
    normalisation,
    solid_harmonics,
)

LMAX = 6


def harmonics(lmax: int, d: np.ndarray) -> np.ndarray:
    out = np.empty(((lmax + 1) ** 2, d.shape[1]))
    solid_harmonics(lmax, normalisation(lmax), np.ascontiguousarray(d), out)
    return out


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((3, 50))


def test_they_are_the_real_forms_of_the_complex_harmonics(vectors):
    r = np.linalg.norm(vectors, axis=0)
    theta, phi = np.arccos(vectors[2] / r), np.arctan2(vectors[1], vectors[0])
    values = harmonics(LMAX, vectors)
    for l in range(LMAX + 1):
        for m in range(-l, l + 1):
            complex_form = sph_harm_y(l, abs(m), theta, phi)  # with the Condon–Shortley sign
            if m > 0:
                expected = np.sqrt(2) * (-1) ** m * complex_form.real
            elif m < 0:
                expected = np.sqrt(2) * (-1) ** m * complex_form.imag
            else:
                expected = complex_form.real
            np.testing.assert_allclose(values[l * l + l + m], r**l * expected, atol=1e-11)


def test_addition_theorem_holds_for_two_directions(vectors):
    # Σ_m S_lm(a) S_lm(b) = (2l+1)/4π |a|^l |b|^l P_l(cos)
    a, b = vectors[:, :25], vectors[:, 25:]
    product = harmonics(LMAX, a) * harmonics(LMAX, b)
    na, nb = np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0)
    cosine = (a * b).sum(axis=0) / na / nb
    for l in range(LMAX + 1):
        legendre = np.polynomial.legendre.Legendre.basis(l)(cosine)
        expected = (2 * l + 1) / (4 * np.pi) * (na * nb) ** l * legendre
        np.testing.assert_allclose(
            product[l * l : (l + 1) ** 2].sum(axis=0), expected, rtol=1e-11, atol=1e-11
        )


def test_gradient_table_agrees_with_differences(vectors):
    indices, values = gradient_table(LMAX)
    s = harmonics(LMAX, vectors)
    h = 1e-3
    for axis in range(3):
        shift = h * np.eye(3)[:, axis, None]
        numeric = (
            harmonics(LMAX, vectors - 2 * shift)
            - 8 * harmonics(LMAX, vectors - shift)
            + 8 * harmonics(LMAX, vectors + shift)
            - harmonics(LMAX, vectors + 2 * shift)
        ) / (12 * h)
        table = (values[axis][:, :, None] * s[indices[axis]]).sum(axis=1)
        np.testing.assert_allclose(table, numeric, atol=1e-7)


def test_harmonics_vanish_under_the_laplacian(vectors):
    indices, values = gradient_table(LMAX)
    first = np.zeros((3, (LMAX + 1) ** 2, (LMAX + 1) ** 2))
    for axis in range(3):
        for term in range(2):
            np.add.at(
                first[axis],
                (np.arange((LMAX + 1) ** 2), indices[axis, :, term]),
                values[axis, :, term],
            )
    laplacian = sum(matrix @ matrix for matrix in first)
    np.testing.assert_allclose(laplacian, 0.0, atol=1e-10)


def test_order_within_a_degree_is_that_of_pyscf(vectors):
    shells = [[l, [0.7, 1.0]] for l in range(5)]
    atom = gto.M(atom="He", basis={"He": shells}, verbose=0)
    functions = atom.eval_gto("GTOval_sph", vectors.T).T
    values = harmonics(4, vectors)
    values[1:4] = values[1:4][list(PYSCF_P_ORDER)]
    radial = np.exp(-0.7 * (vectors**2).sum(axis=0))
    for l in range(5):
        degree = slice(l * l, (l + 1) ** 2)
        scale = gto.gto_norm(l, 0.7)
        np.testing.assert_allclose(functions[degree], scale * radial * values[degree], atol=1e-12)
