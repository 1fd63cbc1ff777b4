"""Scores of predicted tensors, by hand."""

import numpy as np
import pandas as pd
import pytest

from dft2spectra.columns import EFG_COMPONENTS
from dft2spectra.learning.tensor_evaluation import principal, tensor_scores, true_tensors


def diagonal(xx, yy, zz):
    return np.diag([float(xx), float(yy), float(zz)])


def test_principal_values_axes_and_asymmetry():
    vzz, eta, axis = principal(np.array([diagonal(-4, 1, 3), np.zeros((3, 3))]))
    np.testing.assert_allclose(vzz, [-4.0, 0.0], atol=1e-12)
    # |Vyy| ≥ |Vxx|: (1 − 3)/(−4)
    np.testing.assert_allclose(eta, [0.5, 0.0])
    np.testing.assert_allclose(np.abs(axis[0]), [1.0, 0.0, 0.0], atol=1e-12)


def test_perfect_predictions():
    truth = np.array([diagonal(-1, -1, 2), diagonal(2, 1, -3)])
    scores = tensor_scores(truth, truth, np.array([2.0, -3.0]))
    for name in ("tensor_r2", "vzz_r2", "abs_vzz_r2", "sign", "scalar_vzz_r2"):
        assert scores[name] == pytest.approx(1.0)
    for name in ("vzz_mae", "eta_mae", "angle_deg", "splitting_mae", "scalar_vzz_mae"):
        assert scores[name] == pytest.approx(0.0, abs=1e-6)


def test_wrong_predictions():
    """One tensor right, one turned by 90° about x, a third too small to count."""
    truth = np.array([diagonal(-1, -1, 2), diagonal(-1, -1, 2), diagonal(-0.1, -0.1, 0.2)])
    found = np.array([diagonal(-1, -1, 2), diagonal(-1, 2, -1), diagonal(0.1, 0.1, -0.2)])
    scores = tensor_scores(truth, found, np.zeros(3))
    # Σ|V|² = 6 + 6 + 0.06; |ΔV|² = 9 + 9 of the second, 4 × 0.06 of the third
    assert scores["tensor_r2"] == pytest.approx(1 - (18 + 0.24) / 12.06)
    assert scores["sign"] == 1.0  # the third is below 1e21 V/m²
    assert scores["angle_deg"] == pytest.approx(45.0)  # median of 0° and 90°
    assert scores["vzz_mae"] == pytest.approx(0.4 / 3)
    assert scores["splitting_mae"] == pytest.approx(0.4 / 3 * 0.1664, rel=1e-3)


def test_tensors_of_a_site_table():
    table = pd.DataFrame([dict(zip(map(str, EFG_COMPONENTS), range(1, 7), strict=True))])
    np.testing.assert_array_equal(true_tensors(table)[0], [[1, 4, 5], [4, 2, 6], [5, 6, 3]])
