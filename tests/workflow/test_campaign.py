"""A small real campaign from crystals and a molecule to the report: both branches, no stubs."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from campaign import ROOT, Campaign, new_folder

from dft2spectra.columns import Band, Site

NAMES = {"Fe": "Fe", "FeAl": "AlFe", "FeCo": "FeCo", "FeNi": "FeNi", "FeTi": "TiFe"}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """The finished campaign of tests/configs/tiny.yaml, with a report."""
    campaign = Campaign(new_folder(tmp_path_factory.mktemp("real")), config="tiny.yaml")
    campaign.finish()
    campaign.finish("--report", "report.html")
    return campaign


@pytest.fixture(scope="module")
def results(done: Campaign) -> Path:
    return done.folder / "results" / "tiny"


@pytest.fixture(scope="module")
def sites(results: Path) -> pd.DataFrame:
    """The table of Fe sites, by the formula of the crystal."""
    return pd.read_parquet(results / "sites" / "sites.parquet").set_index("formula")


def test_every_crystal_converged(results: Path) -> None:
    summary = pd.read_csv(results / "hyperfine" / "summary.csv")
    assert set(summary.formula) == set(NAMES.values())
    assert set(summary.status) == {"converged"}
    assert (summary.wall_time_s > 0).all()


def test_sites(sites: pd.DataFrame, results: Path) -> None:
    assert sorted(sites.index) == sorted(NAMES.values())
    assert set(sites.columns) | {"formula"} == {str(column) for column in Site}
    twin = pd.read_csv(results / "sites" / "sites.csv")
    assert list(twin.formula) == list(sites.index)
    assert len(pd.read_csv(results / "sites" / "dropped.csv")) == 0


def test_physics_is_in_range(sites: pd.DataFrame) -> None:
    """Far from converged settings, so only what no setting may change."""
    assert 1.9 < sites.loc["Fe", Site.MOMENT] < 2.5
    assert sites.loc["FeCo", Site.MOMENT] > sites.loc["Fe", Site.MOMENT]
    assert abs(sites.loc["TiFe", Site.MOMENT]) < 0.05
    assert sites.loc["Fe", Site.ISOMER_SHIFT] == 0.0
    # Measured at room temperature: FeTi −0.15, FeCo +0.02, FeAl +0.27 mm/s.
    shifts = sites.loc[["TiFe", "Fe", "FeCo", "AlFe"], Site.ISOMER_SHIFT]
    assert shifts.is_monotonic_increasing
    assert -40.0 < sites.loc["Fe", Site.BHF] < -20.0
    cubic = sites.loc[["Fe", "AlFe", "FeCo", "TiFe"], Site.VZZ]
    assert cubic.abs().max() < 1e-3
    assert abs(sites.loc["FeNi", Site.VZZ]) > 0.05


def test_calibration(results: Path) -> None:
    calibration = json.loads((results / "calibration" / "calibration.json").read_text("utf-8"))
    assert -0.6 < calibration["alpha_mm_s_bohr3"] < -0.1
    assert calibration["n_points"] == 3


def test_model_card_says_that_the_score_means_nothing(results: Path) -> None:
    for target in ("moment", "isomer_shift", "vzz", "bhf"):
        card = json.loads((results / "models" / target / "card.json").read_text("utf-8"))
        assert card["usable"] is False
        assert re.search(r"mean\w* nothing", card["verdict"])


def test_candidates(results: Path) -> None:
    ranked = pd.read_csv(results / "candidates" / "ranked.csv")
    assert set(ranked.formula) == {"FePd", "FeRh"}


def test_spectra(results: Path, sites: pd.DataFrame) -> None:
    for identifier in sites[Site.STRUCTURE_ID]:
        stem = results / "mossbauer" / "structures" / identifier
        spectrum = pd.read_csv(f"{stem}.csv")
        assert spectrum.columns[0] == "velocity_mm_s"
        assert len(spectrum) == 201
        assert np.isfinite(spectrum.to_numpy()).all()
        for ending in (".png", ".svg"):
            assert Path(f"{stem}{ending}").stat().st_size > 5000
    areas = pd.read_csv(results / "mossbauer" / "mixtures" / "half-and-half.areas.csv")
    assert areas.area_fraction.tolist() == [0.5, 0.5]


def test_density_model(results: Path) -> None:
    """Eight geometries in a minimal basis: little, but far better than free atoms."""
    folder = results / "molecules" / "water"
    card = json.loads((folder / "card.json").read_text("utf-8"))
    assert (card["n_train"], card["n_validation"]) == (8, 3)
    summary = json.loads((folder / "evaluation.json").read_text("utf-8"))
    errors = summary["all"]
    assert summary["n_test"] == len(pd.read_csv(folder / "evaluation.csv")) == 4
    free_atoms = errors["free_atoms_error_percent"]["value"]
    assert errors["density_error_percent"]["value"] < 0.2 * free_atoms
    # The forces at 500 K are of the order of 2 eV/Å.
    assert errors["force_mae_mev_ang"]["value"] < 150
    for name in ("forces", "errors", "uncertainty"):
        for ending in (".png", ".svg"):
            assert (folder / f"{name}{ending}").stat().st_size > 5000


def test_trajectories(results: Path) -> None:
    folder = results / "molecules" / "water" / "trajectories"
    for number in (1, 2):
        with np.load(folder / f"{number}.npz") as run:
            assert run["status"] == "finished"
            assert len(run["dipole_debye"]) == 201
            # The forces are the gradient of the energy, whatever the model is worth.
            assert np.ptp(run["total_energy_ev"]) / 3 < 0.001
            assert run["temperature_k"].max() > 5


def test_infrared_spectrum(results: Path) -> None:
    folder = results / "infrared" / "water"
    evaluation = json.loads((folder / "evaluation.json").read_text("utf-8"))
    assert evaluation["status"] == "computed"
    assert evaluation["left_out"] == {}
    harmonic = pd.read_csv(folder / "harmonic.csv")
    assert len(harmonic) == 3
    assert not harmonic.imaginary.any()
    spectrum = pd.read_csv(folder / "spectrum.csv", comment="#")
    assert np.isfinite(spectrum.to_numpy()).all()
    bands = pd.read_csv(folder / "peaks.csv")
    assert list(bands.columns) == [str(column) for column in Band]
    # Both stretches are one band at this resolution, and within its width of the harmonic ones.
    strongest = bands.loc[bands[Band.INTENSITY].idxmax()]
    assert abs(strongest[Band.POSITION] - harmonic.frequency_cm1[1:].mean()) < 300
    assert bands[Band.MEASURED_POSITION].notna().sum() == 3


def test_progress_of_the_dft_is_in_the_log(results: Path) -> None:
    for log in (results / "logs" / "compute_hyperfine").glob("*.log"):
        assert len(re.findall(r"iteration +\d+ +energy", log.read_text("utf-8"))) >= 5


def test_every_rule_left_log_and_benchmark(results: Path) -> None:
    rules = set(re.findall(r"^ *rule (?!all)(\w+):", _rules(), re.MULTILINE))
    # The plan is made on demand, the next two are for several crystals in one job, the last two
    # for measured spectra and for crystals kept apart.
    rules -= {"plan", "screen_predicted", "write_bundle", "write_record"}
    rules -= {"identify_phases", "evaluate_external"}
    for kind in ("logs", "benchmarks"):
        assert {path.name.split(".")[0] for path in (results / kind).iterdir()} == rules


def _rules() -> str:
    return "\n".join(path.read_text("utf-8") for path in (ROOT / "rules").glob("*.smk"))


def test_report_is_one_file_with_captions(done: Campaign) -> None:
    report = done.folder / "report.html"
    assert 1e6 < report.stat().st_size < 30e6
    text = report.read_text("utf-8")
    assert not re.search(r"""<(script|img|link)[^>]+(src|href)=["']http""", text)
    for words in (
        "k-point density",
        "Transmission spectrum of Fe-229",
        "Fe 50.0 %, FeTi 50.0 %",
        "folds grouped by structure type, seed 0",
        "1.5 Å",
        "Infrared spectrum of water at 300 K",
        "4 test geometries drawn at",
        "LDA,VWN/sto-3g",
    ):
        assert json.dumps(words)[1:-1] in text  # the report holds its content as JSON
    assert "{{" not in text.split('<script id="results">')[1].split("</script>")[0]


