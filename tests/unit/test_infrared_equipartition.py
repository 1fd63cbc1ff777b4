"""Spectra with every mode brought to kT: oscillators of random energies, whose answer is known."""

import json

import numpy as np
import pandas as pd
import pytest
from infrared_settings import KM_MOL, SETTINGS
from scipy import constants
from scipy.spatial.transform import Rotation

from dft2spectra.columns import Band
from dft2spectra.molecules.harmonic import normal_modes
from dft2spectra.spectra.bands import integral
from dft2spectra.spectra.dipole import spectrum
from dft2spectra.spectra.equipartition import mode_coordinates
from dft2spectra.spectra.infrared import write_infrared
from dft2spectra.spectra.transform import CM1_FS, read_transform

KT = constants.k / constants.atomic_mass * 1e-10 * 300.0  # u Å²/fs²
MASSES = np.array([15.999, 1.008, 1.008])
WATER = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.47], [0.0, -0.76, -0.47]])
FREQUENCIES = np.array([1600.0, 2600.0, 3700.0])
DERIVATIVES = np.array([[0.0, 0.0, 1.2], [0.0, 0.0, 0.2], [0.0, 0.9, 0.0]])  # D/(Å √u)
INTENSITIES = KM_MOL * (DERIVATIVES**2).sum(axis=1)


@pytest.fixture(scope="module")
def harmonic():
    """Water with the modes of springs between all atoms."""
    hessian = np.zeros((9, 9))
    for i, j, k in ((0, 1, 0.5), (0, 2, 0.5), (1, 2, 0.05)):
        e = (WATER[i] - WATER[j]) / np.linalg.norm(WATER[i] - WATER[j])
        row = np.zeros((3, 3))
        row[i], row[j] = e, -e
        hessian += k * np.outer(row.ravel(), row.ravel())
    modes = normal_modes(hessian, MASSES, WATER)[1]
    return {
        "name": "water",
        "positions_ang": WATER.tolist(),
        "masses_amu": MASSES.tolist(),
        "modes": modes.tolist(),
        "frequencies_cm1": FREQUENCIES.tolist(),
        "intensities_km_mol": INTENSITIES.tolist(),
    }


def oscillators(energies, rng, frequencies=FREQUENCIES, n=6001, step=0.5):
    """Normal coordinates (n, modes) of exact oscillators with these energies in kT."""
    omega = 2.0 * np.pi * CM1_FS * frequencies
    angle = omega * step * np.arange(n)[:, None] + rng.uniform(0.0, 2.0 * np.pi, len(omega))
    return np.sqrt(2.0 * KT * energies) / omega * np.cos(angle)


def test_normal_coordinates_are_found_again_wherever_the_molecule_is(harmonic):
    rng = np.random.default_rng(0)
    wanted = oscillators(np.ones(3), rng, n=50)
    modes = np.array(harmonic["modes"]) / np.sqrt(MASSES)[:, None]
    inside = WATER + np.einsum("nk,kax->nax", wanted, modes)
    turns = Rotation.random(50, random_state=1).as_matrix()
    moved = np.einsum("nxy,nay->nax", turns, inside) + rng.standard_normal((50, 1, 3))
    np.testing.assert_allclose(mode_coordinates(moved, harmonic), wanted, atol=1e-12)


def test_the_scatter_of_energies_is_gone_and_the_mean_right():
    rng = np.random.default_rng(3)
    energies = rng.exponential(size=(60, 3))
    coordinates = [oscillators(e, rng) for e in energies]
    dipoles = [q @ DERIVATIVES for q in coordinates]
    result = spectrum(dipoles, 0.5, 300.0, read_transform(SETTINGS), coordinates)
    np.testing.assert_allclose(result.mode_energies, energies, rtol=0.01)
    for position, intensity in zip(FREQUENCIES, INTENSITIES, strict=True):
        limits = position - 100.0, position + 100.0
        plain = integral(result.wavenumber_cm1, result.trajectories, *limits)
        equal = integral(result.wavenumber_cm1, result.equipartition, *limits)
        assert plain.std() > 0.7 * plain.mean()
        assert equal.std() < 0.02 * equal.mean()
        assert equal.mean() == pytest.approx(intensity, rel=0.005)


