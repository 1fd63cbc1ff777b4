"""The cost estimate: sizes against GPAW and against records, constants against their table."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dft2spectra.crystals import cost
from dft2spectra.crystals.cost import dataset, estimate, machine_factor, scf_runs
from dft2spectra.crystals.plan import RANGE
from dft2spectra.crystals.starts import start_moments, to_atoms
from dft2spectra.structures.sources import collect

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "cutoff_ev": 400,
    "kpoint_density_ang": 3.5,
    "xc": "PBE",
    "starts": ["ferromagnetic"],
    "semicore_efg": True,
    "eigensolver": "davidson",
    "hubbard_u_ev": {},
}


@pytest.fixture(scope="module")
def crystals() -> dict[str, dict]:
    """Bundled crystals by name."""
    source = {"kind": "files", "path": str(ROOT / "data" / "structures")}
    accepted, _ = collect([source], {"max_atoms": 24})
    return {structure["name"]: structure for structure in accepted}


def test_known_without_gpaw() -> None:
    """The Snakefile asks at every start; GPAW takes a second to load."""
    assert Path(cost.__file__).read_text("utf-8").count("import gpaw") == 0


@pytest.mark.parametrize("element", ["Fe", "Al", "N", "Pt", "Ti"])
def test_datasets_are_those_of_gpaw(element: str) -> None:
    from gpaw.setup_data import SetupData

    from dft2spectra.crystals import gpaw_input  # noqa: F401, tells GPAW where 3s3p is

    for name in ["", "3s3p"] if element == "Fe" else [""]:
        data = SetupData(element, "PBE", name or "paw")
        bound = sum(2 * l + 1 for n, l in zip(data.n_j, data.l_j, strict=True) if n > 0)
        assert dataset(element, "PBE", name) == cost.Dataset(data.Nv, bound)


def test_no_dataset() -> None:
    with pytest.raises(FileNotFoundError, match=r"Fe\.4f\.PBE"):
        dataset("Fe", "PBE", "4f")


# Valence electrons and irreducible k-points of GPAW in records of the default campaign.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Fe", (8, 56)),
        ("FeAl", (11, 35)),
        ("FePt", (24, 60)),
        ("Fe4N", (37, 20)),
        ("FeSi", (48, 11)),
    ],
)
def test_sizes_are_those_of_records(
    crystals: dict[str, dict], name: str, expected: tuple[int, int]
) -> None:
    run = scf_runs(crystals[name], SETTINGS)[0]
    assert (run.electrons, run.kpoints) == expected
    assert run.spins == (1 if name == "FeSi" else 2)


@pytest.mark.parametrize("name", ["Fe", "Fe3Si", "FeSi", "Fe2P", "Fe3O4"])
def test_sizes_are_those_of_gpaw(crystals: dict[str, dict], name: str) -> None:
    """Set up by GPAW itself."""
    from gpaw.dft import Parameters

    from dft2spectra.crystals.gpaw_input import gpaw_parameters

    structure = crystals[name]
    rest = {"smearing_ev": 0.1, "max_iterations": 10}
    rest["convergence"] = {"energy_ev_per_electron": 1, "density": 1, "eigenstates": 1}
    settings = SETTINGS | rest | {"kpoint_density_ang": 2.0, "semicore_efg": False}
    atoms = to_atoms(structure)
    atoms.set_initial_magnetic_moments(start_moments("ferromagnetic", structure))
    (run,) = scf_runs(structure, settings)
    keywords = gpaw_parameters(atoms, settings, {})
    built = Parameters(**keywords).dft_component_builder(atoms)
    assert run.kpoints == len(built.ibz)
    assert run.bands == built.nbands
    assert run.electrons == built.setups.nvalence


def test_starts_and_semicore_run_add_up(crystals: dict[str, dict]) -> None:
    assert len(scf_runs(crystals["Fe"], SETTINGS)) == 1  # cubic: no gradient, no second run
    iron = crystals["FePt"]
    one, semicore = scf_runs(iron, SETTINGS)
    assert semicore.electrons == one.electrons + 8
    assert semicore.plane_waves == pytest.approx(one.plane_waves * 1.5**1.5)
    both = SETTINGS | {"starts": ["ferromagnetic", "nonmagnetic", "alternating"]}
    # One magnetic atom has no alternating start; without moments there is one spin.
    spins = [run.spins for run in scf_runs(iron, both)]
    assert spins == [2, 1, 2]
    assert estimate(iron, both).core_seconds > estimate(iron, SETTINGS).core_seconds
    slow = estimate(iron, SETTINGS, machine_factor=3.0).core_seconds - cost.STARTUP_S
    assert slow == pytest.approx(3.0 * (estimate(iron, SETTINGS).core_seconds - cost.STARTUP_S))


def test_number_of_plane_waves(crystals: dict[str, dict]) -> None:
    """Volume × k³/6π²: for α-Fe (11.82 Å³) at 400 eV, k = 10.246 Å⁻¹, that is 214.7."""
    volume = to_atoms(crystals["Fe"]).get_volume()
    wanted = volume * 10.246**3 / (6 * np.pi**2)
    assert scf_runs(crystals["Fe"], SETTINGS)[0].plane_waves == pytest.approx(wanted, rel=1e-3)


def test_machine_factor_needs_three_records() -> None:
    assert machine_factor([20.0, 30.0], [10.0, 10.0]) == 1.0
    assert machine_factor([20.0, 30.0, 500.0], [10.0, 10.0, 10.0]) == 3.0


def test_constants_and_error_are_those_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "cost", raising=False)
    from cost import fit

    table = pd.read_csv(ROOT / "docs" / "cost.csv")
    seconds, iterations = fit(table)
    np.testing.assert_allclose(
        seconds, [cost.SECONDS_PER_KPOINT, cost.SECONDS_PER_COEFFICIENT], rtol=0.03
    )
    np.testing.assert_allclose(iterations, [cost.ITERATIONS, cost.ITERATIONS_PER_ATOM], rtol=0.03)
    rest = table.drop_duplicates("structure_id").rest_s.median()
    records = table.groupby("structure_id")[["processor_time_s", "predicted_s"]].sum() + rest
    ratio = records.processor_time_s / records.predicted_s
    np.testing.assert_allclose(ratio.quantile([0.05, 0.95]), RANGE, rtol=0.03)
    assert 0.8 < ratio.median() < 1.25


def test_cost_without_symmetry_is_an_upper_limit(crystals: dict[str, dict]) -> None:
    """What is known without a search for symmetry is never below the estimate."""
    for structure in crystals.values():
        exact, limit = estimate(structure, SETTINGS), estimate(structure, SETTINGS, symmetry=False)
        assert limit.kpoints >= exact.kpoints
        assert limit.core_seconds >= exact.core_seconds
        assert limit.memory_mb >= exact.memory_mb
