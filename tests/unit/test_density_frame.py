"""Principal axes and the gradient of an energy that is computed along them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dft2spectra.density.frame import frame_gradient, molecular_frame

CHARGES = np.array([8, 6, 1, 7])
POSITIONS = np.array([[0.1, 0.0, 0.2], [2.2, 0.3, -0.1], [3.3, 1.9, 0.4], [3.6, -2.5, 0.9]])


def energy_along_axes(x):
    """An energy that depends on the orientation, with the symmetry of a cube; and its gradient."""
    difference = x[:, None] - x[None]
    weight = np.sqrt(np.outer(CHARGES, CHARGES))[:, :, None]
    return 0.5 * (weight * difference**4).sum(), (4 * weight * difference**3).sum(axis=1)


def energy(positions):
    frame = molecular_frame(CHARGES, positions)
    return energy_along_axes((positions - frame.centre) @ frame.rotation.T)[0]


def gradient(positions):
    frame = molecular_frame(CHARGES, positions)
    x = (positions - frame.centre) @ frame.rotation.T
    return frame_gradient(energy_along_axes(x)[1], x, CHARGES) @ frame.rotation


def test_turned_and_shifted_molecule_has_the_same_energy():
    for seed in range(5):
        turn = Rotation.random(random_state=seed).as_matrix()
        assert energy(POSITIONS @ turn.T + seed) == pytest.approx(energy(POSITIONS), rel=1e-12)
    # ... which the energy along fixed axes has not
    turned = energy_along_axes(POSITIONS @ turn.T)[0]
    assert turned != pytest.approx(energy_along_axes(POSITIONS)[0], rel=1e-2)


def test_gradient_agrees_with_differences():
    analytic, h = gradient(POSITIONS), 1e-3
    for atom in range(4):
        for axis in range(3):
            energies = []
            for k in (-2, -1, 1, 2):
                moved = POSITIONS.copy()
                moved[atom, axis] += k * h
                energies.append(energy(moved))
            numeric = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)
            assert analytic[atom, axis] == pytest.approx(numeric, rel=1e-7, abs=1e-6)


def test_gradient_has_no_net_force_and_no_net_torque():
    analytic = gradient(POSITIONS)
    np.testing.assert_allclose(analytic.sum(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(np.cross(POSITIONS, analytic).sum(axis=0), 0.0, atol=1e-9)
    fixed = energy_along_axes(POSITIONS)[1]
    assert np.abs(np.cross(POSITIONS, fixed).sum(axis=0)).max() > 1.0


def test_frame_is_a_proper_rotation_to_diagonal_moments():
    frame = molecular_frame(CHARGES, POSITIONS)
    np.testing.assert_allclose(frame.rotation @ frame.rotation.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(frame.rotation) == pytest.approx(1.0)
    x = (POSITIONS - frame.centre) @ frame.rotation.T
    moments = (CHARGES[:, None] * x).T @ x
    np.testing.assert_allclose(moments - np.diag(np.diag(moments)), 0.0, atol=1e-11)
    np.testing.assert_allclose(CHARGES @ x, 0.0, atol=1e-12)
    assert not frame.degenerate


@pytest.mark.parametrize(
    ("charges", "positions"),
    [
        ([6, 8, 8], [[0, 0, 0], [0, 0, 2.2], [0, 0, -2.2]]),
        ([6, 1, 1, 1, 1], [[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]),
        ([18], [[0, 0, 0]]),
    ],
    ids=["linear", "spherical top", "atom"],
)
def test_axes_that_are_not_defined_are_reported(charges, positions):
    positions = np.array(positions, dtype=float)
    assert molecular_frame(np.array(charges), positions).degenerate
    with pytest.raises(ValueError, match="laboratory"):
        frame_gradient(np.zeros_like(positions), positions, np.array(charges))
