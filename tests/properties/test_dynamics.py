"""What trajectories must obey whatever the molecule: conservation, order, reversal, statistics."""

import numpy as np
import pytest
from ase import Atoms, units
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import chi2, kstest
from spring_molecules import (
    SECTION,
    Springs,
    hydrogen_fluoride,
    spring_hydrogen_fluoride,
    spring_water,
    water,
)

from dft2spectra.dynamics.equilibration import equilibrate, read_state
from dft2spectra.dynamics.integration import temperature_k
from dft2spectra.dynamics.rigid import degrees_of_freedom, is_linear, remove_rigid_motion
from dft2spectra.dynamics.trajectory import run_trajectory
from dft2spectra.units import BOLTZMANN_EV_K

STRETCH_ANG = 0.03


def stretched_fluoride(folder, timestep_fs, width=0.0, length_ps=0.2):
    """HF released at rest from a stretched bond."""
    section = SECTION | {"timestep_fs": timestep_fs, "trajectory_ps": length_ps, "stride": 1}
    return run_trajectory(
        hydrogen_fluoride(STRETCH_ANG),
        spring_hydrogen_fluoride(width=width),
        section,
        folder / f"{timestep_fs}-{width}.npz",
        freedom=1,
    )


def bent_carbon_dioxide() -> Atoms:
    atoms = Atoms("OCO", positions=[(-1.16, 0, 0), (0, 0.1, 0), (1.16, 0, 0)])
    atoms.set_momenta(np.random.default_rng(2).standard_normal((3, 3)))
    return atoms


def angular_momentum(atoms: Atoms) -> np.ndarray:
    return np.cross(atoms.positions - atoms.get_center_of_mass(), atoms.get_momenta()).sum(axis=0)


@pytest.mark.parametrize("width", [0.0, 2.2])
def test_energy_error_is_of_second_order(tmp_path, width):
    """Half the time step, a quarter of the fluctuation, on harmonic and Morse springs."""
    errors = [
        np.ptp(stretched_fluoride(tmp_path, dt, width)["total_energy_ev"])
        for dt in (0.8, 0.4, 0.2, 0.1)
    ]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx(2.0, abs=0.15)


def test_verlet_oscillation_of_a_harmonic_bond(tmp_path):
    """Known in closed form: x_n = x_0 cos(n φ) with sin(φ/2) = ω Δt/2, and the dipole follows."""
    result = stretched_fluoride(tmp_path, 0.5)
    reduced = 1 / (1 / result["masses_amu"]).sum()
    omega_per_fs = np.sqrt(60.0 / reduced) * units.fs
    phase = 2 * np.arcsin(0.25 * omega_per_fs)
    bonds = np.linalg.norm(result["positions_ang"][:, 1] - result["positions_ang"][:, 0], axis=1)
    expected = 0.92 + STRETCH_ANG * np.cos(phase * result["step"])
    np.testing.assert_allclose(bonds, expected, atol=1e-10)
    # 1 e Å = 4.80320 D.
    np.testing.assert_allclose(result["dipole_debye"][:, 0], -0.4 * bonds * 4.80320, rtol=2e-6)
    assert result["time_fs"][-1] == pytest.approx(200.0)


def test_velocities_are_the_derivative_of_positions(tmp_path):
    """Units of the stored velocities: central difference, exact for Verlet."""
    result = stretched_fluoride(tmp_path, 0.1)
    r, v = result["positions_ang"], result["velocities_ang_per_fs"]
    np.testing.assert_allclose((r[2:] - r[:-2]) / 0.2, v[1:-1], atol=1e-12)
    kinetic = 0.5 * (result["masses_amu"][:, None] * (v / units.fs) ** 2).sum(axis=(1, 2))
    np.testing.assert_allclose(kinetic, result["kinetic_energy_ev"], atol=1e-12)


def test_total_energy_does_not_drift(tmp_path):
    result = stretched_fluoride(tmp_path, 0.5, width=2.2, length_ps=2.0)
    assert abs(result["drift_mev_per_atom_ps"]) < 4 * result["drift_error_mev_per_atom_ps"]
    assert result["drift_error_mev_per_atom_ps"] < 0.05


