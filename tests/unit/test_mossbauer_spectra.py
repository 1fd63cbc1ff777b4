"""From the site table to files: components, spectra, mixtures, refusals."""

import logging

import numpy as np
import pandas as pd
import pytest

from dft2spectra import units
from dft2spectra.spectra import lineshape
from dft2spectra.spectra.components import (
    area_in_range,
    read_measurement,
    spectrum,
    structure_components,
)
from dft2spectra.spectra.doppler import recoil_free_fraction, thermal_shift_mm_s
from dft2spectra.spectra.mossbauer import (
    COMPONENT_COLUMNS,
    LINE_COLUMNS,
    plot_mixture,
    plot_structures,
)

SETTINGS = {
    "velocity_mm_s": 10,
    "points": 2001,
    "line_shape": "lorentzian",
    "width_mm_s": 0.25,
    "gaussian_mm_s": 0.1,
    "moment_direction": [0, 0, 1],
    "bhf": "raw",
    "second_order_doppler": None,
    "gamma": "powder",
}


STATUSES = ("status", "isomer_shift_status", "vzz_status", "bhf_status")


def axial(vzz, axis):
    axis = np.asarray(axis, float) / np.linalg.norm(axis)
    return vzz * (1.5 * np.outer(axis, axis) - 0.5 * np.eye(3))


def six(tensor):
    return [float(tensor[i]) for i in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]


def site_row(structure_id, formula, site, shift, field, tensors, dipolar=None, **changes):
    """Row of the site table with the columns that a spectrum needs."""
    vzz = max(np.linalg.eigvalsh(tensors[0]), key=abs)
    return {
        "structure_id": structure_id,
        "formula": formula,
        "site": site,
        "multiplicity": len(tensors),
        "isomer_shift_mm_s": shift,
        "efg_orbit_1e21_v_m2": [six(t) for t in tensors],
        "quadrupole_splitting_mm_s": units.quadrupole_splitting_mm_s(vzz, 0.0),
        "bhf_dipolar_orbit_t": [six(t) for t in dipolar or np.zeros((len(tensors), 3, 3))],
        "bhf_t": field,
        "bhf_scaled_t": 1.2 * field,
        **dict.fromkeys(STATUSES, "converged"),
        **changes,
    }


CUBIC = np.zeros((3, 3))
# Measured values of Fe4N: the face-centre iron shows 2ε = −0.22 and +0.43 mm/s, two to one.
FE4N_VZZ = 0.43 / units.splitting_per_vzz()
FE4N = [
    site_row("Fe4N-221-b", "Fe4N", "Fe1", 0.24, -34.0, [CUBIC]),
    site_row("Fe4N-221-b", "Fe4N", "Fe2", 0.30, -21.7, [axial(FE4N_VZZ, a) for a in np.eye(3)]),
]
ALPHA = [site_row("Fe-229-a", "Fe", "Fe1", 0.0, -33.0, [CUBIC])]
FESI_AXES = [(1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1)]
FESI = [site_row("FeSi-198-c", "FeSi", "Fe1", 0.27, 0.0, [axial(4.6, a) for a in FESI_AXES])]
INDEX = pd.DataFrame(
    [
        ("Fe-229-a", "Fe", "alpha-Fe", 1),
        ("Fe4N-221-b", "Fe4N", "Fe4N", 5),
        ("FeSi-198-c", "FeSi", None, 8),
        ("Fe-225-d", "Fe", "gamma-Fe", 1),
    ],
    columns=["structure_id", "formula", "name", "n_atoms"],
)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "sites.parquet"
    pd.DataFrame(ALPHA + FE4N + FESI).to_parquet(path)
    INDEX.to_csv(tmp_path / "index.csv", index=False)
    return path


def draw(table, folder="structures", settings=SETTINGS):
    """Spectra of all structures; tables beside the folder, named after it."""
    out = table.parent
    names = (out / f"{folder}-lines.csv", out / f"{folder}-components.csv")
    plot_structures(table, out / "index.csv", settings, out / folder, *names)
    return [pd.read_csv(name) for name in names]


def mix(table, phases, name="mixture", **changes):
    folder = table.parent / "mixtures"
    outputs = [folder / f"{name}{end}" for end in (".csv", ".png", ".areas.csv")]
    mixture = {"name": name, "phases": phases}
    plot_mixture(table, table.parent / "index.csv", mixture, SETTINGS | changes, *outputs)
    return [pd.read_csv(outputs[0]), pd.read_csv(outputs[2]), folder]


