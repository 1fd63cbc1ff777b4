"""ASE calculator of the one-shot step: forces, relaxation, vibrations, guards, restarts."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.fd import calculate_numerical_forces
from ase.optimize import BFGS
from ase.vibrations import Vibrations
from scipy.spatial.transform import Rotation
from spring_molecules import SECTION
from water_density import PYSCF, WATER, water, water_model

from dft2spectra.density.calculator import DensityCalculator
from dft2spectra.density.dipole_motion import thermal_dipole_jump
from dft2spectra.density.model import DensityModel, ModelError
from dft2spectra.dynamics.stops import TrajectoryStopped
from dft2spectra.dynamics.trajectory import run_trajectory
from dft2spectra.molecules.equilibrium import relax
from dft2spectra.molecules.harmonic import harmonic_reference
from dft2spectra.molecules.labels import label_geometry
from dft2spectra.records import write_json
from dft2spectra.units import BOHR_ANG, EANG_DEBYE, HARTREE_EV

LIMITS = {
    "min_gap_ev": 1.0,
    "max_excess_electrons": 0.05,
    "min_overlap": 0.9,
    "max_dipole_jump_sigma": 8.0,
    "max_uncertainty_percent": 5.0,
    "action": "stop",
    "scf_cycles": 3,
}
# Of the dipole in a step, in D: eight of them are 0.2 D.
SIGMA = 0.025
ALWAYS = {"min_gap_ev": 100.0}


def calculator(guards=None, model=None, **settings):
    return DensityCalculator(model or water_model(), WATER, {**PYSCF, **settings}, guards, SIGMA)


def molecule(calc, seed=100):
    return Atoms(WATER["symbols"], water(seed), calculator=calc)


def test_forces_are_the_gradient_of_the_energy():
    atoms = molecule(calculator())
    # Where the density of a rough model passes zero at a grid point the energy jumps by some 1e-8
    # hartree: a geometry at which it does not.
    atoms.rattle(0.03, seed=1)
    numerical = calculate_numerical_forces(atoms, eps=3e-4)
    assert np.abs(numerical).max() > 1.0
    assert atoms.get_forces() == pytest.approx(numerical, abs=5e-5)


def test_results_are_near_those_of_kohn_sham():
    """Units: a wrong one would be off by factors, the model is off by 15 meV and 30 meV/Å."""
    atoms = molecule(calculator())
    label = label_geometry(WATER, atoms.positions, PYSCF)
    assert atoms.get_potential_energy() == pytest.approx(label["energy_ha"] * HARTREE_EV, abs=0.05)
    assert atoms.get_forces() == pytest.approx(
        label["forces_ha_per_bohr"] * HARTREE_EV / BOHR_ANG, abs=0.1
    )
    assert atoms.get_dipole_moment() * EANG_DEBYE == pytest.approx(label["dipole_debye"], abs=0.02)
    assert atoms.calc.results["diagnostics"]["gap_ev"] == pytest.approx(label["gap_ev"], abs=0.05)


def test_turned_molecule_has_the_same_energy_and_turned_vectors():
    atoms = molecule(calculator())
    energy, forces, dipole = results(atoms)
    turn = Rotation.random(random_state=2).as_matrix()
    atoms.positions = atoms.positions @ turn.T + [1.0, -2.0, 0.5]
    energy_2, forces_2, dipole_2 = results(atoms)
    assert energy_2 == pytest.approx(energy, abs=1e-8)
    assert forces_2 == pytest.approx(forces @ turn.T, abs=1e-7)
    assert dipole_2 == pytest.approx(dipole @ turn.T, abs=1e-8)
    # The guards see no change either.
    assert atoms.calc.results["diagnostics"]["occupied_overlap"] == pytest.approx(1.0, abs=1e-9)


def results(atoms):
    return atoms.get_potential_energy(), atoms.get_forces(), atoms.get_dipole_moment()


def test_relaxed_water_and_its_frequencies_are_those_of_density_functional_theory(tmp_path):
    atoms = molecule(calculator())
    BFGS(atoms, logfile=None).run(fmax=0.005, steps=50)
    reference = relax(WATER, PYSCF, tmp_path / "steps.json", progress=lambda line: None)
    expected = Atoms(WATER["symbols"], reference["positions_ang"])
    assert atoms.get_distance(0, 1) == pytest.approx(expected.get_distance(0, 1), abs=0.003)
    assert atoms.get_distance(0, 2) == pytest.approx(expected.get_distance(0, 2), abs=0.003)
    assert atoms.get_angle(1, 0, 2) == pytest.approx(expected.get_angle(1, 0, 2), abs=1.0)

    modes = Vibrations(atoms, name=str(tmp_path / "vibrations"))
    modes.run()
    harmonic = harmonic_reference(reference, PYSCF)
    frequencies = np.array(harmonic["frequencies_cm1"])
    # The bend of so small a model is off by 5 %.
    assert modes.get_frequencies().real[-3:] == pytest.approx(frequencies[-3:], rel=0.08)


# --- guards -------------------------------------------------------------------------------------


def test_trained_geometries_pass_sensible_limits():
    atoms = molecule(calculator(LIMITS))
    for size in np.linspace(0.0, 0.1, 5):
        atoms.positions = water(100) + size * (water(101) - water(100))
        atoms.get_forces()
        assert atoms.calc.results["frames"] == []


def test_stop_raises_with_the_geometry():
    atoms = molecule(calculator({**ALWAYS, "action": "stop"}))
    with pytest.raises(TrajectoryStopped, match=r"gap of .* limit 100") as stop:
        atoms.get_forces()
    assert np.array_equal(stop.value.atoms.positions, atoms.positions)
    assert stop.value.atoms.calc is None


def test_record_flags_and_changes_nothing():
    atoms, plain = molecule(calculator({**ALWAYS, "action": "record"})), molecule(calculator())
    assert atoms.get_potential_energy() == plain.get_potential_energy()
    assert np.array_equal(atoms.get_forces(), plain.get_forces())
    (sentence,) = atoms.calc.results["frames"]
    assert "gap of" in sentence
    assert plain.calc.results["frames"] == []


def test_remedy_replaces_results_and_its_forces_belong_to_its_energy():
    atoms = molecule(calculator({**ALWAYS, "action": "scf", "scf_cycles": 12}))
    plain = molecule(calculator())
    numerical = calculate_numerical_forces(atoms, eps=1e-3)
    assert atoms.get_forces() == pytest.approx(numerical, abs=2e-3)
    diagnostics = atoms.calc.results["diagnostics"]
    change = atoms.get_potential_energy() - plain.get_potential_energy()
    assert diagnostics["guard_energy_change_ev"] == pytest.approx(change)
    assert change != 0.0
    assert 1 <= diagnostics["guard_scf_cycles"] <= 12
    assert 0.0 < diagnostics["guard_scf_residual_ha"] < 1e-4
    (sentence,) = atoms.calc.results["frames"]
    assert "self-consistent cycles, converged" in sentence
    # Names must not depend on what happened.
    assert set(diagnostics) == set(plain.calc.results.get("diagnostics") or forces_of(plain))


def forces_of(atoms):
    atoms.get_forces()
    return atoms.calc.results["diagnostics"]


def test_remedy_does_not_disturb_the_comparison_of_the_next_steps():
    """Overlap and dipole are compared among one-shot results, remedied or not."""
    remedied, plain = calculator({**ALWAYS, "action": "scf"}), calculator()
    for size in (0.0, 0.05, 0.1):
        rows = []
        for calc in (remedied, plain):
            atoms = Atoms(WATER["symbols"], water(100) + size * (water(101) - water(100)))
            atoms.calc = calc
            rows.append(forces_of(atoms))
    for name in ("occupied_overlap", "dipole_jump_debye", "uncertainty_percent"):
        assert rows[0][name] == rows[1][name]
    assert rows[0]["dipole_jump_debye"] > 0.0


# --- restarts and trajectories ------------------------------------------------------------------


def test_restored_calculator_goes_on_bit_by_bit():
    whole, first = calculator(LIMITS), calculator(LIMITS)
    path = [water(100) + size * (water(101) - water(100)) for size in np.linspace(0, 0.2, 5)]
    for positions in path[:3]:
        for calc in (whole, first):
            forces_of(Atoms(WATER["symbols"], positions, calculator=calc))
    second = calculator(LIMITS)
    second.restore({name: array.copy() for name, array in first.state().items()})
    for positions in path[3:]:
        one = Atoms(WATER["symbols"], positions, calculator=whole)
        two = Atoms(WATER["symbols"], positions, calculator=second)
        assert forces_of(one) == forces_of(two)
        assert one.get_potential_energy() == two.get_potential_energy()
        assert np.array_equal(one.get_forces(), two.get_forces())
    # Without the state the guards would have forgotten.
    third = calculator(LIMITS)
    lost = forces_of(Atoms(WATER["symbols"], path[3], calculator=third))
    assert lost["dipole_jump_debye"] == 0.0


def test_state_before_the_first_step_restores():
    calc = calculator()
    calc.restore(calculator().state())
    assert forces_of(molecule(calc))["occupied_overlap"] == 1.0


def test_short_trajectory_conserves_energy_and_records_the_guards(tmp_path):
    section = {
        **SECTION,
        "trajectory_ps": 0.01,
        "timestep_fs": 0.25,
        "chunk_steps": 15,
        "max_energy_change_mev_per_atom": 20,
    }
    atoms = Atoms(WATER["symbols"], water(105, 0.03))
    calc = calculator({**LIMITS, "action": "record"})
    result = run_trajectory(atoms, calc, section, tmp_path / "run.npz", freedom=3)
    assert str(result["status"]) == "finished"
    assert result["diagnostic_gap_ev"].shape == (41,)
    assert (result["diagnostic_occupied_overlap"] > 0.99).all()
    assert (result["diagnostic_dipole_jump_debye"] < 0.05).all()
    kinetic = result["kinetic_energy_ev"]
    # From rest: the kinetic energy is all taken from the potential, and Verlet's own error is
    # a few percent of it at 40 steps per period.
    assert kinetic.max() > 0.05
    assert np.ptp(result["total_energy_ev"]) < 0.03 * kinetic.max()


def test_broken_guard_ends_a_trajectory_with_its_frame(tmp_path):
    section = {**SECTION, "trajectory_ps": 0.01}
    atoms = Atoms(WATER["symbols"], water(105))
    calc = calculator({**ALWAYS, "action": "stop"})
    result = run_trajectory(atoms, calc, section, tmp_path / "run.npz", freedom=3)
    assert str(result["status"]) == "stopped"
    assert "gap of" in str(result["reason"])
    assert result["stopped_positions_ang"] == pytest.approx(water(105))


# --- identity and files -------------------------------------------------------------------------


HARMONIC = {
    "frequencies_cm1": [1600.0, 3800.0],
    "intensities_km_mol": [60.0, 60.0],
    "dipole_debye": [0.0, 0.0, 1.8],
    "masses_amu": [15.999, 1.008, 1.008],
    "positions_ang": WATER["positions_ang"],
}


def test_files_give_the_same_calculator(tmp_path):
    model = water_model()
    model.write(tmp_path / "model.npz")
    write_json(tmp_path / "molecule.json", WATER)
    paths = tmp_path / "model.npz", tmp_path / "molecule.json"
    read = DensityCalculator.from_files(*paths, PYSCF, LIMITS, HARMONIC, SECTION)
    sigma = thermal_dipole_jump(HARMONIC, 300, 0.5, 10)
    assert read.dipole_sigma_debye == sigma
    assert read.identity == DensityCalculator(model, WATER, PYSCF, LIMITS, sigma).identity
    assert read.identity != calculator(LIMITS).identity
    atoms = molecule(read)
    assert atoms.get_potential_energy() == molecule(calculator()).get_potential_energy()
    with pytest.raises(ValueError, match=r"3\.0 fs is too long for a vibration at 3800"):
        DensityCalculator.from_files(*paths, PYSCF, {}, HARMONIC, {**SECTION, "timestep_fs": 3})


def test_scale_of_the_dipole_is_that_of_the_calculator():
    """Three geometries on the way to another; the dipole bends off by more than 0.05 D."""
    guards = {"max_dipole_jump_sigma": 8.0, "action": "record"}
    for sigma, expected in ((0.0, 1), (1.0, 0)):
        calc = DensityCalculator(water_model(), WATER, PYSCF, guards, sigma)
        for size in (0.0, 0.01, 1.0):
            atoms = Atoms(WATER["symbols"], water(100) + size * (water(101) - water(100)))
            atoms.calc = calc
            jump = forces_of(atoms)["dipole_jump_debye"]
        assert 0.05 < jump < 8.0
        assert len(calc.results["frames"]) == expected


def test_identity_tells_calculators_apart():
    model = water_model()
    other = replace(model, coefficients=model.coefficients * (1.0 + 1e-12))
    scaled = replace(model, card={**model.card, "uncertainty_scale": 2.0})
    identities = [
        calculator().identity,
        calculator(LIMITS).identity,
        calculator(model=other).identity,
        calculator(model=scaled).identity,
        calculator(grid_level=2).identity,
    ]
    assert len(set(identities)) == len(identities)
    assert calculator().identity == identities[0]


# --- refusals -----------------------------------------------------------------------------------


def test_other_settings_than_those_of_the_model_are_refused():
    with pytest.raises(ModelError, match=r"pyscf\.xc PBE, not BLYP"):
        calculator(xc="BLYP")


def test_limit_of_uncertainty_needs_a_committee():
    lonely = replace(water_model(), committee=np.zeros((0, len(water_model().coefficients))))
    with pytest.raises(ModelError, match="max_uncertainty_percent needs"):
        calculator({"max_uncertainty_percent": 1.0}, lonely)
    assert np.isnan(forces_of(molecule(calculator(model=lonely)))["uncertainty_percent"])


def test_other_atoms_and_periodic_ones_are_refused():
    with pytest.raises(ValueError, match="O H H in this order, not H O H"):
        Atoms("HOH", water(0)[[1, 0, 2]], calculator=calculator()).get_forces()
    with pytest.raises(ValueError, match="no periodic boundaries"):
        Atoms("OHH", water(0), cell=[9, 9, 9], pbc=True, calculator=calculator()).get_forces()


@pytest.mark.parametrize(
    ("position", "words"),
    [([0.0, 0.0, 0.3], "atoms 0 and 1 .O and H. collide"), ([np.nan, 0, 0], "not finite")],
)
def test_broken_geometries_stop(position, words):
    atoms = molecule(calculator())
    atoms.positions = WATER["positions_ang"]
    atoms.positions[1] = position
    with pytest.raises(TrajectoryStopped, match=words):
        atoms.get_forces()


def test_dipole_of_an_ion_is_about_the_centre_of_mass(caplog):
    """Hydroxide wherever it is; about the origin of the laboratory it would change by 10 e Å."""
    basis = water_model().basis
    nothing = np.zeros(sum(basis.terms.sizes))
    model = DensityModel(basis, nothing, np.zeros((0, 0)), {"pyscf": PYSCF, "charge": -1})
    ion = {"symbols": ["O", "H"], "charge": -1, "positions_ang": [[0, 0, 0], [0, 0, 0.97]]}
    calc = DensityCalculator(model, ion, PYSCF)
    dipoles = []
    for shift in (0.0, 10.0):
        positions = np.add(ion["positions_ang"], [0.0, shift, 0.0])
        dipoles.append(Atoms("OH", positions, calculator=calc).get_dipole_moment())
    assert dipoles[1] == pytest.approx(dipoles[0], abs=1e-8)
    assert np.abs(dipoles[0][:2]).max() < 1e-6
    assert "is linear and has no axes of its own" in caplog.text
    # Turned upside down, the ion turns its dipole.
    flipped = np.array(ion["positions_ang"]) * [1, 1, -1]
    dipole = Atoms("OH", flipped, calculator=calc).get_dipole_moment()
    assert dipole == pytest.approx(-dipoles[0], abs=1e-6)
