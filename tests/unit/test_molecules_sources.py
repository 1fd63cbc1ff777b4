"""Molecules from names, SMILES and files, and the entries that are refused."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as g2_molecule
from ase.collections import g2
from ase.io import write

from dft2spectra.molecules.contacts import closest_contact, collides
from dft2spectra.molecules.sources import COMMON_NAMES, MoleculeError, read_molecule

URACIL = "O=c1cc[nH]c(=O)[nH]1"


def test_name_gives_the_molecule_of_the_g2_set():
    water = read_molecule({"name": "water"})
    assert water["formula"] == "H2O"
    assert water["symbols"] == ["O", "H", "H"]
    assert (water["charge"], water["spin"]) == (0, 0)
    np.testing.assert_array_equal(water["positions_ang"], g2_molecule("H2O").positions)
    assert read_molecule({"name": "H2O"})["positions_ang"] == water["positions_ang"]
    assert read_molecule({"name": "Carbon-dioxide"})["formula"] == "CO2"


@pytest.mark.parametrize("name", sorted(COMMON_NAMES))
def test_every_common_name_is_a_closed_shell_of_the_set(name):
    assert COMMON_NAMES[name] in g2.names
    assert read_molecule({"name": name})["name"] == name


@pytest.mark.parametrize(
    ("name", "nearest"), [("watr", "water"), ("benzenne", "benzene"), ("CH3OHH", "CH3OH")]
)
def test_unknown_name_names_the_nearest(name, nearest):
    with pytest.raises(MoleculeError, match=f"did you mean {nearest}"):
        read_molecule({"name": name})


def test_smiles_gives_one_geometry_with_hydrogen():
    uracil = read_molecule({"name": "uracil", "smiles": URACIL})
    assert uracil["formula"] == "C4H4N2O2"
    assert read_molecule({"name": "uracil", "smiles": URACIL}) == uracil
    assert json.loads(json.dumps(uracil)) == uracil
    # A planar ring: the smallest moment of the distribution of atoms vanishes.
    centred = np.array(uracil["positions_ang"]) - np.mean(uracil["positions_ang"], axis=0)
    assert np.linalg.svd(centred)[1][-1] < 0.1
    assert 0.7 < closest_contact(uracil["symbols"], centred)[0] < 1.1


def test_smiles_brings_its_charge():
    ammonium = read_molecule({"name": "ammonium", "smiles": "[NH4+]"})
    assert (ammonium["charge"], ammonium["formula"]) == (1, "H4N")
    with pytest.raises(MoleculeError, match=r"SMILES has charge \+1, the entry says \+0"):
        read_molecule({"name": "ammonium", "smiles": "[NH4+]", "charge": 0})


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("C1CC", "no valid SMILES"),
        ("", "no valid SMILES"),
        ("C(C)(C)(C)(C)C", "no valid SMILES"),
        ("[Na+].[Cl-]", "several molecules"),
        ("*C", "undefined atom"),
        ("[CH3]", "closed shells only"),
    ],
)
def test_bad_smiles_is_refused(smiles, message):
    with pytest.raises(MoleculeError, match=message):
        read_molecule({"name": "x", "smiles": smiles})


@pytest.mark.parametrize("suffix", ["xyz", "extxyz", "json", "sdf"])
def test_file_of_one_frame(tmp_path, suffix):
    path = tmp_path / f"m.{suffix}"
    atoms = g2_molecule("CH3OH")
    if suffix == "sdf":
        lines = [f"{x:10.4f}{y:10.4f}{z:10.4f} {s}" for s, (x, y, z) in _rows(atoms)]
        path.write_text("\n".join(["m", "", "", f"{len(atoms):3d}  0", *lines, "M  END", ""]))
    else:
        write(path, atoms)
    molecule = read_molecule({"name": "mine", "file": str(path)})
    assert molecule["formula"] == "CH4O"
    np.testing.assert_allclose(molecule["positions_ang"], atoms.positions, atol=1e-4)
    assert molecule["origin"] == f"file {path}"


def _rows(atoms):
    return zip(atoms.symbols, atoms.positions, strict=True)


def _write(path, *frames, **keywords):
    write(path, list(frames), **keywords)
    return {"name": "x", "file": str(path)}


def test_bad_files_are_refused(tmp_path):
    water = g2_molecule("H2O")
    path = tmp_path / "m.xyz"
    with pytest.raises(MoleculeError, match="no file"):
        read_molecule({"name": "x", "file": str(path)})
    with pytest.raises(MoleculeError, match="2 frames"):
        read_molecule(_write(path, water, water))
    path.write_text("")
    with pytest.raises(MoleculeError, match=r"cannot be read|0 frames"):
        read_molecule({"name": "x", "file": str(path)})
    path.write_text("3\n\nO 0 0 0\nH 0 0\n")
    with pytest.raises(MoleculeError, match="cannot be read"):
        read_molecule({"name": "x", "file": str(path)})
    path.write_text("2\n\nO 0 0 nan\nO 0 0 1.2\n")
    with pytest.raises(MoleculeError, match="not finite"):
        read_molecule({"name": "x", "file": str(path)})
    path.write_text("2\n\nX 0 0 0\nF 0 0 1.2\n")
    with pytest.raises(MoleculeError, match="no element"):
        read_molecule({"name": "x", "file": str(path)})
    crystal = Atoms("H2O", positions=water.positions, cell=[5, 5, 5], pbc=True)
    with pytest.raises(MoleculeError, match="periodic"):
        read_molecule(_write(tmp_path / "c.extxyz", crystal, format="extxyz"))


def test_coordinates_in_another_unit_collide(tmp_path):
    water = g2_molecule("H2O")
    water.positions *= 0.1
    with pytest.raises(MoleculeError, match="are the coordinates in Å"):
        read_molecule(_write(tmp_path / "m.xyz", water))


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("uracil", "C4H4N2O2"),
        ("caffeine", "C8H10N4O2"),
        ("glycine", "C2H5NO2"),
        ("benzoic-acid", "C7H6O2"),
    ],
)
def test_names_of_pubchem_without_a_network(name, formula):
    molecule = read_molecule({"name": name})
    assert molecule["formula"] == formula
    assert "of chemicals" in molecule["origin"]


@pytest.mark.parametrize("name", ["no-such-thing", "uracyl"])
def test_no_hint_where_nothing_is_near(name):
    with pytest.raises(MoleculeError) as caught:
        read_molecule({"name": name})
    assert str(caught.value) == (
        f"molecules: no molecule named {name!r}. Else give smiles or file."
    )


def test_isotopes_bring_their_masses():
    """Atomic mass evaluation: 2H 2.014101778, 13C 13.00335484; standard weights for the others."""
    water = read_molecule({"name": "d2o", "smiles": "[2H]O[2H]"})
    assert water["symbols"] == ["H", "O", "H"]
    assert water["masses_amu"] == pytest.approx([2.0141018, 15.999, 2.0141018])
    methane = read_molecule({"name": "c13", "smiles": "[13CH4]"})
    assert methane["masses_amu"][0] == pytest.approx(13.0033548)
    assert "masses_amu" not in read_molecule({"name": "methane"})
    with pytest.raises(MoleculeError, match="there is no isotope 40C"):
        read_molecule({"name": "x", "smiles": "[40CH4]"})


@pytest.mark.parametrize(
    ("smiles", "message"),
    [("O=O", "the ground state of O2 has 2 unpaired"), ("Cl[Fe]Cl", "Fe has an open d or f shell")],
)
def test_open_shells_that_no_count_of_electrons_tells(smiles, message):
    with pytest.raises(MoleculeError, match=message):
        read_molecule({"name": "x", "smiles": smiles})
    assert read_molecule({"name": "x", "smiles": smiles, "spin": 0})["spin"] == 0


def test_charge_of_a_file(tmp_path):
    path = tmp_path / "hydronium.xyz"
    path.write_text(
        '4\ncharge=1 Properties=species:S:1:pos:R:3 pbc="F F F"\n'
        "O 0 0 0\nH 0.95 0 0.1\nH -0.47 0.82 0.1\nH -0.47 -0.82 0.1\n"
    )
    entry = {"name": "hydronium", "file": str(path)}
    assert read_molecule(entry)["charge"] == 1
    assert read_molecule({**entry, "charge": 1})["charge"] == 1
    with pytest.raises(MoleculeError, match=r"the file has charge \+1, the entry says \+0"):
        read_molecule({**entry, "charge": 0})


def _xyz(path, head, rows):
    path.write_text(f"{len(rows)}\n{head}\n" + "\n".join(rows) + "\n")
    return {"name": "m", "file": str(path)}


SULFATE = [f"S 0 0 0 {2.0}"] + [
    f"O {x} {y} {z} {-1.0}"
    for x, y, z in ((0.86, 0.86, 0.86), (0.86, -0.86, -0.86), (-0.86, 0.86, -0.86))
]
SULFATE.append("O -0.86 -0.86 0.86 -1.0")


@pytest.mark.parametrize(
    ("head", "charge"),
    [
        ("charge=-2", -2),
        ("total_charge=-2", -2),
        ("-2 1", -2),
        ("Properties=species:S:1:pos:R:3:initial_charges:R:1", -2),
        ("Properties=species:S:1:pos:R:3:charges:R:1 charge=0", 0),
        ("sulfate", 0),
        ("12 5", 0),
    ],
)
def test_all_the_ways_to_say_a_charge(head, charge, tmp_path):
    """Of an even charge the count of electrons tells nothing."""
    assert read_molecule(_xyz(tmp_path / "a.xyz", head, SULFATE))["charge"] == charge


def test_charges_that_add_up_to_no_charge(tmp_path):
    head = "Properties=species:S:1:pos:R:3:charges:R:1"
    with pytest.raises(MoleculeError, match=r"add up to -2\.4, which is not whole; write charge="):
        read_molecule(_xyz(tmp_path / "a.xyz", head, ["S 0 0 0 1.6", *SULFATE[1:]]))


@pytest.mark.parametrize(
    "head", ["multiplicity=3", "+0 3", "spin=2", "uhf=2", "spin_multiplicity=3"]
)
def test_an_open_shell_of_a_file_is_not_closed_in_silence(head, tmp_path):
    rows = ["O 0 0 0", "H 0 0.757 0.586", "H 0 -0.757 0.586"]
    entry = _xyz(tmp_path / "a.xyz", head, rows)
    with pytest.raises(MoleculeError, match=r"a\.xyz says 2 unpaired electrons"):
        read_molecule(entry)
    assert read_molecule({**entry, "spin": 0})["formula"] == "H2O"
    assert read_molecule(_xyz(tmp_path / "b.xyz", "multiplicity=1 spin=1", rows))["spin"] == 0


def test_a_column_of_masses_names_isotopes(tmp_path):
    head = "Properties=species:S:1:pos:R:3:masses:R:1"
    rows = ["O 0 0 0 17.9992", "H 0 0.757 0.586 1.008", "H 0 -0.757 0.586 2.0141"]
    masses = read_molecule(_xyz(tmp_path / "a.xyz", head, rows))["masses_amu"]
    assert masses == pytest.approx([17.9991596, 1.008, 2.0141018])
    plain = ["O 0 0 0 15.9994", *(row.rsplit(" ", 1)[0] + " 1.00794" for row in rows[1:])]
    assert "masses_amu" not in read_molecule(_xyz(tmp_path / "b.xyz", head, plain))
    odd = ["O 0 0 0 16.4", *plain[1:]]
    with pytest.raises(MoleculeError, match=r"a mass of 16\.4 u, which no isotope has"):
        read_molecule(_xyz(tmp_path / "c.xyz", head, odd))


def _molfile(path, atoms, bonds, *more):
    lines = [f"{x:10.4f}{y:10.4f}{z:10.4f} {s:<3s} 0  0" for s, x, y, z in atoms]
    lines += [f"{i:3d}{j:3d}{order:3d}  0" for i, j, order in bonds]
    head = f"{len(atoms):3d}{len(bonds):3d}  0  0  0  0            999 V2000"
    path.write_text("\n".join(["m", "", "", head, *lines, *more, "M  END", ""]))
    return {"name": "m", "file": str(path)}


def test_molfile_with_hydrogens_as_the_format_means_them(tmp_path):
    """A drawing of ethanol without hydrogen, one in space, an ion, an isotope."""
    flat = [("C", 0.0, 0.0, 0.0), ("C", 1.3, 0.75, 0.0), ("O", 2.6, 0.0, 0.0)]
    ethanol = read_molecule(_molfile(tmp_path / "a.mol", flat, [(1, 2, 1), (2, 3, 1)]))
    assert ethanol["formula"] == "C2H6O"
    assert "drawn flat without hydrogen: SMILES CCO" in ethanol["origin"]
    tetrahedron = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
    full = [("N", 0, 0, 0), *[("H", 0.59 * x, 0.59 * y, 0.59 * z) for x, y, z in tetrahedron]]
    bonds = [(1, i, 1) for i in (2, 3, 4, 5)]
    ammonium = _molfile(tmp_path / "b.mol", full, bonds, "M  CHG  1   1   1")
    assert (read_molecule(ammonium)["formula"], read_molecule(ammonium)["charge"]) == ("H4N", 1)
    methane = [("C", 0, 0, 0), *full[1:]]
    heavy = read_molecule(_molfile(tmp_path / "c.mol", methane, bonds, "M  ISO  1   1  13"))
    assert heavy["masses_amu"][0] == pytest.approx(13.0033548)
    with pytest.raises(MoleculeError, match="lists 3 hydrogen atoms and by its bonds"):
        read_molecule(_molfile(tmp_path / "d.mol", methane[:-1], bonds[:-1]))


def test_bombs_end_with_a_sentence(tmp_path):
    path = tmp_path / "m.xyz"
    path.write_text("2\nProperties=x:R:20000000:species:S:1:pos:R:3\nH 0 0 0\nH 0 0 0.7\n")
    with pytest.raises(MoleculeError, match="Properties says x:R:20000000"):
        read_molecule({"name": "x", "file": str(path)})
    path.write_bytes(b"9" * 20_000_000)
    with pytest.raises(MoleculeError, match="has 20 MB, which is no molecule"):
        read_molecule({"name": "x", "file": str(path)})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "a\n"}, "letters"),
        ({"name": "a b"}, "letters"),
        ({"name": "x" * 101, "smiles": "O"}, "at most 100"),
        ({"name": "CH3"}, "closed shells only"),
        ({"name": "O2"}, "2 unpaired"),
        ({"name": "H"}, "unpaired"),
        ({"name": "water", "charge": 1}, "9 electrons at charge \\+1 cannot have 0 unpaired"),
        ({"name": "water", "spin": 1}, "cannot have 1 unpaired"),
        ({"name": "water", "spin": 2}, "closed shells only"),
        ({"name": "water", "charge": 10}, "impossible"),
        ({"name": "water", "charge": 0.5}, "whole number"),
        ({"name": "water", "spin": True}, "whole number"),
        ({"name": "../water"}, "letters"),
        ({"name": ""}, "letters"),
        ({"name": "water", "smile": "O"}, "unknown key 'smile'"),
        ({"name": "water", "smiles": "O", "file": "x.xyz"}, "not both"),
        ({"name": "helium", "smiles": "[He]"}, "needs two"),
    ],
)
def test_impossible_entries_are_refused(entry, message):
    with pytest.raises(MoleculeError, match=message):
        read_molecule(entry)


def test_charge_that_closes_the_shell_of_a_radical():
    assert read_molecule({"name": "OH", "charge": -1})["charge"] == -1


def test_contacts_in_units_of_covalent_radii():
    # Radii of H and O: 0.31 and 0.66 Å (Cordero et al. 2008).
    ratio, first, second = closest_contact(["O", "H", "H"], [[0, 0, 0], [0.97, 0, 0], [0, 2, 0]])
    assert ratio == pytest.approx(1.0)
    assert (first, second) == (0, 1)
    assert not collides(["H", "H"], [[0, 0, 0], [0.32, 0, 0]])
    assert collides(["H", "H"], [[0, 0, 0], [0.30, 0, 0]])


def test_molecules_beyond_reach_end_at_once(tmp_path):
    """Every pair of 20,000 atoms would take 3 GB."""
    path = tmp_path / "many.xyz"
    path.write_text("20000\n\n" + "".join(f"H {3 * i} 0 0\n" for i in range(20_000)))
    with pytest.raises(MoleculeError, match="20,000 atoms, at most 200 can be computed"):
        read_molecule({"name": "many", "file": str(path)})
    with pytest.raises(MoleculeError, match="302 atoms, at most 200"):
        read_molecule({"name": "long", "smiles": "C" * 100})
    with pytest.raises(MoleculeError, match="a SMILES of 2,001 characters"):
        read_molecule({"name": "longer", "smiles": "C" * 2001})
