"""Harmonic reference: oscillators solved by hand, finite differences, symmetry, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import constants

from dft2spectra.molecules.equilibrium import relax
from dft2spectra.molecules.harmonic import (
    harmonic_reference,
    harmonic_table,
    intensities_km_mol,
    normal_modes,
    rigid_motions,
    second_derivatives,
)
from dft2spectra.molecules.measured import measured_bands
from dft2spectra.molecules.pyscf_input import build_mean_field, build_molecule
from dft2spectra.molecules.sources import read_molecule
from dft2spectra.units import BOHR_ANG, KM_MOL_PER_E2_AMU

SETTINGS = {"xc": "PBE", "basis": "def2-svp", "grid_level": 2, "conv_tol": 1e-10}
BANDS = Path(__file__).parents[2] / "data" / "molecules"


def silent(line):
    pass


def diatomic(constant):
    """Hessian of a spring along z."""
    hessian = np.zeros((6, 6))
    hessian[2, 2] = hessian[5, 5] = constant
    hessian[2, 5] = hessian[5, 2] = -constant
    return hessian


def test_diatomic_by_hand():
    """ω = √(k/µ) and A ∝ (dµ/dr)²/µ: HCl, k = 516 N/m, gives its 2990 cm⁻¹ (Herzberg 1950)."""
    masses = np.array([1.00783, 34.96885])
    reduced = masses.prod() / masses.sum()
    si = constants.physical_constants
    constant = 516.3 * si["Bohr radius"][0] ** 2 / si["Hartree energy"][0]
    frequencies, modes, rigid = normal_modes(diatomic(constant), masses, [[0, 0, 0], [0, 0, 1.27]])
    by_hand = np.sqrt(516.3 / (reduced * constants.atomic_mass)) / (200 * np.pi * constants.c)
    assert by_hand == pytest.approx(2990.0, abs=3.0)
    assert frequencies == pytest.approx([by_hand], rel=1e-9)
    assert np.abs(rigid).max() < 1e-6
    slope = np.zeros((6, 3))
    slope[2, 2], slope[5, 2] = -0.2, 0.2
    expected = KM_MOL_PER_E2_AMU * 0.2**2 / reduced
    assert intensities_km_mol(slope, modes, masses) == pytest.approx([expected])


def test_linear_triatomic_by_hand():
    """Springs of CO2: √(k/m_O) and √(k(1/m_O + 2/m_C)); two flat bends (Herzberg 1945, p. 172)."""
    masses, constant = np.array([15.999, 12.011, 15.999]), 1.0
    positions = np.array([[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]])
    hessian = np.zeros((9, 9))
    for a, b in ((0, 1), (1, 2)):
        stretch = np.zeros(9)
        stretch[3 * a + 2], stretch[3 * b + 2] = -1, 1
        hessian += constant * np.outer(stretch, stretch)
    frequencies, modes, _ = normal_modes(hessian, masses, positions)
    assert len(frequencies) == 4
    assert frequencies[:2] == pytest.approx([0, 0], abs=1e-3)
    ratio = np.sqrt(1 + 2 * masses[0] / masses[1])
    assert frequencies[3] / frequencies[2] == pytest.approx(ratio)
    # Charges −q, 2q, −q: the symmetric stretch keeps the dipole zero.
    dipoles = np.kron([[-0.3], [0.6], [-0.3]], np.eye(3))
    strengths = intensities_km_mol(dipoles, modes, masses)
    assert strengths[2] == pytest.approx(0.0, abs=1e-9)
    assert strengths[3] > 10.0


def test_negative_curvature_is_a_negative_number():
    frequencies, _, _ = normal_modes(diatomic(-0.3), [1.0, 1.0], [[0, 0, 0], [0, 0, 1]])
    assert frequencies[0] < -1000.0


@pytest.mark.parametrize(
    ("positions", "count"),
    [
        ([[0, 0, 0], [0, 0, 1.1]], 5),
        ([[0, 0, 0], [0.3, 0.2, 1.1], [-0.6, -0.4, -2.2]], 5),
        ([[0, 0, 0], [0, 0, 1.1], [0, 0.2, 2.2]], 6),
    ],
)
def test_rigid_motions_of_linear_and_bent_molecules(positions, count):
    masses = np.array([12.0, 1.0, 16.0])[: len(positions)]
    rigid = rigid_motions(masses, positions)
    assert rigid.shape == (3 * len(masses), count)
    np.testing.assert_allclose(rigid.T @ rigid, np.eye(count), atol=1e-9)


def run(symbols, positions, charge, settings):
    built = build_molecule(symbols, positions, charge, settings)
    mean_field = build_mean_field(built, settings)
    mean_field.kernel()
    assert mean_field.converged
    return mean_field


def test_derivatives_agree_with_finite_differences():
    """Against forces and dipoles at displaced geometries, in three random directions."""
    settings = {"xc": "PBE", "basis": "sto-3g", "grid_level": 4, "conv_tol": 1e-12}
    symbols = ["O", "H", "H"]
    # No symmetry and no minimum: every term counts.
    positions = np.array([[0.02, 0.01, 0.12], [0.03, 0.78, -0.5], [-0.05, -0.74, -0.44]])
    hessian, dipoles = second_derivatives(run(symbols, positions, 0, settings))
    random = np.random.default_rng(7)
    step = 2e-3
    for _ in range(3):
        direction = random.standard_normal((3, 3))
        direction /= np.linalg.norm(direction)
        gradients, moments = [], []
        for sign in (1, -1):
            moved = run(symbols, positions + sign * step * BOHR_ANG * direction, 0, settings)
            derivative = moved.nuc_grad_method()
            derivative.grid_response = True
            gradients.append(derivative.kernel().ravel())
            moments.append(moved.dip_moment(unit="AU", verbose=0))
        slope = (gradients[0] - gradients[1]) / (2 * step)
        # The analytic Hessian keeps its grid still: 1e-4 of elements up to 0.9 Ha/bohr².
        np.testing.assert_allclose(hessian @ direction.ravel(), slope, atol=3e-4)
        slope = (moments[0] - moments[1]) / (2 * step)
        np.testing.assert_allclose(dipoles.T @ direction.ravel(), slope, atol=3e-5)


def test_dipole_of_an_ion_follows_its_charge():
    """Σ_A ∂µ/∂R_A = charge · 1, in any basis; the still grid breaks it by 2e-4 at level 1."""
    settings = {"xc": "PBE", "basis": "6-31g", "grid_level": 5}
    ion = run(["O", "H"], [[0, 0, 0], [0.2, 0.1, 0.96]], -1, settings)
    dipoles = second_derivatives(ion)[1]
    np.testing.assert_allclose(dipoles.reshape(2, 3, 3).sum(axis=0), -np.eye(3), atol=1e-5)


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    record = tmp_path_factory.mktemp("relax") / "water.json"
    relaxed = relax(read_molecule({"name": "water"}), SETTINGS, record, progress=silent)
    return relaxed, harmonic_reference(relaxed, SETTINGS, progress=silent)


def test_water_has_its_three_bands(water):
    """PBE without scaling is within 3 % of the measured fundamentals for water."""
    measured = measured_bands("water", BANDS)
    rows = harmonic_table(water[1])
    assert [row["mode"] for row in rows] == [1, 2, 3]
    for row, band in zip(rows, measured, strict=True):
        assert row["frequency_cm1"] == pytest.approx(band["position_cm1"], rel=0.03)
        assert not row["imaginary"]
    strengths = [row["intensity_km_mol"] for row in rows]
    # Bend strongest, symmetric stretch weakest, as measured.
    assert np.argsort(strengths).tolist() == [1, 2, 0]


def test_water_reference_is_complete(water):
    reference = json.loads(json.dumps(water[1]))
    assert reference["n_imaginary"] == 0
    # The still grid of level 2 is all that keeps rigid motions from zero.
    assert np.abs(reference["rigid_cm1"]).max() < 80.0
    modes = np.array(reference["modes"]).reshape(3, 9)
    np.testing.assert_allclose(modes @ modes.T, np.eye(3), atol=1e-10)
    assert reference["max_force_ev_ang"] < 0.01
    # PBE: 1.8–1.9 D (measured 1.855 D), along the axis of symmetry.
    assert np.linalg.norm(reference["dipole_debye"]) == pytest.approx(1.9, abs=0.15)


def test_rigid_motions_vanish_with_a_finer_grid(water):
    coarse, fine = (
        np.abs(
            normal_modes(
                second_derivatives(run(w["symbols"], w["positions_ang"], 0, {**SETTINGS, **g}))[0],
                water[1]["masses_amu"],
                w["positions_ang"],
            )[2][:3]
        ).max()
        for w, g in ((water[0], {}), (water[0], {"grid_level": 5}))
    )
    assert fine < 10.0
    assert fine < 0.3 * coarse


def test_unrelaxed_molecule_is_refused():
    molecule = read_molecule({"name": "water"})
    molecule["positions_ang"][1][1] += 0.1
    with pytest.raises(ValueError, match="relax it with the same settings first"):
        harmonic_reference(molecule, {**SETTINGS, "basis": "sto-3g"}, progress=silent)


def test_unconverged_and_single_atoms_are_refused():
    molecule = read_molecule({"name": "water"})
    with pytest.raises(ValueError, match="not converged in 1 cycles"):
        harmonic_reference(molecule, {**SETTINGS, "max_cycles": 1}, progress=silent)
    atom = {**molecule, "symbols": ["He"], "positions_ang": [[0.0, 0.0, 0.0]]}
    with pytest.raises(ValueError, match="no vibration"):
        harmonic_reference(atom, SETTINGS, progress=silent)
