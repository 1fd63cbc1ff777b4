"""Files of molecules that went wrong for somebody: ``cases/molecules.csv`` says what is right."""

import csv
from pathlib import Path

import pytest

from dft2spectra.molecules.sources import MoleculeError, read_molecule

CASES = Path(__file__).parents[1] / "cases"
FOLDER = "24-molecules-read"


def table() -> list[dict[str, str]]:
    with open(CASES / "molecules.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_file_has_a_row() -> None:
    assert {path.name for path in (CASES / FOLDER).iterdir()} == {row["file"] for row in table()}


@pytest.mark.parametrize("row", table(), ids=lambda row: row["file"])
def test_case(row: dict[str, str]) -> None:
    path = CASES / FOLDER / row["file"]
    entry = {"name": "molecule", "file": str(path)}
    if not row["formula"]:
        with pytest.raises(MoleculeError) as caught:
            read_molecule(entry)
        assert row["says"] in str(caught.value)
        return
    molecule = read_molecule(entry)
    assert molecule["formula"] == row["formula"]
    assert molecule["charge"] == 0
    heavy = [round(mass) for mass in molecule.get("masses_amu", [])]
    assert " ".join(map(str, heavy)) == row["says"]
