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
    assert read_molecule({"name": "Carbon dioxide"})["formula"] == "CO2"


@pytest.mark.parametrize("name", sorted(COMMON_NAMES))
def test_every_common_name_is_a_closed_shell_of_the_set(name):
    assert COMMON_NAMES[name] in g2.names
    assert read_molecule({"name": name})["name"] == name


@pytest.mark.parametrize(
    ("name", "nearest"), [("watr", "water"), ("benzen", "benzene"), ("CH3OHH", "CH3OH")]
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
    ("entry", "message"),
    [
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
