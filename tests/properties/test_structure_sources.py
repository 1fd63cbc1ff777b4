"""The bundled crystals from a folder, an OPTIMADE database and the Materials Project are the same.

The pinned sets hold them as other people would: another cell, origin, orientation and order, and
numbers a little off.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from test_structure_identity import (
    all_at_once,
    noisy,
    permuted,
    primitive,
    recut,
    rotated,
    shifted,
    supercell,
)

from dft2spectra.structures import pinned
from dft2spectra.structures.pinned import Retrieved
from dft2spectra.structures.retrieval import query
from dft2spectra.structures.sources import collect

ROOT = Path(__file__).parents[2]
# Of every crystal system among the bundled ones, with and without free coordinates.
NAMES = ["FeAl", "FeSi", "Fe2TiAl", "FeNi", "FeSe", "FeSn2", "FeB", "FeS2-marcasite", "Fe2P"]
NAMES += ["FeSn", "FeCl2", "FeTiO3"]
FILES = {"kind": "files", "path": str(ROOT / "data" / "structures"), "names": NAMES}
OPTIMADE = {"kind": "optimade", "name": "db", "base_url": "http://x", "filter": 'elements HAS "Fe"'}
MP = {"kind": "materials_project", "name": "mp"}
SEEDS = range(4)


@pytest.fixture(scope="module")
def bundled() -> dict[str, Atoms]:
    """The crystals by the id that they have from files."""
    accepted, _ = collect([FILES], {"max_atoms": 12})
    assert len(accepted) == len(NAMES)
    return {
        structure["structure_id"]: Atoms(
            structure["symbols"],
            cell=structure["cell_ang"],
            scaled_positions=structure["scaled_positions"],
            pbc=True,
        )
        for structure in accepted
    }


def pin(folder: Path, source: dict[str, Any], crystals: dict[str, Atoms]) -> None:
    entries = [
        {
            "id": identifier,
            "formula": None,
            "cell_ang": np.array(atoms.cell).tolist(),
            "symbols": atoms.get_chemical_symbols(),
            "scaled_positions": atoms.get_scaled_positions(wrap=False).tolist(),
            "moments_mub": None,
            "properties": {},
        }
        for identifier, atoms in crystals.items()
    ]
    path = folder / f"{source['name']}.json"
    pinned.write(path, query(source), Retrieved(entries, {"database_version": "1"}, 1))


@pytest.mark.parametrize(
    "disguise", [rotated, permuted, shifted, supercell, recut, primitive, all_at_once]
)
def test_id_from_a_database_is_that_from_files(
    bundled: dict[str, Atoms], tmp_path: Path, disguise: Any
) -> None:
    rng = np.random.default_rng(7)
    pin(tmp_path, OPTIMADE, {name: disguise(atoms, rng) for name, atoms in bundled.items()})
    accepted, rejected = collect([OPTIMADE], {"max_atoms": 12, "pinned": str(tmp_path)})
    assert rejected == []
    found = {s["provenance"][0]["id"]: s["structure_id"] for s in accepted}
    assert found == {name: name for name in bundled}


@pytest.mark.parametrize("seed", SEEDS)
def test_one_crystal_with_three_provenances(
    bundled: dict[str, Atoms], tmp_path: Path, seed: int
) -> None:
    """Whatever the order of the sources and of the entries, the id is the one from files."""
    rng = np.random.default_rng(seed)
    limits = {"max_atoms": 12, "pinned": str(tmp_path)}
    for source in (OPTIMADE, MP):
        disguised = {name: all_at_once(noisy(atoms, rng), rng) for name, atoms in bundled.items()}
        shuffled = rng.permutation(list(disguised)).tolist()
        pin(tmp_path, source, {name: disguised[name] for name in shuffled})
    sources = [FILES, OPTIMADE, MP]
    accepted, rejected = collect([sources[i] for i in rng.permutation(3)], limits)
    assert {structure["structure_id"] for structure in accepted} == set(bundled)
    for structure in accepted:
        kinds = [found["source"] for found in structure["provenance"]]
        assert kinds == ["files", "materials_project", "optimade"]
        ids = {found.get("id") for found in structure["provenance"]}
        assert ids == {None, structure["structure_id"]}
    assert {row["reason"].partition(":")[0] for row in rejected} == {"duplicate_of"}
    assert len(rejected) == 2 * len(bundled)
    assert collect(sources, limits) == (accepted, rejected)


def test_different_crystals_of_one_formula_stay_apart(
    bundled: dict[str, Atoms], tmp_path: Path
) -> None:
    """One per cent of volume is another job, from whichever source."""
    name, atoms = next((name, atoms) for name, atoms in bundled.items() if name.startswith("FeB"))
    wide = atoms.copy()
    wide.set_cell(np.array(atoms.cell) * 1.01, scale_atoms=True)
    pin(tmp_path, OPTIMADE, {"same": atoms, "wide": wide})
    accepted, _ = collect([FILES, OPTIMADE], {"max_atoms": 12, "pinned": str(tmp_path)})
    of_formula = {
        s["structure_id"]: len(s["provenance"]) for s in accepted if s["formula"] == "FeB"
    }
    assert sorted(of_formula.values()) == [1, 2]
    assert of_formula[name] == 2


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_id_does_not_depend_on_the_process(bundled: dict[str, Atoms], hash_seed: str) -> None:
    """Another order of sets and dictionaries, another locale, another folder."""
    program = (
        "from dft2spectra.structures.sources import collect\n"
        f"print(*(s['structure_id'] for s in collect([{FILES!r}], {{'max_atoms': 12}})[0]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env=environment,
    )
    assert done.stdout.split() == list(bundled)