def test_reversed_momenta_lead_back(tmp_path):
    start = water()
    start.set_momenta(np.random.default_rng(1).standard_normal((3, 3)) * 0.1)
    section = SECTION | {"trajectory_ps": 0.1, "stride": 200}
    there = run_trajectory(start, spring_water(), section, tmp_path / "there.npz")
    turned = Atoms("OHH", positions=there["positions_ang"][-1])
    turned.set_velocities(-there["velocities_ang_per_fs"][-1] / units.fs)
    back = run_trajectory(turned, spring_water(), section, tmp_path / "back.npz")
    np.testing.assert_allclose(back["positions_ang"][-1], start.positions, atol=1e-9)


def test_turned_molecule_has_the_turned_trajectory(tmp_path):
    turn = Rotation.from_euler("zyx", [0.3, 1.1, -0.7]).as_matrix()
    start = water()
    start.set_momenta(np.random.default_rng(1).standard_normal((3, 3)) * 0.1)
    turned = Atoms("OHH", positions=start.positions @ turn.T)
    turned.set_momenta(start.get_momenta() @ turn.T)
    section = SECTION | {"trajectory_ps": 0.05}
    first = run_trajectory(start, spring_water(), section, tmp_path / "1.npz")
    second = run_trajectory(turned, spring_water(), section, tmp_path / "2.npz")
    np.testing.assert_allclose(second["dipole_debye"], first["dipole_debye"] @ turn.T, atol=1e-10)
    np.testing.assert_allclose(second["total_energy_ev"], first["total_energy_ev"], atol=1e-10)


@pytest.fixture(scope="module")
def thermostat(tmp_path_factory):
    """6 ps of spring water at 400 K under a strong thermostat, and its states."""
    folder = tmp_path_factory.mktemp("thermostat")
    section = SECTION | {
        "temperature_k": 400,
        "friction_per_ps": 50,
        "equilibration_ps": 0.5,
        "spacing_ps": 0.1,
        "trajectories": 57,
    }
    states = equilibrate(water(), spring_water(), section, folder / "eq.npz", folder / "states.npz")
    with np.load(folder / "eq.npz") as file:
        return dict(file), states, folder / "states.npz"


def test_kinetic_energy_under_the_thermostat(thermostat):
    """2 E/kT of independent samples is χ² distributed with 3N = 9 degrees of freedom."""
    trajectory, states, _ = thermostat
    kinetic = trajectory["kinetic_energy_ev"][states["step"]]
    reduced = 2 * kinetic / (BOLTZMANN_EV_K * 400)
    total = chi2(9 * len(reduced)).cdf(reduced.sum())
    assert 0.001 < total < 0.999
    assert kstest(reduced, chi2(9).cdf).pvalue > 0.001
    # The stored temperature counts the same degrees of freedom.
    assert trajectory["temperature_k"][states["step"]] == pytest.approx(400 * reduced / 9)


def test_potential_energy_under_the_thermostat(thermostat):
    """Three springs of three atoms: 3/2 kT on average, nearly harmonic."""
    trajectory, states, _ = thermostat
    reduced = 2 * trajectory["potential_energy_ev"][states["step"]] / (BOLTZMANN_EV_K * 400)
    # Relative standard error of the mean of n χ² variables of 3 degrees: √(2/3n).
    assert reduced.mean() == pytest.approx(3.0, rel=4 * np.sqrt(2 / (3 * len(reduced))))


def test_vibrations_of_the_start_states_keep_their_temperature(thermostat):
    """Without translation and rotation 3N − 6 = 3 degrees are left, canonically distributed."""
    _, states, path = thermostat
    assert states["degrees_of_freedom"] == 3
    kinetic = [read_state(path, n)[0].get_kinetic_energy() for n in range(57)]
    reduced = 2 * np.array(kinetic) / (BOLTZMANN_EV_K * 400)
    assert 0.001 < chi2(3 * 57).cdf(reduced.sum()) < 0.999


