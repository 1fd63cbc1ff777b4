"""What a campaign knows of phases: computed and predicted sites, and a measurement in it."""

import json

import numpy as np
import pandas as pd
import pytest
from mossbauer_counts import MAXIMUM_MM_S, OFFSET_MM_S, simulate, write_counts

from dft2spectra import units
from dft2spectra.measured.campaign import measure_for_campaign
from dft2spectra.measured.computed import computed_phases, overridden, predicted_phases
from dft2spectra.measured.library import bundled_phases, choose
from dft2spectra.measured.patterns import POWDER, site_lines
from dft2spectra.spectra.components import read_measurement, structure_components

SETTINGS = {
    "velocity_mm_s": 10,
    "points": 201,
    "line_shape": "lorentzian",
    "width_mm_s": 0.25,
    "gaussian_mm_s": 0.1,
    "moment_direction": [0, 0, 1],
    "bhf": "scaled",
    "second_order_doppler": None,
    "gamma": "powder",
}
VZZ = -2.2


def axial(axis):
    return VZZ * (1.5 * np.outer(axis, axis) - 0.5 * np.eye(3))


def row(structure, formula, site, shift, field, tensors):
    six = [[t[i] for i in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))] for t in tensors]
    return {
        "structure_id": structure,
        "formula": formula,
        "site": site,
        "multiplicity": len(tensors),
        "isomer_shift_mm_s": shift,
        "efg_orbit_1e21_v_m2": six,
        "quadrupole_splitting_mm_s": units.quadrupole_splitting_mm_s(VZZ, 0.0)
        if np.any(tensors)
        else 0.0,
        "bhf_dipolar_orbit_t": np.zeros((len(tensors), 6)).tolist(),
        "bhf_t": 0.8 * field,
        "bhf_scaled_t": field,
        **{f"{name}status": "converged" for name in ("", "isomer_shift_", "vzz_", "bhf_")},
    }


ROWS = [
    row("Fe4X-1-a", "Fe4N", "Fe1", 0.2, -34.0, [np.zeros((3, 3))]),
    row("Fe4X-1-a", "Fe4N", "Fe2", 0.3, -22.0, [axial(a) for a in np.eye(3)]),
    row("FeX-2-b", "FeTi", "Fe1", -0.1, 0.0, [axial(np.eye(3)[2])]),
]


@pytest.fixture
def results(tmp_path):
    for folder in ("sites", "calibration", "structures", "candidates"):
        (tmp_path / folder).mkdir()
    pd.DataFrame(ROWS).to_parquet(tmp_path / "sites" / "sites.parquet")
    (tmp_path / "sites" / "dropped.csv").write_text("structure_id,site,rule,value\n")
    calibration = {"leave_one_out_rmse_mm_s": 0.06}
    (tmp_path / "calibration" / "calibration.json").write_text(json.dumps(calibration))
    index = [("Fe4X-1-a", "Fe4N", None), ("FeX-2-b", "FeTi", "mine")]
    table = pd.DataFrame(index, columns=["structure_id", "formula", "name"])
    table.to_csv(tmp_path / "structures" / "index.csv", index=False)
    guess = {
        "structure_id": ["FeY-3-c", "FeZ-4-d", "FeQ-5-e"],
        "formula": ["FeY", "FeZr", "FeAl"],
        "site": ["Fe1"] * 3,
        "multiplicity": [1] * 3,
        "isomer_shift_mm_s": [0.1, 0.2, 0.3],
        "isomer_shift_mm_s_error": [0.05, 0.05, np.nan],
        "vzz_1e21_v_m2": [1.0, 3.0, 1.0],
        "vzz_1e21_v_m2_error": [0.5] * 3,
        "bhf_t": [-20.0, 0.1, -3.0],
        "bhf_t_error": [2.0, 1.0, 1.0],
        "inside_domain": [True] * 3,
        "model_usable": [True] * 3,
    }
    pd.DataFrame(guess).to_csv(tmp_path / "candidates" / "ranked.csv", index=False)
    return tmp_path


