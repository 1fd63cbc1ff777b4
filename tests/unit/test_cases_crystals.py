"""Files that went wrong for somebody: what becomes of each stands in ``tests/cases/crystals.csv``.

An accepted file has the ids of its crystals and, where the case is about them, the starting moments
(µB); a rejected one the code and what the sentence says.
"""

import csv
from pathlib import Path

import pytest

from dft2spectra.structures.files import read_files
from dft2spectra.structures.identity import group_same
from dft2spectra.structures.raw import RawStructure, Rejected
from dft2spectra.structures.screening import effective_limits
from dft2spectra.structures.sources import _check

CASES = Path(__file__).parents[1] / "cases"
MOLECULES = "24-molecules-read"


def table() -> list[dict[str, str]]:
    with open(CASES / "crystals.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def found() -> dict[str, list]:
    """Structures with their ids, or the rejection, of every file."""
    paths = [str(CASES / row["file"]) for row in table()]
    limits = effective_limits({"max_atoms": 24})
    result = {}
    for path, items in read_files(paths):
        checked = [
            _check(item, limits) if isinstance(item, RawStructure) else item for item in items
        ]
        for structure in checked:
            if isinstance(structure, dict):
                structure |= {"_origin": path, "_rank": 0}
                ((structure["structure_id"], _),) = group_same([structure])
        result[str(Path(path).relative_to(CASES))] = checked
    return result


def test_every_file_has_a_row() -> None:
    files = {
        str(path.relative_to(CASES)) for path in CASES.glob("*/*") if path.parent.name != MOLECULES
    }
    assert files == {row["file"] for row in table()}
    assert len(files) > 200


@pytest.mark.parametrize("row", table(), ids=lambda row: row["file"])
def test_case(row: dict[str, str], found: dict[str, list]) -> None:
    items = found[row["file"]]
    if "-" not in row["outcome"]:
        (item,) = items
        assert isinstance(item, Rejected)
        assert item.code == row["outcome"]
        assert item.sentence == row["says"]
        return
    assert all(isinstance(item, dict) for item in items), items
    assert sorted(item["structure_id"] for item in items) == sorted(row["outcome"].split(";"))
    if row["says"]:
        words = row["says"].split()
        expected = dict(zip(words[::2], map(float, words[1::2]), strict=True))
        moments: dict[str, float] = {}
        for item in items:
            moments |= dict(zip(item["symbols"], item["initial_moments_mub"], strict=True))
        assert moments == expected
