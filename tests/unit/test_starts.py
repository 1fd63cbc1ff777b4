"""What a calculation starts from, and when two starts ended in one state; without GPAW's SCF."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dft2spectra.columns import Status
from dft2spectra.crystals import gpaw_runner, scf
from dft2spectra.crystals.gpaw_runner import ionic_without_u, run_starts, states_within_mev
from dft2spectra.crystals.scf import Work, climb_ladder, even_moments
from dft2spectra.crystals.starts import (
    FERROMAGNETIC_FE_MUB,
    REDUCED,
    start_moments,
    to_atoms,
    with_total,
)


def crystal(symbols: str, *moments: float, **changes: Any) -> dict[str, Any]:
    """A row of atoms; labels count the atoms of an element as one site."""
    names = symbols.split()
    return {
        "cell_ang": np.diag([2.8, 2.8, 2.8 * len(names)]).tolist(),
        "symbols": names,
        "scaled_positions": [[0.0, 0.0, i / len(names)] for i in range(len(names))],
        "site_labels": [f"{name}1" for name in names],
        "initial_moments_mub": list(moments),
        **changes,
    }


def assert_start(name: str, structure: dict[str, Any], expected: list[float] | None) -> None:
    found = start_moments(name, structure)
    if expected is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, expected)


def test_simple_starts() -> None:
    iron = crystal("Fe Fe", -2.0, 2.0)
    assert_start("nonmagnetic", iron, [0, 0])
    assert_start("given", iron, [-2, 2])
    assert_start("given", crystal("Fe Fe", 2.0, 2.0), None)
    assert_start("alternating", iron, [2.5, -2.5])
    assert_start("alternating", iron | {"site_labels": ["Fe1", "Fe2"]}, [2.5, -2.5])
    assert_start("alternating", crystal("Fe", 2.0), None)


def test_ferromagnetic_start_lifts_magnetic_iron_alone() -> None:
    assert FERROMAGNETIC_FE_MUB == 2.5
    mixed = crystal("Fe Fe Fe Co Al", 2.0, -3.0, 0.0, -1.6, 0.0)
    assert_start("ferromagnetic", mixed, [2.5, 3.0, 0.0, 1.6, 0.0])


def test_manganese_is_turned_against_iron_where_both_are() -> None:
    assert_start("mn_antiparallel", crystal("Fe Mn Si", 2.3, 2.0, 0.1), [2.5, -2.0, 0.1])
    assert_start("mn_antiparallel", crystal("Fe Co", 2.3, 1.6), None)
    assert_start("mn_antiparallel", crystal("Mn Si", 2.0, 0.0), None)


@pytest.mark.parametrize("partner", ["Al", "Si", "Ga", "Ge", "Sn"])
def test_reduced_start_where_several_moments_can_be_stable(partner: str) -> None:
    assert REDUCED == 0.4
    assert_start("reduced", crystal(f"Fe {partner}", 2.3, 0.0), [1.0, 0.0])
    assert_start("reduced", crystal(f"Fe {partner}", 0.0, 0.0), None)
    assert_start("reduced", crystal("Fe Pt", 2.3, 0.3), None)


def test_moments_with_a_given_total() -> None:
    np.testing.assert_allclose(with_total(np.array([2.0, 1.0]), 3.3), [2.2, 1.1])
    # Of opposite moments both move up, in proportion to their sizes.
    np.testing.assert_allclose(with_total(np.array([2.0, -1.0]), 1.3), [2.2, -0.9])
    with pytest.raises(ValueError, match="no total moment to share"):
        with_total(np.zeros(2), 1.0)


def test_noise_of_moments_breaks_no_symmetry() -> None:
    found = even_moments(np.array([2.001, -1.0, 2.003, 2.2]))
    assert found[0] == found[2] == pytest.approx(2.002)
    assert found.tolist()[1::2] == [-1.0, 2.2]
    assert even_moments(np.array([2.0, -2.0]), total=0.0).sum() == pytest.approx(0.0)


# --- which state is kept --------------------------------------------------------------------------


def state(energy_ev: float, *moments: float) -> dict[str, Any]:
    return {"energy_ev": energy_ev, "moments_mub": list(moments)}


def test_energy_to_the_next_other_state() -> None:
    low, same, high, higher = (
        state(-8.000, 1.87, 0.0),
        state(-7.999, -1.80, 0.05),  # turned as a whole, and less than 0.1 µB away
        state(-7.970, 0.88, 0.0),
        state(-7.000, 0.0, 0.0),
    )
    assert states_within_mev([low], 1) is None
    assert states_within_mev([same, low], 1) is None
    assert states_within_mev([higher, high, same, low], 1) == 30.0
    assert states_within_mev([higher, high, low], 2) == 15.0
    # Moments of equal size in another order are another state.
    parallel, antiparallel = state(-8.000, 2.2, 2.2), state(-7.990, 2.2, -2.2)
    assert states_within_mev([parallel, antiparallel], 2) == 5.0
    assert states_within_mev([antiparallel, state(-7.989, -2.2, 2.2)], 2) is None


class Calculator:
    """What a converged calculation is asked for."""

    def __init__(self, energy_ev: float, *moments: float) -> None:
        self.energy_ev, self.moments = energy_ev, np.array(moments)

    def get_potential_energy(self) -> float:
        return self.energy_ev

    def get_magnetic_moment(self) -> float:
        return float(self.moments.sum())

    def get_magnetic_moments(self) -> np.ndarray:
        return self.moments


LADDER = [{}, {"start_moment_scale": 0.4}, {"mixer_weight": 50}, {"fixed_moments": True}]
ITINERANT = crystal("Fe Ge", 2.0, 0.0)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    settings = {"ladder": LADDER, "starts": ["ferromagnetic", "reduced"], "hubbard_u_ev": {}}
    return Work(settings, lambda line: None, tmp_path, {})


def results(monkeypatch: pytest.MonkeyPatch, **by_start: Any) -> list[tuple[str, list[dict]]]:
    """Calculations that end as told; the starts that were asked for with their ladders."""
    asked = []

    def ladder(name: str, atoms: Any, work: Work) -> tuple[Any, dict[str, Any]]:
        asked.append((name, work.settings["ladder"]))
        calculator, changes = by_start[name]
        outcome = {"changes": changes, "error": "no self-consistency in 60 iterations"}
        start = {"name": name, "attempts": [outcome], "status": str(Status.NOT_CONVERGED)}
        return calculator, start | (scf.converged_state(calculator) if calculator else {})

    monkeypatch.setattr(gpaw_runner, "climb_ladder", ladder)
    return asked


def test_lowest_state_is_kept_with_a_flag(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    high, low = Calculator(-12.993, 1.87, 0.0), Calculator(-13.006, 0.88, 0.0)
    asked = results(monkeypatch, ferromagnetic=(high, {}), reduced=(low, {}))
    kept, part = run_starts(ITINERANT, work)
    assert kept is low
    assert (part["chosen_start"], part["total_moment_mub"]) == ("reduced", 0.88)
    assert (part["states_within_mev"], part["ambiguous_state"]) == (13.0, True)
    # What would turn a later start into another one is left out of its ladder.
    assert asked == [("ferromagnetic", LADDER), ("reduced", [{}, {"mixer_weight": 50}])]


def test_two_starts_of_one_state_are_no_ambiguity(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Calculator(-13.0, 1.0, 0.0)
    results(monkeypatch, ferromagnetic=(one, {}), reduced=(Calculator(-12.999, 1.0, 0.0), {}))
    _, part = run_starts(ITINERANT, work)
    assert (part["states_within_mev"], part["ambiguous_state"]) == (None, False)


@pytest.mark.parametrize(
    "first",
    [
        (Calculator(-13.0, 0.0, 0.0), {}),  # lost its moments
        (Calculator(-13.0, 0.9, 0.0), {"start_moment_scale": 0.4}),  # came from reduced ones
    ],
)
def test_reduced_start_is_left_out_where_it_was_tried(
    work: Work, monkeypatch: pytest.MonkeyPatch, first: tuple[Calculator, dict[str, Any]]
) -> None:
    asked = results(monkeypatch, ferromagnetic=first)
    _, part = run_starts(ITINERANT, work)
    assert [name for name, _ in asked] == ["ferromagnetic"]
    assert part["starts"][1]["status"] == "same_as_ferromagnetic"


def test_whole_ladder_while_nothing_converged(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = results(monkeypatch, ferromagnetic=(None, {}), reduced=(None, {}))
    kept, part = run_starts(ITINERANT, work)
    assert kept is None
    assert [ladder for _, ladder in asked] == [LADDER, LADDER]
    assert part["status"] == "not_converged"
    assert part["reason"].startswith("no self-consistency in 60 iterations")


# --- fixed moments --------------------------------------------------------------------------------


def fixed_points(
    monkeypatch: pytest.MonkeyPatch, energies: dict[float, float], released: Calculator | None
) -> list[tuple[list[float], bool]]:
    """Attempts at fixed totals with these energies; moments and whether they were fixed."""
    asked = []

    def attempt(atoms, work, rung, name, *, fixed_moment=False):
        moments = atoms.get_initial_magnetic_moments()
        asked.append((moments.round(4).tolist(), fixed_moment))
        if name.endswith("released"):
            found = released
        else:
            energy = energies.get(float(moments.sum()))
            found = None if energy is None else Calculator(energy, *moments)
        status = Status.NOT_CONVERGED if found is None else Status.CONVERGED
        outcome = {"changes": rung, "status": str(status), "error": "no self-consistency"}
        return found, outcome | ({"energy_ev": found.energy_ev} if found else {})

    monkeypatch.setattr(scf, "attempt", attempt)
    return asked


def climb(work: Work) -> tuple[Any, dict[str, Any]]:
    only = replace(work, settings=work.settings | {"ladder": [{"fixed_moments": True}]})
    return climb_ladder("ferromagnetic", to_atoms(ITINERANT), only)


def test_lowest_fixed_moment_is_let_go(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    free = Calculator(-13.2, 0.85, 0.0)
    energies = {0.0: -13.0, 0.5: -13.1, 1.0: -13.15, 1.5: -13.05}
    asked = fixed_points(monkeypatch, energies, free)
    kept, record = climb(work)
    assert kept is free
    assert "note" not in record
    fixed = [([m, 0.0], m > 0) for m in (0.0, 0.5, 1.0, 1.5)]
    assert asked == [*fixed, ([1.0, 0.0], False)]
    assert [a.get("energy_ev") for a in record["attempts"]] == [-13.0, -13.1, -13.15, -13.05, -13.2]


def test_lowest_fixed_moment_is_kept_with_a_note(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed_points(monkeypatch, {0.0: -13.0, 1.0: -13.15}, None)
    kept, record = climb(work)
    assert (kept.energy_ev, record["status"]) == (-13.15, "converged")
    assert "the total moment is fixed at 1.00 µB, the lowest of 2 points" in record["note"]


def test_spin_paired_state_is_kept_where_it_is_lowest(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = fixed_points(monkeypatch, {0.0: -13.282, 0.5: -13.204, 1.0: -13.171}, None)
    kept, record = climb(work)
    assert kept.energy_ev == -13.282
    assert len(asked) == 4
    assert "spin-paired state is below those of fixed moments" in record["note"]


def test_no_fixed_moment_converges(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed_points(monkeypatch, {}, None)
    kept, record = climb(work)
    assert kept is None
    assert record["status"] == "not_converged"


# --- flags ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbols", "hubbard", "expected"),
    [
        ("Fe O", {}, True),
        ("Fe F F", {"Mn": {"d": 3.0}}, True),
        ("Fe O", {"Fe": {"d": 4.0}}, False),
        ("Fe S S", {}, False),
        ("Fe Al", {}, False),
    ],
)
def test_ionic_flag(symbols: str, hubbard: dict[str, Any], expected: bool) -> None:
    structure = {"symbols": symbols.split()}
    assert ionic_without_u(structure, {"hubbard_u_ev": hubbard}) is expected
