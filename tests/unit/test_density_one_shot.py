"""The one-shot step on the self-consistent density, near it, and at its edges."""

from functools import cache

import numpy as np
import pytest
from ase.data import atomic_masses
from density_reference import random_basis, random_model
from numpy.testing import assert_allclose
from pyscf import dft, gto
from scipy.spatial.transform import Rotation

from dft2spectra.density.atoms import density_gradient, density_on_grid
from dft2spectra.density.free_atom import Gaussians, atomic_density
from dft2spectra.density.model import ModelError
from dft2spectra.density.one_shot import OneShot, OneShotError
from dft2spectra.density.pauli_atoms import (
    atomic_pauli_density,
    pauli_gradient,
    pauli_on_grid,
)
from dft2spectra.molecules.pyscf_input import (
    build_mean_field,
    build_molecule,
    complete_settings,
)
from dft2spectra.molecules.shape import inertia
from dft2spectra.units import BOHR_ANG

WATER = ("OHH", [[0.0, 0.02, 0.12], [0.05, 0.80, -0.50], [-0.03, -0.74, -0.45]], 0)
OXONIUM = ("OHHH", [[0, 0, 0.3], [0.05, 0.95, 0], [0.85, -0.5, 0.02], [-0.8, -0.45, 0]], 1)
HYDROXIDE = ("OH", [[0.1, 0.0, 0.0], [0.0, 0.3, 0.92]], -1)
XC = pytest.mark.parametrize("xc", ["LDA,VWN", "PBE", "r2SCAN"])


class SelfConsistentPauli:
    """The Pauli kinetic energy density of a density matrix, minus that of free atoms."""

    def __init__(self, mol, density_matrix, atoms):
        self.mol, self.density_matrix, self.atoms = mol, density_matrix, atoms

    def evaluate(self, symbols, positions, points, owner):
        functions = self.mol.eval_gto("GTOval_sph_deriv1", points)
        rho = dft.numint.eval_rho(
            self.mol, functions, self.density_matrix, xctype="MGGA", with_lapl=False
        )
        value = rho[4] - np.square(rho[1:4]).sum(axis=0) / (8.0 * rho[0])
        return value - pauli_on_grid(self.atoms, positions, points), np.zeros((len(points), 3))

    def gradient(self, symbols, positions, points, owner, weight, direction):
        return np.zeros((len(positions), 3))


class SelfConsistent:
    """A model that knows the converged density matrix of one geometry.

    ``change`` is a list of Gaussians at the atoms whose density is added ``size`` times. Without it
    the density responds to nothing: where input and output agree, the gradient does not ask.
    """

    card: dict = {}  # noqa: RUF012

    def __init__(self, mol, density_matrix, chosen, change=None, size=0.0):
        self.mol, self.density_matrix = mol, density_matrix
        self.change, self.size = change, size
        names = [(mol.atom_pure_symbol(i), chosen["xc"], chosen["basis"]) for i in range(mol.natm)]
        self.atoms = [atomic_density(*name) for name in names]
        self.pauli = SelfConsistentPauli(
            mol, density_matrix, [atomic_pauli_density(*name) for name in names]
        )

    def evaluate(self, symbols, positions, points, owner):
        functions = self.mol.eval_gto("GTOval_sph_deriv1", points)
        half = functions[0] @ self.density_matrix
        value = np.einsum("pi,pi->p", half, functions[0])
        slope = 2 * np.einsum("pi,kpi->pk", half, functions[1:])
        free, free_slope = density_on_grid(self.atoms, positions, points)
        value, slope = value - free, slope - free_slope
        if self.change:
            more, more_slope = density_on_grid(self.change, positions, points)
            value, slope = value + self.size * more, slope + self.size * more_slope
        return value, slope

    def gradient(self, symbols, positions, points, owner, weight, direction):
        return np.zeros((len(positions), 3))


def settings(xc, **change):
    given = {"xc": xc, "basis": "def2-svp", "grid_level": 1, "conv_tol": 1e-11}
    return complete_settings(given | change)


