"""Every file of tests/hostile becomes one row with the right code, and the campaign goes on."""

import csv
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from dft2spectra.structures.raw import RawStructure, Rejected
from dft2spectra.structures.screening import effective_limits, screen
from dft2spectra.structures.sources import collect, write_structures

HOSTILE = Path(__file__).parents[1] / "hostile"
LIMITS = {"max_atoms": 24, "min_distance_ang": 1.4, "max_volume_ang3_per_atom": 60}

EXPECTED = {
    "angle_out_of_range.cif": "not_periodic",
    "announced_atoms.vasp": "unreadable",
    "announced_atoms.xyz": "unreadable",
    "binary.cif": "unreadable",
    "binary.db": "unreadable",
    "blank.cif": "empty_file",
    "coincident_atoms.cif": "overlapping_atoms",
    "collapsed.vasp": "overlapping_atoms",
    "empty.cif": "empty_file",
    "empty.db": "empty_file",
    "far_coordinates.cif": "not_finite",
    "far_coordinates.vasp": "not_finite",
    "good_fe.cif": "duplicate_of",
    "huge_cell.cif": "huge_cell",
    "huge_number.cif": "huge_cell",
    "hydrogen_without_position.cif": "unreadable",
    "infinite_cell.vasp": "not_finite",
    "key_twice.json": "unreadable",
    "key_twice.yaml": "unreadable",
    "long_vector.vasp": "huge_cell",
    "magnetic.mcif": "unreadable",
    "measured_unknown_key.yaml": "unreadable",
    "measured_unknown_site.yaml": "unreadable",
    "mistyped_key.yaml": "unreadable",
    "mixed_site.cif": "partial_occupancy",
    "molecule.cif": "not_periodic",
    "molecule.xyz": "not_periodic",
    "nan_coordinates.cif": "not_finite",
    "nan_coordinates.vasp": "not_finite",
    "nan_coordinates.xyz": "not_finite",
    "nan_lattice.yaml": "not_finite",
    "nan_moment.xyz": "not_finite",
    "nan_occupancy.cif": "not_finite",
    "no_atoms.cif": "unreadable",
    "no_coordinates.cif": "unreadable",
    "no_fe.cif": "no_fe",
    "no_paw_dataset.cif": "no_paw_dataset",
    "no_reader.res": "unreadable",
    "not_a_cif.cif": "unreadable",
    "not_a_mapping.yaml": "unreadable",
    "not_ase.json": "unreadable",
    "occupancy_above_one.cif": "partial_occupancy",
    "overlapping_atoms.cif": "overlapping_atoms",
    "own_image.vasp": "overlapping_atoms",
    "partial_occupancy.cif": "partial_occupancy",
    "question_marks.cif": "unreadable",
    "several.xyz#2": "no_fe",
    "slab.xyz": "not_periodic",
    "surplus_lattice_parameter.yaml": "unreadable",
    "tabs.yaml": "unreadable",
    "too_many_atoms.vasp": "too_many_atoms",
    "truncated.json": "unreadable",
    "truncated.vasp": "unreadable",
    "truncated.xyz": "unreadable",
    "truncated_row.cif": "unreadable",
    "truncated_rows.cif": "unreadable",
    "two_origins.cif": "unreadable",
    "unknown_element.cif": "unknown_element",
    "unknown_element.vasp": "unknown_element",
    "unknown_element.xyz": "unknown_element",
    "unknown_element.yaml": "unknown_element",
    "unknown_label.cif": "unknown_element",
    "unknown_space_group.cif": "unreadable",
    "utf16.cif": "unreadable",
    "vasp4.vasp": "unreadable",
    "wrong_encoding.cif": "unreadable",
    "wrong_formula.yaml": "unreadable",
    "wrong_volume.cif": "unreadable",
    "wrong_wyckoff.yaml": "unreadable",
    "zero_length.cif": "not_periodic",
    "zero_volume.cif": "not_periodic",
    "zero_volume.vasp": "not_periodic",
}
ACCEPTED = {"duplicate_fe_conventional.vasp", "several.xyz"}


@pytest.fixture(scope="module")
def collected():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing of the libraries' warnings may leak
        return collect([{"kind": "files", "path": str(HOSTILE)}], LIMITS)


