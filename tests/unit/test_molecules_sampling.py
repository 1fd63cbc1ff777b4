"""Sampled geometries: their distribution, their independence, what is refused."""

import numpy as np
import pytest
from scipy import constants, stats

from dft2spectra.molecules.harmonic import normal_modes
from dft2spectra.molecules.sampling import (
    SOFTEST_CM1,
    SPLITS,
    sample_geometries,
    thermal_amplitudes,
)
from dft2spectra.units import BOHR_ANG

MASSES = [15.999, 1.008, 1.008]
WATER = [[0.0, 0.0, 0.119262], [0.0, 0.763239, -0.477047], [0.0, -0.763239, -0.477047]]


def spring_hessian(springs):
    """Hessian (Ha/bohr²) of springs (first, second, constant) at their rest lengths."""
    positions = np.array(WATER)
    hessian = np.zeros((9, 9))
    for first, second, constant in springs:
        axis = positions[second] - positions[first]
        axis /= np.linalg.norm(axis)
        stretch = np.zeros(9)
        stretch[3 * second : 3 * second + 3] = axis
        stretch[3 * first : 3 * first + 3] = -axis
        hessian += constant * np.outer(stretch, stretch)
    return hessian


@pytest.fixture(scope="module")
def reference():
    hessian = spring_hessian([(0, 1, 0.5), (0, 2, 0.5), (1, 2, 0.1)])
    frequencies, modes, _ = normal_modes(hessian, MASSES, WATER)
    return {
        "name": "springs",
        "symbols": ["O", "H", "H"],
        "positions_ang": WATER,
        "masses_amu": MASSES,
        "frequencies_cm1": frequencies.tolist(),
        "modes": modes.tolist(),
        "hessian": hessian,
    }


def displacements(frames):
    return np.array([frame["positions_ang"] for frame in frames]) - np.array(WATER)


def test_energy_of_each_mode_is_half_kt(reference):
    """Equipartition, from the Hessian itself: the harmonic energy is χ²(3) · kT/2."""
    frames = sample_geometries(reference, [300.0], {"train": 3000}, seed=3)
    moved = displacements(frames).reshape(-1, 9) / BOHR_ANG
    energy = 0.5 * np.einsum("fi,ij,fj->f", moved, reference["hessian"], moved)
    hartree = constants.physical_constants["Hartree energy"][0]
    half_kt = 0.5 * constants.k * 300.0 / hartree
    # Mean 3, standard error sqrt(6/3000) = 0.045; and the whole distribution.
    assert np.mean(energy) / half_kt == pytest.approx(3.0, abs=0.15)
    assert stats.kstest(energy / half_kt, stats.chi2(3).cdf).pvalue > 0.01


def test_variance_grows_with_temperature(reference):
    cold, hot = (
        displacements(sample_geometries(reference, [t], {"train": 50}, seed=5))
        for t in (100.0, 400.0)
    )
    # The same random numbers: amplitudes double where kT is four times as large.
    np.testing.assert_allclose(hot, 2.0 * cold, atol=1e-12)


def test_displacements_neither_shift_nor_turn(reference):
    moved = displacements(sample_geometries(reference, [500.0], {"train": 20}, seed=1))
    masses = np.array(MASSES)
    centred = np.array(WATER) - masses @ np.array(WATER) / masses.sum()
    assert np.abs(np.einsum("a,fai->fi", masses, moved)).max() < 1e-12
    assert np.abs((masses[:, None] * np.cross(centred, moved)).sum(axis=1)).max() < 1e-12


def test_more_frames_of_one_split_change_no_other(reference):
    few = sample_geometries(reference, [300.0, 500.0], {"train": 2, "test": 4}, seed=1)
    more = sample_geometries(
        reference, [300.0, 500.0], {"train": 9, "validation": 3, "test": 6}, seed=1
    )
    by_name = {frame["frame"]: frame for frame in more}
    assert len(by_name) == 18
    assert all(by_name[frame["frame"]] == frame for frame in few)
    # No frame stands in two splits under two names.
    first = {tuple(np.ravel(frame["positions_ang"])) for frame in more}
    assert len(first) == 18


def test_temperatures_are_interleaved(reference):
    frames = sample_geometries(reference, [300, 400, 500], {"test": 6}, seed=0)
    assert [frame["temperature_k"] for frame in frames] == [300, 400, 500] * 2
    assert {frame["split"] for frame in frames} == {"test"}
    assert set(SPLITS) == {"train", "validation", "test"}


def test_seed_decides(reference):
    first, again, other = (
        displacements(sample_geometries(reference, [300.0], {"train": 3}, seed=s))
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_soft_modes_are_capped():
    amplitudes = thermal_amplitudes([5.0, SOFTEST_CM1, 2 * SOFTEST_CM1], 300.0)
    assert amplitudes[0] == amplitudes[1]
    assert amplitudes[1] == pytest.approx(2.0 * amplitudes[2])
    # By hand: sqrt(kT)/ω at 300 K and 1000 cm⁻¹ is 0.0838 Å √amu.
    omega = 2e5 * np.pi * constants.c
    by_hand = np.sqrt(constants.k * 300.0 / constants.atomic_mass) / omega * 1e10
    root = np.sqrt(constants.atomic_mass / constants.m_e)
    assert by_hand == pytest.approx(0.08385, abs=1e-4)
    assert thermal_amplitudes([1000.0], 300.0)[0] * BOHR_ANG / root == pytest.approx(by_hand)


def test_colliding_geometries_are_drawn_again(reference):
    soft = {**reference, "frequencies_cm1": [300.0, 300.0, 300.0]}
    frames = sample_geometries(soft, [3000.0], {"train": 100}, seed=1)
    assert sum(frame["redraws"] for frame in frames) > 0
    moved = np.array([frame["positions_ang"] for frame in frames])
    # Radii of H and O: 0.31 and 0.66 Å.
    assert np.linalg.norm(moved[:, 1] - moved[:, 0], axis=1).min() > 0.5 * 0.97
    assert np.linalg.norm(moved[:, 2] - moved[:, 1], axis=1).min() > 0.5 * 0.62


def test_geometry_that_always_collides_is_refused(reference):
    close = {**reference, "positions_ang": (0.3 * np.array(WATER)).tolist()}
    with pytest.raises(ValueError, match="100 geometries in a row collide"):
        sample_geometries(close, [1.0], {"train": 1}, seed=0)


@pytest.mark.parametrize(
    ("temperatures", "counts", "message"),
    [
        ([], {"train": 1}, "positive"),
        ([0.0], {"train": 1}, "positive"),
        ([300.0, np.nan], {"train": 1}, "positive"),
        ([300.0], {"training": 1}, "unknown split 'training'"),
        ([300.0], {"train": -1}, "train"),
    ],
)
def test_impossible_settings_are_refused(reference, temperatures, counts, message):
    with pytest.raises(ValueError, match=message):
        sample_geometries(reference, temperatures, counts, seed=0)


def test_imaginary_modes_are_refused(reference):
    saddle = {**reference, "frequencies_cm1": [-150.0, 1000.0, 3000.0]}
    with pytest.raises(ValueError, match=r"1 imaginary mode\(s\), the lowest 150i cm"):
        sample_geometries(saddle, [300.0], {"train": 1}, seed=0)
