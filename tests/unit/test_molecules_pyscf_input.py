"""Molecules and Kohn–Sham objects given to PySCF, and the settings that are refused."""

import os

import numpy as np
import pytest
from pyscf import lib

from dft2spectra.molecules.pyscf_input import (
    SettingsError,
    build_mean_field,
    build_molecule,
    check_functional,
    complete_settings,
    settings_hash,
)
from dft2spectra.units import BOHR_ANG, EBOHR_DEBYE, HARTREE_CM1, KM_MOL_PER_E2_AMU

SETTINGS = {"xc": "PBE", "basis": "sto-3g", "grid_level": 0}
HYDROGEN = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]


def test_constants_have_their_published_values():
    # CODATA 2018 and PySCF's and Gaussian's printed factors.
    assert pytest.approx(0.529177, abs=1e-6) == BOHR_ANG
    assert pytest.approx(2.541746, abs=1e-6) == EBOHR_DEBYE
    assert pytest.approx(219474.63, abs=0.01) == HARTREE_CM1
    assert pytest.approx(974.88, abs=0.01) == KM_MOL_PER_E2_AMU
    # The same in (D/Å)²/amu: 42.2561, Person and Zerbi, Vibrational Intensities (1982).
    per_debye = KM_MOL_PER_E2_AMU * (BOHR_ANG / EBOHR_DEBYE) ** 2
    assert per_debye == pytest.approx(42.2561, abs=1e-3)


def test_molecule_keeps_atoms_and_closed_shell():
    molecule = build_molecule(["H", "H"], HYDROGEN, 0, SETTINGS)
    assert molecule.nelectron == 2
    assert molecule.spin == 0
    distance = np.linalg.norm(molecule.atom_coord(1) - molecule.atom_coord(0))
    assert distance * BOHR_ANG == pytest.approx(0.74, abs=1e-12)
    assert build_molecule(["O", "H"], HYDROGEN, -1, SETTINGS).nelectron == 10


@pytest.mark.parametrize(
    ("positions", "charge", "message"),
    [
        ([[0.0, 0.0, np.nan], [0.0, 0.0, 0.74]], 0, "not finite"),
        ([[0.0, 0.0, 0.0]], 0, "2 atoms, but positions of shape"),
        (HYDROGEN, 1, "no closed shell"),
        (HYDROGEN, 2, "no closed shell"),
    ],
)
def test_impossible_molecules_are_refused(positions, charge, message):
    with pytest.raises(ValueError, match=message):
        build_molecule(["H", "H"], positions, charge, SETTINGS)


@pytest.mark.parametrize(
    ("key", "basis", "element", "message"),
    [
        ("basis", "def2-spv", "H", "unknown basis 'def2-spv'; did you mean def2svp"),
        ("basis", "6-31g", "I", "6-31g has no functions for I"),
        ("auxiliary_basis", "def2-universal-jfit", "Og", "no functions for Og"),
        ("auxiliary_basis", "nonsense", "H", "auxiliary_basis: unknown basis"),
        ("basis", "def2-svp", "I", "replaces the core of I"),
        ("basis", "gth-szv", "H", "replaces the core of H"),
    ],
)
def test_basis_that_does_not_fit_is_refused(key, basis, element, message):
    settings = {"xc": "PBE", "basis": "ano", "grid_level": 0, key: basis}
    with pytest.raises(SettingsError, match=message):
        build_molecule([element, element], [[0, 0, 0], [0, 0, 2.5]], 0, settings)


@pytest.mark.parametrize(
    "xc",
    [
        "PBE",
        "pbe",
        "LDA,VWN",
        "BLYP",
        "revPBE",
        "PBE,PBE",
        "BP86",
        "r2SCAN",
        "SCAN",
        "TPSS",
        "M06L",
    ],
)
def test_semilocal_functionals_are_taken(xc):
    check_functional(xc)


@pytest.mark.parametrize(
    ("xc", "message"),
    [
        ("PBE0", "exact exchange"),
        ("B3LYP", "exact exchange"),
        ("HF", "exact exchange"),
        ("wB97X", "exact exchange"),
        ("CAM-B3LYP", "exact exchange"),
        ("B97M_V", "nonlocal"),
        ("TPSSh", "exact exchange"),
        ("M06-2X", "exact exchange"),
        ("SCAN_VV10", "nonlocal"),
        ("SCANL", "Laplacian"),
        ("MGGA_X_BR89", "Laplacian"),
        ("SCAN-D3BJ", "dispersion"),
        ("PBE-D3BJ", "dispersion"),
        ("", "no exchange"),
        ("PBEE", "unknown functional 'PBEE'; did you mean PBE"),
    ],
)
def test_other_functionals_are_refused_with_the_reason(xc, message):
    with pytest.raises(SettingsError, match=message):
        check_functional(xc)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid_level": 10}, "grid_level"),
        ({"grid_level": 2.5}, "grid_level"),
        ({"conv_tol": 1e-3}, "conv_tol"),
        ({"conv_tol": 0.0}, "conv_tol"),
        ({"max_cycles": 0}, "max_cycles"),
    ],
)
def test_numbers_out_of_range_are_refused(change, message):
    with pytest.raises(SettingsError, match=message):
        complete_settings({**SETTINGS, **change})


def test_missing_settings_are_named():
    with pytest.raises(SettingsError, match="basis, grid_level not given"):
        complete_settings({"xc": "PBE"})


def test_hash_follows_what_changes_a_number_and_nothing_else():
    base = settings_hash(SETTINGS)
    assert settings_hash({**SETTINGS, "auxiliary_basis": "def2-universal-jfit"}) == base
    assert settings_hash({**SETTINGS, "threads": 8}) == base
    changes = [("xc", "BLYP"), ("basis", "6-31g"), ("auxiliary_basis", "weigend")]
    changes += [("grid_level", 1), ("conv_tol", 1e-8), ("max_cycles", 50)]
    assert len({base, *(settings_hash({**SETTINGS, k: v}) for k, v in changes)}) == 7


def test_hydrogen_is_repeatable_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(lib.param, "TMPDIR", str(tmp_path))
    energies, densities = [], []
    for _ in range(2):
        mean_field = build_mean_field(build_molecule(["H", "H"], HYDROGEN, 0, SETTINGS), SETTINGS)
        assert os.listdir(tmp_path) == []
        energies.append(mean_field.kernel())
        densities.append(mean_field.make_rdm1())
        # While it runs too: a job may be killed here.
        assert os.listdir(tmp_path) == []
        assert mean_field.converged
    assert energies[0] == energies[1]
    np.testing.assert_array_equal(*densities)
    overlap = mean_field.get_ovlp()
    assert np.trace(densities[0] @ overlap) == pytest.approx(2.0, abs=1e-10)
