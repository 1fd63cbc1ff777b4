"""Eckart's axes and the gradient of an energy that is computed along them."""

import numpy as np
import pytest
from ase.data import atomic_masses
from scipy.spatial.transform import Rotation

from dft2spectra.density.frame import FrameError, Reference, centre_of_mass
from dft2spectra.molecules.harmonic import normal_modes

NUMBERS = np.array([8, 6, 1, 7])
REFERENCE = np.array([[0.1, 0.0, 0.2], [2.2, 0.3, -0.1], [3.3, 1.9, 0.4], [3.6, -2.5, 0.9]])
POSITIONS = REFERENCE + np.random.default_rng(0).normal(0.0, 0.2, (4, 3))
# Two moments of inertia are equal at an angle of 88.3 degrees.
H2S = np.array([16, 1, 1])
AMMONIA = np.array([7, 1, 1, 1])


def hydrogen_sulfide(angle_deg, stretch=0.0):
    half, r = np.radians(angle_deg) / 2, 2.55
    return np.array(
        [
            [0.0, 0.0, 0.0],
            [(r + stretch) * np.sin(half), 0.0, (r + stretch) * np.cos(half)],
            [-(r - stretch) * np.sin(half), 0.0, (r - stretch) * np.cos(half)],
        ]
    )


def ammonia(radius=1.77, height=0.72):
    turns = 2 * np.pi * np.arange(3) / 3
    hydrogens = np.stack([radius * np.cos(turns), radius * np.sin(turns), 0 * turns - height], 1)
    return np.vstack([[0.0, 0.0, 0.0], hydrogens])


def energy_along_axes(numbers, x):
    """An energy that depends on the orientation, with the symmetry of a cube; and its gradient."""
    difference = x[:, None] - x[None]
    weight = np.sqrt(np.outer(numbers, numbers))[:, :, None]
    return 0.5 * (weight * difference**4).sum(), (4 * weight * difference**3).sum(axis=1)


def energy(reference, positions):
    frame = reference.frame(positions)
    inside = (positions - frame.centre) @ frame.rotation.T
    return energy_along_axes(reference.numbers, inside)[0]


def gradient(reference, positions):
    frame = reference.frame(positions)
    inside = (positions - frame.centre) @ frame.rotation.T
    fixed = energy_along_axes(reference.numbers, inside)[1]
    return reference.gradient(fixed, inside) @ frame.rotation


def differences(reference, positions, h=1e-3):
    result = np.empty_like(positions)
    for index in np.ndindex(positions.shape):
        energies = []
        for k in (-2, -1, 1, 2):
            moved = positions.copy()
            moved[index] += k * h
            energies.append(energy(reference, moved))
        result[index] = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)
    return result


def test_turned_and_shifted_molecule_has_the_same_energy():
    reference = Reference(NUMBERS, REFERENCE)
    expected = energy(reference, POSITIONS)
    for seed in range(5):
        turn = Rotation.random(random_state=seed).as_matrix()
        assert energy(reference, POSITIONS @ turn.T + seed) == pytest.approx(expected, rel=1e-12)
    # ... which the energy along fixed axes has not
    turned, fixed = (energy_along_axes(NUMBERS, x)[0] for x in (POSITIONS @ turn.T, POSITIONS))
    assert turned != pytest.approx(fixed, rel=1e-2)


@pytest.mark.parametrize(
    ("numbers", "reference", "positions"),
    [
        (NUMBERS, REFERENCE, POSITIONS),
        (H2S, hydrogen_sulfide(92.0), hydrogen_sulfide(88.3, 0.003)),
        (AMMONIA, ammonia(), ammonia()),
        (AMMONIA, ammonia(), ammonia(1.85, -0.1) + 0.03 * np.eye(4, 3)),
    ],
    ids=["no symmetry", "near H2S's degeneracy", "symmetric top", "inverting ammonia"],
)
def test_gradient_agrees_with_differences(numbers, reference, positions):
    reference = Reference(numbers, reference)
    expected = differences(reference, positions)
    assert np.abs(expected).max() > 1.0
    np.testing.assert_allclose(gradient(reference, positions), expected, rtol=1e-7, atol=1e-6)


