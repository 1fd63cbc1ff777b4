"""Sources, tables on disk, and the quick answer to the Snakefile."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from dft2spectra.structures import sources as module
from dft2spectra.structures.sources import (
    collect,
    fingerprint,
    planned,
    read_structure,
    to_atoms,
    write_structures,
)

LIMITS = {"max_atoms": 8, "min_distance_ang": 1.4, "max_volume_ang3_per_atom": 60}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Iron, FeAl and NiAl."""
    place = tmp_path / "structures"
    place.mkdir()
    ase.io.write(place / "iron.vasp", bulk("Fe", a=2.866), format="vasp")
    ase.io.write(place / "FeAl.cif", bulk("FeAl", "cesiumchloride", a=2.909))
    ase.io.write(place / "NiAl.cif", bulk("NiAl", "cesiumchloride", a=2.887))
    return place


def source(path, **more):
    return {"kind": "files", "path": str(path), **more}


def test_record_has_the_agreed_shape(folder):
    accepted, rejected = collect([source(folder)], LIMITS)
    feal = next(structure for structure in accepted if structure["formula"] == "AlFe")
    assert set(feal) == {
        *("structure_id", "formula", "spacegroup", "name", "prototype", "magnetic_order"),
        *("parent", "provenance", "cell_ang", "symbols", "scaled_positions", "site_labels"),
        *("wyckoff", "initial_moments_mub", "measured", "content_hash", "order", "role"),
    }
    assert feal["structure_id"].startswith("AlFe-221-")
    assert len(feal["structure_id"].rpartition("-")[2]) == 8
    assert feal["provenance"] == [
        {"source": "files", "path": str(folder / "FeAl.cif"), "citation": None}
    ]
    assert json.loads(json.dumps(feal)) == feal
    assert rejected == [
        {
            "source": "files",
            "origin": str(folder / "NiAl.cif"),
            "structure_id": None,
            "formula": "AlNi",
            "reason": "no_fe: no iron among Al, Ni",
        }
    ]


def test_formula_in_the_id_needs_no_quoting(tmp_path):
    """pymatgen writes BaFe2As2 as Ba(FeAs)2; brackets in a file name break shell commands."""
    (tmp_path / "BaFe2As2.yaml").write_text(
        "name: BaFe2As2\nformula: BaFe2As2\nspacegroup: 139\nlattice: {a: 3.9625, c: 13.0168}\n"
        "sites:\n  - {label: Ba1, element: Ba, wyckoff: 2a, position: [0, 0, 0]}\n"
        "  - {label: Fe1, element: Fe, wyckoff: 4d, position: [0.5, 0, 0.25]}\n"
        "  - {label: As1, element: As, wyckoff: 4e, position: [0, 0, 0.3545]}\n",
        encoding="utf-8",
    )
    accepted, _ = collect([source(tmp_path)], LIMITS)
    assert accepted[0]["structure_id"].startswith("BaFe2As2-139-")


def test_missing_path_names_itself_and_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"'.*nowhere' does not exist .* remove the source"):
        collect([source(tmp_path / "nowhere")], LIMITS)
    with pytest.raises(ValueError, match=r"no file matches the pattern '.*\*\.cif'"):
        collect([source(tmp_path / "*.cif")], LIMITS)
    with pytest.raises(ValueError, match="unknown kind 'telepathy'"):
        collect([{"kind": "telepathy", "path": "."}], LIMITS)


def test_names_select_and_a_mistyped_name_stops(folder):
    accepted, rejected = collect([source(folder, names=["iron"])], LIMITS)
    assert [structure["formula"] for structure in accepted] == ["Fe"]
    assert rejected == []
    with pytest.raises(ValueError, match=r"no file named 'FeAll'; nearest: FeAl"):
        collect([source(folder, names=["FeAll"])], LIMITS)