@cache
def converged(molecule, xc, fitted=True, auxiliary="def2-universal-jfit"):
    """Settings, molecule and converged Kohn–Sham object, density-fitted or with exact integrals."""
    symbols, positions, charge = MOLECULES[molecule]
    chosen = settings(xc, auxiliary_basis=auxiliary)
    mol = build_molecule(list(symbols), positions, charge, chosen)
    reference = build_mean_field(mol, chosen)
    if not fitted:
        reference = dft.RKS(mol, xc=xc)
        reference.verbose, reference.conv_tol = 0, 1e-11
        reference.grids.level = chosen["grid_level"]
    reference.conv_tol_grad = 1e-6
    reference.kernel()
    assert reference.converged
    return chosen, mol, reference


MOLECULES = {"water": WATER, "oxonium": OXONIUM, "hydroxide": HYDROXIDE}


def on_its_density(chosen, mol, reference, change=None, size=0.0):
    """Step in the axes of the laboratory, as PySCF's grid has them."""
    model = SelfConsistent(mol, reference.make_rdm1(), chosen, change, size)
    return OneShot(mol, model, chosen, laboratory_axes=True)


def about_the_centre_of_mass(mol, density_matrix):
    """PySCF's masses are those of the commonest isotopes: not these."""
    masses = atomic_masses[mol.atom_charges()]
    centre = masses @ mol.atom_coords() / masses.sum()
    with mol.with_common_orig(centre):
        electrons = np.einsum("xij,ji->x", mol.intor("int1e_r"), density_matrix)
    return mol.atom_charges() @ (mol.atom_coords() - centre) - electrons


# --- the self-consistent density -----------------------------------------------------------------


@XC
@pytest.mark.parametrize("molecule", list(MOLECULES))
def test_self_consistent_density_gives_the_results_of_kohn_sham(molecule, xc):
    """Up to what fitting the difference density and fitting the density have unlike: 4e-5 Ha."""
    chosen, mol, reference = converged(molecule, xc)
    result = on_its_density(chosen, mol, reference).step(mol.atom_coords())
    assert result.energy == pytest.approx(reference.e_tot, abs=5e-5)
    assert_allclose(result.orbital_energies, reference.mo_energy, atol=2e-4)
    occupied = result.occupied
    gap = reference.mo_energy[occupied] - reference.mo_energy[occupied - 1]
    assert result.gap == pytest.approx(gap, abs=5e-5)
    dipole = about_the_centre_of_mass(mol, reference.make_rdm1())
    assert np.linalg.norm(dipole) > 0.05
    assert_allclose(result.dipole, dipole, atol=2e-4)
    assert_allclose(result.input_dipole, dipole, atol=3e-4)
    assert_allclose(result.density_matrix, reference.make_rdm1(), atol=2e-4)
    assert result.excess_electrons == pytest.approx(0.0, abs=1e-4)
    gradients = reference.nuc_grad_method()
    gradients.grid_response = True
    assert_allclose(result.gradient, gradients.kernel(), atol=1e-4)


@XC
def test_a_large_fitting_basis_gives_exact_coulomb_energies(xc):
    _, mol, reference = converged("water", xc, fitted=False)
    errors = []
    for auxiliary in ("def2-universal-jfit", "cc-pv5z-jkfit"):
        chosen = settings(xc, auxiliary_basis=auxiliary)
        result = on_its_density(chosen, mol, reference).step(mol.atom_coords(), forces=False)
        errors.append(abs(result.energy - reference.e_tot))
    assert errors[1] < 1e-5 < 5e-5 < errors[0] < 1e-4


# r2SCAN bends too much with α for this change: its second derivative is another one at 0.05.
@pytest.mark.parametrize("xc", ["LDA,VWN", "PBE", "TPSS"])
def test_error_of_the_energy_is_of_second_order_in_that_of_the_density(xc):
    chosen, mol, reference = converged("water", xc)
    # 0.2 electrons from the hydrogen atoms to the oxygen atom and back
    change = [Gaussians(np.array([0.6]), np.array([charge]), 0.0) for charge in (1.0, -0.5, -0.5)]
    sizes = (0.0, 0.05, 0.1, 0.2, -0.05, -0.1, -0.2)
    shots = [on_its_density(chosen, mol, reference, change, size) for size in sizes]
    energies = np.array([shot.step(mol.atom_coords(), forces=False).energy for shot in shots])
    errors = energies - energies[0]
    even, odd = (errors[1:4] + errors[4:]) / 2, (errors[1:4] - errors[4:]) / 2
    assert abs(even[0]) > 1e-4
    assert_allclose(even[1:] / even[:-1], 4.0, rtol=0.05)
    # what is odd is of third order, but for the error of the fit
    assert (np.abs(odd) < 0.1 * np.abs(even)).all()


