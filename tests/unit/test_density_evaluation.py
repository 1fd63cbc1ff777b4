"""Evaluation of a density model on test geometries: numbers, intervals, files, refusals."""

import numpy as np
import pandas as pd
import pytest
from density_labels import (
    COUNTS,
    MOLECULE,
    PYSCF,
    SECTION,
    SYMBOLS,
    WATER_ANG,
    labels,
    write_label_file,
)

from dft2spectra.columns import DensityTest as Column
from dft2spectra.density.comparison import density_error, one_shot_errors
from dft2spectra.density.evaluation import (
    check_test_set,
    compare_all,
    evaluate_density_model,
    summarize,
)
from dft2spectra.density.intervals import (
    estimate,
    mean,
    proportion,
    root_mean_square,
    scatter,
)
from dft2spectra.density.jacobi_legendre_fit import BASIS_KEYS
from dft2spectra.density.model import Basis, DensityModel, ModelError
from dft2spectra.density.training import fit_density_model
from dft2spectra.molecules.labels import label_batch, label_geometry
from dft2spectra.records import read_json
from dft2spectra.units import HARTREE_EV

OUTPUTS = ("evaluation.json", "errors.parquet", "forces.png", "errors.png", "uncertainty.png")


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def model():
    return fit_density_model([*labels("train"), *labels("validation")], SECTION, PYSCF, silent)


def empty_model(symbols=("H", "O"), target="difference") -> DensityModel:
    """Coefficients of zero: nothing is added to the free atoms, or nothing at all is predicted."""
    basis = Basis(symbols, {key: SECTION[key] for key in BASIS_KEYS})
    size = sum(basis.terms.sizes)
    return DensityModel(basis, np.zeros(size), np.zeros((0, size)), {"target": target})


# --- one geometry ----------------------------------------------------------------------------


def test_density_error_of_known_predictions():
    label = labels("test")[0]
    atoms = density_error(empty_model(), label, PYSCF)
    assert atoms.model_percent == pytest.approx(atoms.free_atoms_percent, rel=1e-12)
    assert 5.0 < atoms.free_atoms_percent < 30.0
    # Nothing predicted: all electrons are missing.
    nothing = density_error(empty_model(target="full"), label, PYSCF)
    assert nothing.model_percent == pytest.approx(100.0, rel=1e-12)
    assert nothing.free_atoms_percent == pytest.approx(atoms.free_atoms_percent, rel=1e-12)


def test_one_shot_errors_are_differences_to_the_label(model):
    label = labels("test")[0]
    errors = one_shot_errors(model, label, PYSCF)
    assert errors.force_mae_mev_ang < 60.0
    assert errors.dipole_debye < 0.05
    shift, push = 0.01, np.full((3, 3), 0.002)
    moved = {
        **label,
        "energy_ha": label["energy_ha"] + shift,
        "homo_ha": label["homo_ha"] + shift,
        "forces_ha_per_bohr": label["forces_ha_per_bohr"] + push,
    }
    other = one_shot_errors(model, moved, PYSCF)
    assert errors.energy_mev - other.energy_mev == pytest.approx(1e3 * HARTREE_EV * shift)
    assert other.gap_mev - errors.gap_mev == pytest.approx(1e3 * HARTREE_EV * shift)
    np.testing.assert_array_equal(other.forces_ev_ang, errors.forces_ev_ang)
    # 0.002 hartree/bohr are 0.10284 eV/Å (51.422 eV/Å per hartree/bohr).
    np.testing.assert_allclose(
        other.reference_forces_ev_ang - errors.reference_forces_ev_ang, 0.102844, atol=1e-5
    )


def test_dipole_error_of_an_ion_does_not_depend_on_the_origin():
    hydronium = {"name": "ion", "symbols": ["O", "H", "H", "H"], "charge": 1}
    place = np.array([[0, 0, 0.08], [0.93, 0, -0.2], [-0.47, 0.81, -0.2], [-0.47, -0.81, -0.2]])
    found = []
    for shift in (np.zeros(3), np.array([1.0, -2.0, 3.0])):
        label = label_geometry(hydronium, place + shift, PYSCF)
        label |= {**hydronium, "positions_ang": place + shift}
        found.append(one_shot_errors(empty_model(), label, PYSCF).dipole_debye)
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    assert found[0] < 5.0


# --- statistics ------------------------------------------------------------------------------


def test_statistics_of_known_numbers():
    values = np.array([1.0, 2.0, 3.0, 6.0])
    ones = np.ones((1, 4))
    assert mean(values, ones) == pytest.approx(3.0)
    assert root_mean_square(values, ones) == pytest.approx(np.sqrt(12.5))
    assert scatter(values, ones) == pytest.approx(np.sqrt(3.5))
    assert mean(values, np.array([[0.0, 0.0, 1.0, 2.0]])) == pytest.approx(5.0)
    # A constant of hartrees does not eat the digits of millielectronvolts.
    assert scatter(values * 1e-6 + 1e5, ones) == pytest.approx(np.sqrt(3.5) * 1e-6, rel=1e-4)


def test_bootstrap_interval_is_that_of_a_normal_mean():
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    found = estimate(mean, values)
    assert found["value"] == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(400)
    np.testing.assert_allclose(found["ci95"], values.mean() + half * np.array([-1, 1]), atol=0.03)
    assert estimate(mean, values) == found


def test_undefined_numbers_have_no_value_and_one_has_no_interval():
    assert estimate(mean, np.array([1.0, np.nan])) == {"value": None, "ci95": None}
    assert estimate(mean, np.array([1.0])) == {"value": 1.0, "ci95": None}


