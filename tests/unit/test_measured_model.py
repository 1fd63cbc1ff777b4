"""Counts of a sample: lines, transmission integral and derivatives against independent sums."""

import math
from dataclasses import replace

import numpy as np
import pytest
from mossbauer_counts import CHANNELS, instrument
from scipy.integrate import quad

from dft2spectra.measured import absorber, drive, patterns
from dft2spectra.measured.model import Instrument, Model
from dft2spectra.measured.phases import PhasePrior, Prior, SitePrior
from dft2spectra.spectra import lineshape, nuclear

FLAT = math.inf
SEXTET = SitePrior(
    "Fe1", 2.0, "sextet", Prior(0.3, 0.03), Prior(-0.2, 0.03), Prior(45.0, 0.5), spread=0.5
)
DOUBLET = SitePrior("Fe2", 1.0, "doublet", Prior(1.1, 0.03), Prior(2.0, 0.05), spread=0.1)
SINGLET = SitePrior("Fe1", 1.0, "singlet", Prior(-0.1, 0.03), spread=0.05)
TENSOR, SPLITTING = patterns.unit_efg(np.diag([-0.8, -1.6, 2.4]))
TILTED = patterns.Orbit(1.0, TENSOR, np.array([0.6, 0.0, 0.8]))
COMPUTED = SitePrior(
    "Fe3",
    1.0,
    "hamiltonian",
    Prior(0.4, 0.05),
    Prior(SPLITTING, 0.1),
    Prior(20.0, 2.0),
    orbits=(TILTED,),
)


def sample(saturation: float = 1.5) -> tuple[Model, np.ndarray]:
    phases = [
        PhasePrior("two", "Fe3O4", (SEXTET, DOUBLET), "measured", free_weights=True),
        PhasePrior("one", "FeTi", (SINGLET,), "measured"),
        PhasePrior("computed", "Fe2O3", (COMPUTED,), "computed"),
    ]
    free = (
        ("offset", Prior(-0.109, 0.1)),
        ("maximum", Prior(12.0, FLAT, 1.0, 30.0)),
        ("folding_channel", Prior(256.3, 3.0)),
        ("lag", Prior(0.01, 0.02)),
        ("bend", Prior(0.001, 0.01)),
        ("cubic", Prior(0.002, 0.01)),
        *((f"source.{k}", Prior(v, 0.1)) for k, v in (("width_mm_s", 0.12), ("share", 0.2))),
        *((f"source.{k}", Prior(v, 0.1)) for k, v in (("shift_mm_s", 0.1), ("gaussian_mm_s", 0.1))),
        ("source.second_gaussian_mm_s", Prior(0.2, 0.1)),
    )
    model = Model(replace(instrument(), free=free), phases, 1e6, 3.0, CHANNELS)
    values = model.start()
    for name, value in (("saturation", saturation), ("0.area", 0.4), ("1.area", 0.2)):
        values[model.index[name]] = value
    values[model.index["position_effect"]] = 0.003
    values[model.index["velocity_effect"]] = -0.002
    values[model.index["0.1.log_weight"]] = 0.3
    return model, values


def test_jacobian_is_that_of_finite_differences():
    model, values = sample()
    _, jacobian = model.evaluate(values)
    for i, parameter in enumerate(model.parameters):
        step = 2e-3 * parameter.step
        upper, lower = values.copy(), values.copy()
        upper[i] += step
        lower[i] -= step
        difference = model.evaluate(upper, False)[0] - model.evaluate(lower, False)[0]
        expected = difference / (2.0 * step)
        scale = np.abs(expected).max()
        assert scale > 0.0 or parameter.name == "1.texture"  # a single line has none
        # The background moves with the drive; its slope is left out, far below all errors.
        np.testing.assert_allclose(
            jacobian[:, i], expected, atol=5e-3 * scale, err_msg=parameter.name
        )


def test_thin_absorber_is_the_sum_of_its_lines():
    """Source and absorber of 0.1 and 0.15 mm/s show lines of 0.25 mm/s, area as given."""
    velocity = np.linspace(-9.5, 9.5, 400)
    site = replace(SEXTET, spread=1e-6)
    model = Model(
        Instrument(None, velocity, 0.0, source=absorber.Source(0.1)),
        [PhasePrior("one", "Fe", (site,), "measured")],
        1.0,
        1.0,
        len(velocity),
    )
    values = model.start()
    for name, value in (("saturation", 0.0), ("0.area", 0.3), ("0.0.log_width", math.log(0.15))):
        values[model.index[name]] = value
    counts, _ = model.evaluate(values, jacobian=False)
    efg = np.diag([-0.5, -0.5, 1.0]) * -0.2 / nuclear.units.splitting_per_vzz()
    position, intensity = nuclear.transitions(efg, [0.0, 0.0, 45.0])
    expected = lineshape.absorption(velocity, position + 0.3, 0.3 * intensity, 0.25)
    # Tails of the images of the lines beyond the grid: flat, and far below any noise.
    np.testing.assert_allclose(1.0 - counts, expected, atol=1e-4)
    np.testing.assert_allclose(np.diff(1.0 - counts - expected), 0.0, atol=2e-5)