def test_excess_electrons_are_reported_and_taken_away():
    chosen, mol, reference = converged("water", "PBE")
    change = [Gaussians(np.array([0.6]), np.array([charge]), 0.0) for charge in (1.0, 0.0, 0.0)]
    result = on_its_density(chosen, mol, reference, change, 0.03).step(mol.atom_coords())
    assert result.excess_electrons == pytest.approx(0.03, abs=1e-4)
    overlap = result.mol.intor("int1e_ovlp")
    assert np.einsum("ij,ji", result.density_matrix, overlap) == pytest.approx(10.0, abs=1e-10)
    # the energy is wrong in second order only
    assert result.energy == pytest.approx(reference.e_tot, abs=1e-3)


# --- steps and their results ---------------------------------------------------------------------


class Nothing:
    """No difference density: free atoms, which move."""

    card: dict = {}  # noqa: RUF012

    @property
    def pauli(self):
        return self

    def evaluate(self, symbols, positions, points, owner):
        return np.zeros(len(points)), np.zeros((len(points), 3))

    def gradient(self, symbols, positions, points, owner, weight, direction):
        return np.zeros((len(positions), 3))


class FreeAtoms:
    """The full density of free atoms, as a model of the whole density would give it."""

    card = {"target": "full"}  # noqa: RUF012

    def __init__(self, shot):
        self.atoms, self.pauli = shot.atoms, FreeAtomsPauli(shot.pauli_atoms)

    def evaluate(self, symbols, positions, points, owner):
        return density_on_grid(self.atoms, positions, points)

    def gradient(self, symbols, positions, points, owner, weight, direction):
        return density_gradient(self.atoms, positions, points, owner, weight, direction)


class FreeAtomsPauli:
    """The Pauli kinetic energy density of free atoms."""

    def __init__(self, atoms):
        self.atoms = atoms

    def evaluate(self, symbols, positions, points, owner):
        return pauli_on_grid(self.atoms, positions, points), np.zeros((len(points), 3))

    def gradient(self, symbols, positions, points, owner, weight, direction):
        return pauli_gradient(self.atoms, positions, points, owner, weight)


def plain_shot(molecule="water", model=None, xc="PBE", **options):
    symbols, positions, charge = MOLECULES[molecule]
    mol = build_molecule(list(symbols), positions, charge, settings(xc))
    return OneShot(mol, model or Nothing(), settings(xc), **options), mol.atom_coords()


@XC
@pytest.mark.parametrize("molecule", ["water", "oxonium"])
def test_difference_of_nothing_and_full_density_of_free_atoms_are_one(molecule, xc, monkeypatch):
    # Points where the model is not asked would make 1e-8 hartree.
    monkeypatch.setattr("dft2spectra.density.harris_foulkes.SMALLEST_SHARE", 0.0)
    shot, positions = plain_shot(molecule, xc=xc)
    expected = shot.step(positions)
    full, _ = plain_shot(molecule, FreeAtoms(shot), xc=xc)
    found = full.step(positions)
    assert found.energy == pytest.approx(expected.energy, abs=1e-10)
    assert found.excess_electrons == pytest.approx(expected.excess_electrons, abs=1e-10)
    assert_allclose(found.gradient, expected.gradient, atol=1e-10)
    assert_allclose(found.dipole, expected.dipole, atol=1e-10)
    assert_allclose(found.input_dipole, expected.input_dipole, atol=1e-10)


def test_points_without_electrons_change_nothing(monkeypatch):
    shot, positions = plain_shot()
    fewer = shot.step(positions)
    monkeypatch.setattr("dft2spectra.density.harris_foulkes.SMALLEST_SHARE", 0.0)
    every = shot.step(positions)
    assert fewer.energy == pytest.approx(every.energy, abs=1e-7)
    assert_allclose(fewer.gradient, every.gradient, atol=1e-6)
    assert_allclose(fewer.dipole, every.dipole, atol=1e-6)


