"""Bands of known spectra, their errors, and the bands that belong together."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from dft2spectra.columns import Band
from dft2spectra.spectra.assignment import assign, deviations, group_modes
from dft2spectra.spectra.bands import integral, peaks
from dft2spectra.spectra.dipole import Spectrum
from dft2spectra.spectra.lineshape import profile
from dft2spectra.spectra.transform import read_transform

TRANSFORM = read_transform(
    {
        "window": "gaussian",
        "resolution_cm1": 10.0,
        "padding": 4,
        "quantum_correction": "harmonic",
        "maximum_cm1": 4000.0,
    }
)
X = np.arange(0.0, 4000.0, 1.3)


def made(*trajectories):
    """Spectrum from lists of (position, intensity, Lorentzian width, Gaussian width) each."""
    each = np.array(
        [sum(i * profile(X - p, w, g) for p, i, w, g in lines) for lines in trajectories]
    )
    count = len(each)
    return Spectrum(X, each, TRANSFORM, 300.0, 0.5, (10.0,) * count, (np.zeros(0),) * count)


def gauss(position, intensity, width=10.0):
    return (position, intensity, 1e-3, width)


# --- bands ------------------------------------------------------------------------------------


def test_position_intensity_and_width_of_one_line():
    (row,) = peaks(made([gauss(1595.37, 70.0)]), 0.01)
    assert row[Band.POSITION] == pytest.approx(1595.37, abs=0.02)  # the grid has steps of 1.3
    assert row[Band.INTENSITY] == pytest.approx(70.0, rel=2e-3)
    assert row[Band.WIDTH] == pytest.approx(10.0, rel=0.02)
    assert row[Band.LOW] < 1585.0
    assert row[Band.HIGH] > 1605.0


def test_a_lorentzian_keeps_what_lies_within_its_feet():
    """At 0.5 % of the height, √199 half widths out: 2/π atan √199 = 95.5 % of the area."""
    (row,) = peaks(made([(2000.0, 50.0, 20.0, 0.0)]), 0.01)
    assert row[Band.INTENSITY] == pytest.approx(50.0 * 2.0 / np.pi * np.arctan(199**0.5), rel=1e-3)
    assert row[Band.WIDTH] == pytest.approx(20.0, rel=0.01)


def test_neighbours_share_out_the_whole_area():
    rows = peaks(made([gauss(3657.0, 25.0, 30.0), gauss(3700.0, 45.0, 30.0)]), 0.01)
    assert [round(row[Band.POSITION]) for row in rows] == pytest.approx([3657, 3700], abs=3)
    assert rows[0][Band.HIGH] == pytest.approx(rows[1][Band.LOW], abs=1e-9)
    assert sum(row[Band.INTENSITY] for row in rows) == pytest.approx(70.0, rel=5e-3)


def test_width_is_missing_where_a_neighbour_begins_above_half_height():
    rows = peaks(made([gauss(1700.0, 50.0, 20.0), gauss(1721.0, 50.0, 20.0)]), 0.001)
    assert len(rows) == 2
    assert all(np.isnan(row[Band.WIDTH]) for row in rows)


def test_ripples_below_the_prominence_are_no_bands():
    lines = [gauss(1000.0, 100.0), gauss(2000.0, 3.0), gauss(3000.0, 0.5)]
    for prominence, count in ((0.001, 3), (0.01, 2), (0.1, 1)):
        assert len(peaks(made(lines), prominence)) == count


def test_side_lobes_of_a_window_are_no_bands():
    """Those of Hann stand at 1.7 resolutions with up to 2.7 % of the line; Gaussians have none."""
    line = (gauss(2000.0, 50.0), gauss(2019.0, 0.4), gauss(1981.0, 0.4), gauss(2300.0, 0.5))
    plain = made(line)
    found = [round(band[Band.POSITION]) for band in peaks(plain, 0.0005)]
    hann = dataclasses.replace(plain, transform=dataclasses.replace(TRANSFORM, window="hann"))
    assert found == [1981, 2000, 2019, 2300]
    assert [round(band[Band.POSITION]) for band in peaks(hann, 0.0005)] == [2000, 2300]


def test_maxima_closer_than_the_resolution_are_one_band():
    spectra = made([gauss(1700.0, 50.0, 4.0), gauss(1708.0, 40.0, 4.0)])
    (row,) = peaks(spectra, 0.01)
    assert row[Band.INTENSITY] == pytest.approx(90.0, rel=5e-3)


def test_noise_of_the_flanks_makes_no_band_within_the_resolution():
    rng = np.random.default_rng(4)
    noisy = made([(1700.0, 100.0, 40.0, 0.0)])
    bumps = np.convolve(rng.normal(size=len(X)), np.hanning(9), mode="same")
    noisy.trajectories[0] += 0.002 * noisy.absorption.max() * bumps
    (row,) = peaks(noisy, 0.05)
    assert row[Band.POSITION] == pytest.approx(1700.0, abs=4.0)


def test_errors_are_those_between_trajectories():
    rng = np.random.default_rng(8)
    strengths = rng.exponential(60.0, 12)
    positions = 1600.0 + rng.normal(scale=3.0, size=12)
    spectra = made(*[[gauss(p, i)] for p, i in zip(positions, strengths, strict=True)])
    (row,) = peaks(spectra, 0.01)
    assert row[Band.INTENSITY] == pytest.approx(strengths.mean(), rel=5e-3)
    assert row[Band.INTENSITY_ERROR] == pytest.approx(strengths.std(ddof=1) / 12**0.5, rel=5e-3)
    assert row[Band.POSITION_SPREAD] == pytest.approx(positions.std(ddof=1), rel=0.01)
    # The mean spectrum weights positions with intensities: the jackknife of the weighted mean.
    total, moment = strengths.sum(), strengths @ positions
    left_out = (moment - strengths * positions) / (total - strengths)
    jackknife = np.sqrt(11.0 / 12.0 * ((left_out - left_out.mean()) ** 2).sum())
    assert row[Band.POSITION] == pytest.approx(moment / total, abs=0.5)
    assert row[Band.POSITION_ERROR] == pytest.approx(jackknife, rel=0.35)


def test_errors_cover_the_truth_as_often_as_they_should():
    """Two standard errors of ten trajectories hold the true value in some 90 % of ensembles."""
    rng = np.random.default_rng(12)
    covered = []
    for _ in range(60):
        lines = [[gauss(1600.0 + rng.normal(scale=4.0), rng.uniform(40, 80))] for _ in range(10)]
        (row,) = peaks(made(*lines), 0.01)
        covered.append(
            [
                abs(row[Band.INTENSITY] - 60.0) < 2.0 * row[Band.INTENSITY_ERROR],
                abs(row[Band.POSITION] - 1600.0) < 2.0 * row[Band.POSITION_ERROR],
            ]
        )
    assert np.mean(covered, axis=0) == pytest.approx([0.9, 0.9], abs=0.1)


def test_one_trajectory_has_no_errors():
    (row,) = peaks(made([gauss(1600.0, 70.0)]), 0.01)
    for column in (Band.POSITION_ERROR, Band.POSITION_SPREAD, Band.INTENSITY_ERROR):
        assert np.isnan(row[column])


def test_nothing_absorbs_nothing_found():
    assert peaks(made([gauss(1600.0, 0.0)]), 0.01) == []


@pytest.mark.parametrize("prominence", [0.0, 1.0, float("nan")])
def test_impossible_prominence_is_refused(prominence):
    with pytest.raises(ValueError, match=r"infrared\.prominence"):
        peaks(made([gauss(1600.0, 70.0)]), prominence)


def test_areas_of_touching_ranges_add_up():
    y = made([gauss(1600.0, 70.0)]).trajectories
    parts = integral(X, y, 1500.0, 1603.77) + integral(X, y, 1603.77, 1700.0)
    assert parts == pytest.approx(integral(X, y, 1500.0, 1700.0), rel=1e-12)
    assert parts == pytest.approx([70.0], rel=1e-3)


# --- assignment -------------------------------------------------------------------------------


def mode(number, frequency, intensity):
    return {"mode": number, "frequency_cm1": frequency, "intensity_km_mol": intensity}


def band(position, intensity=10.0):
    limits = {Band.LOW: position - 15.0, Band.HIGH: position + 15.0}
    return {Band.POSITION: position, Band.INTENSITY: intensity} | limits


def seen(position, label="", **more):
    return {"position_cm1": position, "label": label, "source": "table", **more}


def test_modes_closer_than_the_resolution_are_one_band():
    groups = group_modes(
        [
            mode(3, 1760.0, 300.0),
            mode(1, 668.0, 40.0),
            mode(2, 668.0, 40.0),
            mode(4, 1752.0, 100.0),
        ],
        10.0,
    )
    assert [g[Band.HARMONIC_MODES] for g in groups] == ["1 + 2", "4 + 3"]
    assert [g[Band.HARMONIC_POSITION] for g in groups] == [668.0, 1758.0]
    assert [g[Band.HARMONIC_INTENSITY] for g in groups] == [80.0, 400.0]


def test_modes_of_a_dark_group_have_their_plain_mean():
    (group,) = group_modes([mode(1, 1000.0, 0.0), mode(2, 1004.0, 0.0)], 10.0)
    assert group[Band.HARMONIC_POSITION] == 1002.0


@pytest.mark.parametrize(("frequency", "intensity"), [(-120.0, 5.0), (0.0, 5.0), (900.0, np.nan)])
def test_saddle_points_and_broken_numbers_are_refused(frequency, intensity):
    with pytest.raises(ValueError, match="harmonic mode 7"):
        group_modes([mode(7, frequency, intensity)], 10.0)


def test_every_band_of_every_kind_has_its_place():
    table = assign(
        [band(1580.0, 68.0), band(2400.0, 3.0), band(3720.0, 40.0)],
        [mode(1, 1600.0, 70.0), mode(2, 3690.0, 4.0), mode(3, 3800.0, 50.0)],
        [seen(1595.0, "bend", relative_intensity=100), seen(3756.0, "stretch"), seen(5331.0)],
        100.0,
        10.0,
        0.01,
    )
    assert list(table.columns) == list(Band)
    rows = table[[Band.POSITION, Band.HARMONIC_POSITION, Band.MEASURED_POSITION]]
    expected = pd.DataFrame(
        [
            (1580.0, 1600.0, 1595.0),
            (2400.0, np.nan, np.nan),
            (np.nan, 3690.0, np.nan),
            (3720.0, 3800.0, 3756.0),  # 40 km/mol: the mode of 50, not the nearer one of 4
            (np.nan, np.nan, 5331.0),
        ],
        columns=rows.columns,
    )
    pd.testing.assert_frame_equal(rows.astype(float), expected)
    assert table[Band.HARMONIC_DEVIATION][0] == -20.0
    assert table[Band.MEASURED_DEVIATION][3] == -36.0
    assert deviations(table, 0.01) == {
        "harmonic": {
            "matched": 2,
            "found_without_partner": 1,
            "harmonic_without_partner": 1,
            "mean_signed_deviation_cm1": -50.0,
            "mean_absolute_deviation_cm1": 50.0,
            "inactive": 0,
        },
        "measured": {
            "matched": 2,
            "found_without_partner": 1,
            "measured_without_partner": 1,
            "mean_signed_deviation_cm1": -25.5,
            "mean_absolute_deviation_cm1": 25.5,
        },
    }


@pytest.mark.parametrize("weak", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("resolution", [56.0, 60.0, 80.0])
def test_a_weak_mode_does_not_chain_strong_ones(weak, resolution):
    """The lines at 1000 and 1110 resolve; what lies between them belongs to one of them at most."""
    modes = [mode(1, 1000.0, 50.0), mode(2, 1055.0, weak), mode(3, 1110.0, 50.0)]
    table = assign([band(1001.0, 48.0), band(1109.0, 55.0)], modes, [], 100.0, resolution, 0.01)
    assert len(table) == 2
    assert table[Band.HARMONIC_DEVIATION].abs().max() < 7.0
    assert deviations(table, 0.01)["harmonic"]["matched"] == 2


def test_many_modes_are_not_one_band():
    """CH stretches and bends of propane (PBE/def2-SVP, rounded), at the default resolution."""
    positions = [
        745,
        870,
        890,
        915,
        1040,
        1140,
        1165,
        1265,
        1310,
        1355,
        1370,
        1440,
        1445,
        1450,
        1460,
    ]
    positions += [1470, 2975, 2980, 2985, 3000, 3060, 3065, 3070, 3075]
    groups = group_modes([mode(i, p, 10.0) for i, p in enumerate(positions, 1)], 60.0)
    centres = [group[Band.HARMONIC_POSITION] for group in groups]
    assert len(groups) >= 6
    assert min(np.diff(centres)) > 45.0
    assert sum(group[Band.HARMONIC_INTENSITY] for group in groups) == 10.0 * len(positions)


def test_equal_lines_resolve_where_their_sum_has_two_maxima():
    """Two Gaussians have two maxima beyond two standard deviations, 0.85 of the full width."""
    for distance, count in ((0.80, 1), (0.90, 2)):
        pair = [mode(1, 1000.0, 9.0), mode(2, 1000.0 + 50.0 * distance, 9.0)]
        assert len(group_modes(pair, 50.0)) == count


def test_inactive_modes_are_not_missing():
    """CO2: the symmetric stretch absorbs nothing, by symmetry."""
    modes = [(1, 636.0, 23.0), (2, 636.0, 23.0), (3, 1318.0, 5e-13), (4, 2381.0, 487.0)]
    table = assign(
        [band(634.0, 40.0), band(2370.0, 500.0)], [mode(*m) for m in modes], [], 100.0, 20.0, 0.01
    )
    assert deviations(table, 0.01)["harmonic"]["inactive"] == 1
    assert deviations(table, 0.01)["harmonic"]["harmonic_without_partner"] == 0
    assert table[Band.HARMONIC_MODES].tolist() == ["1 + 2", "3", "4"]


def test_the_sum_of_distances_decides_and_not_who_comes_first():
    """1750 is nearest to both bands; greedy pairing would leave 1700 to the far mode."""
    table = assign(
        [band(1740.0), band(1755.0)], [mode(1, 1700.0, 9.0), mode(2, 1750.0, 9.0)], [], 100, 5, 0.01
    )
    assert table[Band.HARMONIC_MODES].tolist() == ["1", "2"]


def test_a_close_pair_is_not_given_up_for_two_distant_ones():
    """0 + 100 for one left alone, against 90 + 90."""
    table = assign(
        [band(1000.0), band(1090.0)], [mode(1, 910.0, 9.0), mode(2, 1000.0, 9.0)], [], 100, 5, 0.01
    )
    found = table.set_index(Band.HARMONIC_MODES)[Band.POSITION]
    assert found["2"] == 1000.0
    assert np.isnan(found["1"])


def test_partners_beyond_the_distance_stay_alone():
    table = assign([band(1000.0)], [mode(1, 1101.0, 9.0)], [seen(1100.0)], 100.0, 10.0, 0.01)
    assert len(table) == 2
    assert np.isnan(table[Band.HARMONIC_POSITION][0])
    assert table[Band.MEASURED_POSITION][0] == 1100.0


def test_dark_modes_take_no_band_and_stay_in_the_table():
    """The symmetric stretch of CO2 is nearer, but cannot be seen."""
    modes = [mode(1, 1320.0, 0.05), mode(2, 1390.0, 60.0)]
    table = assign([band(1330.0)], modes, [], 100.0, 10.0, 0.01)
    assert table[Band.HARMONIC_MODES].tolist() == ["1", "2"]
    assert table[Band.POSITION].isna().tolist() == [True, False]


def test_modes_without_a_band_of_their_own_belong_to_the_one_that_hides_them():
    """The band lies 20 below its mode: its limits, 1370 ± 15, hide what lies at 1390 ± 15."""
    modes = [(1, 1376.0, 0.0), (2, 1390.0, 75.0), (3, 1401.0, 5.0), (4, 1430.0, 20.0)]
    table = assign([band(1370.0)], [mode(*m) for m in modes], [], 100.0, 10.0, 0.01)
    assert table[Band.HARMONIC_MODES].tolist() == ["2 + 3 + 1", "4"]
    assert table[Band.HARMONIC_INTENSITY].tolist() == [80.0, 20.0]
    mean = (75.0 * 1390.0 + 5.0 * 1401.0) / 80.0
    assert table[Band.HARMONIC_DEVIATION][0] == pytest.approx(1370.0 - mean)


def test_empty_lists_give_an_empty_table_with_all_columns():
    table = assign([], [], [], 100.0, 10.0, 0.01)
    assert list(table.columns) == list(Band)
    assert deviations(table, 0.01)["measured"]["mean_signed_deviation_cm1"] is None


def test_impossible_distance_is_refused():
    with pytest.raises(ValueError, match=r"infrared\.assignment_cm1"):
        assign([], [], [], 0.0, 10.0, 0.01)