def test_patterns_single_files_and_documentation(folder):
    (folder / "README.md").write_text("about", encoding="utf-8")
    (folder / ".hidden.cif").write_text("", encoding="utf-8")
    (folder / "deeper").mkdir()
    ase.io.write(folder / "deeper" / "FeTi.cif", bulk("FeTi", "cesiumchloride", a=2.976))
    whole, rejected = collect([source(folder)], LIMITS)
    assert len(whole) == 2
    assert len(rejected) == 1
    assert len(collect([source(folder / "*.cif")], LIMITS)[0]) == 1
    assert len(collect([source(folder / "**" / "*.cif")], LIMITS)[0]) == 2
    assert len(collect([source(folder / "iron.vasp")], LIMITS)[0]) == 1
    # named outright, a file without a reader is an answerable mistake
    assert collect([source(folder / "README.md")], LIMITS)[1][0]["reason"].startswith("unreadable")


def test_a_file_named_by_two_sources_is_one_input(folder):
    once = collect([source(folder)], LIMITS)
    twice = collect([source(folder), source(folder / "iron.vasp")], LIMITS)
    assert once == twice


def test_order_of_sources_is_irrelevant(folder, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    ase.io.write(more / "again.vasp", bulk("Fe", a=2.8665, cubic=True), format="vasp")
    ase.io.write(more / "empty.xyz", bulk("FeTi", "cesiumchloride", a=2.976), format="extxyz")
    forth = collect([source(folder), source(more)], LIMITS)
    back = collect([source(more), source(folder)], LIMITS)
    assert forth == back
    assert len(forth[0]) == 3
    iron = next(structure for structure in forth[0] if structure["formula"] == "Fe")
    assert len(iron["provenance"]) == 2


def test_limits_are_obeyed(folder):
    assert collect([source(folder)], LIMITS | {"max_atoms": 1})[1][0]["reason"] == (
        "too_many_atoms: 2 atoms in the primitive cell, at most 1"
    )
    reasons = [
        row["reason"] for row in collect([source(folder)], LIMITS | {"min_distance_ang": 2.5})[1]
    ]
    assert sum(reason.startswith("overlapping_atoms") for reason in reasons) == 1  # bcc: 2.482 Å
    tight = collect([source(folder)], LIMITS | {"max_volume_ang3_per_atom": 12})[1]
    assert sum(row["reason"].startswith("huge_cell") for row in tight) == 1  # FeAl: 12.3 Å³


def test_supercell_of_a_small_crystal_is_welcome(tmp_path):
    ase.io.write(tmp_path / "big.vasp", bulk("Fe", a=2.866, cubic=True) * (3, 3, 3), format="vasp")
    accepted, _ = collect([source(tmp_path)], LIMITS)
    assert len(accepted[0]["symbols"]) == 1


def test_written_folder_reads_back(folder, tmp_path):
    accepted, rejected = collect([source(folder)], LIMITS)
    out = tmp_path / "out"
    write_structures(accepted, rejected, out)
    with open(out / "index.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == [
        "structure_id",
        "formula",
        "spacegroup",
        "parent",
        "name",
        "n_atoms",
        "sources",
        "order",
        "role",
    ]
    assert [row["name"] for row in rows] == ["FeAl", "iron"]
    assert [row["n_atoms"] for row in rows] == ["2", "1"]
    for structure in accepted:
        path = out / "accepted" / f"{structure['structure_id']}.json"
        assert read_structure(path) == structure
        atoms = to_atoms(structure)
        assert atoms.pbc.all()
        assert atoms.get_chemical_symbols() == structure["symbols"]
        assert np.array(atoms.cell) == pytest.approx(np.array(structure["cell_ang"]))
        assert atoms.get_initial_magnetic_moments().tolist() == structure["initial_moments_mub"]
        assert atoms.arrays["site_label"].tolist() == structure["site_labels"]


def test_damaged_record_is_named(tmp_path):
    (tmp_path / "x.json").write_text('{"formula": "Fe"}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"x\.json: not a structure record, it lacks .*cell_ang"):
        read_structure(tmp_path / "x.json")


def test_only_what_changed_is_written_and_stale_files_go(folder, tmp_path):
    out = tmp_path / "out"
    write_structures(*collect([source(folder)], LIMITS), out)
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.is_file()}
    assert len(files) == 4
    write_structures(*collect([source(folder)], LIMITS), out)
    assert {path: path.stat().st_mtime_ns for path in files} == files

    (folder / "FeAl.cif").unlink()
    ase.io.write(folder / "FeTi.cif", bulk("FeTi", "cesiumchloride", a=2.976))
    accepted, rejected = collect([source(folder)], LIMITS)
    write_structures(accepted, rejected, out)
    names = {path.stem for path in (out / "accepted").iterdir()}
    assert names == {structure["structure_id"] for structure in accepted}
    iron = next(path for path in files if path.stem.startswith("Fe-229"))
    assert iron.stat().st_mtime_ns == files[iron]


def test_damaged_accepted_file_is_written_again(folder, tmp_path):
    accepted, rejected = collect([source(folder)], LIMITS)
    write_structures(accepted, rejected, tmp_path / "out")
    path = tmp_path / "out" / "accepted" / f"{accepted[0]['structure_id']}.json"
    path.write_text('{"structure_id": ', encoding="utf-8")
    write_structures(accepted, rejected, tmp_path / "out")
    assert read_structure(path) == accepted[0]


def test_fingerprint_sees_every_change(folder):
    base = fingerprint([source(folder)], LIMITS)
    assert base == fingerprint([source(folder)], dict(LIMITS))
    assert base != fingerprint([source(folder)], LIMITS | {"max_atoms": 4})
    assert base != fingerprint([source(folder, names=["iron"])], LIMITS)
    os.utime(folder / "iron.vasp", ns=(1, 1))
    touched = fingerprint([source(folder)], LIMITS)
    assert touched != base
    (folder / "iron.vasp").unlink()
    assert fingerprint([source(folder)], LIMITS) not in (base, touched)


def planned_ids(*arguments):
    return [structure["structure_id"] for structure in planned(*arguments)[0]]


def test_plan_from_the_index_or_from_the_sources(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    expected = [structure["structure_id"] for structure in collect([source(folder)], LIMITS)[0]]
    assert planned_ids([source(folder)], LIMITS, out) == expected
    assert not out.exists()  # planning writes nothing
    stamp = fingerprint([source(folder)], LIMITS)
    write_structures(*collect([source(folder)], LIMITS), out, fingerprint=stamp)

    with monkeypatch.context() as patch:
        patch.setattr(module, "collect", lambda *_: pytest.fail("nothing changed"))
        assert planned_ids([source(folder)], LIMITS, out) == expected

    fewer = planned_ids([source(folder)], LIMITS | {"max_atoms": 1}, out)
    assert fewer == [name for name in expected if name.startswith("Fe-")]
    (out / "index.csv").unlink()
    assert planned_ids([source(folder)], LIMITS, out) == expected
    (out / "fingerprint.json").write_text("{", encoding="utf-8")
    assert planned_ids([source(folder)], LIMITS, out) == expected


def test_writing_without_a_fingerprint_withdraws_the_old_one(folder, tmp_path):
    stamp = fingerprint([source(folder)], LIMITS)
    write_structures(*collect([source(folder)], LIMITS), tmp_path / "out", fingerprint=stamp)
    write_structures([], [], tmp_path / "out")
    assert planned_ids([source(folder)], LIMITS, tmp_path / "out") != []


def test_unchanged_plan_loads_no_heavy_library(folder, tmp_path):
    stamp = fingerprint([source(folder)], LIMITS)
    write_structures(*collect([source(folder)], LIMITS), tmp_path / "out", fingerprint=stamp)
    program = (
        "import sys, time; start = time.process_time()\n"
        "from dft2spectra.structures.sources import planned\n"
        f"ids = planned({[source(folder)]!r}, {LIMITS!r}, {str(tmp_path / 'out')!r})[0]\n"
        "heavy = {'numpy', 'pandas', 'pymatgen', 'ase', 'spglib', 'scipy'} & set(sys.modules)\n"
        "print(len(ids), len(heavy), time.process_time() - start)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    count, heavy, seconds = done.stdout.split()
    assert (count, heavy) == ("2", "0")
    assert float(seconds) < 0.3


def test_plan_of_ten_thousand_files_is_quick(tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(10_000):
        (many / f"{number}.cif").touch()
    start = time.process_time()
    fingerprint([source(many)], LIMITS)
    assert time.process_time() - start < 3.0
