"""Trajectories that end early: as a record with a reason, never as NaN, never by a fault's way."""

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from spring_molecules import (
    SECTION,
    Springs,
    hydrogen_fluoride,
    spring_hydrogen_fluoride,
    spring_water,
    water,
)

from dft2spectra.dynamics.equilibration import equilibrate
from dft2spectra.dynamics.stops import TrajectoryStopped, limits_of
from dft2spectra.dynamics.trajectory import run_from_state, run_trajectory

SHORT = SECTION | {"trajectory_ps": 0.05, "chunk_steps": 15}


class Failing(Springs):
    """Does something at the given evaluation, counted from 0 at the start."""

    at = 0
    count = 0

    def act(self):
        """What happens."""

    def calculate(self, *args, **keywords):
        super().calculate(*args, **keywords)
        if self.count == self.at:
            self.act()
        self.count += 1


def failing(act, at):
    """Spring water that calls ``act(calculator)`` at evaluation ``at``."""
    calculator = spring_water(Failing)
    calculator.at, calculator.act = at, lambda: act(calculator)
    return calculator


def stop(calculator):
    raise TrajectoryStopped("the gap closed", calculator.atoms)


def moving_water(scale: float = 0.02) -> Atoms:
    atoms = water()
    atoms.set_momenta(scale * np.array([[0, 1.0, 0], [1, -0.5, 0.2], [-1, -0.5, -0.2]]))
    return atoms


@pytest.mark.parametrize("at", [0, 1, 15, 16, 40])
def test_calculator_stops_the_run(tmp_path, at):
    """Steps before the stop are those of an undisturbed run; the geometry is kept."""
    whole = run_trajectory(moving_water(), spring_water(), SHORT, tmp_path / "whole.npz")
    result = run_trajectory(moving_water(), failing(stop, at), SHORT, tmp_path / "t.npz")
    assert (result["status"], result["reason"]) == ("stopped", "the gap closed")
    assert len(result["step"]) == at
    for name in ("time_fs", "total_energy_ev", "dipole_debye"):
        np.testing.assert_array_equal(result[name], whole[name][:at])
    kept = read(tmp_path / "t.stopped.xyz", format="extxyz")
    assert kept.info == {"step": at, "reason": "the gap closed"}
    np.testing.assert_allclose(kept.positions, result["stopped_positions_ang"], atol=1e-8)
    with np.load(tmp_path / "t.npz") as file:
        assert file["status"] == "stopped"
    assert not list(tmp_path.glob("*.chunks"))


def test_stopped_run_is_not_tried_again(tmp_path):
    first = run_trajectory(moving_water(), failing(stop, 5), SHORT, tmp_path / "t.npz")
    again = run_trajectory(moving_water(), failing(stop, 0), SHORT, tmp_path / "t.npz")
    assert len(again["step"]) == len(first["step"]) == 5


@pytest.mark.parametrize("name", ["energy", "forces", "dipole"])
def test_numbers_that_are_not_finite(tmp_path, name):
    def spoil(calculator):
        calculator.results[name] = calculator.results[name] * np.nan

    result = run_trajectory(moving_water(), failing(spoil, 20), SHORT, tmp_path / "t.npz")
    assert result["status"] == "stopped"
    assert result["reason"] == "energy, forces or dipole moment are not finite"
    assert len(result["step"]) == 20
    assert np.isfinite(result["stopped_positions_ang"]).all()


def test_fault_of_the_machine_passes_and_the_run_goes_on_later(tmp_path):
    def fault(calculator):
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        run_trajectory(moving_water(), failing(fault, 40), SHORT, tmp_path / "t.npz")
    assert not (tmp_path / "t.npz").exists()
    assert len(list((tmp_path / "t.npz.chunks").iterdir())) == 2
    result = run_trajectory(moving_water(), spring_water(Failing), SHORT, tmp_path / "t.npz")
    whole = run_trajectory(moving_water(), spring_water(Failing), SHORT, tmp_path / "whole.npz")
    for key in whole:
        np.testing.assert_array_equal(result[key], whole[key])


def test_energy_that_is_not_conserved(tmp_path):
    """A force field whose energy loses 0.3 eV at step 30: 100 meV/atom, beyond 20."""

    def lose(calculator):
        calculator.results["energy"] -= 0.3

    result = run_trajectory(moving_water(), failing(lose, 30), SHORT, tmp_path / "t.npz")
    assert len(result["step"]) == 30
    assert str(result["reason"]).startswith("total energy changed by -100")