def test_axes_turn_little_where_two_moments_are_equal():
    """Principal axes turn by 45 degrees; the scissors of H2S leave Eckart's where they are."""
    reference = Reference(H2S, hydrogen_sulfide(92.0))
    for angle in np.linspace(80.0, 104.0, 25):
        rotation = reference.frame(hydrogen_sulfide(angle)).rotation
        np.testing.assert_allclose(rotation, np.eye(3), atol=1e-12)
        turned = reference.frame(hydrogen_sulfide(angle, 0.1)).rotation
        assert np.degrees(Rotation.from_matrix(turned).magnitude()) < 2.0


def test_gradient_has_no_net_force_and_no_net_torque():
    analytic = gradient(Reference(NUMBERS, REFERENCE), POSITIONS)
    np.testing.assert_allclose(analytic.sum(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(np.cross(POSITIONS, analytic).sum(axis=0), 0.0, atol=1e-9)
    fixed = energy_along_axes(NUMBERS, POSITIONS)[1]
    assert np.abs(np.cross(POSITIONS, fixed).sum(axis=0)).max() > 1.0


def test_frame_is_a_proper_rotation_that_fulfils_eckarts_condition():
    reference = Reference(NUMBERS, REFERENCE)
    frame = reference.frame(POSITIONS)
    np.testing.assert_allclose(frame.rotation @ frame.rotation.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(frame.rotation) == pytest.approx(1.0)
    inside = (POSITIONS - frame.centre) @ frame.rotation.T
    moment = (atomic_masses[NUMBERS][:, None] * np.cross(reference.positions, inside)).sum(axis=0)
    np.testing.assert_allclose(moment, 0.0, atol=1e-11)
    np.testing.assert_allclose(centre_of_mass(NUMBERS, inside), 0.0, atol=1e-12)


def test_normal_modes_do_not_turn_the_axes():
    """So that sampled geometries, and labels, lie on the grid of the dynamics."""
    masses = atomic_masses[NUMBERS]
    random = np.random.default_rng(1).normal(size=(12, 12))
    modes = normal_modes(random @ random.T, masses, REFERENCE)[1]
    moved = REFERENCE + (0.2 * modes / np.sqrt(masses)[:, None]).sum(axis=0)
    rotation = Reference(NUMBERS, REFERENCE).frame(moved).rotation
    np.testing.assert_allclose(rotation, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("numbers", "positions"),
    [
        ([6, 8, 8], [[0, 0, 0], [0, 0, 2.2], [0, 0, -2.2]]),
        ([6, 8, 8], [[0, 0.01, 0], [0, 0, 2.2], [0, 0, -2.2]]),
        ([18], [[0, 0, 0]]),
    ],
    ids=["linear", "linear but for a relaxation", "atom"],
)
def test_linear_molecules_have_no_axes(numbers, positions):
    positions = np.array(positions, dtype=float)
    reference = Reference(np.array(numbers), positions)
    assert reference.linear
    with pytest.raises(FrameError, match="linear: use those of the laboratory"):
        reference.frame(positions)
    with pytest.raises(FrameError, match="laboratory"):
        reference.gradient(np.zeros_like(positions), positions)


def test_round_molecules_have_axes():
    methane = np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=float)
    reference = Reference(np.array([6, 1, 1, 1, 1]), methane)
    assert not reference.linear
    np.testing.assert_allclose(reference.frame(methane).rotation, np.eye(3), atol=1e-14)


def test_a_geometry_far_from_the_reference_is_refused():
    """A bent molecule that passes through a straight line has no axes there."""
    reference = Reference(H2S, hydrogen_sulfide(92.0))
    assert reference.frame(hydrogen_sulfide(165.0)).rotation == pytest.approx(np.eye(3))
    with pytest.raises(FrameError, match="too far from its reference"):
        reference.frame(hydrogen_sulfide(179.0))