def test_results_stay_as_they_are_when_the_molecule_moves_on():
    shot, positions = plain_shot()
    first = shot.step(positions)
    kept = {
        "coordinates": first.mol.atom_coords().copy(),
        "density_matrix": first.density_matrix.copy(),
        "orbitals": first.orbitals.copy(),
        "gradient": first.gradient.copy(),
    }
    second = shot.step(positions + np.array([[0.0, 0.0, 0.3], [0, 0, 0], [0.1, 0, 0]]))
    assert second.mol is not first.mol
    assert second.energy != first.energy
    assert_allclose(first.mol.atom_coords(), kept["coordinates"], rtol=0, atol=0)
    for name in ("density_matrix", "orbitals", "gradient"):
        assert_allclose(getattr(first, name), kept[name], rtol=0, atol=0)
    again = shot.step(positions)
    assert again.energy == first.energy
    assert_allclose(again.gradient, first.gradient, rtol=0, atol=0)
    assert_allclose(shot.mol.atom_coords(), positions, rtol=0, atol=1e-14)


def test_orbitals_belong_to_the_frame_of_the_molecule_handed_out():
    shot, positions = plain_shot()
    result = shot.step(positions)
    overlap = result.mol.intor("int1e_ovlp")
    assert_allclose(result.orbitals.T @ overlap @ result.orbitals, np.eye(len(overlap)), atol=1e-10)
    turn = Rotation.random(random_state=1).as_matrix()
    result = shot.step(positions @ turn.T)
    dipole = about_the_centre_of_mass(result.mol, result.density_matrix)
    assert_allclose(result.dipole, turn @ dipole, atol=1e-10)
    assert np.abs(result.dipole - dipole).max() > 0.01


def test_small_chunks_and_values_that_are_not_kept_change_nothing(monkeypatch):
    """Large molecules compute their basis functions twice, in many pieces."""
    shot, positions = plain_shot()
    expected = shot.step(positions)
    monkeypatch.setattr("dft2spectra.density.harris_foulkes.CHUNK", 1111)
    monkeypatch.setattr("dft2spectra.density.harris_foulkes.KEPT_BYTES", 1)
    found = plain_shot()[0].step(positions)
    assert found.energy == pytest.approx(expected.energy, abs=1e-11)
    assert_allclose(found.gradient, expected.gradient, atol=1e-11)


def test_linear_molecules_take_the_axes_of_the_laboratory():
    shot, positions = plain_shot("hydroxide")
    assert shot.laboratory_axes
    result = shot.step(positions)
    assert_allclose(result.mol.atom_coords(), positions, rtol=0, atol=1e-14)
    assert np.isfinite(result.gradient).all()
    assert not plain_shot("water")[0].laboratory_axes
    # Asked to use axes that it has not, the step says so.
    with pytest.raises(OneShotError, match="linear: use those of the laboratory"):
        plain_shot("hydroxide", laboratory_axes=False)[0].step(positions)


def hydrogen_sulfide(angle_deg, stretch):
    half, r = np.radians(angle_deg) / 2, 2.55
    bonds = np.array([[np.sin(half), 0.0, np.cos(half)], [-np.sin(half), 0.0, np.cos(half)]])
    return np.vstack([np.zeros(3), bonds * np.array([[r + stretch], [r - stretch]])])


def differences_of(shot, positions, atom, axis, h=1e-3):
    energies = []
    for k in (-2, -1, 1, 2):
        moved = positions.copy()
        moved[atom, axis] += k * h
        energies.append(shot.step(moved, forces=False).energy)
    return (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)


ROUND = {
    # Two moments of inertia of H2S are equal at 88.3°, those of its nuclear charges at 86.6°.
    "H2S": ("SHH", [hydrogen_sulfide(angle, 0.003) for angle in (84.0, 86.6, 88.3, 88.4, 92.0)]),
    "ammonia": (
        "NHHH",
        [
            np.array([[0, 0, 0], [1.77, 0, z], [-0.885, 1.53286, z], [-0.885, -1.53286, z]])
            for z in (-0.72, -0.3, 0.1)
        ],
    ),
}