def test_start_states_neither_move_nor_turn(thermostat):
    _, states, path = thermostat
    for n in range(len(states["step"])):
        atoms, freedom = read_state(path, n)
        assert freedom == 3
        scale = np.abs(atoms.get_momenta()).max()
        assert np.abs(atoms.get_center_of_mass()).max() < 1e-13
        assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-13 * scale * 10
        assert np.abs(angular_momentum(atoms)).max() < 1e-12 * scale


def test_thermometer_of_the_states(thermostat):
    _, states, _ = thermostat
    assert abs(states["mean_temperature_k"] - 400) < 4 * states["temperature_error_k"]
    # The kinetic energy of free atoms and of weakly damped oscillators forgets within 1/friction:
    # 20 fs, 285 independent values of 9 degrees in 5.7 ps.
    expected = 400 * np.sqrt(2 / 9 / 285)
    assert states["temperature_error_k"] == pytest.approx(expected, rel=0.25)
    assert states["correlation_fs"] < 100


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 8), spin=st.booleans())
@settings(max_examples=40)
def test_removal_of_rigid_motion(seed, n, spin):
    """Momentum and, if asked, angular momentum vanish; the internal motion does not change."""
    rng = np.random.default_rng(seed)
    atoms = Atoms(f"C{n - 1}H", positions=3 * rng.standard_normal((n, 3)))
    atoms.set_momenta(rng.standard_normal((n, 3)))
    linear = n == 2
    before = atoms.copy()
    remove_rigid_motion(atoms, linear, rotation=spin)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-12)
    expected = angular_momentum(before) if spin else 0.0
    np.testing.assert_allclose(angular_momentum(atoms), expected, atol=1e-9)
    # Rates of change of all distances.
    i, j = np.triu_indices(n, 1)
    rates = [
        ((a.positions[i] - a.positions[j]) * (a.get_velocities()[i] - a.get_velocities()[j])).sum(1)
        for a in (before, atoms)
    ]
    np.testing.assert_allclose(*rates, atol=1e-9)


def test_bent_snapshot_of_a_linear_molecule_keeps_its_bending():
    """Along the axis the angular momentum is vibration; across it, rotation."""
    atoms = bent_carbon_dioxide()
    along = angular_momentum(atoms)[0]
    remove_rigid_motion(atoms, linear=True, rotation=False)
    np.testing.assert_allclose(angular_momentum(atoms), [along, 0, 0], atol=1e-9)
    assert abs(along) > 0.01


def test_linear_or_not():
    straight = bent_carbon_dioxide()
    straight.positions[1, 1] = 0.0
    assert is_linear(straight)
    assert is_linear(hydrogen_fluoride())
    assert not is_linear(water())
    # HNCO, the most nearly linear of common molecules (A = 912 GHz, C = 10.9 GHz: ratio 0.012).
    hnco = Atoms("HNCO", positions=[(-0.49, 0.87, 0), (0, 0, 0), (1.21, 0, 0), (2.38, 0, 0)])
    assert not is_linear(hnco)


def test_degrees_of_freedom():
    assert [degrees_of_freedom(3, *flags) for flags in [(0, 0), (1, 0), (0, 1)]] == [3, 4, 6]
    assert degrees_of_freedom(2, True, False) == 1
    # ½ k T per degree.
    assert temperature_k(3 * 0.5 * BOLTZMANN_EV_K * 250.0, 3) == pytest.approx(250.0)


def test_free_rotor_keeps_rotating_if_asked(tmp_path):
    """States with rotation: 3N − 3 degrees and an angular momentum."""
    section = SECTION | {"rotation": True, "equilibration_ps": 0.05, "trajectories": 2}
    equilibrate(water(), spring_water(Springs), section, tmp_path / "e.npz", tmp_path / "s.npz")
    atoms, freedom = read_state(tmp_path / "s.npz", 1)
    assert freedom == 6
    assert np.abs(angular_momentum(atoms)).max() > 0.01
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-12
