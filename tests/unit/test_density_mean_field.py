"""The one-shot step as a PySCF object: PySCF's tools run on it and agree with Kohn–Sham."""

import numpy as np
import pytest
from pyscf import gto
from pyscf.tools import cubegen
from water_density import PYSCF, WATER, water, water_model

from dft2spectra.density.mean_field import OneShotRKS
from dft2spectra.density.model import ModelError
from dft2spectra.density.one_shot import OneShot
from dft2spectra.molecules.pyscf_input import build_mean_field, build_molecule
from dft2spectra.units import BOHR_ANG


def mole(seed=100):
    return build_molecule(WATER["symbols"], water(seed), 0, PYSCF)


def one_shot(seed=100):
    return OneShotRKS(mole(seed), water_model(), PYSCF)


def kohn_sham(seed=100):
    mean_field = build_mean_field(mole(seed), PYSCF)
    mean_field.kernel()
    return mean_field


def test_energy_orbitals_dipole_and_populations_are_near_kohn_sham():
    mean_field, reference = one_shot(), kohn_sham()
    assert mean_field.kernel() == mean_field.e_tot
    assert mean_field.converged
    assert mean_field.e_tot == pytest.approx(reference.e_tot, abs=2e-3)
    assert mean_field.mo_energy == pytest.approx(reference.mo_energy, abs=5e-3)
    assert np.array_equal(mean_field.mo_occ, reference.mo_occ)
    dipole, expected = mean_field.dip_moment(verbose=0), reference.dip_moment(verbose=0)
    assert dipole == pytest.approx(expected, abs=0.02)
    assert np.linalg.norm(expected) > 1.0
    charges, expected = mean_field.mulliken_pop(verbose=0)[1], reference.mulliken_pop(verbose=0)[1]
    assert charges == pytest.approx(expected, abs=0.005)
    mean_field.analyze(verbose=0)


def test_orbitals_are_orthonormal_in_the_basis_of_the_molecule():
    mean_field = one_shot().run()
    overlap = mean_field.mol.intor("int1e_ovlp")
    product = mean_field.mo_coeff.T @ overlap @ mean_field.mo_coeff
    assert product == pytest.approx(np.eye(len(overlap)), abs=1e-10)
    assert np.trace(mean_field.make_rdm1() @ overlap) == pytest.approx(10.0, abs=1e-10)


def test_cube_file_holds_the_electrons(tmp_path):
    mean_field = one_shot().run()
    density = cubegen.density(
        mean_field.mol, str(tmp_path / "water.cube"), mean_field.make_rdm1(), nx=40, ny=40, nz=40
    )
    cube = cubegen.Cube(mean_field.mol, nx=40, ny=40, nz=40)
    # Coarse against the core of oxygen.
    volume = np.linalg.det(cube.box) / 39**3
    assert density.sum() * volume == pytest.approx(10.0, rel=0.1)


def test_gradient_is_that_of_the_energy():
    mean_field = one_shot()
    mean_field.kernel()
    gradient = mean_field.nuc_grad_method().kernel()
    coordinates, step = mean_field.mol.atom_coords(), 1e-3
    scanner = one_shot().as_scanner()
    for atom, axis in ((0, 2), (1, 1), (2, 0)):
        energies = []
        for sign in (1, -1):
            moved = coordinates.copy()
            moved[atom, axis] += sign * step
            energies.append(scanner(mean_field.mol.set_geom_(moved, unit="Bohr", inplace=False)))
        slope = (energies[0] - energies[1]) / (2 * step)
        # A point of the rough model's tail that passes the smallest density moves the energy by
        # up to 3e-8 hartree.
        assert gradient[atom, axis] == pytest.approx(slope, abs=5e-5)


def test_all_ways_to_the_gradient_are_one():
    """PySCF attaches gradients of self-consistent theory under several names."""
    mean_field = one_shot().run()
    expected = mean_field.nuc_grad_method().kernel()
    assert np.array_equal(mean_field.Gradients().grad(), expected)
    assert np.array_equal(mean_field.nuc_grad_method().kernel(atmlst=[2, 0]), expected[[2, 0]])
    energy, gradient = mean_field.nuc_grad_method().as_scanner()(mole())
    assert energy == mean_field.e_tot
    assert np.array_equal(gradient, expected)


def test_gradient_is_near_kohn_sham():
    reference = kohn_sham().nuc_grad_method()
    reference.grid_response = True
    assert one_shot().run().nuc_grad_method().kernel() == pytest.approx(
        reference.kernel(), abs=2e-3
    )


def test_scanner_gives_what_a_fresh_object_gives():
    scanner = one_shot(100).as_scanner()
    for seed in (101, 102, 100):
        assert scanner(mole(seed)) == one_shot(seed).kernel()
        assert scanner.mol.atom_coords() == pytest.approx(water(seed) / BOHR_ANG)


def test_grid_lies_in_the_laboratory():
    positions = mole().atom_coords()
    expected = OneShot(mole(), water_model(), PYSCF, laboratory_axes=True).step(positions)
    assert one_shot().kernel() == expected.energy
    assert one_shot().run().dip_moment(unit="AU", verbose=0) == pytest.approx(
        expected.dipole, abs=1e-9
    )


def test_density_matrix_is_a_better_guess_than_atoms():
    guess = one_shot().run().make_rdm1()
    plain, started = kohn_sham(), build_mean_field(mole(), PYSCF)
    started.kernel(dm0=guess)
    assert started.converged
    assert started.cycles < plain.cycles
    assert started.e_tot == pytest.approx(plain.e_tot, abs=1e-8)


def test_second_derivatives_are_refused():
    with pytest.raises(NotImplementedError, match="differences of gradients"):
        one_shot().run().Hessian()


def test_molecules_that_do_not_fit_are_refused():
    atoms = list(zip(WATER["symbols"], water(0), strict=True))
    model = water_model()
    with pytest.raises(ValueError, match="2 unpaired electrons"):
        OneShotRKS(gto.M(atom=atoms, basis="sto-3g", spin=2, verbose=0), model, PYSCF)
    with pytest.raises(ValueError, match="another basis than sto-3g"):
        OneShotRKS(gto.M(atom=atoms, basis="def2-svp", verbose=0), model, PYSCF)
    with pytest.raises(ValueError, match="cart=False"):
        OneShotRKS(gto.M(atom=atoms, basis="sto-3g", cart=True, verbose=0), model, PYSCF)
    with pytest.raises(ModelError, match="charge"):
        OneShotRKS(gto.M(atom=atoms, basis="sto-3g", charge=2, verbose=0), model, PYSCF)
    with pytest.raises(ModelError, match=r"pyscf\.xc"):
        OneShotRKS(mole(), model, {**PYSCF, "xc": "BLYP"})
    with pytest.raises(ValueError, match="another OneShotRKS"):
        one_shot().reset(gto.M(atom="H 0 0 0; F 0 0 1", basis="sto-3g", verbose=0))
