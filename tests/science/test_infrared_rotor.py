"""Absolute absorption of real molecules in both extremes: quantum lines, and dynamics.

* HCl as a rigid rotor: its rotational lines from quantum mechanics, summed one by one, against the
  spectrum of classical rotors. Both obey the same sum rule (for the quantum rotor it is the double
  commutator of the dipole), and their bands agree where B is small against kT.
* HCl as a Morse oscillator, integrated in time: the classical line moves with energy as it should.
"""

import numpy as np
import pytest
from scipy import constants

from dft2spectra.spectra.bands import integral, peaks
from dft2spectra.spectra.dipole import spectrum
from dft2spectra.spectra.transform import CM1_FS, read_transform

# H35Cl: Be and De from Huber and Herzberg, Constants of Diatomic Molecules (1979): rotational
# constant 10.593 cm⁻¹, harmonic wavenumber 2990.9 cm⁻¹. Dipole moment
# 1.109 D: E. W. Kaiser, J. Chem. Phys. 53, 1686 (1970).
B_CM1, HARMONIC_CM1, MU_DEBYE = 10.593, 2990.9, 1.109
TEMPERATURE_K = 296.0
DEBYE = 3.33564e-30
KT_CM1 = constants.k * TEMPERATURE_K / (constants.h * constants.c * 100.0)
SETTINGS = {
    "window": "gaussian",
    "resolution_cm1": 40.0,
    "padding": 4,
    "quantum_correction": "harmonic",
    "maximum_cm1": 4000.0,
}


def quantum_lines():
    """Positions (cm⁻¹) and molar intensities (km/mol) of J → J + 1 of the rigid rotor.

    N_A 2π² ν̃/(3 ε0 h c) (p_J − p_{J+1}) S_J, with populations p of one component of a level and
    the line strength S_J = µ²(J + 1), which is summed over the components of both levels.
    """
    j = np.arange(60)
    energy = B_CM1 * j * (j + 1)
    population = np.exp(-energy / KT_CM1)
    population /= ((2 * j + 1) * population).sum()
    upper = B_CM1 * (j + 1) * (j + 2)
    above = population * np.exp(-(upper - energy) / KT_CM1)
    position = 2.0 * B_CM1 * (j + 1)
    strength = (MU_DEBYE * DEBYE) ** 2 * (j + 1)
    factor = (
        constants.N_A * 2.0 * np.pi**2 / (3.0 * constants.epsilon_0 * constants.h * constants.c)
    )
    return position, factor * 100.0 * position * (population - above) * strength / 1000.0


def test_classical_rotors_have_the_band_of_the_quantum_rotor():
    inertia = constants.h / (8.0 * np.pi**2 * constants.c * 100.0 * B_CM1)  # kg m²
    sigma = np.sqrt(constants.k * TEMPERATURE_K / inertia) * 1e-15  # rad/fs
    n = 500
    omegas = sigma * np.sqrt(-2.0 * np.log1p(-(np.arange(n) + 0.5) / n))
    angle = omegas[:, None] * np.arange(6001)
    dipoles = MU_DEBYE * np.stack([np.cos(angle), np.sin(angle), 0.0 * angle], axis=2)
    transform = read_transform(SETTINGS | {"maximum_cm1": 1000.0})
    result = spectrum(list(dipoles), 1.0, TEMPERATURE_K, transform)
    x = result.wavenumber_cm1
    position, intensity = quantum_lines()
    area = integral(x, result.absorption, 0.0, 1000.0)
    assert area == pytest.approx(intensity.sum(), rel=0.01)
    # The lines with the same resolution, 40 cm⁻¹, which blurs their spacing of 21 cm⁻¹.
    width = 40.0 / np.sqrt(8.0 * np.log(2.0))
    gaussians = np.exp(-0.5 * ((x[:, None] - position) / width) ** 2) / width / np.sqrt(2.0 * np.pi)
    lines = gaussians @ intensity
    # Left: B/kT = 1/19.
    np.testing.assert_allclose(result.absorption, lines, atol=0.07 * lines.max())
    centre, quantum = (np.average(x, weights=y) for y in (result.absorption, lines))
    assert centre == pytest.approx(quantum, rel=0.04)


def morse_trajectory(fraction, step_fs, steps):
    """Dipole (D) of a Morse oscillator with this fraction of De as energy, by velocity Verlet.

    With y = a(r − re) and time in 1/ω0, ω0² = 2 De a²/µ, half the energy over De is
    y'²/2 + (1 − exp(−y))²/2. The dipole is 0.1 D times y.
    """
    dt = 2.0 * np.pi * CM1_FS * HARMONIC_CM1 * step_fs
    y, v = 0.0, np.sqrt(fraction)
    series = np.zeros((steps, 3))
    for i in range(steps):
        series[i, 2] = 0.1 * y
        v -= 0.5 * dt * (1.0 - np.exp(-y)) * np.exp(-y)
        y += dt * v
        v -= 0.5 * dt * (1.0 - np.exp(-y)) * np.exp(-y)
    return series


@pytest.mark.parametrize(("fraction", "step_fs"), [(0.005, 0.5), (0.02, 0.5), (0.25, 0.1)])
def test_a_morse_oscillator_absorbs_where_its_energy_puts_it(fraction, step_fs):
    """ω(E) = ω0 √(1 − E/De), exact for the classical Morse oscillator; overtone at twice that.

    At 0.5 fs the Verlet shift is 10 cm⁻¹. kT is 0.005 De; at large fractions of De the motion is
    too anharmonic for the correction, 5 cm⁻¹ too low at 0.25 De and 0.5 fs.
    """
    dipole = morse_trajectory(fraction, step_fs, round(6000 / step_fs))
    settings = SETTINGS | {"resolution_cm1": 15.0, "maximum_cm1": 7000.0}
    result = spectrum([dipole], step_fs, TEMPERATURE_K, read_transform(settings, step_fs))
    found = peaks(result, 1e-4)
    expected = HARMONIC_CM1 * np.sqrt(1.0 - fraction)
    strongest = max(found, key=lambda row: row["intensity_km_mol"])
    assert strongest["position_cm1"] == pytest.approx(expected, abs=0.5)
    # Spring and dipole are linear to first order; the overtone grows with the energy.
    overtone = min(found, key=lambda row: abs(row["position_cm1"] - 2.0 * expected))
    assert overtone["position_cm1"] == pytest.approx(2.0 * expected, rel=0.01)
    # y = a1 cos ωt + a2 cos 2ωt with a2/a1 = √(E/De)/4 to lowest order; the derivative doubles it.
    assert overtone["intensity_km_mol"] / strongest["intensity_km_mol"] == pytest.approx(
        fraction / 4.0, rel=0.15
    )