# --- components ------------------------------------------------------------------------------


def test_moment_direction_splits_the_faces_of_fe4n():
    parts = structure_components(FE4N, read_measurement(SETTINGS))
    assert [(c.label, c.n_atoms) for c in parts] == [("Fe1", 1), ("Fe2 (1)", 2), ("Fe2 (2)", 1)]
    assert parts[1].quadrupole_shift_mm_s == pytest.approx(-0.22, abs=0.01)
    assert parts[2].quadrupole_shift_mm_s == pytest.approx(0.43, abs=0.01)
    assert [c.intensities.sum() for c in parts] == pytest.approx([0.25, 0.5, 0.25])


def test_moment_along_the_body_diagonal_joins_the_faces_again():
    settings = SETTINGS | {"moment_direction": [1, 1, 1]}
    parts = structure_components(FE4N, read_measurement(settings))
    assert [(c.label, c.n_atoms) for c in parts] == [("Fe1", 1), ("Fe2", 3)]
    assert parts[1].quadrupole_shift_mm_s == pytest.approx(0.0, abs=1e-9)  # magic angle


def test_doublet_of_fesi_is_one_component_in_a_powder_and_not_in_a_crystal():
    powder = structure_components(FESI, read_measurement(SETTINGS))
    assert [c.n_atoms for c in powder] == [4]
    along_111 = read_measurement(SETTINGS | {"gamma": [1, 1, 1]})
    crystal = structure_components(FESI, along_111)
    assert [c.n_atoms for c in crystal] == [3, 1]
    low, high = crystal[1].intensities  # γ along Vzz > 0: 1 : 3
    assert high / low == pytest.approx(3.0)


def test_dipolar_field_adds_as_a_vector_and_is_not_scaled():
    """B = B_iso n + T n: along the axis of T by its principal value, across by minus half of it."""
    tensors = [axial(2.0, (0, 0, 1)), axial(2.0, (1, 0, 0))]
    row = site_row("Fe2X-1-e", "Fe2X", "Fe1", 0.0, -20.0, [CUBIC, CUBIC], tensors)
    raw, scaled = (
        structure_components([row], read_measurement(SETTINGS | {"bhf": name}))
        for name in ("raw", "scaled")
    )
    assert sorted(c.field_t for c in raw) == pytest.approx([-21.0, -18.0])
    assert sorted(c.field_t for c in scaled) == pytest.approx([-25.0, -22.0])


def test_oblique_dipolar_tensor_turns_the_field():
    row = site_row("FeX-1-e", "FeX", "Fe1", 0.0, -20.0, [CUBIC], [axial(4.0, (1, 0, 1))])
    (part,) = structure_components([row], read_measurement(SETTINGS))
    expected = -np.hypot(-20.0 + 4.0 * 0.25, 4.0 * 0.75)
    assert part.field_t == pytest.approx(expected)
    outer = (part.positions[-1] - part.positions[0]) / 2.0
    assert outer / abs(expected) == pytest.approx(0.1612, abs=3e-4)  # 0.3225 mm/s/T in all


def test_sites_weigh_by_multiplicity():
    measurement = read_measurement(SETTINGS)
    rows = [
        site_row("Fe3Si-225-f", "Fe3Si", "Fe1", -1.0, 0.0, [CUBIC]),
        site_row("Fe3Si-225-f", "Fe3Si", "Fe2", 1.0, 0.0, [CUBIC, CUBIC]),
    ]
    v, curve = (
        measurement.velocity_mm_s,
        spectrum(structure_components(rows, measurement), measurement),
    )
    tail = lineshape.profile(2.0, 0.25)
    top = lineshape.profile(0.0, 0.25)
    assert np.interp(1.0, v, curve) == pytest.approx((2 * top + tail) / 3)
    assert np.interp(-1.0, v, curve) == pytest.approx((top + 2 * tail) / 3)


