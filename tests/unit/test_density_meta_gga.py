"""A meta-GGA from labels to forces: fit, file, one-shot step, calculator, remedy, PySCF object."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from density_labels import MOLECULE, PYSCF, SECTION, SYMBOLS, frames
from pyscf import dft

from dft2spectra.density.calculator import DensityCalculator
from dft2spectra.density.comparison import density_error, one_shot_errors
from dft2spectra.density.guards import self_consistent
from dft2spectra.density.kinds import read_model
from dft2spectra.density.mean_field import OneShotRKS
from dft2spectra.density.model import DensityModel, ModelError, pauli_model
from dft2spectra.density.one_shot import OneShot
from dft2spectra.density.sampling_points import (
    draw_sample,
    free_atom_pauli_density,
    scf_pauli_density,
)
from dft2spectra.density.training import fit_density_model
from dft2spectra.molecules.labels import label_geometry
from dft2spectra.molecules.pyscf_input import build_molecule, settings_hash
from dft2spectra.units import BOHR_ANG, HARTREE_EV

R2SCAN = {**PYSCF, "xc": "r2SCAN"}
SMALL = {**SECTION, "ridge": [1e-8]}


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def labels():
    common = {**MOLECULE, "settings_hash": settings_hash(R2SCAN), "method_version": 1}
    return [
        {**common, **frame, **label_geometry(MOLECULE, frame["positions_ang"], R2SCAN)}
        for split in ("train", "validation", "test")
        for frame in frames(split)
    ]


def not_test(labels):
    return [label for label in labels if label["split"] != "test"]


@pytest.fixture(scope="module")
def model(labels):
    return fit_density_model(not_test(labels), SMALL, R2SCAN, silent)


@pytest.fixture(scope="module")
def tests(labels):
    return [label for label in labels if label["split"] == "test"]


def positions_bohr(label):
    return label["positions_ang"] / BOHR_ANG


def shot(model, label):
    mol = build_molecule(SYMBOLS, label["positions_ang"], 0, R2SCAN)
    return OneShot(mol, model, R2SCAN)


# --- what is fitted ------------------------------------------------------------------------------


def test_pauli_density_of_a_label_is_that_of_pyscf(labels):
    label = labels[0]
    mol = build_molecule(SYMBOLS, label["positions_ang"], 0, R2SCAN)
    points = np.random.default_rng(0).normal(0.0, 2.0, (50, 3))
    rho = dft.numint.eval_rho(
        mol,
        dft.numint.eval_ao(mol, points, deriv=1),
        label["density_matrix"],
        xctype="MGGA",
        with_lapl=False,
    )
    expected = rho[4] - np.square(rho[1:4]).sum(axis=0) / (8.0 * rho[0])
    found = scf_pauli_density(label, points, R2SCAN)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-10)
    assert found.max() > 1e-3


def test_targets_are_the_density_and_its_difference_from_free_atoms(labels):
    full = draw_sample(labels[0], R2SCAN, 300, 0, "full")
    difference = draw_sample(labels[0], R2SCAN, 300, 0, "difference")
    assert full.pauli.min() >= 0.0
    atoms = free_atom_pauli_density(labels[0], full.points, R2SCAN)
    np.testing.assert_allclose(full.pauli - difference.pauli, atoms, atol=1e-12)
    assert draw_sample(labels[0], PYSCF, 300, 0).pauli is None


def test_fit_is_better_than_free_atoms_on_new_geometries(model, tests):
    size = len(model.coefficients)
    nothing = DensityModel(
        model.basis,
        np.zeros(size),
        np.zeros((0, size)),
        model.card,
        pauli_model(model.basis, np.zeros(size)),
    )
    # the density alone, with the kinetic energy density of free atoms
    half = replace(model, pauli=nothing.pauli)
    errors = {
        name: [one_shot_errors(given, label, R2SCAN) for label in tests]
        for name, given in (("model", model), ("half", half), ("nothing", nothing))
    }
    forces = {
        name: np.mean([error.force_mae_mev_ang for error in found])
        for name, found in errors.items()
    }
    energies = {
        name: np.std([error.energy_mev for error in found]) for name, found in errors.items()
    }
    assert forces["model"] < 0.05 * forces["nothing"]
    assert energies["model"] < 0.05 * energies["nothing"]
    # what the kinetic energy density adds
    assert forces["model"] < 0.75 * forces["half"]
    assert energies["model"] < 0.75 * energies["half"]
    for label in tests:
        error = density_error(model, label, R2SCAN)
        assert error.model_percent < 0.2 * error.free_atoms_percent
    assert model.card["pauli_fit_r2"] > 0.85
    assert model.committee.shape == (4, size)
    assert model.pauli.basis is model.basis


def test_full_density_is_fitted_as_well(labels, tests):
    model = fit_density_model(not_test(labels), {**SMALL, "target": "full"}, R2SCAN, silent)
    # a core in so few terms is rough: far from good, but no free atoms either
    assert model.card["pauli_fit_r2"] > 0.95
    result = shot(model, tests[0]).step(positions_bohr(tests[0]))
    assert result.energy == pytest.approx(tests[0]["energy_ha"], abs=0.5)
    assert np.isfinite(result.gradient).all()


# --- what uses it --------------------------------------------------------------------------------


def test_file_gives_the_same_numbers(model, tests, tmp_path):
    model.write(tmp_path / "model.npz")
    read = read_model(tmp_path / "model.npz")
    assert read.card == model.card
    np.testing.assert_array_equal(read.pauli.coefficients, model.pauli.coefficients)
    one, other = (shot(given, tests[0]).step(positions_bohr(tests[0])) for given in (model, read))
    assert one.energy == other.energy
    np.testing.assert_array_equal(one.gradient, other.gradient)
    assert read.identity() == model.identity()
    assert replace(model, pauli=None).identity() != model.identity()


def test_models_of_other_functionals_are_refused(model):
    molecule = {**MOLECULE, "positions_ang": frames("test")[0]["positions_ang"]}
    other = replace(model, pauli=None, card={**model.card, "pyscf": {**R2SCAN, "xc": "PBE"}})
    with pytest.raises(ModelError, match=r"made for pyscf\.xc PBE, not r2SCAN"):
        DensityCalculator(other, molecule, R2SCAN)
    # also where the card claims that it fits
    with pytest.raises(ModelError, match="depends on the kinetic energy density"):
        DensityCalculator(replace(model, pauli=None), molecule, R2SCAN)


def test_calculator_gives_the_gradient_and_the_remedy_goes_to_kohn_sham(model, tests):
    label = tests[1]
    molecule = {**MOLECULE, "positions_ang": label["positions_ang"]}
    atoms = Atoms(SYMBOLS, label["positions_ang"])
    atoms.calc = DensityCalculator(model, molecule, R2SCAN)
    forces = atoms.get_forces()
    h = 2e-5
    energies = []
    for k in (-2, -1, 1, 2):
        atoms.positions = label["positions_ang"]
        atoms.positions[1, 2] += k * h
        energies.append(atoms.get_potential_energy())
    numeric = -(energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)
    assert forces[1, 2] == pytest.approx(numeric, abs=2e-5)
    assert np.isfinite(atoms.calc.results["diagnostics"]["uncertainty_percent"])

    guards = {"min_gap_ev": 100.0, "action": "scf", "scf_cycles": 20}
    atoms.calc = DensityCalculator(model, molecule, R2SCAN, guards)
    atoms.positions = label["positions_ang"]
    energy = atoms.get_potential_energy()
    assert "converged" in atoms.calc.results["frames"][0]
    # the grid of the label lies along other axes: 1e-4 hartree at this level
    assert energy == pytest.approx(label["energy_ha"] * HARTREE_EV, abs=5e-3)


def test_remedy_on_the_grid_of_the_label_is_its_calculation(model, tests):
    step = shot(model, tests[0])
    result = step.step(positions_bohr(tests[0]), forces=False)
    inside = result.mol.atom_coords() * BOHR_ANG
    remedy = self_consistent(step, result, positions_bohr(tests[0]), 20)
    label = label_geometry(MOLECULE, inside, R2SCAN)
    assert remedy.converged
    assert remedy.energy == pytest.approx(label["energy_ha"], abs=2e-6)


def test_pyscf_object_has_the_energy_and_its_gradient(model, tests):
    mol = build_molecule(SYMBOLS, tests[0]["positions_ang"], 0, R2SCAN)
    mean_field = OneShotRKS(mol, model, R2SCAN).run()
    assert mean_field.e_tot == pytest.approx(tests[0]["energy_ha"], abs=2e-3)
    gradient = mean_field.nuc_grad_method().kernel()
    assert gradient == pytest.approx(-tests[0]["forces_ha_per_bohr"], abs=5e-3)
    # self-consistent theory at the one-shot density matrix: PySCF's own r2SCAN
    assert mean_field.energy_tot() == pytest.approx(mean_field.e_tot, abs=5e-3)
