"""Readers: the same crystal in every format, and what only some formats can say."""

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io.jsonio import encode
from ase.spacegroup import crystal

from dft2spectra.structures.files import read_file
from dft2spectra.structures.raw import RawStructure
from dft2spectra.structures.sources import collect

LIMITS = {"max_atoms": 12}
PYRITE_U = 0.385


@pytest.fixture
def pyrite() -> Atoms:
    """FeS2, pyrite: a = 5.416 Å, u = 0.385."""
    return crystal(
        ["Fe", "S"],
        [(0, 0, 0), (PYRITE_U,) * 3],
        spacegroup=205,
        cellpar=[5.416, 5.416, 5.416, 90, 90, 90],
    )


def collect_files(path):
    return collect([{"kind": "files", "path": str(path)}], LIMITS)


def test_every_format_gives_the_same_crystal(pyrite, tmp_path):
    ase.io.write(tmp_path / "a.cif", pyrite)
    ase.io.write(tmp_path / "b.vasp", pyrite, format="vasp", direct=True)
    ase.io.write(tmp_path / "POSCAR", pyrite, format="vasp", direct=False)
    ase.io.write(tmp_path / "CONTCAR_relaxed", pyrite, format="vasp")
    ase.io.write(tmp_path / "c.xyz", pyrite, format="extxyz")
    ase.io.write(tmp_path / "d.extxyz", pyrite, format="extxyz")
    ase.io.write(tmp_path / "e.json", pyrite)
    ase.io.write(tmp_path / "f.db", pyrite)
    (tmp_path / "g.json").write_text(encode(pyrite), encoding="utf-8")
    (tmp_path / "h.yaml").write_text(
        "name: pyrite\nformula: FeS2\nspacegroup: 205\nlattice: {a: 5.416}\nsites:\n"
        "  - {label: Fe1, element: Fe, wyckoff: 4a, position: [0, 0, 0]}\n"
        f"  - {{label: S1, element: S, wyckoff: 8c, position: [{PYRITE_U}, {PYRITE_U}, 0.385]}}\n",
        encoding="utf-8",
    )
    accepted, rejected = collect_files(tmp_path)
    assert len(accepted) == 1
    assert len(accepted[0]["provenance"]) == 10
    assert [row["reason"].split(":")[0] for row in rejected] == ["duplicate_of"] * 9
    assert accepted[0]["spacegroup"] == 205
    assert len(accepted[0]["symbols"]) == 12


def test_cif_with_operations_charges_and_errors_in_brackets(tmp_path):
    (tmp_path / "pyrite.cif").write_text(
        "data_pyrite\n_journal_name_full 'Am. Mineral.'\n_journal_year 1985\n"
        "_cell_length_a 5.4160(3)\n_cell_length_b 5.4160(3)\n_cell_length_c 5.4160(3)\n"
        "_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 90\n"
        "_symmetry_space_group_name_H-M 'P a -3'\n"
        "loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n"
        "_atom_site_fract_y\n_atom_site_fract_z\nFe1 Fe2+ 0 0 0\nS1 S1- 0.3850(2) 0.385 0.385\n",
        encoding="utf-8",
    )
    accepted, rejected = collect_files(tmp_path)
    assert rejected == []
    assert accepted[0]["formula"] == "FeS2"
    assert accepted[0]["site_labels"] == ["Fe1"] * 4 + ["S1"] * 8
    provenance = accepted[0]["provenance"][0]
    assert provenance["citation"] == "Am. Mineral. 1985"
    # what had to be looked up is kept, not printed
    assert provenance["notes"] == ["symmetry operations of P a -3, which the file names"]


def test_cif_with_two_blocks_and_one_bad(pyrite, tmp_path):
    ase.io.write(tmp_path / "two.cif", pyrite)
    good = (tmp_path / "two.cif").read_text(encoding="utf-8")
    bad = good.replace("5.416", "nan", 1)
    (tmp_path / "two.cif").write_text("data_global\n" + good + bad, encoding="utf-8")
    accepted, rejected = collect_files(tmp_path)
    assert len(accepted) == 1
    assert accepted[0]["provenance"][0]["index"] == 1
    assert [row["origin"].rpartition("#")[2] for row in rejected] == ["2"]
    assert rejected[0]["reason"].startswith("not_finite")