def test_wilson_interval_of_published_cases():
    # R. G. Newcombe, Stat. Med. 17, 857 (1998), table I, method 3: 81/263, 15/148, 0/20, 1/29
    for hits, count, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert proportion(hits, count)["ci95"] == pytest.approx([low, high], abs=5e-5)


# --- the whole -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluated(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    model.write(folder / "model.npz")
    given = [write_label_file(folder / "all.npz", "test", "validation", "train")]
    lines: list[str] = []
    outputs = [folder / name for name in OUTPUTS]
    evaluate_density_model(folder / "model.npz", given, PYSCF, *outputs, progress=lines.append)
    return folder, lines


def test_files_of_an_evaluation(evaluated):
    folder, lines = evaluated
    for name in OUTPUTS[2:]:
        assert (folder / name).stat().st_size > 5000
        assert (folder / name).with_suffix(".svg").exists()
    table = pd.read_parquet(folder / "errors.parquet")
    assert list(table.columns) == [str(column) for column in Column]
    assert len(table) == COUNTS["test"] == len(lines)
    assert all(frame.startswith("test-") for frame in table[Column.FRAME])
    np.testing.assert_allclose(
        pd.read_csv(folder / "errors.csv")[Column.ENERGY], table[Column.ENERGY]
    )


def test_summary_follows_from_the_table(evaluated):
    folder, _ = evaluated
    table = pd.read_parquet(folder / "errors.parquet")
    summary = read_json(folder / "evaluation.json")
    everything = summary["all"]
    energy = table[Column.ENERGY]
    assert summary["n_test"] == COUNTS["test"]
    assert everything["energy_mean_error_mev"]["value"] == pytest.approx(energy.mean())
    rms = np.sqrt(((energy - energy.mean()) ** 2).mean())
    assert everything["energy_rms_about_mean_mev"]["value"] == pytest.approx(rms)
    assert everything["energy_rms_about_mean_mev_per_atom"]["value"] == pytest.approx(rms / 3)
    assert everything["force_mae_mev_ang"]["value"] == pytest.approx(table[Column.FORCE_MAE].mean())
    squares = (table[Column.FORCE_RMSE] ** 2).mean()
    assert everything["force_rmse_mev_ang"]["value"] == pytest.approx(np.sqrt(squares))
    density = everything["density_error_percent"]
    assert density["ci95"][0] <= density["value"] <= density["ci95"][1]
    assert density["value"] < 0.2 * everything["free_atoms_error_percent"]["value"]
    by_temperature = summary["by_temperature"]
    assert [part["temperature_k"] for part in by_temperature] == [300.0, 600.0]
    cold = table[table[Column.TEMPERATURE] == 300.0]
    expected = cold[Column.DENSITY].mean()
    assert by_temperature[0]["density_error_percent"]["value"] == pytest.approx(expected)
    assert summary["model"]["n_train"] == COUNTS["train"]


def test_unconverged_test_labels_are_rows_without_numbers(model):
    bad = {**labels("test")[1], "status": "not_converged", "reason": "not converged in 5 cycles"}
    rows, forces = compare_all(model, [labels("test")[0], bad], PYSCF, silent)
    table = pd.DataFrame(rows, columns=[str(column) for column in Column])
    assert forces.shape == (2, 9)
    assert np.isnan(table[Column.DENSITY].to_numpy()[1])
    summary = summarize(table, model.card, 3)
    assert (summary["n_test"], summary["n_without_result"]) == (1, 1)


def test_labels_that_cannot_judge_are_refused(model):
    test = list(labels("test"))
    with pytest.raises(ValueError, match=r"no test geometry: raise sampling\.test"):
        check_test_set(model, [], PYSCF)
    for split in ("train", "validation"):
        known = {**test[0], "positions_ang": labels(split)[0]["positions_ang"]}
        with pytest.raises(ValueError, match=r"has seen 1 of the test geometries.*test-0000"):
            check_test_set(model, [known, *test[1:]], PYSCF)
    with pytest.raises(ModelError, match="made with other settings"):
        check_test_set(model, [{**test[0], "settings_hash": "other"}], PYSCF)
    with pytest.raises(ModelError, match="charge"):
        check_test_set(model, [{**test[0], "charge": 1}], PYSCF)
    with pytest.raises(ModelError, match="not S"):
        check_test_set(model, [{**test[0], "symbols": ["S", "H", "H"]}], PYSCF)
    with pytest.raises(ModelError, match=r"pyscf\.xc"):
        check_test_set(model, test, {**PYSCF, "xc": "PBE"})
    with pytest.raises(ModelError, match=r"pyscf\.basis"):
        check_test_set(model, test, {**PYSCF, "basis": "6-31g"})
    check_test_set(model, test, PYSCF)


def test_evaluation_without_any_result_is_an_error(model, tmp_path):
    frame = {"frame": "test-0000", "split": "test", "temperature_k": 300.0}
    collapsed = [{**frame, "positions_ang": 0.2 * WATER_ANG}]
    label_batch({**MOLECULE, "symbols": SYMBOLS}, collapsed, PYSCF, tmp_path / "x.npz", silent)
    model.write(tmp_path / "model.npz")
    outputs = [tmp_path / name for name in OUTPUTS]
    with pytest.raises(ValueError, match=r"no test geometry of 1 has a result: .*collide"):
        evaluate_density_model(
            tmp_path / "model.npz", [tmp_path / "x.npz"], PYSCF, *outputs, progress=silent
        )
