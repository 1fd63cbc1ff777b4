"""Free atoms as Gaussians: density, electrostatics, integrals, and their derivatives."""

import numpy as np
import pytest
from pyscf import df, gto
from pyscf.scf.atom_ks import get_atm_nrks

from dft2spectra.density import atoms
from dft2spectra.density.atoms import (
    density_gradient,
    density_on_grid,
    hartree_pairs,
    overlap_gradient,
    potential_gradient,
    potential_matrix,
)
from dft2spectra.density.free_atom import LEAST_RATIO, Gaussians, atomic_density
from dft2spectra.density.grid import build_grid

SYMBOLS, NUMBERS = ["O", "C", "H"], np.array([8, 6, 1])
POSITIONS = np.array([[0.1, 0.0, 0.2], [2.2, 0.3, -0.1], [3.3, 1.9, 0.4]])
OWNER = np.repeat([0, 1, 2], [150, 100, 50])
OFFSETS = np.random.default_rng(5).standard_normal((300, 3)) * 1.5


def molecule(positions=POSITIONS, basis="6-31g*"):
    return gto.M(
        atom=list(zip(SYMBOLS, positions, strict=True)),
        unit="B",
        basis=basis,
        spin=None,
        verbose=0,
    )


@pytest.fixture(scope="module")
def free_atoms():
    return [atomic_density(symbol, "PBE", "def2-svp") for symbol in SYMBOLS]


def four_points(function, atom, axis, h=1e-3):
    energies = []
    for k in (-2, -1, 1, 2):
        moved = POSITIONS.copy()
        moved[atom, axis] += k * h
        energies.append(function(moved))
    return (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)


def assert_gradient(gradient, function, tolerance):
    for atom in range(3):
        for axis in range(3):
            numeric = four_points(function, atom, axis)
            assert gradient[atom, axis] == pytest.approx(numeric, rel=1e-7, abs=tolerance)
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("symbol", "basis", "error"),
    [
        ("H", "def2-svp", 1e-4),
        ("O", "def2-svp", 0.03),
        ("O", "6-31g", 0.03),
        ("S", "def2-tzvp", 0.05),
    ],
)
def test_fit_is_neutral_close_and_never_negative(symbol, basis, error):
    fit = atomic_density(symbol, "PBE", basis)
    assert fit.charges.sum() == pytest.approx(gto.charge(symbol), abs=1e-12)
    assert fit.fit_error < error
    points = np.zeros((3000, 3))
    points[:, 0] = np.geomspace(1e-5, 30.0, 3000)
    values, _ = density_on_grid([fit], np.zeros((1, 3)), points)
    assert (values >= 0.0).all()


@pytest.mark.parametrize(
    ("symbol", "most", "error"), [("C", 10, 6e-3), ("O", 10, 1.2e-2), ("Fe", 14, 0.04)]
)
def test_the_best_exponents_need_few_gaussians(symbol, most, error):
    fit = atomic_density(symbol, "PBE", "def2-svp")
    used = fit.exponents[fit.charges != 0.0]
    assert len(used) == most
    assert fit.fit_error < error
    assert (np.diff(np.log(used)) > 0.99 * np.log(LEAST_RATIO)).all()


def test_density_of_hydrogen_is_that_of_its_orbital():
    fit = atomic_density("H", "PBE", "def2-svp")
    atom = gto.M(atom="H", basis="def2-svp", spin=1, verbose=0)
    _, _, orbitals, occupation = get_atm_nrks(atom, xc="PBE")["H"]
    points = np.array([[0.3, 0.2, 0.1], [1.0, -1.0, 0.5], [0.0, 0.0, 3.0]])
    values = (atom.eval_gto("GTOval_sph", points) @ orbitals) ** 2 @ occupation
    np.testing.assert_allclose(
        density_on_grid([fit], np.zeros((1, 3)), points)[0], values, rtol=1e-3
    )


def test_superposed_density_integrates_to_the_electrons(free_atoms):
    grid = build_grid(NUMBERS, POSITIONS, 3)
    values, _ = density_on_grid(free_atoms, POSITIONS, grid.points)
    assert grid.weights @ values == pytest.approx(15.0, abs=1e-4)