def test_second_run_has_nothing_to_do(done: Campaign) -> None:
    assert "Nothing to be done" in done.finish()


def test_bad_input_is_recorded_and_the_campaign_goes_on(done: Campaign, tmp_path: Path) -> None:
    shutil.copytree(done.folder, tmp_path / "work")
    campaign = Campaign(tmp_path / "work", config="tiny.yaml")
    bad = campaign.folder / "bad"
    bad.mkdir()
    (bad / "empty.cif").write_text("", encoding="utf-8")
    (bad / "letter.cif").write_text("Dear editor,\n", encoding="utf-8")
    (bad / "noise.vasp").write_bytes(bytes(range(256)))
    own = campaign.folder / "own.yaml"
    config = (ROOT / "tests" / "configs" / "tiny.yaml").read_text("utf-8")
    own.write_text(
        config.replace("  sources:\n", "  sources:\n    - {kind: files, path: bad}\n", 1), "utf-8"
    )
    jobs = campaign.planned("--configfile", str(own))
    assert "compute_hyperfine" not in jobs
    campaign.finish("--configfile", str(own))
    rejected = pd.read_csv(campaign.folder / "results" / "tiny" / "structures" / "rejected.csv")
    reasons = dict(zip(rejected.origin, rejected.reason.str.split(":").str[0], strict=True))
    assert reasons == {
        "bad/empty.cif": "empty_file",
        "bad/letter.cif": "unreadable",
        "bad/noise.vasp": "unreadable",
    }
