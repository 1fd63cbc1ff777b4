"""The semicore run: left out where symmetry forbids a gradient, and kept in the state found before.

Calculations are stand-ins with moments; a real run is in ``test_gpaw_runner.py``.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gpaw.mpi import serial_comm

from dft2spectra.crystals import semicore
from dft2spectra.crystals.gpaw_input import gpaw_parameters, setups
from dft2spectra.crystals.scf import SOFT, Work
from dft2spectra.crystals.semicore import semicore_run, wants_semicore
from dft2spectra.crystals.starts import to_atoms

SETTINGS = {
    "cutoff_ev": 250,
    "kpoint_density_ang": 1.2,
    "xc": "PBE",
    "smearing_ev": 0.2,
    "eigensolver": "davidson",
    "max_iterations": 60,
    "convergence": {"energy_ev_per_electron": 1e-3, "density": 1e-3, "eigenstates": 1e-4},
    "hubbard_u_ev": {},
}


def iron(c_over_a: float) -> dict[str, Any]:
    return {
        "cell_ang": np.diag([2.8, 2.8, 2.8 * c_over_a]).tolist(),
        "symbols": ["Fe", "Fe"],
        "scaled_positions": [[0, 0, 0], [0.5, 0.5, 0.5]],
        "site_labels": ["Fe1", "Fe1"],
        "initial_moments_mub": [2.3, 2.3],
    }


def calculator(*moments: float, total: float | None = None) -> Any:
    """A calculation whose atoms have these moments."""
    state = SimpleNamespace(symbols=["Fe"] * len(moments), moments=moments)
    return SimpleNamespace(
        dft=SimpleNamespace(comm=serial_comm, state=state),
        get_magnetic_moments=lambda: np.array(moments),
        get_magnetic_moment=lambda: sum(moments) if total is None else total,
    )


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Function that makes the semicore run of stand-ins; the attempts that it made stay in it."""

    def run(first: Any, *second: Any, c_over_a: float = 1.1) -> tuple[Any, dict[str, Any]]:
        run.attempts = []
        ends = iter(second)

        def attempt(atoms, work, rung, name, *, fixed_moment=False):
            moments = atoms.get_initial_magnetic_moments()
            run.attempts.append((moments, rung, fixed_moment, work))
            found = next(ends)
            return found, {"changes": rung, "error": None if found else "no self-consistency"}

        monkeypatch.setattr(semicore, "attempt", attempt)
        monkeypatch.setattr(semicore, "paw_state", lambda dft: dft.state)
        monkeypatch.setattr(semicore, "local_moment", lambda state, atom: state.moments[atom])
        work = Work(SETTINGS, lambda line: None, tmp_path, {})
        return semicore_run(first, iron(c_over_a), work)

    return run


def test_left_out_where_symmetry_forbids_a_gradient() -> None:
    assert not wants_semicore(iron(1.0), np.array([2.2, 2.2]))
    assert wants_semicore(iron(1.1), np.array([2.2, 2.2]))
    # Noise of the moments is no order; up and down in a CsCl cell are cubic all the same.
    assert not wants_semicore(iron(1.0), np.array([2.2, 2.21]))
    assert not wants_semicore(iron(1.0), np.array([2.2, -2.2]))
    # Nor is there a dataset for other elements.
    assert not wants_semicore(iron(1.1) | {"symbols": ["Co", "Co"]}, np.array([1.6, 1.6]))


def test_moments_are_fixed_at_the_total_of_the_first_run(runs: Any) -> None:
    found = calculator(2.25, 2.25)
    second, record = runs(calculator(2.2, 2.2, total=4.6), found)
    assert second is found
    assert (record["status"], record["cutoff_ev"]) == ("converged", 600.0)
    ((moments, rung, fixed, work),) = runs.attempts
    np.testing.assert_allclose(moments, [2.3, 2.3])
    assert (rung, fixed) == ({}, True)
    assert work.datasets == {"Fe": "3s3p"}
    assert work.settings["cutoff_ev"] == 600.0


