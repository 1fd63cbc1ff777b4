"""Properties of every density model and of the step on it: invariances, forces, cutoffs."""

import numpy as np
import pytest
from density_labels import PYSCF, SECTION, SYMBOLS, labels
from scipy.spatial.transform import Rotation

from dft2spectra.density.grid import build_grid
from dft2spectra.density.jacobi_legendre_fit import BASIS_KEYS
from dft2spectra.density.model import Basis, DensityModel
from dft2spectra.density.one_shot import OneShot
from dft2spectra.density.sampling_points import positions_bohr
from dft2spectra.density.training import fit_density_model
from dft2spectra.molecules.pyscf_input import build_molecule
from dft2spectra.units import BOHR_ANG

POSITIONS = positions_bohr(labels("test")[1])
TURN = Rotation.from_rotvec([0.4, -1.1, 2.0]).as_matrix()
SHIFT = np.array([0.7, -2.3, 1.9])
POINTS = np.random.default_rng(0).normal(0.0, 1.5, (40, 3))
OWNER = np.sort(np.arange(40) % 3)


@pytest.fixture(scope="module")
def model():
    given = [*labels("train"), *labels("validation")]
    return fit_density_model(given, SECTION, PYSCF, lambda line: None)


def random_model(species=("H", "O"), **change) -> DensityModel:
    """Coefficients that were fitted to nothing: a property is not one of water."""
    basis = Basis(species, {key: SECTION[key] for key in BASIS_KEYS} | change)
    random = np.random.default_rng(1)
    size = sum(basis.terms.sizes)
    return DensityModel(basis, random.normal(size=size), random.normal(size=(3, size)), {})


def one_shot(model, symbols, positions, charge=0, **options):
    mol = build_molecule(symbols, positions * BOHR_ANG, charge, PYSCF)
    return OneShot(mol, model, PYSCF, **options)


# --- the model -------------------------------------------------------------------------------


def test_density_turns_and_moves_with_the_molecule():
    model = random_model()
    value, slope = model.evaluate(SYMBOLS, POSITIONS, POINTS, OWNER)
    size = np.abs(value).max()
    for operation in (TURN, -TURN):  # a rotation, and one with a reflection
        moved = POSITIONS @ operation.T + SHIFT, POINTS @ operation.T + SHIFT
        other, other_slope = model.evaluate(SYMBOLS, *moved, OWNER)
        np.testing.assert_allclose(other, value, atol=1e-11 * size)
        np.testing.assert_allclose(other_slope, slope @ operation.T, atol=1e-9 * size)


def test_density_does_not_know_the_order_of_atoms():
    model = random_model()
    value, slope = model.evaluate(SYMBOLS, POSITIONS, POINTS, OWNER)
    order = [2, 0, 1]
    other, other_slope = model.evaluate(
        [SYMBOLS[i] for i in order], POSITIONS[order], POINTS, OWNER
    )
    np.testing.assert_allclose(other, value, atol=1e-11 * np.abs(value).max())
    np.testing.assert_allclose(other_slope, slope, atol=1e-9 * np.abs(value).max())