def test_transmission_integral_against_direct_integration():
    """A thick single line, source with a Gaussian: the integral done point by point."""
    velocity = np.linspace(-1.5, 1.5, 31)
    emitted = absorber.Source(0.1, 0.15)
    site = replace(SINGLET, spread=1e-6, shift=Prior(0.2, 0.03))
    model = Model(
        Instrument(None, velocity, 0.0, source=emitted),
        [PhasePrior("one", "Fe", (site,), "measured")],
        1.0,
        9.0,
        len(velocity),
    )
    values = model.start()
    for name, value in (("saturation", 1.6), ("0.area", 1.2), ("0.0.log_width", math.log(0.12))):
        values[model.index[name]] = value
    counts, _ = model.evaluate(values, jacobian=False)

    def integrand(energy, v):
        x = 1.2 * lineshape.profile(energy - 0.2, 0.12)
        return lineshape.profile(energy - v, 0.1, 0.15) * (1.0 - math.exp(-1.6 * x)) / 1.6

    expected = [1.0 - quad(integrand, -6, 6, args=(v,), points=[0.2, v], limit=300)[0]
                for v in velocity]  # fmt: skip
    assert min(expected) < 0.65
    np.testing.assert_allclose(counts, expected, atol=2e-4)


def test_parts_add_up_to_the_whole():
    model, values = sample()
    values[model.index["position_effect"]] = values[model.index["velocity_effect"]] = 0.0
    parts = model.curves(values, model.velocity(values))
    counts, _ = model.evaluate(values, jacobian=False)
    total = sum(curve for rows in parts for curve in rows)
    np.testing.assert_allclose(1.0 - total, counts / values[0], atol=1e-9)


@pytest.mark.parametrize("texture", [0.0, 1.0 / 3.0, 0.7])
def test_closed_forms_are_the_hamiltonian(texture):
    """Field along an axial gradient, and no field: against the diagonalised nucleus to 1e-6."""
    efg, _ = patterns.unit_efg(np.diag([-1.0, -1.0, 2.0]))
    orbit = (patterns.Orbit(1.0, efg, np.array([0.0, 0.0, 1.0])),)
    for kind, quadrupole, field in (("sextet", 0.4, 33.0), ("doublet", 0.8, 1e-9)):
        closed = patterns.site_lines(kind, 0.1, quadrupole, field, texture)
        full = patterns.site_lines("hamiltonian", 0.1, quadrupole, field, texture, orbit)
        merged, intensity = nuclear.merge_lines(full.position, full.intensity)
        order = np.argsort(closed.position)
        np.testing.assert_allclose(closed.position[order], merged, atol=1e-6)
        np.testing.assert_allclose(closed.intensity[order], intensity, atol=1e-6)


def test_sextet_against_a_hamiltonian_written_out():
    """Levels from g factors and 3m² − I(I+1), strengths from Clebsch–Gordan coefficients."""
    unit = nuclear.units.energy_to_mm_s(nuclear.units.NUCLEAR_MAGNETON / 1.602176634e-19)
    ground, excited = nuclear.units.MU_GROUND_NM, nuclear.units.MU_EXCITED_NM
    lines = []
    for m_e in (1.5, 0.5, -0.5, -1.5):
        for m_g in (0.5, -0.5):
            if abs(m_e - m_g) > 1.0:
                continue
            energy = -excited / 1.5 * unit * 40.0 * m_e + 0.25 / 6.0 * (3 * m_e**2 - 3.75)
            energy += ground / 0.5 * unit * 40.0 * m_g
            strength = {3.0: 3.0, 1.0: 2.0}.get(abs(2.0 * m_e), 0.0)
            if abs(m_e) == 0.5:
                strength = 2.0 if m_e == m_g else 1.0
            lines.append((energy, strength / 12.0))
    position, intensity = np.array(sorted(lines)).T
    # ½ e Q V_zz = 2ε = 0.25 mm/s: m = ±3/2 is up by half of it.
    found = patterns.site_lines("sextet", 0.0, 0.25, 40.0, patterns.POWDER)
    np.testing.assert_allclose(found.position, position, atol=1e-6)
    np.testing.assert_allclose(found.intensity, intensity, atol=1e-6)


@pytest.mark.parametrize("waveform", drive.WAVEFORMS)
def test_velocities_of_a_folded_sweep(waveform):
    """About channel 255.5 (from 0) the halves are mirror images and end at ± the maximum."""
    ideal = drive.Drive(512, waveform, 1, 12.0, 255.5)
    velocity, _ = drive.velocities(ideal)
    np.testing.assert_allclose(velocity, velocity[::-1], atol=1e-12)
    assert velocity[255] == pytest.approx(-12.0)
    assert velocity[0] == pytest.approx(12.0)
    if waveform == "triangle":
        np.testing.assert_allclose(velocity[:256][::-1], np.linspace(-12.0, 12.0, 256))


def test_saturation_has_the_thin_limit():
    x = np.linspace(0.0, 2.0, 11)
    y, slope, by_saturation = absorber.saturated(x, 0.0)
    np.testing.assert_allclose(y, x)
    np.testing.assert_allclose(slope, 1.0)
    np.testing.assert_allclose(by_saturation, -(x**2) / 2.0)
