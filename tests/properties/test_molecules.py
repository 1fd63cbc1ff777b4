"""Invariances of harmonic modes, sampled geometries and labels."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dft2spectra.molecules.contacts import closest_contact
from dft2spectra.molecules.harmonic import intensities_km_mol, normal_modes, rigid_motions
from dft2spectra.molecules.labels import label_geometry
from dft2spectra.molecules.sampling import sample_geometries

seeds = st.integers(0, 10**6)


def random_molecule(seed, n_atoms=4):
    """Springs between all pairs at rest: masses, positions, Hessian, dipole derivatives."""
    random = np.random.default_rng(seed)
    masses = random.uniform(1.0, 30.0, n_atoms)
    positions = random.uniform(-2.0, 2.0, (n_atoms, 3))
    hessian = np.zeros((3 * n_atoms, 3 * n_atoms))
    for a in range(n_atoms):
        for b in range(a):
            axis = positions[a] - positions[b]
            stretch = np.zeros((n_atoms, 3))
            stretch[a], stretch[b] = axis, -axis
            stretch /= np.linalg.norm(axis)
            hessian += random.uniform(0.05, 1.0) * np.outer(stretch, stretch)
    return masses, positions, hessian, random.standard_normal((3 * n_atoms, 3))


def rotated(seed, positions, hessian, dipoles):
    rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    block = np.kron(np.eye(len(positions)), rotation)
    return positions @ rotation.T, block @ hessian @ block.T, block @ dipoles @ rotation.T


@given(seeds)
@settings(max_examples=30)
def test_modes_follow_the_molecule_when_it_turns_and_moves(seed):
    masses, positions, hessian, dipoles = random_molecule(seed)
    frequencies, modes, _ = normal_modes(hessian, masses, positions)
    strengths = intensities_km_mol(dipoles, modes, masses)
    assert len(frequencies) == 6
    turned, turned_hessian, turned_dipoles = rotated(seed + 1, positions, hessian, dipoles)
    again, turned_modes, _ = normal_modes(turned_hessian, masses, turned + 5.0)
    np.testing.assert_allclose(again, frequencies, rtol=1e-6, atol=1e-2)
    turned_strengths = intensities_km_mol(turned_dipoles, turned_modes, masses)
    # Sums over all modes, which neither accidental degeneracy nor the order of modes changes.
    assert turned_strengths.sum() == pytest.approx(strengths.sum(), rel=1e-6)


@given(seeds)
@settings(max_examples=30)
def test_modes_are_orthonormal_and_free_of_rigid_motion(seed):
    masses, positions, hessian, _ = random_molecule(seed)
    frequencies, modes, rigid = normal_modes(hessian, masses, positions)
    vectors = modes.reshape(len(modes), -1)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(modes)), atol=1e-10)
    np.testing.assert_allclose(vectors @ rigid_motions(masses, positions), 0.0, atol=1e-10)
    # Springs at rest feel no rigid motion, so nothing is projected out of them.
    assert np.abs(rigid).max() < 1e-2
    assert (frequencies > -1e-2).all()


@given(seeds, st.floats(1.1, 9.0))
@settings(max_examples=20)
def test_heavier_atoms_and_stiffer_springs(seed, factor):
    """ω ∝ √(k/m), intensities ∝ (∂µ/∂R)²/m."""
    masses, positions, hessian, dipoles = random_molecule(seed)
    frequencies, modes, _ = normal_modes(hessian, masses, positions)
    heavy, heavy_modes, _ = normal_modes(hessian, factor * masses, positions)
    stiff, _, _ = normal_modes(factor * hessian, masses, positions)
    np.testing.assert_allclose(heavy * np.sqrt(factor), frequencies, rtol=1e-6, atol=1e-2)
    np.testing.assert_allclose(stiff, frequencies * np.sqrt(factor), rtol=1e-6, atol=1e-2)
    strengths = intensities_km_mol(dipoles, modes, masses).sum()
    heavy_strengths = intensities_km_mol(2.0 * dipoles, heavy_modes, factor * masses).sum()
    assert heavy_strengths == pytest.approx(4.0 * strengths / factor)


@given(seeds)
@settings(max_examples=20)
def test_order_of_atoms_does_not_matter(seed):
    masses, positions, hessian, _ = random_molecule(seed)
    order = np.random.default_rng(seed).permutation(len(masses))
    rows = (3 * order[:, None] + np.arange(3)).ravel()
    permuted, _, _ = normal_modes(hessian[np.ix_(rows, rows)], masses[order], positions[order])
    frequencies, _, _ = normal_modes(hessian, masses, positions)
    np.testing.assert_allclose(permuted, frequencies, rtol=1e-6, atol=1e-2)
    symbols = np.array(["C", "H", "O", "N"])
    contact = closest_contact(symbols, positions)[0]
    assert closest_contact(symbols[order], positions[order])[0] == pytest.approx(contact)


@given(seeds, st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=10)
def test_frames_are_independent_of_their_number(seed, few, more):
    masses, positions, hessian, _ = random_molecule(seed)
    frequencies, modes, _ = normal_modes(100.0 * hessian, masses, 3.0 * positions)
    reference = {
        "name": "springs",
        "symbols": ["H"] * 4,
        "positions_ang": 3.0 * positions,
        "masses_amu": masses,
        "frequencies_cm1": np.maximum(frequencies, 3000.0),
        "modes": modes,
    }
    assume(closest_contact(["H"] * 4, 3.0 * positions)[0] > 1.0)
    first = sample_geometries(reference, [300.0, 500.0], {"train": few, "test": 3}, seed)
    second = sample_geometries(reference, [300.0, 500.0], {"train": more, "test": 3}, seed)
    assert first[few:] == second[more:]


POSITIONS = np.array([[0.0, 0.01, 0.12], [0.0, 0.78, -0.49], [0.05, -0.76, -0.46]])
SETTINGS = {"xc": "PBE", "basis": "6-31g", "grid_level": 4, "conv_tol": 1e-11}


def test_labels_turn_with_the_molecule():
    """To the accuracy of the grid, which does not turn."""
    water = {"symbols": ["O", "H", "H"], "charge": 0}
    label = label_geometry(water, POSITIONS, SETTINGS)
    rotation = Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()
    turned = label_geometry(water, POSITIONS @ rotation.T + 3.0, SETTINGS)
    assert turned["energy_ha"] == pytest.approx(label["energy_ha"], abs=1e-5)
    for key in ("forces_ha_per_bohr", "dipole_debye"):
        np.testing.assert_allclose(turned[key], label[key] @ rotation.T, atol=1e-4)
    for key in ("homo_ha", "lumo_ha"):
        assert turned[key] == pytest.approx(label[key], abs=2e-5)


def test_labels_follow_the_order_of_atoms():
    label = label_geometry({"symbols": ["O", "H", "H"], "charge": 0}, POSITIONS, SETTINGS)
    order = [2, 0, 1]
    swapped = label_geometry({"symbols": ["H", "O", "H"], "charge": 0}, POSITIONS[order], SETTINGS)
    assert swapped["energy_ha"] == pytest.approx(label["energy_ha"], abs=1e-9)
    for key in ("forces_ha_per_bohr",):
        np.testing.assert_allclose(swapped[key], label[key][order], atol=1e-7)
    np.testing.assert_allclose(swapped["dipole_debye"], label["dipole_debye"], atol=1e-5)