def test_temperature_that_explodes(tmp_path):
    """Three degrees of freedom: 15 times the target."""
    result = run_trajectory(moving_water(0.8), spring_water(), SHORT, tmp_path / "t.npz")
    assert result["status"] == "stopped"
    assert str(result["reason"]).endswith("limit 4484 K")
    assert len(result["step"]) == 0


def test_atoms_that_fly_apart(tmp_path):
    """A Morse bond of 1.3 eV whose atoms separate with 10 eV; the other limits are far."""
    atoms = hydrogen_fluoride()
    momentum = np.sqrt(2 * 10.0 * 1 / (1 / 1.008 + 1 / 18.998))
    atoms.set_momenta([[-momentum, 0, 0], [momentum, 0, 0]])
    settings = SHORT | {"temperature_k": 1e5, "max_energy_change_mev_per_atom": 500}
    result = run_trajectory(
        atoms, spring_hydrogen_fluoride(width=4.8), settings, tmp_path / "t.npz", freedom=1
    )
    assert "fell into 2 fragments" in str(result["reason"])
    last = np.ptp(result["stopped_positions_ang"][:, 0])
    # Covalent radii 0.31 and 0.57 Å.
    assert 2.5 * 0.88 <= last < 2.5 * 0.88 + 0.5


def test_collision_is_seen_before_the_calculator_sees_it(tmp_path):
    """Free atoms flying at each other; the calculator must never see them closer than 0.44 Å."""

    class Shy(Springs):
        def calculate(self, atoms=None, *args, **keywords):
            super().calculate(atoms, *args, **keywords)
            assert atoms.get_distance(0, 1) > 0.5 * 0.88

    atoms = hydrogen_fluoride()
    atoms.set_momenta([[0.2, 0, 0], [-0.2, 0, 0]])
    result = run_trajectory(
        atoms, Shy(charges=[0.4, -0.4]), SHORT | {"trajectory_ps": 1}, tmp_path / "t.npz", freedom=1
    )
    assert str(result["reason"]).startswith("atoms 0 and 1 collided: 0.4")


def test_complex_may_start_in_fragments_but_not_gain_one():
    pair = water() + water()
    pair.positions[3:] += [0, 0, 5.0]
    limits = limits_of(pair, 12, 300.0, np.inf)
    assert limits.fragments == 2
    limits.check_geometry(pair.positions)
    pair.positions[5] += [-4.0, 0, 0]
    with pytest.raises(TrajectoryStopped, match="fell into 3 fragments"):
        limits.check_geometry(pair.positions)


def test_long_chain_is_one_molecule():
    """No atom of a chain is near all others."""
    chain = Atoms("C10", positions=[(1.4 * i, 0, 0) for i in range(10)])
    limits = limits_of(chain, 24, 300.0, np.inf)
    assert limits.fragments == 1
    chain.positions[5:] += [3.0, 0, 0]
    with pytest.raises(TrajectoryStopped, match="fell into 2 fragments"):
        limits.check_geometry(chain.positions)


def test_impossible_starts_are_errors(tmp_path):
    squeezed = water()
    squeezed.positions[1] = squeezed.positions[0] + 0.1
    nowhere = water()
    nowhere.positions[0] = np.nan
    crystal = water()
    crystal.pbc = True
    for atoms, sentence in [
        (squeezed, "start of the trajectory: atoms 0 and 1 collided"),
        (nowhere, "must be finite"),
        (crystal, "no periodic boundaries"),
        (Atoms("H"), "a single atom"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            run_trajectory(atoms, spring_water(), SHORT, tmp_path / "t.npz")


def test_stopped_thermostat_gives_the_states_that_it_reached(tmp_path):
    """States after steps 10, 20 and 30, stopped at 25: the third trajectory is a record."""
    settings = SHORT | {
        "equilibration_ps": 0,
        "spacing_ps": 0.005,
        "trajectories": 3,
        "trajectory_ps": 0.01,
    }
    states = equilibrate(
        water(), failing(stop, 25), settings, tmp_path / "eq.npz", tmp_path / "states.npz"
    )
    assert states["status"] == "stopped"
    assert list(states["step"]) == [10, 20]
    results = [
        run_from_state(tmp_path / "states.npz", n, spring_water(), settings, tmp_path / f"t{n}.npz")
        for n in range(3)
    ]
    assert [str(r["status"]) for r in results] == ["finished", "finished", "stopped"]
    assert str(results[2]["reason"]).endswith("the gap closed")
    assert results[2]["dipole_debye"].shape == (0, 3)
    assert (tmp_path / "t2.stopped.xyz").exists()
    with pytest.raises(ValueError, match="was made for 3 trajectories"):
        run_from_state(tmp_path / "states.npz", 3, spring_water(), settings, tmp_path / "t3.npz")
