"""Pinned sets: whole or as before, checked when read, and what a refresh changed."""

import copy
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dft2spectra.structures import pinned
from dft2spectra.structures.pinned import RetrievalError, Retrieved, difference, read, write

SOURCE = {"kind": "optimade", "name": "db", "base_url": "http://x", "filter": 'elements HAS "Fe"'}
PROVIDER = {"name": "db", "base_url": "http://x", "api_version": "1", "database_version": None}
IRON = {
    "id": "7",
    "formula": "Fe",
    "cell_ang": [[2.866, 0, 0], [0, 2.866, 0], [0, 0, 2.866]],
    "symbols": ["Fe", "Fe"],
    "scaled_positions": [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]],
    "moments_mub": [2.2, None],
    "properties": {"energy_above_hull_ev_per_atom": 0.0, "ordering": "FM"},
}
MIXED = {"id": "12", "formula": "Fe3Al", "reason": "partial_occupancy: a site is shared"}


def retrieved(*entries: dict) -> Retrieved:
    return Retrieved([copy.deepcopy(entry) for entry in entries], dict(PROVIDER), 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A set with two entries."""
    write(tmp_path / "db.json", SOURCE, retrieved(IRON, MIXED))
    return tmp_path / "db.json"


def test_what_is_written_is_read(path: Path) -> None:
    found = read(path)
    assert [entry["id"] for entry in found["entries"]] == ["12", "7"]  # as text
    assert found["entries"] == [MIXED, IRON]
    assert (found["n_entries"], found["requests"], found["source"]) == (2, 3, SOURCE)
    assert found["provider"] == PROVIDER
    assert found["retrieved_at"].endswith("Z")


def test_order_of_arrival_does_not_matter_and_lines_are_entries(path: Path, tmp_path: Path) -> None:
    write(tmp_path / "other.json", SOURCE, retrieved(MIXED, IRON))
    other = read(tmp_path / "other.json")
    assert other["checksum"] == read(path)["checksum"]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith('  {"id"') for line in lines) == 2


def test_an_empty_answer_is_an_answer(tmp_path: Path) -> None:
    write(tmp_path / "none.json", SOURCE, retrieved())
    assert read(tmp_path / "none.json")["entries"] == []


def test_killed_before_the_name_is_given(path: Path) -> None:
    before = path.read_bytes()
    program = (
        "import os, signal\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from dft2spectra.structures.pinned import Retrieved, write\n"
        f"write({str(path)!r}, {SOURCE!r}, Retrieved([{IRON!r}], {PROVIDER!r}, 1))"
    )
    done = subprocess.run([sys.executable, "-c", program])
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert read(path)["n_entries"] == 2
    write(path, SOURCE, retrieved(IRON))  # what is left of the killed one is in nobody's way
    assert read(path)["n_entries"] == 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 0.99])
def test_cut_off_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"db\.json: damaged.*--forcerun"):
        read(path)


def test_any_changed_digit_is_noticed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    places = [text.index("2.866"), text.index("0.5"), text.index('"FM"') + 1, text.index("2.2")]
    for place in places:
        new = "3" if text[place].isdigit() else "A"
        path.write_text(text[:place] + new + text[place + 1 :], encoding="utf-8")
        with pytest.raises(ValueError, match="damaged or edited, its 2 entries"):
            read(path)


def test_entry_taken_out_by_hand(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["entries"][0]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="damaged or edited, its 1 entries"):
        read(path)


def test_other_files(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"format_version": 2}), encoding="utf-8")
    with pytest.raises(ValueError, match="version 2 of the format, this program reads 1"):
        read(path)
    del content["provider"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="damaged, without provider"):
        read(path)
    for other in ("[]", "{}", '{"format": "POSCAR"}'):
        path.write_text(other, encoding="utf-8")
        with pytest.raises(ValueError, match="not a pinned set"):
            read(path)
    with pytest.raises(FileNotFoundError):
        read(path.parent / "nowhere.json")


def test_a_place_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").write_text("", encoding="utf-8")
    below = tmp_path / "file" / "db.json"
    with pytest.raises(ValueError, match=r"folder\.json: cannot be read \(Is a directory\); check"):
        read(tmp_path / "folder.json")
    with pytest.raises(ValueError, match=r"db\.json: cannot be read \(Not a directory\); check"):
        read(below)
    with pytest.raises(RetrievalError, match=r"cannot be written .*; check the folder"):
        write(below, SOURCE, retrieved(IRON))


FAULTS = {
    "no id": ({"id": ""}, "has no id"),
    "number as id": ({"id": 7}, "has no id"),
    "cell of two vectors": ({"cell_ang": [[1, 0, 0], [0, 1, 0]]}, "the cell is not 3 × 3"),
    "text in the cell": ({"cell_ang": [["1", 0, 0], [0, 1, 0], [0, 0, 1]]}, "the cell is not"),
    "cell that is not finite": (
        {"cell_ang": [[float("nan"), 0, 0], [0, 1, 0], [0, 0, 1]]},
        "the cell is not",
    ),
    "one position too few": ({"scaled_positions": [[0, 0, 0]]}, "the positions are not 2 × 3"),
    "no atoms": ({"symbols": [], "scaled_positions": []}, "no atoms"),
    "symbol that is no text": ({"symbols": [26, 26]}, "a symbol that is no text"),
    "one moment too few": ({"moments_mub": [2.2]}, "the moments are not 2"),
    "infinite moment": ({"moments_mub": [2.2, float("inf")]}, "the moments are not"),
    "properties that are a list": ({"properties": []}, "the properties are no mapping"),
    "property that is not finite": ({"properties": {"x": float("nan")}}, "entry 7: "),
    "property that is no JSON": ({"properties": {"x": {1, 2}}}, "entry 7: "),
    "reason without a code": ({"reason": "bad luck"}, "a reason without a known code, 'bad luck'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_impossible_entry_writes_nothing(path: Path, name: str) -> None:
    changes, words = FAULTS[name]
    before = path.read_bytes()
    with pytest.raises(RetrievalError, match=words):
        write(path, SOURCE, Retrieved([{**IRON, **changes}], PROVIDER, 1))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["db.json"]


def test_two_entries_with_one_id(path: Path) -> None:
    with pytest.raises(RetrievalError, match="two entries have the id 7"):
        write(path, SOURCE, retrieved(IRON, MIXED, IRON))


def test_missing_key_of_an_entry(path: Path) -> None:
    for key in pinned.CRYSTAL_KEYS:
        entry = {name: value for name, value in IRON.items() if name != key}
        with pytest.raises(RetrievalError, match=f"entry 7: without {key}"):
            write(path, SOURCE, Retrieved([entry], PROVIDER, 1))


def test_difference() -> None:
    moved = copy.deepcopy(IRON)
    moved["scaled_positions"][1][0] = 0.49
    moved["properties"] = {"energy_above_hull_ev_per_atom": 0.02, "band_gap_ev": 0.0}
    new = {**MIXED, "id": "13"}
    assert difference([IRON, MIXED], [new, moved]) == [
        {"id": "12", "formula": "Fe3Al", "change": "removed", "fields": ""},
        {"id": "13", "formula": "Fe3Al", "change": "added", "fields": ""},
        {
            "id": "7",
            "formula": "Fe",
            "change": "changed",
            "fields": "properties.band_gap_ev properties.energy_above_hull_ev_per_atom "
            "properties.ordering scaled_positions",
        },
    ]
    assert difference([IRON, MIXED], [MIXED, IRON]) == []
    assert difference([], [IRON])[0]["change"] == "added"