@pytest.fixture(scope="module")
def reasons(collected):
    return {Path(row["origin"]).name: row["reason"] for row in collected[1]}


@pytest.mark.parametrize("origin", EXPECTED)
def test_rejected_with_code_and_sentence(reasons, origin):
    code, sentence = reasons[origin].split(": ", 1)
    assert code == EXPECTED[origin]
    assert len(sentence.split()) >= 3
    assert "\n" not in sentence
    assert str(HOSTILE) not in sentence or code == "duplicate_of"


def test_every_file_is_accounted_for(collected, reasons):
    files = {path.name for path in HOSTILE.iterdir()}
    assert {origin.partition("#")[0] for origin in EXPECTED} | ACCEPTED == files
    assert set(reasons) == set(EXPECTED)


def test_the_rest_goes_on(collected):
    accepted, _ = collected
    assert [structure["formula"] for structure in accepted] == ["AlFe", "Fe"]
    paths = [Path(entry["path"]).name for entry in accepted[1]["provenance"]]
    assert paths == ["duplicate_fe_conventional.vasp", "good_fe.cif"]


@pytest.mark.parametrize(
    ("origin", "part"),
    [
        ("overlapping_atoms.cif", "0.400 Å"),
        ("no_fe.cif", "Al, Ni"),
        ("no_paw_dataset.cif", "U"),
        ("partial_occupancy.cif", "Fe:0.97"),
        ("mistyped_key.yaml", "did you mean 'lattice'?"),
        ("wrong_wyckoff.yaml", "generates 1 atoms in space group 221, not the 3"),
        ("two_origins.cif", "space group 227 has two origins"),
        ("wrong_encoding.cif", "0xfc"),
        ("too_many_atoms.vasp", "36 atoms in the primitive cell, at most 24"),
    ],
)
def test_sentence_says_what_is_wrong(reasons, origin, part):
    assert part in reasons[origin]


def test_too_short_distances_do_not_depend_on_the_cell():
    """The same random crystals in a short and in a skewed cell: same verdict, same distance."""
    rng = np.random.default_rng(5)
    refused = []
    for _ in range(100):
        cell = rng.uniform(0.8, 6.0) * np.eye(3) + rng.normal(0.0, 0.6, (3, 3))
        scaled = rng.random((2, 3))
        skew = np.eye(3, dtype=int)
        for _ in range(4):
            i, j = rng.choice(3, 2, replace=False)
            skew[i] += rng.integers(-2, 3) * skew[j]
        said = []
        for rows in (cell, skew @ cell):
            places = scaled @ cell @ np.linalg.inv(rows)
            try:
                screen(RawStructure(rows, ["Fe", "Al"], places), effective_limits(LIMITS))
                said.append("")
            except Rejected as rejection:
                said.append(re.sub(r"^.* (are|and)", "", str(rejection)))
        assert said[0] == said[1]
        refused.append(said[0] != "")
    assert 20 < sum(refused) < 80


def test_table_of_rejections(collected, tmp_path):
    write_structures(*collected, tmp_path)
    with open(tmp_path / "rejected.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["source", "origin", "structure_id", "formula", "reason"]
    assert len(rows) == len(EXPECTED)
    duplicate = next(row for row in rows if row["origin"].endswith("good_fe.cif"))
    assert (tmp_path / "accepted" / f"{duplicate['structure_id']}.json").exists()


def test_folder_with_a_suffix_and_broken_link(tmp_path):
    (tmp_path / "folder.cif").mkdir()
    (tmp_path / "link.cif").symlink_to(tmp_path / "nowhere.cif")
    os.mkfifo(tmp_path / "pipe.cif")
    accepted, rejected = collect([{"kind": "files", "path": str(tmp_path / "*.cif")}], LIMITS)
    assert accepted == []
    assert [(Path(row["origin"]).name, row["reason"].split(":")[0]) for row in rejected] == [
        ("link.cif", "unreadable"),
        ("pipe.cif", "unreadable"),
    ]
    _, rejected = collect([{"kind": "files", "path": str(tmp_path)}], LIMITS)
    assert [Path(row["origin"]).name for row in rejected] == ["link.cif"]