def test_deuterium_is_hydrogen(tmp_path):
    hydride = crystal(
        ["Mg", "Fe", "H"],
        [(0.25, 0.25, 0.25), (0, 0, 0), (0.2425, 0, 0)],
        spacegroup=225,
        cellpar=[6.43] * 3 + [90] * 3,
    )
    ase.io.write(tmp_path / "a.cif", hydride)
    text = (tmp_path / "a.cif").read_text(encoding="utf-8")
    text = "\n".join(
        line.replace("  H  ", "  D  ").replace(" H1", " D1").replace("H6", "D6")
        for line in text.splitlines()
    )
    assert "  D  " in text
    (tmp_path / "b.cif").write_text(text, encoding="utf-8")
    accepted, _ = collect_files(tmp_path)
    assert [len(structure["provenance"]) for structure in accepted] == [2]
    assert accepted[0]["formula"] == "Mg2FeH6"


def test_moments_of_extended_xyz(tmp_path):
    feco = bulk("FeCo", "cesiumchloride", a=2.85)
    feco.set_initial_magnetic_moments([2.8, 1.7])
    ase.io.write(tmp_path / "feco.xyz", feco, format="extxyz")
    accepted, _ = collect_files(tmp_path)
    moments = dict(zip(accepted[0]["symbols"], accepted[0]["initial_moments_mub"], strict=True))
    assert moments == {"Fe": 2.8, "Co": 1.7}


def test_moments_of_a_stored_calculation(tmp_path):
    (tmp_path / "feco.xyz").write_text(
        '2\nLattice="2.85 0 0 0 2.85 0 0 0 2.85" '
        'Properties=species:S:1:pos:R:3:magmoms:R:1 pbc="T T T"\n'
        "Fe 0 0 0 2.8\nCo 1.425 1.425 1.425 1.7\n",
        encoding="utf-8",
    )
    accepted, _ = collect_files(tmp_path)
    moments = dict(zip(accepted[0]["symbols"], accepted[0]["initial_moments_mub"], strict=True))
    assert moments == {"Fe": 2.8, "Co": 1.7}


def test_default_moments(tmp_path):
    ase.io.write(tmp_path / "feni.vasp", bulk("FeNi", "cesiumchloride", a=2.85), format="vasp")
    accepted, _ = collect_files(tmp_path)
    moments = dict(zip(accepted[0]["symbols"], accepted[0]["initial_moments_mub"], strict=True))
    assert moments == {"Fe": 2.5, "Ni": 0.7}


def test_database_with_names_and_a_row_without_a_crystal(pyrite, tmp_path):
    with ase.db.connect(tmp_path / "rows.db") as database:
        database.write(pyrite, name="pyrite")
        database.write(bulk("Fe", a=2.866), name="iron")
        database.write(Atoms("FeO", positions=[(0, 0, 0), (0, 0, 1.6)]))
    accepted, rejected = collect_files(tmp_path / "rows.db")
    assert sorted(structure["name"] for structure in accepted) == ["iron", "pyrite"]
    assert [row["reason"].split(":")[0] for row in rejected] == ["not_periodic"]
    assert rejected[0]["origin"].endswith("rows.db#3")


def test_name_is_the_stem_unless_it_is_a_format(tmp_path):
    iron = bulk("Fe", a=2.866)
    ase.io.write(tmp_path / "iron.vasp", iron, format="vasp")
    ase.io.write(tmp_path / "POSCAR", iron, format="vasp")
    names = [read_file(str(tmp_path / file))[0] for file in ("iron.vasp", "POSCAR")]
    assert all(isinstance(raw, RawStructure) for raw in names)
    assert [raw.name for raw in names] == ["iron", None]


def test_left_handed_cell_is_the_same_crystal(pyrite, tmp_path):
    ase.io.write(tmp_path / "right.vasp", pyrite, format="vasp")
    order = [1, 0, 2]
    left = Atoms(
        pyrite.get_chemical_symbols(),
        cell=np.array(pyrite.cell)[order],
        scaled_positions=pyrite.get_scaled_positions()[:, order],
        pbc=True,
    )
    assert np.linalg.det(left.cell) < 0
    ase.io.write(tmp_path / "left.xyz", left, format="extxyz")
    accepted, rejected = collect_files(tmp_path)
    assert len(accepted) == len(rejected) == 1
