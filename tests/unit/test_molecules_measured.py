"""Bundled measured bands: readable, the numbers of their sources, and hostile files refused."""

from pathlib import Path

import pytest
from ase.formula import Formula

from dft2spectra.molecules.measured import measured_bands
from dft2spectra.molecules.sources import COMMON_NAMES, read_molecule

FOLDER = Path(__file__).parents[2] / "data" / "molecules"
FILES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_complete(name):
    bands = measured_bands(name, FOLDER)
    assert bands
    text = (FOLDER / f"{name}.yaml").read_text()
    formula = text.split("formula: ")[1].split("\n")[0]
    assert f"name: {name}\n" in text
    if name in COMMON_NAMES:
        counted = Formula(read_molecule({"name": name})["formula"]).count()
        assert Formula(formula).count() == counted
    atoms = len(Formula(formula))
    # No molecule has more fundamentals than 3N-5; split bands of the inactive ones count apart.
    assert len(bands) <= 3 * atoms - 5 + 1
    assert all(band["source"] and band["trust"] and band["phase"] == "gas" for band in bands)
    # Where relative intensities are given for all, they are those of the absolute ones.
    both = [b for b in bands if b["relative_intensity"] and b["intensity_km_mol"]]
    strongest = max((b["intensity_km_mol"] for b in both), default=0.0)
    for band in both:
        expected = 100.0 * band["intensity_km_mol"] / strongest
        assert band["relative_intensity"] == pytest.approx(expected, abs=2.5)


def test_water_has_the_published_bands():
    bands = measured_bands("water", FOLDER)
    assert [band["position_cm1"] for band in bands] == [1595.0, 3657.0, 3756.0]
    assert bands[0]["intensity_range_km_mol"] == [54.0, 72.0]
    assert bands[0]["intensity_km_mol"] == 63.0
    assert measured_bands("H2O", FOLDER) == bands


def test_raman_bands_are_marked():
    infrared = [
        b["position_cm1"] for b in measured_bands("carbon dioxide", FOLDER) if b["infrared"]
    ]
    assert infrared == [667.0, 2349.0]


def test_molecule_without_file_has_no_bands():
    assert measured_bands("caffeine", FOLDER) == []


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ("[{position_cm1: 100, intensty: 3}]", "unknown key 'intensty'"),
        ("[{label: bend}]", "'position_cm1' is missing"),
        ("[{position_cm1: -5}]", "no wavenumber"),
        ("[{position_cm1: .nan}]", "no wavenumber"),
        ("[{position_cm1: 100, intensity_km_mol: [3, 2]}]", "no range"),
        ("[{position_cm1: 100, intensity_km_mol: -1}]", "impossible"),
        ("[100]", "no mapping"),
    ],
)
def test_faulty_files_are_refused(tmp_path, bands, message):
    text = f"name: x\nformula: H2\nphase: gas\nsource: s\ntrust: t\nbands: {bands}\n"
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        measured_bands("x", tmp_path)


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        measured_bands("water", tmp_path / "nowhere")
