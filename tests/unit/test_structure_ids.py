"""Ids and content hashes of the bundled crystals stay: another value computes campaigns again."""

import csv
from pathlib import Path

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.neighborlist import neighbor_list

from dft2spectra.structures.canonical import SYMPREC, _standardise
from dft2spectra.structures.neighbours import pairs_within
from dft2spectra.structures.sources import collect, to_atoms

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "data" / "structures"

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")


@pytest.fixture(scope="module")
def crystals() -> list[dict]:
    accepted, _ = collect([{"kind": "files", "path": str(FOLDER)}], {"max_atoms": 24})
    return accepted


def test_ids_and_content_hashes(crystals: list[dict]) -> None:
    with open(ROOT / "tests" / "data" / "structure-ids.csv", encoding="utf-8") as file:
        wanted = {
            row["file"]: (row["structure_id"], row["content_hash"]) for row in csv.DictReader(file)
        }
    found = {
        Path(crystal["provenance"][0]["path"]).name: (
            crystal["structure_id"],
            crystal["content_hash"],
        )
        for crystal in crystals
    }
    assert found == wanted


def test_primitive_cell_is_that_of_spglib(crystals: list[dict]) -> None:
    """In all centrings, also from a supercell with another origin and orientation."""
    chance = np.random.default_rng(0)
    centrings = set()
    for crystal in crystals:
        cell = np.array(crystal["cell_ang"])
        scaled = np.array(crystal["scaled_positions"])
        numbers = np.unique(crystal["symbols"], return_inverse=True)[1]
        turned = np.linalg.qr(chance.normal(size=(3, 3)))[0]
        turned *= np.sign(np.linalg.det(turned))
        other = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]])
        for lattice, positions in (
            (cell, scaled),
            (other @ cell @ turned, (scaled + chance.random(3)) @ np.linalg.inv(other)),
        ):
            dataset, found = _standardise(lattice, positions, numbers)
            wanted = spglib.standardize_cell(
                (lattice, positions % 1.0, numbers + 1), to_primitive=True, symprec=SYMPREC
            )
            centrings.add(dataset.international[0])
            # With the signs of zeros, which content hashes see.
            assert str(np.round(found[0], 8).tolist()) == str(np.round(wanted[0], 8).tolist())
            np.testing.assert_array_equal(np.round(found[1], 8) % 1, np.round(wanted[1], 8) % 1)
            np.testing.assert_array_equal(found[2], wanted[2] - 1)
    assert centrings == set("PCIFR")


def test_pairs_are_those_of_ase(crystals: list[dict]) -> None:
    for crystal in crystals[::5]:
        atoms = to_atoms(crystal)
        cutoff = 1.7 * (atoms.get_volume() / len(atoms)) ** (1 / 3)
        first, second, distance = pairs_within(atoms.cell.array, atoms.positions, cutoff)
        i, j, d = neighbor_list("ijd", atoms, cutoff)
        order = np.lexsort((d, j, i))
        np.testing.assert_array_equal(first, i[order])
        np.testing.assert_array_equal(second, j[order])
        np.testing.assert_allclose(distance, d[order], atol=1e-9)


def test_pairs_of_atoms_on_one_place() -> None:
    """Two atoms on one place are a pair; an atom alone sees only its images."""
    two = Atoms("Fe2", cell=[3, 3, 3], positions=[[1, 1, 1], [4, 1, 1]], pbc=True)
    first, second, distance = pairs_within(two.cell.array, two.positions, 1.0)
    assert list(zip(first, second, distance.round(9), strict=True)) == [(0, 1, 0.0), (1, 0, 0.0)]
    first, _, distance = pairs_within(two.cell.array, two.positions[:1], 3.5)
    assert len(first) == 6
    np.testing.assert_allclose(distance, 3.0)