def test_slope_of_the_density_is_its_derivative():
    model = random_model()
    _, slope = model.evaluate(SYMBOLS, POSITIONS, POINTS, OWNER)
    step = 1e-4
    for axis in range(3):
        ends = [
            model.evaluate(SYMBOLS, POSITIONS, POINTS + sign * step * np.eye(3)[axis], OWNER)[0]
            for sign in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(slope[:, axis], expected, atol=2e-6 * np.abs(slope).max())


def test_density_of_distant_molecules_is_the_sum(model):
    other = positions_bohr(labels("test")[2]) @ TURN.T
    far = np.array([0.0, 0.0, 40.0])
    both = model.evaluate(
        SYMBOLS * 2,
        np.vstack([POSITIONS, other + far]),
        np.vstack([POINTS, POINTS + far]),
        np.concatenate([OWNER, OWNER + 3]),
    )
    alone = [model.evaluate(SYMBOLS, positions, POINTS, OWNER) for positions in (POSITIONS, other)]
    for found, first, second in zip(both, *alone, strict=True):
        np.testing.assert_allclose(found, np.concatenate([first, second]), rtol=0, atol=1e-13)


@pytest.mark.parametrize("radial_map", ["logarithmic", "plain"])
@pytest.mark.parametrize(
    ("kind", "cutoff_ang"),
    [
        ("one_body", SECTION["one_body"]["cutoff_ang"]),
        ("others", SECTION["two_body"]["cutoff_ang"]),
    ],
)
def test_an_atom_leaves_through_the_cutoff_without_a_step(kind, cutoff_ang, radial_map):
    """What a hydrogen atom adds to the density at a point vanishes as the fourth power."""
    model = random_model(radial_map=radial_map)
    size = model.basis.terms.sizes[0]
    coefficients = model.coefficients.copy()
    coefficients[slice(size, None) if kind == "one_body" else slice(size)] = 0.0
    model = DensityModel(model.basis, coefficients, model.committee, {})
    point, cutoff = np.zeros((1, 3)), cutoff_ang / BOHR_ANG
    oxygen = np.array([[0.3, 1.1, -0.4]])
    owner = np.zeros(1, dtype=int)

    def added(distance: float) -> float:
        atoms = np.vstack([oxygen, [0.0, 0.0, distance]])
        with_it = model.evaluate(["O", "H"], atoms, point, owner)[0][0]
        return with_it - model.evaluate(["O"], oxygen, point, owner)[0][0]

    assert added(cutoff + 1e-9) == 0.0
    near, nearer = added(cutoff - 0.02), added(cutoff - 0.01)
    assert abs(near) > 1e-12
    # The fourth power: halving the distance divides by 16, but for the next order.
    assert near / nearer == pytest.approx(16.0, rel=0.15)


# --- the one-shot step -----------------------------------------------------------------------


def test_energy_forces_and_dipole_turn_and_move_with_the_molecule(model):
    shot = one_shot(model, SYMBOLS, POSITIONS)
    assert not shot.laboratory_axes
    result = shot.step(POSITIONS)
    for operation in (TURN, TURN.T):
        other = shot.step(POSITIONS @ operation.T + SHIFT)
        assert other.energy == pytest.approx(result.energy, abs=1e-10)
        assert other.gap == pytest.approx(result.gap, abs=1e-10)
        assert other.excess_electrons == pytest.approx(result.excess_electrons, abs=1e-10)
        np.testing.assert_allclose(other.gradient, result.gradient @ operation.T, atol=1e-10)
        np.testing.assert_allclose(other.dipole, result.dipole @ operation.T, atol=1e-10)


def test_like_atoms_can_change_places(model):
    result = one_shot(model, SYMBOLS, POSITIONS).step(POSITIONS)
    for order in ([0, 2, 1], [2, 0, 1]):
        symbols = [SYMBOLS[i] for i in order]
        other = one_shot(model, symbols, POSITIONS[order]).step(POSITIONS[order])
        assert other.energy == pytest.approx(result.energy, abs=1e-10)
        np.testing.assert_allclose(other.gradient, result.gradient[order], atol=1e-10)
        np.testing.assert_allclose(other.dipole, result.dipole, atol=1e-10)


@pytest.mark.parametrize("laboratory_axes", [False, True])
def test_forces_are_the_derivative_of_the_energy(model, laboratory_axes):
    shot = one_shot(model, SYMBOLS, POSITIONS, laboratory_axes=laboratory_axes)
    gradient = shot.step(POSITIONS).gradient
    # Small: in the tail of a rough model the density passes through zero, where v_xc has a cusp.
    step = 1e-4
    for atom, axis in ((0, 1), (1, 2), (2, 0)):
        energies = []
        for factor in (-2, -1, 1, 2):
            moved = POSITIONS.copy()
            moved[atom, axis] += factor * step
            energies.append(shot.step(moved, forces=False).energy)
        # five-point rule, the error is of fourth order
        expected = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * step)
        assert gradient[atom, axis] == pytest.approx(expected, abs=1e-7)
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-10)