def test_antiferromagnet_that_collapses_is_another_state(runs: Any) -> None:
    """Total moments are equal, 0 = 0; those of the atoms tell."""
    gone = calculator(0.0, 0.0)
    second, record = runs(calculator(2.0, -2.0), gone, gone, gone)
    assert second is None
    assert record["status"] == "not_converged"
    assert record["reason"] == (
        "semicore run: went to another magnetic state, 2.00 µB away at one atom"
    )
    # Fixed, fixed with softer mixing, free.
    assert [a[1:3] for a in runs.attempts] == [({}, True), (SOFT, True), (SOFT, False)]


def test_state_that_is_turned_as_a_whole_is_the_same(runs: Any) -> None:
    turned = calculator(-2.0, 2.1)
    assert runs(calculator(2.0, -2.0), turned)[0] is turned


def test_harder_tries_until_one_keeps_the_state(runs: Any) -> None:
    good = calculator(0.7, 0.7)
    second, record = runs(calculator(0.7, 0.7), calculator(1.2, 0.2), None, good)
    assert second is good
    assert len(record["attempts"]) == 3
    assert record["reason"] is None


def test_residual_moments_of_a_nonmagnet_are_not_spin_polarised(runs: Any) -> None:
    found = calculator(0.0, 0.0)
    second, _ = runs(calculator(0.03, -0.02), found)
    assert second is found
    ((moments, _, fixed, _),) = runs.attempts
    assert moments.tolist() == [0.0, 0.0]
    assert not fixed
    atoms = to_atoms(iron(1.1))
    atoms.set_initial_magnetic_moments(moments)
    assert gpaw_parameters(atoms, SETTINGS, {}, fixed_moment=fixed)["spinpol"] is False


# --- what GPAW is given ---------------------------------------------------------------------------


def test_keywords_of_gpaw() -> None:
    atoms = to_atoms(iron(1.1))
    plain = gpaw_parameters(atoms, SETTINGS, {})
    assert plain["eigensolver"] == {"name": "davidson", "niter": 2}
    assert "mixer" not in plain
    assert plain["setups"] == {}
    assert "fixmagmom" not in plain["occupations"]
    fixed = gpaw_parameters(atoms, SETTINGS, SOFT, fixed_moment=True)
    assert fixed["occupations"]["fixmagmom"] is True
    assert fixed["mixer"] == {"name": "msr1", "weight": 50}
    pulay = {"mixer": "pulay", "mixer_beta": 0.05, "mixer_nmaxold": 5, "eigensolver": "ppcg"}
    softer = gpaw_parameters(atoms, SETTINGS, pulay)
    assert softer["mixer"] == {"name": "pulay", "beta": 0.05, "nmaxold": 5}
    assert softer["eigensolver"]["name"] == "ppcg"


def test_atoms_of_different_moments_are_not_exchanged() -> None:
    atoms = to_atoms(iron(1.0))
    assert len(gpaw_parameters(atoms, SETTINGS, {})["symmetry"]["rotations"]) == 48
    assert (gpaw_parameters(atoms, SETTINGS, {})["symmetry"]["atommaps"][0] == [0, 1]).all()
    atoms.set_initial_magnetic_moments([2.2, -2.2])
    assert (gpaw_parameters(atoms, SETTINGS, {})["symmetry"]["atommaps"] == [0, 1]).all()


def test_names_of_datasets_with_hubbard_terms() -> None:
    hubbard = {"hubbard_u_ev": {"Fe": {"d": 4.0, "p": 0.5}, "Mn": {"d": 3}}}
    assert setups({"hubbard_u_ev": {}}, {}) == {}
    assert setups({"hubbard_u_ev": {}}, {"Fe": "3s3p"}) == {"Fe": "3s3p"}
    assert setups(hubbard, {"Fe": "3s3p"}) == {"Fe": "3s3p:d,4;p,0.5", "Mn": ":d,3"}
