"""Properties of the one-shot step for any model, functional, target, charge and frame."""

import numpy as np
import pytest
from density_reference import random_basis, random_model
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from dft2spectra.density.model import DensityModel, pauli_model
from dft2spectra.density.one_shot import OneShot
from dft2spectra.molecules.pyscf_input import build_molecule, complete_settings

MOLECULES = {
    "water": (["O", "H", "H"], [[0, 0.02, 0.12], [0.05, 0.80, -0.50], [-0.03, -0.74, -0.45]], 0),
    "oxonium": (
        ["O", "H", "H", "H"],
        [[0, 0, 0.3], [0.05, 1.05, 0], [0.85, -0.5, 0.02], [-0.8, -0.45, 0.1]],
        1,
    ),
    "hydroxide": (["O", "H"], [[0.1, 0, 0], [0, 0.3, 0.92]], -1),
}
BASIS = random_basis(
    channels=3,
    one_body={"n_max": 6, "cutoff_ang": 2.2, "map_scale_bohr": 0.3},
    two_body={"n_max": 3, "l_max": 3, "cutoff_ang": 2.0, "map_scale_bohr": 0.4},
)
XC = pytest.mark.parametrize("xc", ["LDA,VWN", "PBE", "r2SCAN", "TPSS"])
# Step of differences, and how well they agree. Points where the Pauli kinetic energy density passes
# zero bend the energy: steps must be short, and rounding is what is left.
H = {"LDA,VWN": (1e-3, 1e-8), "PBE": (1e-3, 1e-8), "r2SCAN": (5e-5, 1e-7), "TPSS": (5e-5, 1e-7)}


def any_model(target="difference", size=3e-4) -> DensityModel:
    """Random coefficients, small beside the free atoms where those are dense."""
    model = random_model(BASIS, card={"target": target})
    pauli = pauli_model(BASIS, size * random_model(BASIS, seed=7).coefficients)
    return DensityModel(BASIS, size * model.coefficients, np.zeros((0, 0)), model.card, pauli)


def one_shot(molecule, xc, model, **options):
    symbols, positions_ang, charge = MOLECULES[molecule]
    chosen = complete_settings({"xc": xc, "basis": "sto-3g", "grid_level": 1})
    mol = build_molecule(symbols, positions_ang, charge, chosen)
    return OneShot(mol, model, chosen, **options), mol.atom_coords()


def check_gradient(shot, positions):
    """Against a five-point rule along two random ways of all atoms, error of fourth order."""
    result, random = shot.step(positions), np.random.default_rng(3)
    h, tolerance = H[shot.settings["xc"]]
    for _ in range(2):
        way = random.normal(size=positions.shape)
        e = [shot.step(positions + k * h * way, forces=False).energy for k in (-2, -1, 1, 2)]
        numeric = (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * h)
        assert abs(numeric) > 1e-3
        assert np.vdot(result.gradient, way) == pytest.approx(numeric, abs=tolerance)
    assert_allclose(result.gradient.sum(axis=0), 0.0, atol=1e-11)
    return result


@XC
@pytest.mark.parametrize("target", ["difference", "full"])
@pytest.mark.parametrize("molecule", ["water", "oxonium"])
@pytest.mark.parametrize("laboratory_axes", [False, True], ids=["frame", "laboratory"])
def test_gradient_is_the_derivative_of_the_energy(molecule, xc, target, laboratory_axes):
    shot, positions = one_shot(molecule, xc, any_model(target), laboratory_axes=laboratory_axes)
    result = check_gradient(shot, positions)
    torque = np.abs(np.cross(positions, result.gradient).sum(axis=0)).max()
    # A grid at rest lets a molecule that turns feel it.
    assert (torque > 1e-6) == laboratory_axes
    assert laboratory_axes or torque < 1e-12


@XC
def test_gradient_of_a_linear_ion(xc):
    shot, positions = one_shot("hydroxide", xc, any_model())
    assert shot.laboratory_axes
    check_gradient(shot, positions)


@XC
@pytest.mark.parametrize("target", ["difference", "full"])
@pytest.mark.parametrize("molecule", ["water", "oxonium"])
def test_results_turn_and_move_with_the_molecule(molecule, xc, target):
    shot, positions = one_shot(molecule, xc, any_model(target))
    result = shot.step(positions)
    turn = Rotation.from_rotvec([0.4, -1.1, 2.0]).as_matrix()
    for operation in (turn, turn.T):
        other = shot.step(positions @ operation.T + np.array([0.7, -2.3, 19.0]))
        for name in ("energy", "gap", "excess_electrons"):
            assert getattr(other, name) == pytest.approx(getattr(result, name), abs=1e-9)
        for name in ("gradient", "dipole", "input_dipole"):
            expected = getattr(result, name) @ operation.T
            assert_allclose(getattr(other, name), expected, atol=1e-9)
    assert np.linalg.norm(result.dipole) > 0.05


def test_in_the_axes_of_the_laboratory_results_move_with_the_molecule():
    shot, positions = one_shot("hydroxide", "PBE", any_model())
    result, other = shot.step(positions), shot.step(positions + np.array([0.7, -2.3, 19.0]))
    assert other.energy == pytest.approx(result.energy, abs=1e-9)
    for name in ("gradient", "dipole", "input_dipole"):
        assert_allclose(getattr(other, name), getattr(result, name), atol=1e-9)