def test_thermal_shift_moves_every_line():
    doppler = {"temperature_k": 4.2, "debye_k": 400.0}
    cold = structure_components(
        FE4N, read_measurement(SETTINGS | {"second_order_doppler": doppler})
    )
    warm = structure_components(FE4N, read_measurement(SETTINGS))
    for a, b in zip(cold, warm, strict=True):
        np.testing.assert_allclose(a.positions - b.positions, 0.126, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"moment_direction": [0, 0, 0]}, "moment_direction"),
        ({"moment_direction": [0, 1]}, "moment_direction"),
        ({"gamma": "crystal"}, "gamma"),
        ({"gamma": [0, float("nan"), 1]}, "gamma"),
        ({"line_shape": "gaussian"}, "line_shape"),
        ({"bhf": "measured"}, "bhf"),
        ({"width_mm_s": 0}, "width_mm_s"),
        ({"velocity_mm_s": -4}, "velocity_mm_s"),
        ({"second_order_doppler": {"temperature_k": -3, "debye_k": 400}}, "temperature_k"),
    ],
)
def test_impossible_settings_name_the_key(change, key):
    with pytest.raises(ValueError, match=key):
        read_measurement(SETTINGS | change)


@pytest.mark.parametrize(
    "change",
    [
        {"isomer_shift_mm_s": np.nan},
        {"bhf_t": np.inf},
        {"efg_orbit_1e21_v_m2": [[np.nan] * 6]},
        {"efg_orbit_1e21_v_m2": [[0.0] * 6] * 2},
        {"efg_orbit_1e21_v_m2": [[0.0] * 5]},
    ],
)
def test_a_site_without_its_numbers_is_named(change):
    row = site_row("FeX-1-e", "FeX", "Fe7", 0.0, -20.0, [CUBIC], **change)
    with pytest.raises(ValueError, match="FeX-1-e, site Fe7"):
        structure_components([row], read_measurement(SETTINGS))


# --- plot_structures -------------------------------------------------------------------------


def test_plot_structures_writes_spectra_lines_and_figures(table, tmp_path):
    lines, components = draw(table)
    files = {path.name for path in (tmp_path / "structures").iterdir()}
    ends = (".csv", ".components.csv", ".png", ".svg")
    assert files == {f"{i}{end}" for i in ("Fe-229-a", "Fe4N-221-b", "FeSi-198-c") for end in ends}

    measurement = read_measurement(SETTINGS)
    for rows in (ALPHA, FE4N, FESI):
        path = tmp_path / "structures" / rows[0]["structure_id"]
        total = pd.read_csv(f"{path}.csv")
        assert list(total.columns) == ["velocity_mm_s", "absorption"]
        area = np.trapezoid(total["absorption"], total["velocity_mm_s"])
        expected = area_in_range(structure_components(rows, measurement), measurement)
        assert area == pytest.approx(expected, abs=1e-5)
        assert 0.97 < expected < 1.0
        parts = pd.read_csv(f"{path}.components.csv").drop(columns="velocity_mm_s")
        np.testing.assert_allclose(parts.sum(axis=1), total["absorption"], rtol=1e-10)

    assert components.columns.tolist() == list(COMPONENT_COLUMNS)
    shares = components.groupby("phase")["area_fraction"].sum()
    assert shares.tolist() == pytest.approx([1.0, 1.0, 1.0])
    faces = components[components.site.str.startswith("Fe2")]
    assert sorted(faces.quadrupole_shift_mm_s) == pytest.approx([-0.215, 0.43], abs=0.01)

    assert lines.columns.tolist() == list(LINE_COLUMNS)
    centroid = (lines.position_mm_s * lines.intensity).groupby(lines.structure_id).sum()
    assert centroid.to_dict() == pytest.approx(
        {"Fe-229-a": 0.0, "Fe4N-221-b": 0.25 * 0.24 + 0.75 * 0.30, "FeSi-198-c": 0.27}, abs=1e-5
    )
    alpha = lines[lines.structure_id == "Fe-229-a"]
    np.testing.assert_allclose(12 * alpha.intensity, [3, 2, 1, 1, 2, 3], atol=1e-6)