def test_density_and_slope_are_sums_of_gaussians(free_atoms):
    points = OFFSETS + POSITIONS[OWNER]
    values, slopes = density_on_grid(free_atoms, POSITIONS, points)
    expected, expected_slopes = np.zeros(len(points)), np.zeros((len(points), 3))
    for atom, position in zip(free_atoms, POSITIONS, strict=True):
        d = points - position
        for a, q in zip(atom.exponents, atom.charges, strict=True):
            part = q * (a / np.pi) ** 1.5 * np.exp(-a * (d**2).sum(axis=1))
            expected += part
            expected_slopes -= 2 * a * part[:, None] * d
    np.testing.assert_allclose(values, expected, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(slopes, expected_slopes, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("curved", [True, False])
def test_density_gradient_agrees_with_differences(curved, free_atoms):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(len(OWNER)), rng.standard_normal((len(OWNER), 3))

    def energy(positions):
        values, slopes = density_on_grid(free_atoms, positions, OFFSETS + positions[OWNER])
        return a @ values + curved * (b * slopes).sum()

    gradient = density_gradient(
        free_atoms, POSITIONS, OFFSETS + POSITIONS[OWNER], OWNER, a, b if curved else None
    )
    assert_gradient(gradient, energy, 2e-7)


def test_pair_energy_is_that_of_the_integral_library(free_atoms):
    mol = molecule()
    electrons = 0.0
    for i, first in enumerate(free_atoms):
        for j, second in enumerate(free_atoms):
            one = gto.fakemol_for_charges(np.tile(POSITIONS[i], (20, 1)), first.exponents)
            two = gto.fakemol_for_charges(np.tile(POSITIONS[j], (20, 1)), second.exponents)
            electrons += first.charges @ gto.intor_cross("int2c2e", one, two) @ second.charges
    energy, _ = hartree_pairs(free_atoms, NUMBERS, POSITIONS)
    assert energy == pytest.approx(mol.energy_nuc() - 0.5 * electrons, abs=1e-10)


def test_pair_energy_of_far_atoms_is_that_of_single_atoms(free_atoms):
    far = np.diag([0.0, 80.0, -80.0])
    energy, gradient = hartree_pairs(free_atoms, NUMBERS, far)
    alone = sum(
        hartree_pairs([atom], np.array([z]), np.zeros((1, 3)))[0]
        for atom, z in zip(free_atoms, NUMBERS, strict=True)
    )
    assert energy == pytest.approx(alone, abs=1e-11)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-12)


def test_pair_gradient_agrees_with_differences(free_atoms):
    _, gradient = hartree_pairs(free_atoms, NUMBERS, POSITIONS)
    assert_gradient(gradient, lambda x: hartree_pairs(free_atoms, NUMBERS, x)[0], 1e-9)


def test_potential_of_bare_nuclei_is_the_nuclear_attraction(free_atoms):
    mol = molecule()
    bare = [atom._replace(charges=np.zeros_like(atom.charges)) for atom in free_atoms]
    np.testing.assert_allclose(potential_matrix(mol, bare), mol.intor("int1e_nuc"), atol=1e-11)


def test_potential_of_the_electrons_is_that_of_their_gaussians(free_atoms):
    mol = molecule()
    expected = mol.intor("int1e_nuc")
    for atom, position in zip(free_atoms, POSITIONS, strict=True):
        fake = gto.fakemol_for_charges(np.tile(position, (20, 1)), atom.exponents)
        expected += df.incore.aux_e2(mol, fake, "int3c2e") @ atom.charges
    np.testing.assert_allclose(potential_matrix(mol, free_atoms), expected, atol=1e-10)


def test_potential_gradient_agrees_with_differences(free_atoms):
    mol = molecule()
    dm = np.random.default_rng(2).standard_normal((mol.nao, mol.nao))
    dm += dm.T

    def energy(positions):
        moved = molecule(positions)
        potential = potential_matrix(moved, free_atoms)
        return float(np.sum(dm * (moved.intor("int1e_kin") + potential)))

    assert_gradient(potential_gradient(mol, free_atoms, dm), energy, 1e-7)


def test_groups_of_atoms_give_the_same_integrals(free_atoms, monkeypatch):
    mol = molecule()
    dm = np.eye(mol.nao)
    together = potential_matrix(mol, free_atoms), potential_gradient(mol, free_atoms, dm)
    monkeypatch.setattr(atoms, "MEMORY_BYTES", 1.0)
    np.testing.assert_allclose(potential_matrix(mol, free_atoms), together[0], atol=1e-12)
    np.testing.assert_allclose(potential_gradient(mol, free_atoms, dm), together[1], atol=1e-11)


def test_overlap_gradient_agrees_with_differences():
    mol = molecule()
    weighted = np.random.default_rng(3).standard_normal((mol.nao, mol.nao))
    weighted += weighted.T

    def energy(positions):
        return float(np.sum(weighted * molecule(positions).intor("int1e_ovlp")))

    assert_gradient(overlap_gradient(mol, weighted), energy, 1e-8)


def test_core_potentials_are_refused():
    with pytest.raises(ValueError, match="all-electron"):
        atomic_density("I", "PBE", "def2-svp")
    iodide = gto.M(atom="I", charge=-1, basis="def2-svp", ecp="def2-svp", verbose=0)
    with pytest.raises(ValueError, match="all-electron"):
        potential_matrix(iodide, [Gaussians(np.ones(1), np.ones(1), 0.0)])
