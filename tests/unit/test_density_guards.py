"""Guards of the one-shot step: what is measured, the limits, the sample, the remedy."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from water_density import PYSCF, WATER, water, water_model

from dft2spectra.density.atoms import density_on_grid
from dft2spectra.density.free_atom import atomic_density
from dft2spectra.density.grid import build_grid
from dft2spectra.density.guards import (
    Guards,
    History,
    aligning_rotation,
    check,
    check_compatible,
    geometry_uncertainty,
    measure,
    occupied_overlap,
    read_guards,
    self_consistent,
)
from dft2spectra.density.model import ModelError
from dft2spectra.density.one_shot import OneShot
from dft2spectra.molecules.labels import label_geometry
from dft2spectra.molecules.pyscf_input import build_molecule
from dft2spectra.units import BOHR_ANG, EBOHR_DEBYE, HARTREE_EV

SYMBOLS = WATER["symbols"]
NUMBERS = np.array([8, 1, 1])
GOOD = {
    "gap_ev": 5.0,
    "excess_electrons": 0.0,
    "occupied_overlap": 1.0,
    "dipole_jump_debye": 0.0,
    "uncertainty_percent": 0.1,
}


def shot(laboratory_axes=None):
    mol = build_molecule(SYMBOLS, WATER["positions_ang"], 0, PYSCF)
    return OneShot(mol, water_model(), PYSCF, laboratory_axes)


def bohr(seed=100):
    return water(seed) / BOHR_ANG


def history_at(step, positions):
    return History.empty().after(step.step(positions, forces=False))


# --- overlap of the occupied space --------------------------------------------------------------


def test_overlap_is_one_at_the_same_geometry_and_at_the_first_step():
    step = shot()
    result = step.step(bohr(), forces=False)
    assert occupied_overlap(result, History.empty()) == 1.0
    assert occupied_overlap(result, history_at(step, bohr())) == pytest.approx(1.0, abs=1e-12)


def test_overlap_leaves_one_with_the_square_of_the_step():
    """The angle between the occupied spaces is linear in the step, its cosine quadratic."""
    step, direction = shot(), bohr(101) - bohr(100)
    losses = []
    history = history_at(step, bohr())
    for size in (0.4, 0.2, 0.1):
        moved = step.step(bohr() + size * direction, forces=False)
        losses.append(1.0 - occupied_overlap(moved, history))
    assert 0.0 < losses[2] < losses[1] < losses[0] < 0.01
    assert losses[0] / losses[1] == pytest.approx(4.0, rel=0.1)
    assert losses[1] / losses[2] == pytest.approx(4.0, rel=0.1)


def test_exchange_of_homo_and_lumo_gives_zero():
    step = shot()
    history = history_at(step, bohr())
    result = step.step(bohr(), forces=False)
    exchanged = result.orbitals.copy()
    homo = result.occupied - 1
    exchanged[:, [homo, homo + 1]] = exchanged[:, [homo + 1, homo]]
    assert occupied_overlap(replace(result, orbitals=exchanged), history) < 1e-10


@pytest.mark.parametrize("angle", [0.1, 0.7, 1.3])
def test_overlap_is_the_cosine_of_the_angle_by_which_an_orbital_turned(angle):
    step = shot()
    history = history_at(step, bohr())
    result = step.step(bohr(), forces=False)
    turned, homo = result.orbitals.copy(), result.occupied - 1
    empty = result.orbitals[:, homo + 1]
    turned[:, homo] = np.cos(angle) * turned[:, homo] + np.sin(angle) * empty
    # A rotation among occupied orbitals is no change of their space.
    turned[:, [0, 1]] = turned[:, [0, 1]] @ np.array([[0.6, -0.8], [0.8, 0.6]])
    overlap = occupied_overlap(replace(result, orbitals=turned), history)
    assert overlap == pytest.approx(np.cos(angle), abs=1e-9)


def test_overlap_does_not_depend_on_axes_or_rotation():
    before, after = bohr(100), bohr(101)
    expected = None
    for laboratory_axes in (False, True):
        step = shot(laboratory_axes)
        history = history_at(step, before)
        for turn in (np.eye(3), Rotation.random(random_state=1).as_matrix()):
            moved = step.step(after @ turn.T + 0.7, forces=False)
            overlap = occupied_overlap(moved, history)
            if expected is None:
                expected = overlap
                assert expected < 1.0 - 1e-4
            # Grids along other axes give orbitals that differ by their noise.
            assert overlap == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_aligning_rotation_finds_the_rotation(seed):
    turn = Rotation.random(random_state=seed).as_matrix()
    assert aligning_rotation(bohr(), bohr() @ turn.T + 3.0) == pytest.approx(turn, abs=1e-7)


def test_aligning_rotation_of_a_linear_molecule_is_the_smallest():
    rod = np.array([[0.0, 0.0, -2.0], [0.0, 0.0, 0.0], [0.0, 0.0, 2.2]])
    assert aligning_rotation(rod, rod) == pytest.approx(np.eye(3), abs=1e-7)
    tilt = Rotation.from_rotvec([0.3, 0.0, 0.0]).as_matrix()
    assert aligning_rotation(rod, rod @ tilt.T) == pytest.approx(tilt, abs=1e-6)


# --- numbers and limits -------------------------------------------------------------------------


def test_dipole_jump_is_the_distance_from_the_straight_continuation():
    result = shot().step(bohr(), forces=False)
    history = History.empty()
    jumps = []
    # in e bohr: 0, 1, 2 go on straight; 2.5 instead of 3 misses by 0.5
    for value in (0.0, 1.0, 2.0, 2.5):
        here = replace(result, dipole=np.array([0.0, value, 0.3]))
        jumps.append(measure(here, history, 0.0)["dipole_jump_debye"] / EBOHR_DEBYE)
        history = history.after(here)
    assert jumps == pytest.approx([0.0, 0.0, 0.0, 0.5], abs=1e-12)


def test_measured_numbers_are_those_of_the_result():
    result = shot().step(bohr(), forces=False)
    measured = measure(result, History.empty(), 0.25)
    assert set(measured) == set(GOOD)
    homo, lumo = result.orbital_energies[4:6]
    assert measured["gap_ev"] == pytest.approx(HARTREE_EV * (lumo - homo))
    assert measured["excess_electrons"] == result.excess_electrons
    assert measured["uncertainty_percent"] == 0.25


@pytest.mark.parametrize(
    ("limit", "broken", "words"),
    [
        ({"min_gap_ev": 1.0}, {"gap_ev": 0.9}, "gap of 0.900 eV, limit 1"),
        ({"min_overlap": 0.9}, {"occupied_overlap": 0.89}, "overlap by 0.890, limit 0.9"),
        ({"max_excess_electrons": 0.05}, {"excess_electrons": 0.06}, "off by +0.0600, limit 0.05"),
        ({"max_excess_electrons": 0.05}, {"excess_electrons": -0.06}, "off by -0.0600, limit 0.05"),
        ({"max_dipole_jump_sigma": 2.0}, {"dipole_jump_debye": 0.3}, "by 0.300 D, limit 0.2"),
        ({"max_uncertainty_percent": 1.0}, {"uncertainty_percent": 1.5}, "1.500 %, limit 1"),
    ],
)
def test_each_limit_speaks_for_itself(limit, broken, words):
    guards = Guards(**limit)
    assert check(GOOD, guards, 0.1) == []
    assert check({**GOOD, **broken}, Guards(), 0.1) == []
    (sentence,) = check({**GOOD, **broken}, guards, 0.1)
    assert words in sentence
    # A number that is none is not within limits.
    nothing = dict.fromkeys(broken, float("nan"))
    assert len(check({**GOOD, **nothing}, guards, 0.1)) == 1


def test_noise_of_the_model_is_no_jump_where_motion_is_silent():
    """As in N2, whose bands have no intensity."""
    guards = Guards(max_dipole_jump_sigma=8.0)
    assert check({**GOOD, "dipole_jump_debye": 0.049}, guards, 0.0) == []
    (sentence,) = check({**GOOD, "dipole_jump_debye": 0.051}, guards, 0.0)
    assert "limit 0.05" in sentence


def test_several_limits_give_several_sentences():
    guards = Guards(min_gap_ev=6.0, max_uncertainty_percent=0.0)
    assert len(check(GOOD, guards, 0.0)) == 2


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"min_gap": 1.0}, "guards.min_gap is unknown; known are min_gap_ev"),
        ({"min_gap_ev": -1.0}, "guards.min_gap_ev must be"),
        ({"max_dipole_jump_sigma": float("nan")}, "guards.max_dipole_jump_sigma must be"),
        ({"min_overlap": 1.5}, "guards.min_overlap is at most 1"),
        ({"action": "pray"}, "guards.action is one of record, stop, scf, not 'pray'"),
        ({"scf_cycles": 0}, "guards.scf_cycles must be a positive whole number"),
    ],
)
def test_settings_that_cannot_be_right(section, words):
    with pytest.raises(ValueError, match=words):
        read_guards(section)


def test_no_section_limits_nothing():
    assert read_guards(None) == read_guards({}) == Guards()


# --- uncertainty --------------------------------------------------------------------------------


class SpreadOfFreeAtoms:
    """Stands for a model: its committee disagrees by the density of the free atoms."""

    committee = np.zeros((2, 1))

    def __init__(self, card):
        self.card = card

    def spread(self, symbols, positions, points, owner):
        atoms = [atomic_density(symbol, PYSCF["xc"], PYSCF["basis"]) for symbol in symbols]
        assert (np.diff(owner) >= 0).all()
        return density_on_grid(atoms, positions, points)[0]


@pytest.mark.parametrize("level", [0, 1, 3])
def test_sampled_sum_is_the_integral(level):
    """The free atoms hold as many electrons as the molecule: 100 %."""
    whole = geometry_uncertainty(SpreadOfFreeAtoms({}), SYMBOLS, bohr(), level)
    assert whole == pytest.approx(100.0, rel=0.2)
    many = geometry_uncertainty(SpreadOfFreeAtoms({}), SYMBOLS, bohr(), level, points=500_000)
    assert many == pytest.approx(100.0, rel=0.005)


def test_card_scales_uncertainty_and_counts_electrons():
    plain = geometry_uncertainty(SpreadOfFreeAtoms({}), SYMBOLS, bohr(), 1)
    scaled = geometry_uncertainty(SpreadOfFreeAtoms({"uncertainty_scale": 3.0}), SYMBOLS, bohr(), 1)
    assert scaled == pytest.approx(3.0 * plain)
    cation = geometry_uncertainty(SpreadOfFreeAtoms({"charge": 2}), SYMBOLS, bohr(), 1)
    assert cation == pytest.approx(plain * 10 / 8)


def test_sample_of_a_trained_model_is_near_its_whole_grid():
    model, positions = water_model(), bohr(103)
    grid = build_grid(NUMBERS, positions, 1)
    spread = model.spread(SYMBOLS, positions, grid.points, grid.owner)
    whole = 10.0 * model.card["uncertainty_scale"] * (grid.weights @ spread)
    assert geometry_uncertainty(model, SYMBOLS, positions, 1) == pytest.approx(whole, rel=0.25)


def test_uncertainty_is_invariant_and_reproducible():
    model, positions = water_model(), bohr(100)
    expected = geometry_uncertainty(model, SYMBOLS, positions, 1)
    turn = Rotation.random(random_state=4).as_matrix()
    for moved in (
        positions @ turn.T + 2.0,
        positions * [1, -1, 1],
        positions @ turn.T * [-1, 1, 1],
    ):
        assert geometry_uncertainty(model, SYMBOLS, moved, 1) == pytest.approx(expected, rel=1e-9)
    order = [2, 0, 1]
    renumbered = geometry_uncertainty(model, [SYMBOLS[i] for i in order], positions[order], 1)
    assert renumbered == pytest.approx(expected, rel=1e-9)
    assert geometry_uncertainty(model, SYMBOLS, positions, 1) == expected


def test_uncertainty_grows_away_from_the_training_set():
    model = water_model()
    inside = [geometry_uncertainty(model, SYMBOLS, bohr(seed), 1) for seed in range(100, 106)]
    stretched = np.array(WATER["positions_ang"]) * 1.6 / BOHR_ANG
    assert geometry_uncertainty(model, SYMBOLS, stretched, 1) > 3.0 * max(inside)


def test_uncertainty_needs_a_committee():
    model = replace(water_model(), committee=np.zeros((0, 3)))
    with pytest.raises(ModelError, match="no committee"):
        geometry_uncertainty(model, SYMBOLS, bohr(), 1)


# --- what a model was made for ------------------------------------------------------------------


def test_compatible_settings_pass_whatever_their_spelling():
    model = water_model()
    check_compatible(model, {**PYSCF, "xc": "pbe", "basis": "STO-3G", "grid_level": 4}, 0, SYMBOLS)


@pytest.mark.parametrize(
    ("settings", "charge", "symbols", "words"),
    [
        ({"xc": "BLYP"}, 0, SYMBOLS, "pyscf.xc PBE, not BLYP"),
        ({"basis": "def2-svp"}, 0, SYMBOLS, "pyscf.basis sto-3g, not def2-svp"),
        ({"auxiliary_basis": "def2-svp-jkfit"}, 0, SYMBOLS, "pyscf.auxiliary_basis"),
        ({}, 2, SYMBOLS, r"charge \+0, not \+2"),
        ({}, 0, ["N", "H", "H"], "knows H, O, not N"),
    ],
)
def test_model_for_something_else_is_refused(settings, charge, symbols, words):
    with pytest.raises(ModelError, match=words):
        check_compatible(water_model(), {**PYSCF, **settings}, charge, symbols)


def test_model_that_does_not_say_what_it_is_for_is_refused():
    with pytest.raises(ModelError, match="does not say"):
        check_compatible(replace(water_model(), card={}), PYSCF, 0, SYMBOLS)


# --- the remedy ---------------------------------------------------------------------------------


def test_remedy_converges_to_kohn_sham():
    step = shot()
    turn = Rotation.random(random_state=7).as_matrix()
    positions = bohr() @ turn.T + 1.0
    result = step.step(positions, forces=False)
    inside = result.mol.atom_coords().copy()
    remedy = self_consistent(step, result, positions, 20)
    assert remedy.converged
    assert 0 < remedy.cycles <= 20
    assert remedy.residual < 1e-4
    assert "converged, residual" in remedy.sentence
    assert "not" not in remedy.sentence
    # Label in the same axes, so on the same grid; then turned back.
    label = label_geometry(WATER, inside * BOHR_ANG, PYSCF)
    assert remedy.energy == pytest.approx(label["energy_ha"], abs=2e-6)
    back = aligning_rotation(inside, positions)
    assert remedy.dipole == pytest.approx(label["dipole_debye"] @ back.T / EBOHR_DEBYE, abs=2e-4)
    # The turning of the axes redistributes the noise of the grid, hence the tolerance.
    assert remedy.gradient == pytest.approx(-label["forces_ha_per_bohr"] @ back.T, abs=5e-4)
    assert remedy.gradient.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-6)
    assert np.cross(positions, remedy.gradient).sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-6)


def test_remedy_is_as_invariant_as_the_one_shot_step():
    step = shot()
    turn = Rotation.random(random_state=8).as_matrix()
    one = self_consistent(step, step.step(bohr(), forces=False), bohr(), 4)
    turned = bohr() @ turn.T
    other = self_consistent(step, step.step(turned, forces=False), turned, 4)
    assert other.energy == pytest.approx(one.energy, abs=1e-8)
    assert other.gradient == pytest.approx(one.gradient @ turn.T, abs=1e-6)
    assert other.dipole == pytest.approx(one.dipole @ turn.T, abs=1e-6)


def test_remedy_that_runs_out_of_cycles_says_so():
    step = shot()
    result = step.step(bohr(), forces=False)
    # From bare nuclei one cycle is not enough.
    far = replace(result, density_matrix=np.zeros_like(result.density_matrix))
    remedy = self_consistent(step, far, bohr(), 1)
    assert not remedy.converged
    assert remedy.residual > 1e-2
    assert "1 self-consistent cycles, not converged to 1e-06 Ha" in remedy.sentence