def test_figures_are_named_and_repeatable(table, tmp_path):
    for folder in ("one", "two"):
        draw(table, folder)
    for name in ("Fe4N-221-b.svg", "Fe4N-221-b.png", "FeSi-198-c.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert "<dc:date>" not in (tmp_path / "one" / "Fe4N-221-b.svg").read_text()


@pytest.mark.parametrize("rows", [0, 1])
def test_table_without_good_sites_gives_an_empty_line_table(tmp_path, caplog, rows):
    table = pd.DataFrame(ALPHA).assign(status="failed").head(rows)
    table.to_parquet(tmp_path / "sites.parquet")
    INDEX.to_csv(tmp_path / "index.csv", index=False)
    with caplog.at_level(logging.WARNING):
        lines, components = draw(tmp_path / "sites.parquet")
    assert components.empty
    assert lines.empty
    assert lines.columns.tolist() == list(LINE_COLUMNS)
    assert list((tmp_path / "structures").iterdir()) == []
    assert "no converged Fe site" in caplog.text


def test_too_narrow_a_range_is_reported(table, caplog):
    """Without its outer lines a sextet keeps 6/12 of its area, less some tails."""
    settings = SETTINGS | {"velocity_mm_s": 4}
    draw(table, settings=settings)
    assert "Fe-229-a: only 49 % of the absorption" in caplog.text
    assert "FeSi-198-c" not in caplog.text


# --- plot_mixture ----------------------------------------------------------------------------


def test_mixture_areas_and_sub_spectra(table):
    total, areas, folder = mix(
        table, [{"structure": "alpha-Fe", "fraction": 0.6}, {"structure": "FeSi", "fraction": 0.4}]
    )
    assert areas["area_fraction"].tolist() == pytest.approx([0.6, 0.4])
    assert areas["recoil_free_fraction"].isna().all()
    assert areas["structure_id"].tolist() == ["Fe-229-a", "FeSi-198-c"]
    parts = pd.read_csv(folder / "mixture.phases.csv")
    assert parts.columns.tolist() == ["velocity_mm_s", "alpha-Fe", "FeSi"]
    np.testing.assert_allclose(parts["alpha-Fe"] + parts["FeSi"], total["absorption"], rtol=1e-10)
    grid = [np.trapezoid(parts[name], parts["velocity_mm_s"]) for name in ("alpha-Fe", "FeSi")]
    assert areas["area_in_range"].tolist() == pytest.approx(grid, abs=1e-5)
    assert (folder / "mixture.png").stat().st_size > 0
    assert (folder / "mixture.svg").stat().st_size > 0


def test_recoil_free_fractions_weigh_the_areas(table):
    phases = [
        {"structure": "alpha-Fe", "fraction": 0.5, "f": 0.8},
        {"structure": "FeSi-198-c", "fraction": 0.5, "f": 0.6},
    ]
    _, areas, _ = mix(table, phases)
    assert areas["area_fraction"].tolist() == pytest.approx([0.8 / 1.4, 0.6 / 1.4])
    assert areas["iron_fraction"].tolist() == pytest.approx([0.5, 0.5])


def test_mixture_of_one_phase_is_its_spectrum(table, tmp_path):
    draw(table)
    total, _, _ = mix(table, [{"structure": "Fe4N", "fraction": 1.0}])
    alone = pd.read_csv(tmp_path / "structures" / "Fe4N-221-b.csv")
    np.testing.assert_allclose(total["absorption"], alone["absorption"], rtol=1e-12)


def test_iron_atoms_without_parameters_are_counted(table):
    pd.DataFrame(ALPHA + FE4N[1:]).to_parquet(table)
    phases = [{"structure": "alpha-Fe", "fraction": 0.5}, {"structure": "Fe4N", "fraction": 0.5}]
    _, areas, _ = mix(table, phases)
    assert areas["iron_atoms_missing"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([("Fe3C", 1.0)], r"'Fe3C' is not among the structures; available: .*Fe4N \(Fe4N-221-b\)"),
        ([("Fe", 1.0)], "any of Fe-229-a, Fe-225-d"),
        ([("Fe4N", 0.5), ("Fe4N-221-b", 0.5)], "listed twice"),
        ([("Fe4N", 0.5), ("FeSi", 0.3)], "add up to 0.8"),
        ([("Fe4N", 1.5), ("FeSi", -0.5)], "fraction above 0"),
        ([], "fraction above 0"),
        ([("Fe4N", 0.5, 0.8), ("FeSi", 0.5)], "debye_k, for every phase or for none"),
        ([("Fe4N", 1.0, 1.2)], "f must lie"),
    ],
)
def test_impossible_mixtures_are_refused(table, phases, message):
    keys = ("structure", "fraction", "f")
    listed = [dict(zip(keys, phase, strict=False)) for phase in phases]
    with pytest.raises(ValueError, match=message):
        mix(table, listed)
    assert not (table.parent / "mixtures").exists()


