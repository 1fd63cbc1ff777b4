"""Velocity scales from α-Fe: measured, thick, sine, turned round; and what is no α-Fe."""

from pathlib import Path

import numpy as np
import pytest
from mossbauer_counts import simulate

from dft2spectra.measured.calibration import calibrate_velocity, iron_foil
from dft2spectra.measured.drive import Drive, find_folding_channel
from dft2spectra.measured.model import Instrument, Model
from dft2spectra.measured.readers import read_spectrum
from dft2spectra.measured.spectrum import SpectrumError, make_spectrum

SPECTRA = Path(__file__).parents[2] / "data" / "spectra"
RNG = np.random.default_rng(5)


def test_measured_foil():
    """The bundled foil: 12.001(2) mm/s in an independent fit on the scale of ±5.3226 mm/s, which
    is 12.014 on that of ±5.3285; a lag between the halves takes 0.004 from it.
    """
    found = calibrate_velocity(read_spectrum(SPECTRA / "alpha-iron.adt"), -0.109)
    assert found.maximum_mm_s == pytest.approx(12.010, abs=0.004)
    assert found.offset_mm_s == pytest.approx(-0.109, abs=0.004)
    assert found.drive.sign == 1
    assert found.drive.waveform == "triangle"
    assert found.sign_from == "the shift of the source"
    record = found.record()
    assert record["chi2_reduced"] == pytest.approx(1.05, abs=0.05)
    assert record["folding_channel"] == pytest.approx(257.5, abs=0.3)


@pytest.mark.parametrize(
    ("waveform", "sign", "area", "saturation"),
    [("triangle", 1, 0.2, 0.0), ("triangle", -1, 2.0, 1.3), ("sine", 1, 0.3, 1.4)],
)
def test_known_drives_come_back(waveform, sign, area, saturation):
    true = Drive(512, waveform, sign, 8.3, 254.2, lag=0.004)
    model = Model(Instrument(true, None, -0.15), [iron_foil()], 5e5, 9.0, 512)
    values = model.start()
    values[model.index["saturation"]] = saturation
    values[model.index["0.area"]] = area
    counts = RNG.poisson(model.evaluate(values, jacobian=False)[0])
    found = calibrate_velocity(make_spectrum(counts, None, "simulated"), -0.15)
    assert found.drive.waveform == waveform
    assert found.drive.sign == sign
    error = found.maximum_error_mm_s
    assert error < 0.01
    assert found.maximum_mm_s == pytest.approx(8.3, abs=3.5 * error)
    assert found.offset_mm_s == pytest.approx(-0.15, abs=3.5 * found.offset_error_mm_s)
    assert found.fit.chi2_reduced == pytest.approx(1.0, abs=0.25)


def test_sign_is_assumed_where_nobody_says_it():
    spectrum, _, _ = simulate([iron_foil()], [0.2], RNG, perturbed=False)
    found = calibrate_velocity(spectrum)
    assert found.sign_from.startswith("assumed")
    assert found.offset_mm_s == pytest.approx(-0.109, abs=0.005)
    turned = calibrate_velocity(spectrum, sign=-found.drive.sign)
    assert turned.sign_from == "the key velocity.sign"
    assert turned.offset_mm_s == pytest.approx(0.109, abs=0.005)


def test_another_spectrum_is_no_calibration():
    with pytest.raises(SpectrumError, match="not that of an α-Fe foil"):
        calibrate_velocity(read_spectrum(SPECTRA / "magnetite.adt"))


def test_folding_channel_of_mirrored_counts():
    half = 1000.0 * np.exp(-(((np.arange(128) - 40.3) / 6.0) ** 2))
    counts = 1e5 - np.concatenate([half, half[::-1]])
    centre, misfit = find_folding_channel(counts, np.ones(256, bool))
    assert centre == 127.5
    assert misfit < 0.01
