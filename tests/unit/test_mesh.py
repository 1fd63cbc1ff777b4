"""k-points and symmetry: operations against spglib, meshes against ASE and known counts."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spglib
from ase.calculators.calculator import kpts2sizeandoffsets

from dft2spectra.crystals.mesh import (
    atom_kinds,
    irreducible,
    kpoint_mesh,
    lattice_operations,
    mesh_size,
    operations,
    symmetric_size,
)
from dft2spectra.crystals.starts import start_moments, to_atoms
from dft2spectra.structures.sources import collect

ROOT = Path(__file__).parents[2]
# Cubic, body-centred, non-symmorphic, hexagonal, rhombohedral, orthorhombic.
NAMES = ["Fe", "FeAl", "YFe2Ge2", "FeSi", "Fe-hcp", "Fe2P", "FeSn", "Fe3Sn2", "FeB", "FeS2-pyrite"]
BODY_CENTRED = 1.0 - 2.0 * np.eye(3)


@pytest.fixture(scope="module")
def crystals() -> dict[str, dict[str, Any]]:
    source = {"kind": "files", "path": str(ROOT / "data" / "structures"), "names": NAMES}
    accepted, _ = collect([source], {"max_atoms": 24})
    return {structure["name"]: structure for structure in accepted}


def reduced(structure: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cell, positions and kinds of atoms, with ferromagnetic starts as GPAW sees them."""
    atoms = to_atoms(structure)
    moments = start_moments("ferromagnetic", structure)
    pairs = list(zip(structure["symbols"], moments, strict=True))
    kinds = np.array([sorted(set(pairs)).index(pair) for pair in pairs])
    return atoms.cell.array, atoms.get_scaled_positions(), kinds


def of_spglib(cell: np.ndarray, scaled: np.ndarray, kinds: np.ndarray) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return spglib.get_symmetry((cell, scaled, kinds + 1), symprec=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Fe", 48),
        ("FeAl", 48),
        ("YFe2Ge2", 16),
        ("FeSi", 12),
        ("Fe-hcp", 24),
        ("Fe2P", 12),
        ("FeSn", 24),
        ("Fe3Sn2", 12),
        ("FeB", 8),
        ("FeS2-pyrite", 24),
    ],
)
def test_operations_are_those_of_spglib(
    crystals: dict[str, dict[str, Any]], name: str, expected: int
) -> None:
    """Order of the point group of the space group; hexagonal axes are what rounding loses."""
    crystal = reduced(crystals[name])
    found, theirs = operations(*crystal), of_spglib(*crystal)
    assert len(found.rotations) == expected == len(theirs["rotations"])
    ours = {row.tobytes() for row in found.rotations.astype(np.int32)}
    assert ours == {row.T.tobytes() for row in theirs["rotations"].astype(np.int32)}


@pytest.mark.parametrize("name", ["FeSi", "Fe-hcp", "FeS2-pyrite", "FeB"])
def test_operations_are_a_group_that_maps_the_atoms(
    crystals: dict[str, dict[str, Any]], name: str
) -> None:
    """To rounding of the computer, though positions are rounded to 1e-8."""
    cell, scaled, kinds = reduced(crystals[name])
    rotations, translations, images = operations(cell, scaled, kinds)
    assert np.abs(translations).max() > 0.1  # no origin makes these symmorphic
    assert not translations[(rotations == np.eye(3)).all(axis=(1, 2))].any()
    for rotation, translation, image in zip(rotations, translations, images, strict=True):
        assert (kinds[image] == kinds).all()
        apart = scaled @ rotation + translation - scaled[image]
        assert np.abs(apart - np.rint(apart)).max() < 1e-5
        both = translation @ rotations + translations
        for product, moved in zip(rotation @ rotations, both, strict=True):
            (same,) = np.flatnonzero((rotations == product).all(axis=(1, 2)))
            difference = moved - translations[same]
            assert np.abs(difference - np.rint(difference)).max() < 1e-12


def test_atoms_of_another_kind_are_not_exchanged(crystals: dict[str, dict[str, Any]]) -> None:
    """Iron with one atom of FeSi marked keeps the threefold axis through it."""
    cell, scaled, kinds = reduced(crystals["FeSi"])
    marked = kinds.copy()
    marked[0] = 2
    assert len(operations(cell, scaled, marked).rotations) == 3


@pytest.mark.parametrize(
    ("name", "size", "points"),
    [("YFe2Ge2", [6, 6, 6], 30), ("FeSi", [5, 5, 5], 11), ("Fe", None, 56), ("FeAl", None, 35)],
)
def test_irreducible_points_at_the_default_density(
    crystals: dict[str, dict[str, Any]], name: str, size: list[int] | None, points: int
) -> None:
    crystal = reduced(crystals[name])
    found, count = kpoint_mesh(*crystal, 3.5)
    assert count == points
    assert (found >= mesh_size(crystal[0], 3.5)).all()
    if size:
        assert found.tolist() == size


def test_equal_meshes_along_equivalent_axes_are_cheaper(
    crystals: dict[str, dict[str, Any]],
) -> None:
    """In the body-centred cell of YFe2Ge2: 55 points of the uneven mesh, 30 of the even one."""
    cell, scaled, kinds = reduced(crystals["YFe2Ge2"])
    rotations = operations(cell, scaled, kinds).rotations
    size = mesh_size(cell, 3.5)
    assert len(set(size.tolist())) > 1
    even = symmetric_size(size, rotations)
    assert (irreducible(size, rotations), irreducible(even, rotations)) == (55, 30)


def test_exchanged_axes_get_the_larger_number() -> None:
    exchange = np.array([np.eye(3), np.eye(3)[[1, 0, 2]]], dtype=int)
    assert symmetric_size(np.array([3, 5, 4]), exchange).tolist() == [5, 5, 4]
    # By way of the third: x with y, y with z.
    chain = np.array([np.eye(3)[[1, 0, 2]], np.eye(3)[[0, 2, 1]]], dtype=int)
    assert symmetric_size(np.array([3, 5, 4]), chain).tolist() == [5, 5, 5]
    assert symmetric_size(np.array([3, 5, 4]), exchange[:1]).tolist() == [3, 5, 4]


@pytest.mark.parametrize("density", [1.2, 3.5, 7.0])
def test_size_of_the_mesh_is_that_of_ase(
    crystals: dict[str, dict[str, Any]], density: float
) -> None:
    for structure in crystals.values():
        atoms = to_atoms(structure)
        size, _ = kpts2sizeandoffsets(density=density, gamma=True, atoms=atoms)
        assert mesh_size(atoms.cell.array, density).tolist() == list(size)


def test_operations_of_lattices() -> None:
    """Orders of the holohedries; cells rounded as in files keep them."""
    hexagonal = np.array([[2.46, 0, 0], [-1.23, 2.46 * 0.8660254, 0], [0, 0, 3.96]])
    for cell, expected in (
        (np.eye(3), 48),
        (1.43 * BODY_CENTRED, 48),
        (np.diag([2.8, 2.8, 3.1]), 16),
        (np.diag([2.8, 3.0, 3.3]), 8),
        (np.round(hexagonal, 8), 24),
        (np.array([[2.8, 0, 0], [0.3, 3.0, 0], [0.2, 0.4, 3.3]]), 2),
    ):
        assert len(lattice_operations(cell)) == expected


def test_kinds_of_atoms() -> None:
    """Equal element and starting moment, to four places; numbered by both."""
    kinds = atom_kinds([26, 13, 26, 26, 26], [2.5, 0.0, -2.5, 2.50000001, 2.5001])
    assert kinds.tolist() == [2, 0, 1, 2, 3]