def test_phase_without_trusted_sites_leaves_a_note_and_no_error(table, caplog):
    phases = [
        {"structure": "Fe4N", "fraction": 0.5},
        {"structure": "gamma-Fe", "fraction": 0.5},
    ]
    spectrum, areas, folder = mix(table, phases)
    assert list(areas.phase) == ["Fe4N", "gamma-Fe"]
    assert areas.status[0] == "computed"
    assert areas.status[1] == "no Fe site with trusted parameters in gamma-Fe"
    assert list(spectrum) == ["velocity_mm_s", "absorption"]
    assert spectrum.empty
    assert (folder / "mixture.svg").stat().st_size > 1000
    assert "gamma-Fe" in caplog.text


# --- conditions of single phases -------------------------------------------------------------


def test_phases_of_one_mixture_have_their_own_conditions(table):
    """One phase in its measured field, another one without its moment."""
    phases = [
        {"structure": "alpha-Fe", "fraction": 0.5, "overrides": [{"site": "Fe1", "bhf_t": -33.0}]},
        {"structure": "Fe4N", "fraction": 0.5, "magnetic": False},
    ]
    pd.DataFrame([{**ALPHA[0], "bhf_t": -27.6}, *FE4N]).to_parquet(table)
    _, _, folder = mix(table, phases)
    parts = pd.read_csv(folder / "mixture.components.csv").set_index("phase")
    assert parts.loc["alpha-Fe", "bhf_t"] == pytest.approx(-33.0)
    assert parts.loc["Fe4N", "bhf_t"].abs().max() == 0.0
    curves = pd.read_csv(folder / "mixture.phases.csv")
    deepest = curves.velocity_mm_s[curves["alpha-Fe"].idxmax()]
    assert abs(deepest) == pytest.approx(5.3285, abs=0.01)
    assert curves.velocity_mm_s[curves["Fe4N"].idxmax()] == pytest.approx(0.24, abs=0.25)


def test_moment_direction_of_one_phase_leaves_the_others(table):
    turned = [{"structure": "Fe4N", "moment_direction": [1, 1, 1]}]
    _, plain = draw(table, "plain")
    _, other = draw(table, "turned", SETTINGS | {"phases": turned})
    assert len(plain[plain.phase == "Fe4N-221-b"]) == 3
    assert len(other[other.phase == "Fe4N-221-b"]) == 2
    alpha = [table[table.phase == "Fe-229-a"] for table in (plain, other)]
    pd.testing.assert_frame_equal(*alpha)


def test_recoil_free_fractions_and_shifts_come_from_the_debye_temperatures(table):
    phases = [
        {"structure": "alpha-Fe", "fraction": 0.5, "temperature_k": 80.0, "debye_k": 400.0},
        {"structure": "Fe4N", "fraction": 0.5, "temperature_k": 80.0, "debye_k": 300.0},
    ]
    _, areas, folder = mix(table, phases)
    expected = [recoil_free_fraction(80.0, debye) for debye in (400.0, 300.0)]
    assert areas.recoil_free_fraction.tolist() == pytest.approx(expected)
    parts = pd.read_csv(folder / "mixture.components.csv").set_index("phase")
    shift = thermal_shift_mm_s(80.0, 400.0)
    assert parts.loc["alpha-Fe", "isomer_shift_mm_s"] == pytest.approx(shift)
    assert shift > 0.1


def test_splitting_of_a_site_is_overridden_with_its_tensor(table):
    override = [{"site": "Fe1", "quadrupole_splitting_mm_s": 0.5, "isomer_shift_mm_s": 0.27}]
    phases = [{"structure": "FeSi-198-c", "overrides": override}]
    lines, parts = draw(table, settings=SETTINGS | {"phases": phases})
    own = lines[lines.structure_id == "FeSi-198-c"]
    np.testing.assert_allclose(own.position_mm_s, [0.02, 0.52], atol=1e-6)
    assert parts.set_index("phase").loc["FeSi-198-c", "quadrupole_splitting_mm_s"] == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"overrides": [{"site": "Fe9", "bhf_t": 1.0}]}, "no site 'Fe9' among Fe1"),
        ({"overrides": [{"site": "Fe1", "quadrupole_splitting_mm_s": 1.0}]}, "no field gradient"),
        ({"temperature_k": 80.0}, "temperature_k and debye_k, or neither"),
    ],
)
def test_impossible_conditions_are_refused(table, change, message):
    with pytest.raises(ValueError, match=message):
        mix(table, [{"structure": "alpha-Fe", "fraction": 1.0, **change}])
