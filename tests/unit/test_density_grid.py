"""Becke grid: that of PySCF, with exact derivatives."""

import numpy as np
import pytest
from pyscf import dft, gto

from dft2spectra.density.grid import (
    BLOCK_POINTS,
    atom_grid,
    build_grid,
    point_blocks,
    weight_gradient,
)

NUMBERS = np.array([8, 6, 1, 16, 1])
POSITIONS = np.array(
    [[0.1, 0.0, 0.2], [2.2, 0.3, -0.1], [3.3, 1.9, 0.4], [3.6, -2.5, 0.3], [-1.2, 0.9, 1.4]]
)


def pyscf_grid(numbers, positions, level):
    atoms = [(int(z), x) for z, x in zip(numbers, positions, strict=True)]
    mol = gto.M(atom=atoms, unit="B", basis="sto-3g", spin=None, verbose=0)
    grid = dft.gen_grid.Grids(mol)
    grid.level = level
    grid.build(sort_grids=False)
    real = grid.atm_idx >= 0  # the others are padding
    return grid.coords[real], grid.weights[real], grid.atm_idx[real]


@pytest.mark.parametrize("level", [0, 1, 3])
def test_grid_is_that_of_pyscf(level):
    grid = build_grid(NUMBERS, POSITIONS, level)
    points, weights, owner = pyscf_grid(NUMBERS, POSITIONS, level)
    np.testing.assert_allclose(grid.points, points, atol=1e-14)
    np.testing.assert_allclose(grid.weights, weights, atol=1e-12)
    np.testing.assert_array_equal(grid.owner, owner)


def test_screening_of_far_atoms_changes_nothing():
    numbers = np.tile([8, 1, 1], 9)
    water = np.array([[0.0, 0.0, 0.2], [0.0, 1.43, -0.9], [0.0, -1.43, -0.9]])
    shifts = 5.0 * np.array([[i % 3, i // 3, 0.3 * i] for i in range(9)])
    positions = (water[None] + shifts[:, None]).reshape(-1, 3)
    grid = build_grid(numbers, positions, 0)
    _, weights, _ = pyscf_grid(numbers, positions, 0)
    np.testing.assert_allclose(grid.weights, weights, atol=1e-12)


def test_integral_of_a_gaussian_is_one():
    grid = build_grid(NUMBERS, POSITIONS, 3)
    r2 = ((grid.points - POSITIONS[1]) ** 2).sum(axis=1)
    assert grid.weights @ ((0.8 / np.pi) ** 1.5 * np.exp(-0.8 * r2)) == pytest.approx(1.0, abs=1e-5)


def test_weight_gradient_agrees_with_differences():
    grid = build_grid(NUMBERS, POSITIONS, 0)
    r2 = ((grid.points - POSITIONS[0]) ** 2).sum(axis=1)
    values = np.random.default_rng(0).standard_normal(len(r2)) * np.exp(-0.2 * r2)
    gradient = weight_gradient(grid, NUMBERS, POSITIONS, values)
    h = 1e-3
    for atom in range(len(NUMBERS)):
        for axis in range(3):
            energies = []
            for k in (-2, -1, 1, 2):
                moved = POSITIONS.copy()
                moved[atom, axis] += k * h
                energies.append(values @ build_grid(NUMBERS, moved, 0).weights)
            numeric = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)
            assert gradient[atom, axis] == pytest.approx(numeric, abs=2e-9)


def test_weight_gradient_has_no_net_force():
    grid = build_grid(NUMBERS, POSITIONS, 0)
    gradient = weight_gradient(grid, NUMBERS, POSITIONS, np.cos(grid.points[:, 0]))
    assert np.abs(gradient).max() > 1.0
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-9)


def test_one_atom_has_its_bare_weights_and_no_gradient():
    grid = build_grid(np.array([8]), np.zeros((1, 3)), 1)
    np.testing.assert_allclose(grid.weights, atom_grid(8, 1)[1])
    gradient = weight_gradient(grid, np.array([8]), np.zeros((1, 3)), np.ones(len(grid.weights)))
    assert not gradient.any()


def test_shape_of_the_grid_does_not_depend_on_the_geometry():
    near = POSITIONS * 0.6
    far = POSITIONS * 10.0
    assert len(build_grid(NUMBERS, near, 0).points) == len(build_grid(NUMBERS, far, 0).points)


def test_blocks_cover_every_point_once_and_never_mix_owners():
    owner = np.repeat([0, 1, 2, 0], [1, BLOCK_POINTS, BLOCK_POINTS + 1, 3])
    blocks = point_blocks(owner)
    covered = np.concatenate([np.arange(first, end) for first, end, _ in blocks])
    np.testing.assert_array_equal(covered, np.arange(len(owner)))
    assert all((owner[first:end] == atom).all() for first, end, atom in blocks)
    assert (blocks[:, 1] - blocks[:, 0]).max() <= BLOCK_POINTS


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([[0.0, 0.0, 0.0], [np.nan, 0.0, 0.0]], "not finite"),
        ([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], "coincide"),
    ],
)
def test_broken_geometry_is_refused(positions, message):
    with pytest.raises(ValueError, match=message):
        build_grid(np.array([1, 1]), np.array(positions), 0)


def test_unknown_level_is_refused():
    with pytest.raises(ValueError, match="levels 0 to"):
        atom_grid(8, 12)