@pytest.mark.parametrize("name", list(ROUND))
def test_forces_hold_where_moments_of_inertia_are_equal(name):
    """To 1e-6 hartree/bohr, 0.05 meV/Å, through H2S's degeneracy and on a symmetric top."""
    symbols, path = ROUND[name]
    chosen = settings("PBE", basis="sto-3g", grid_level=0)
    mol = build_molecule(list(symbols), path[0] * BOHR_ANG, 0, chosen)
    shot = OneShot(mol, Nothing(), chosen)
    assert not shot.laboratory_axes
    turn = Rotation.random(random_state=3).as_matrix()
    for positions in path:
        turned = positions @ turn.T
        result = shot.step(turned)
        for atom, axis in ((1, 0), (1, 1), (2, 2)):
            numeric = differences_of(shot, turned, atom, axis)
            assert result.gradient[atom, axis] == pytest.approx(numeric, abs=1e-6)
        assert_allclose(np.cross(turned, result.gradient).sum(axis=0), 0.0, atol=1e-10)


def test_energy_has_no_step_where_moments_of_inertia_cross():
    chosen = settings("PBE", basis="sto-3g", grid_level=0)
    angles = np.linspace(87.0, 89.6, 14)
    path = [hydrogen_sulfide(angle, 0.0) for angle in angles]
    moments = [inertia([32.06, 1.008, 1.008], x)[0] for x in path]
    crossing = np.array([m[1] - m[0] for m in moments])
    assert 0 < crossing.argmin() < len(angles) - 1
    shot = OneShot(build_molecule(list("SHH"), path[0] * BOHR_ANG, 0, chosen), Nothing(), chosen)
    energies = np.array([shot.step(x, forces=False).energy for x in path])
    # A smooth curve: third differences of a parabola vanish. A step of 10 meV would be 4e-4.
    assert np.abs(np.diff(energies, 3)).max() < 1e-7


@pytest.mark.parametrize("molecule", ["oxonium", "hydroxide"])
def test_dipole_of_an_ion_is_about_the_centre_of_mass(molecule):
    """Shifted by the charge times the way between the centres, and the same wherever it is."""
    shot, positions = plain_shot(molecule)
    charge = shot.mol.charge
    result = shot.step(positions)
    numbers, inside = shot.numbers, result.mol.atom_coords()
    masses = atomic_masses[numbers]
    of_charge, of_mass = (weight @ inside / weight.sum() for weight in (numbers, masses))
    assert np.linalg.norm(of_charge - of_mass) > 0.01
    with result.mol.with_common_orig(of_charge):
        electrons = np.einsum("xij,ji->x", result.mol.intor("int1e_r"), result.density_matrix)
    about_charge = numbers @ (inside - of_charge) - electrons
    assert_allclose(result.dipole, about_charge + charge * (of_charge - of_mass), atol=1e-9)
    moved = shot.step(positions + np.array([3.0, -4.0, 5.0]))
    assert_allclose(moved.dipole, result.dipole, atol=1e-8)
    assert_allclose(moved.input_dipole, result.input_dipole, atol=1e-8)


def test_gap_of_a_molecule_without_empty_orbitals_is_infinite():
    """Two electrons in one function: helium in a minimal basis."""
    chosen = settings("PBE", basis="sto-3g")
    mol = build_molecule(["He"], [[0.0, 0.0, 0.0]], 0, chosen)
    assert OneShot(mol, Nothing(), chosen).step(mol.atom_coords()).gap == float("inf")


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("charge", "spin"), [(0, 2), (1, 1)])
def test_open_shells_are_refused(charge, spin):
    mol = gto.M(
        atom="O 0 0 0; H 0 0 1; H 0 1 0", basis="sto-3g", charge=charge, spin=spin, verbose=0
    )
    with pytest.raises(OneShotError, match="only closed shells"):
        OneShot(mol, Nothing(), settings("PBE", basis="sto-3g"))


def test_a_model_without_kinetic_energy_density_is_refused_where_it_is_needed():
    model = random_model(random_basis())
    assert model.pauli is None
    plain_shot(model=model, xc="PBE")
    with pytest.raises(ModelError, match=r"r2SCAN depends on the kinetic energy density.*fit one"):
        plain_shot(model=model, xc="r2SCAN")


def test_densities_that_are_no_numbers_are_refused():
    basis = random_basis()
    model = random_model(basis)
    broken = type(model)(basis, np.full(len(model.coefficients), np.nan), model.committee, {})
    shot, positions = plain_shot(model=broken)
    with pytest.raises(OneShotError, match="not finite"):
        shot.step(positions)