def computed(results):
    return computed_phases(
        results / "sites" / "sites.parquet",
        results / "calibration" / "calibration.json",
        results / "structures" / "index.csv",
        results / "sites" / "dropped.csv",
        read_measurement(SETTINGS),
    )


def test_computed_sites_keep_their_lines_and_get_the_errors_of_the_calibration(results):
    nitride, other = computed(results)
    assert (nitride.name, other.name) == ("Fe4X-1-a", "mine")
    faces = nitride.sites[1]
    assert faces.kind == "hamiltonian"
    assert faces.shift.sigma == pytest.approx(0.06)
    assert faces.field.mean == pytest.approx(22.0)
    assert faces.field.sigma == pytest.approx(0.12 * 22.0)
    lines = site_lines(faces.kind, 0.3, faces.quadrupole.mean, 22.0, POWDER, faces.orbits)
    parts = structure_components(ROWS[:2], read_measurement(SETTINGS))[1:]
    expected = sorted(x for c in parts for x in c.positions)
    shown = np.unique(np.round(lines.position[lines.intensity > 1e-6], 6))
    np.testing.assert_allclose(shown, expected, atol=1e-5)
    assert other.sites[0].kind == "doublet"
    assert other.sites[0].quadrupole.mean == pytest.approx(0.366, abs=1e-3)


def test_a_crystal_of_which_a_site_lacks_a_quantity_is_no_phase(results):
    """Its other lines would be compared as if they were the whole phase."""
    rows = [dict(row) for row in ROWS]
    rows[1]["vzz_status"] = "failed"
    pd.DataFrame(rows).to_parquet(results / "sites" / "sites.parquet")
    assert [phase.name for phase in computed(results)] == ["mine"]
    pd.DataFrame(ROWS[:1] + ROWS[2:]).to_parquet(results / "sites" / "sites.parquet")
    dropped = "structure_id,site,rule,value\nFe4X-1-a,Fe2,bhf_out_of_range,99\n"
    (results / "sites" / "dropped.csv").write_text(dropped)
    assert [phase.name for phase in computed(results)] == ["mine"]


def test_predictions_with_errors_become_priors(results):
    magnetic, doublet = predicted_phases(results / "candidates" / "ranked.csv")
    assert magnetic.sites[0].kind == "sextet"
    assert magnetic.sites[0].field.sigma == 2.0
    assert magnetic.sites[0].quadrupole.sigma > 0.1  # its angle to the field is not predicted
    assert doublet.sites[0].kind == "doublet"
    assert doublet.sites[0].quadrupole.mean == pytest.approx(0.4992, abs=1e-3)


def test_what_is_known_of_a_phase_changes_it(results):
    nitride, _ = computed(results)
    without = overridden(nitride, {"magnetic": False, "debye_k": 350.0})
    assert [site.kind for site in without.sites] == ["doublet", "doublet"]
    assert without.debye_k.mean == 350.0
    assert overridden(nitride, {}) == nitride


def test_measurement_of_a_campaign(results, tmp_path):
    library, _ = bundled_phases()
    rng = np.random.default_rng(4)
    contents = [*choose(library, ["FeCO3"])]
    spectrum, _, _ = simulate(contents, [0.1], rng, counts=2e5)
    path = write_counts(tmp_path / "siderite.adt", spectrum.counts)
    entry = {
        "name": "siderite",
        "file": str(path),
        "velocity": {"maximum_mm_s": MAXIMUM_MM_S, "sign": 1},
        "source": {"isomer_shift_mm_s": OFFSET_MM_S},
        "phases": [{"phase": "FeCO3", "debye_k": 300.0}],
    }
    out = tmp_path / "measured" / "fit.json"
    measure_for_campaign(entry, SETTINGS, results, True, out)
    table = pd.read_csv(out.parent / "phases.csv")
    assert table.phase.tolist() == ["FeCO3"]
    assert table.recoil_free_fraction[0] == pytest.approx(0.63, abs=0.02)
    changed = entry | {"phases": [{"phase": "nothing"}]}
    with pytest.raises(ValueError, match="'nothing' is none of"):
        measure_for_campaign(changed, SETTINGS, results, True, out)