def test_forces_hold_far_from_the_self_consistent_density(model):
    """With half of the difference density, potential and density disagree badly."""
    half = DensityModel(model.basis, 0.5 * model.coefficients, model.committee, model.card)
    shot = one_shot(half, SYMBOLS, POSITIONS)
    result = shot.step(POSITIONS)
    assert abs(result.energy - labels("test")[1]["energy_ha"]) > 0.01
    step = 1e-4
    moved = [POSITIONS + sign * step * np.eye(9)[4].reshape(3, 3) for sign in (-2, -1, 1, 2)]
    energies = [shot.step(x, forces=False).energy for x in moved]
    expected = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * step)
    assert result.gradient[1, 1] == pytest.approx(expected, abs=1e-6)


def test_energy_of_distant_molecules_is_the_sum(model):
    """Two copies at 300 bohr: one count correction for both is that of each."""
    far = np.array([0.0, 0.0, 300.0])
    pair = np.vstack([POSITIONS, POSITIONS + far])
    options = {"laboratory_axes": True}
    alone = one_shot(model, SYMBOLS, POSITIONS, **options).step(POSITIONS)
    both = one_shot(model, SYMBOLS * 2, pair, **options).step(pair)
    assert both.excess_electrons == pytest.approx(2 * alone.excess_electrons, abs=1e-7)
    # Dipoles of 0.7 e bohr attract with 4e-8 hartree at this distance.
    assert both.energy == pytest.approx(2 * alone.energy, abs=1e-6)
    np.testing.assert_allclose(both.gradient[:3], alone.gradient, atol=1e-6)
    np.testing.assert_allclose(both.dipole, 2 * alone.dipole, atol=1e-5)


def test_distant_molecules_share_their_count_correction(model):
    """Two different ones: the correction is spread evenly, which costs second order only."""
    other = positions_bohr(labels("test")[2])
    far = np.array([0.0, 0.0, 300.0])
    options = {"laboratory_axes": True}
    alone = [
        one_shot(model, SYMBOLS, positions, **options).step(positions, forces=False)
        for positions in (POSITIONS, other)
    ]
    pair = np.vstack([POSITIONS, other + far])
    both = one_shot(model, SYMBOLS * 2, pair, **options).step(pair, forces=False)
    assert sum(r.excess_electrons for r in alone) == pytest.approx(both.excess_electrons, abs=1e-7)
    imbalance = 0.5 * (alone[0].excess_electrons - alone[1].excess_electrons)
    # q electrons in the shape of the free atoms are moved from one to the other. Their Coulomb
    # energy, ½ q² ∬ n n'/r over N² (47 hartree of self-energy for O, N = 10), is 1 q² in each
    # molecule, which the energy is too low by. Where the density was wrong before by a potential of
    # some 0.05 hartree the moved charge feels it.
    allowed = 1e-6 + 2.5 * imbalance**2 + 0.05 * abs(imbalance)
    assert both.energy == pytest.approx(sum(r.energy for r in alone), abs=allowed)


def test_grid_integrates_the_correction_it_reports(model):
    """The reported excess is the integral of the model's difference density."""
    result = one_shot(model, SYMBOLS, POSITIONS, laboratory_axes=True).step(POSITIONS, forces=False)
    grid = build_grid(np.array([8, 1, 1]), POSITIONS, PYSCF["grid_level"])
    value = model.evaluate(SYMBOLS, POSITIONS, grid.points, grid.owner)[0]
    # The step leaves out points in the far tail.
    assert result.excess_electrons == pytest.approx(grid.weights @ value, abs=5e-4)
    assert abs(result.excess_electrons) < 0.1
