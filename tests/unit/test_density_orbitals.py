"""Basis functions on a grid and the contracted derivatives, against PySCF and differences."""

import numpy as np
import pytest
from pyscf import gto

from dft2spectra.density.orbitals import density_force, evaluate

ATOMS = [("O", (0.1, 0.0, 0.2)), ("C", (2.2, 0.3, -0.1)), ("H", (3.3, 1.9, 0.4))]
# Position of ∂_i∂_j among the ten components of PySCF's second derivatives.
SECOND = np.array([[4, 5, 6], [5, 7, 8], [6, 8, 9]])


def molecule(basis, positions=None):
    positions = [x for _, x in ATOMS] if positions is None else positions
    atoms = [(symbol, x) for (symbol, _), x in zip(ATOMS, positions, strict=True)]
    return gto.M(atom=atoms, unit="B", basis=basis, spin=None, verbose=0)


@pytest.fixture
def offsets():
    # Uneven numbers of points, so that blocks are full, partial and tiny.
    return np.random.default_rng(3).standard_normal((300, 3)) * 2.0, np.repeat(
        [0, 1, 2], [169, 130, 1]
    )


def attached(mol, offsets):
    return offsets[0] + mol.atom_coords()[offsets[1]]


# def2-qzvp reaches l = 4, cc-pvdz has general contractions.
@pytest.mark.parametrize("basis", ["def2-svp", "def2-qzvp", "cc-pvdz"])
def test_values_and_gradients_are_those_of_pyscf(basis, offsets):
    mol = molecule(basis)
    if basis == "def2-qzvp":
        assert max(mol.bas_angular(i) for i in range(mol.nbas)) == 4
    if basis == "cc-pvdz":
        assert max(mol.bas_nctr(i) for i in range(mol.nbas)) > 1
    points = attached(mol, offsets)
    expected = mol.eval_gto("GTOval_sph_deriv1", points)
    np.testing.assert_allclose(evaluate(mol, points, 1), expected, atol=1e-12)
    np.testing.assert_allclose(evaluate(mol, points, 0), expected[:1], atol=1e-12)


def test_memory_of_an_earlier_call_is_reused(offsets):
    mol = molecule("def2-svp")
    points = attached(mol, offsets)
    first = evaluate(mol, points, 1)
    again = evaluate(mol, points + 0.1, 1, out=first)
    assert np.shares_memory(first, again)
    np.testing.assert_allclose(again, mol.eval_gto("GTOval_sph_deriv1", points + 0.1), atol=1e-12)


def test_far_points_are_zero_even_in_reused_memory():
    mol = molecule("def2-svp")
    out = evaluate(mol, np.zeros((5, 3)), 1)
    assert np.abs(out).max() > 0.1
    assert not evaluate(mol, np.full((5, 3), 40.0), 1, out=out).any()


@pytest.mark.parametrize("basis", ["def2-svp", "def2-qzvp", "cc-pvdz"])
def test_force_is_the_contraction_of_second_derivatives(basis, offsets):
    mol = molecule(basis)
    points, owner = attached(mol, offsets), offsets[1]
    rng = np.random.default_rng(0)
    P, Q = rng.standard_normal((2, len(points), mol.nao))
    U = rng.standard_normal((len(points), 3))
    ao = mol.eval_gto("GTOval_sph_deriv2", points)
    per_function = P * ao[1:4] + np.einsum("gm,gj,ijgm->igm", Q, U, ao[SECOND])
    atom_of = np.repeat(np.arange(mol.natm), np.diff(mol.aoslice_by_atom()[:, 2:], axis=1).ravel())
    expected = np.zeros((mol.natm, 3))
    for atom in range(mol.natm):
        part = per_function[:, :, atom_of == atom].sum(axis=2).T
        expected[atom] -= part.sum(axis=0)
        np.add.at(expected, owner, part)
    force = density_force(mol, points, owner, P, Q, U)
    np.testing.assert_allclose(force, expected, rtol=1e-10, atol=1e-9)
    # ... and does not depend on how the arrays lie in memory
    turned = density_force(mol, points, owner, np.asfortranarray(P), np.asfortranarray(Q), U)
    np.testing.assert_allclose(turned, force, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("curved", [True, False])
def test_force_agrees_with_differences(curved, offsets):
    mol = molecule("def2-svp")
    rng = np.random.default_rng(1)
    P, Q = rng.standard_normal((2, len(offsets[0]), mol.nao))
    U = rng.standard_normal((len(offsets[0]), 3))

    def energy(positions):
        moved = molecule("def2-svp", positions)
        ao = moved.eval_gto("GTOval_sph_deriv1", attached(moved, offsets))
        value = (P * ao[0]).sum()
        return value + curved * np.einsum("gm,gi,igm->", Q, U, ao[1:])

    force = density_force(
        mol, attached(mol, offsets), offsets[1], P, Q if curved else None, U if curved else None
    )
    h = 1e-3
    for atom in range(3):
        for axis in range(3):
            energies = []
            for k in (-2, -1, 1, 2):
                positions = mol.atom_coords()
                positions[atom, axis] += k * h
                energies.append(energy(positions))
            numeric = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)
            assert force[atom, axis] == pytest.approx(numeric, abs=2e-6, rel=1e-7)
    np.testing.assert_allclose(force.sum(axis=0), 0.0, atol=1e-9)


def test_what_cannot_be_right_is_refused(offsets):
    mol = molecule("sto-3g")
    points, owner = attached(mol, offsets), offsets[1]
    P = np.ones((len(points), mol.nao))
    with pytest.raises(ValueError, match="go together"):
        density_force(mol, points, owner, P, P)
    with pytest.raises(ValueError, match="shape"):
        density_force(mol, points, owner, P.T)
    with pytest.raises(ValueError, match="deriv"):
        evaluate(mol, points, 2)
    with pytest.raises(ValueError, match="out must be"):
        evaluate(mol, points, 1, out=np.empty((4, len(points), mol.nao)))
    mol.cart = True
    with pytest.raises(ValueError, match="spherical"):
        evaluate(mol, points)