def test_modes_that_share_a_band_have_the_right_sum_on_average():
    """What remains is how they share the energy of the band; the mean has no bias."""
    rng = np.random.default_rng(5)
    frequencies = np.array([1700.0, 1708.0, 3700.0])
    energies = rng.exponential(size=(300, 3))
    coordinates = [oscillators(e, rng, frequencies) for e in energies]
    dipoles = [q @ DERIVATIVES for q in coordinates]
    result = spectrum(dipoles, 0.5, 300.0, read_transform(SETTINGS), coordinates)
    plain = integral(result.wavenumber_cm1, result.trajectories, 1600.0, 1800.0)
    equal = integral(result.wavenumber_cm1, result.equipartition, 1600.0, 1800.0)
    wanted = INTENSITIES[0] + INTENSITIES[1]
    error = equal.std() / np.sqrt(len(equal))
    assert abs(equal.mean() - wanted) < 3.0 * error
    assert equal.std() < 0.7 * plain.std()


@pytest.mark.parametrize("undone", [True, False])
def test_the_time_step_of_verlet_drops_out(undone):
    """At 1 fs a mode of 3700 cm⁻¹ with the energy kT by its velocities has an area 14 % off."""
    omega = 2.0 * np.pi * CM1_FS * 3700.0
    x, previous, coordinates = 0.0, -np.sqrt(2.0 * KT) * 1.0, []
    for _ in range(6001):
        coordinates.append(x)
        x, previous = 2.0 * x - previous - omega**2 * x, x
    q = np.array(coordinates)[:, None]
    transform = read_transform(SETTINGS | {"maximum_cm1": 4500.0}, 1.0 if undone else None)
    result = spectrum([q * np.array([1.0, 0.0, 0.0])], 1.0, 300.0, transform, [q])
    area = integral(result.wavenumber_cm1, result.equipartition, 3000.0, 4500.0)
    assert area[0] == pytest.approx(KM_MOL, rel=1e-3)


def test_files_have_it_where_every_dipole_has_a_frame(tmp_path, harmonic):
    rng = np.random.default_rng(11)
    modes = np.array(harmonic["modes"]) / np.sqrt(MASSES)[:, None]
    (tmp_path / "harmonic.json").write_text(json.dumps(harmonic))

    def run(frames):
        paths = []
        for number in range(3):
            q = oscillators(rng.exponential(size=3), rng, n=6001)
            arrays = {
                "time_fs": 0.5 * np.arange(6001),
                "dipole_debye": q @ DERIVATIVES,
                "temperature_k": np.full(6001, 300.0),
                "timestep_fs": np.array(0.5),
                "frame_step": np.arange(0, 6001, frames),
                "positions_ang": (WATER + np.einsum("nk,kax->nax", q, modes))[::frames],
            }
            paths.append(tmp_path / f"{number}.npz")
            np.savez(paths[-1], **arrays)
        outputs = [tmp_path / n for n in ("spectrum.csv", "peaks.csv", "spectrum.png", "e.json")]
        settings = SETTINGS | {
            "undo_verlet_shift": False,
            "prominence": 0.005,
            "assignment_cm1": 100.0,
        }
        write_infrared(paths, tmp_path / "harmonic.json", None, 300.0, settings, *outputs)
        return (
            pd.read_csv(tmp_path / "spectrum.trajectories.csv"),
            pd.read_csv(tmp_path / "peaks.csv"),
            json.loads((tmp_path / "e.json").read_text()),
        )

    each, bands, evaluation = run(1)
    assert bands[Band.EQUIPARTITION].to_numpy() == pytest.approx(INTENSITIES, rel=0.03)
    assert (bands[Band.EQUIPARTITION_ERROR] < 0.01 * bands[Band.EQUIPARTITION]).all()
    assert evaluation["equipartition_total_km_mol"] == pytest.approx(INTENSITIES.sum(), rel=0.01)
    assert np.shape(evaluation["mode_energies_kt"]) == (3, 3)
    own = each[[f"equipartition_{i}" for i in (1, 2, 3)]].to_numpy()
    np.testing.assert_allclose(own.mean(axis=1), each.equipartition, atol=1e-12)

    each, bands, evaluation = run(2)
    assert bands[Band.EQUIPARTITION].isna().all()
    assert "mode_energies_kt" not in evaluation
    assert "equipartition" not in each
