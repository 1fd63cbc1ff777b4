"""Which isomer and conformer is computed, and what the record says of it."""

import numpy as np
import pytest
from ase.build import molecule as g2_molecule

from dft2spectra.molecules import equilibrium
from dft2spectra.molecules.conformers import MAX_STARTS, start_geometries
from dft2spectra.molecules.equilibrium import relax
from dft2spectra.molecules.isomers import (
    bonds_of,
    changed_bonds,
    describe,
    inchikey,
    isomer_of,
    open_stereo,
)
from dft2spectra.molecules.sources import read_molecule

SETTINGS = {"xc": "PBE", "basis": "sto-3g", "grid_level": 1}


def of_smiles(smiles):
    return read_molecule({"name": "molecule", "smiles": smiles})


def silent(line):
    pass


# --- where a search starts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("smiles", "isomers"),
    [
        ("N=N", {"[H]/N=N/[H]", "[H]/N=N\\[H]"}),
        ("FC=CF", {"F/C=C/F", "F/C=C\\F"}),
        ("F/C=C/F", {"F/C=C/F"}),
        # Two mirror images, and the one with a plane of symmetry.
        ("FC(Cl)C(F)Cl", {"F[C@@H](Cl)[C@@H](F)Cl", "F[C@H](Cl)[C@@H](F)Cl"}),
        ("C#N", {"C#N"}),
    ],
)
def test_every_isomer_that_a_smiles_leaves_open_is_a_start(smiles, isomers):
    molecule = of_smiles(smiles)
    starts = start_geometries(molecule)
    assert {isomer_of(smiles, start) for start in starts} == isomers
    assert len(starts) <= MAX_STARTS
    again = start_geometries(molecule)
    assert all(np.array_equal(one, two) for one, two in zip(starts, again, strict=True))


def test_conformers_of_glycolaldehyde_reach_from_the_hydrogen_bond_to_the_open_chain():
    """Cis-cis, O–H next to the carbonyl, is the lowest (Marstokk and Møllendal 1973)."""
    molecule = of_smiles("OCC=O")
    starts = start_geometries(molecule)
    assert 2 <= len(starts) <= MAX_STARTS
    symbols = molecule["symbols"]
    oxygen = [i for i, symbol in enumerate(symbols) if symbol == "O"]
    (hydroxyl,) = (
        i
        for i, symbol in enumerate(symbols)
        if symbol == "H" and (min(oxygen), i) in bonds_of(symbols, starts[0])
    )
    bridges = [np.linalg.norm(start[hydroxyl] - start[oxygen[1]]) for start in starts]
    assert min(bridges) < 2.3 < 2.5 < max(bridges)


def test_molecules_without_choice_start_once():
    for entry in ({"smiles": "O"}, {"smiles": "c1ccccc1"}):
        assert len(start_geometries({**of_smiles(entry["smiles"])})) == 1
    water = read_molecule({"name": "water"})
    (start,) = start_geometries(water)
    assert start.tolist() == water["positions_ang"], "a geometry that is given is meant"


# --- what the record says -----------------------------------------------------------------------


def test_diazene_is_trans_whatever_came_first(tmp_path):
    """Trans is 0.2 eV below cis (Biczysko et al., J. Chem. Phys. 125, 154109 (2006): 0.22 eV)."""
    lines = []
    molecule = of_smiles("N=N")
    minimum = relax(molecule, SETTINGS, tmp_path / "r.json", progress=lines.append)
    assert minimum["isomer"] == "[H]/N=N/[H]"
    x = np.array(minimum["positions_ang"])
    assert np.linalg.norm(x[2] - x[3]) > 2.8, "hydrogen atoms on opposite sides"
    (cis,) = minimum["conformers"]
    assert cis["isomer"] == "[H]/N=N\\[H]"
    assert 0.1 < cis["above_ev"] < 0.4
    assert minimum["notes"] == ["N=N leaves the configuration open; [H]/N=N/[H] is computed"]
    assert minimum["inchikey"] == inchikey(of_smiles("[H]/N=N/[H]"))
    assert minimum["max_force_ev_ang"] < 0.005
    assert any("2 conformers are compared" in line for line in lines)
    assert any("leaves the configuration open" in line for line in lines)
    # A second job walks the same paths and computes nothing.
    more = []
    assert relax(molecule, SETTINGS, tmp_path / "r.json", progress=more.append) == minimum
    assert not any("cycles" in line for line in more)


@pytest.mark.parametrize(("below", "kept"), [("Z", "F/C=C\\F"), ("E", "F/C=C/F")])
def test_the_lowest_in_density_functional_theory_is_kept(monkeypatch, tmp_path, below, kept):
    """A stand-in for it, springs to where it is asked first, tells the isomers by F···F."""
    asked = []

    def compute(self, positions_ang):
        x = np.array(positions_ang)
        if not asked or np.abs(x - asked[-1]).max() > 0.3:
            asked.append(x)
        fluorine = [i for i, symbol in enumerate(self.molecule["symbols"]) if symbol == "F"]
        apart = np.linalg.norm(x[fluorine[0]] - x[fluorine[1]]) > 3.2
        low = apart if below == "E" else not apart
        return {
            "positions_ang": positions_ang,
            "energy_ev": -100.05 if low else -100.0,
            "forces_ev_ang": np.zeros_like(x).tolist(),
        }

    monkeypatch.setattr(equilibrium._RecordedKohnSham, "_compute", compute)
    minimum = relax(of_smiles("FC=CF"), SETTINGS, tmp_path / "r.json", progress=silent)
    assert len(asked) == 2, "both isomers were computed"
    assert minimum["isomer"] == kept
    (other,) = minimum["conformers"]
    assert other["above_ev"] == pytest.approx(0.05)
    assert {other["isomer"], kept} == {"F/C=C\\F", "F/C=C/F"}


def test_zwitterion_that_became_neutral_is_said():
    """The proton of glycine's nitrogen on its oxygen."""
    zwitterion = of_smiles("[NH3+]CC(=O)[O-]")
    x = np.array(zwitterion["positions_ang"])
    symbols = zwitterion["symbols"]
    assert symbols[:5] == ["N", "C", "C", "O", "O"]
    proton = min(j for i, j in bonds_of(symbols, x) if i == 0 and symbols[j] == "H")
    outwards = (x[4] - x[2]) / np.linalg.norm(x[4] - x[2])
    x[proton] = x[4] + 0.97 * outwards
    said = describe(zwitterion, x)
    (note,) = said["notes"]
    assert f"N0–H{proton} broke, O4–H{proton} formed" in note
    assert note.endswith("it is NCC(=O)O now")
    assert "isomer" not in said
    assert describe(zwitterion, zwitterion["positions_ang"])["notes"] == []


def test_a_conformer_that_lost_its_bonds_is_chosen_last(monkeypatch, tmp_path):
    """Dissociated cis-diazene far below: trans is computed, and nothing else is said to be near."""

    def compute(self, positions_ang):
        x = np.array(positions_ang)
        cis = np.linalg.norm(x[2] - x[3]) < 2.8
        pull = np.zeros_like(x)
        if cis and np.linalg.norm(x[3] - x[1]) < 2.5:
            pull[3] = 2.0 * (x[3] - x[1])
        energy = -200.0 if cis else -100.0
        return {
            "positions_ang": positions_ang,
            "energy_ev": energy,
            "forces_ev_ang": pull.tolist(),
        }

    monkeypatch.setattr(equilibrium._RecordedKohnSham, "_compute", compute)
    minimum = relax(of_smiles("N=N"), SETTINGS, tmp_path / "r.json", progress=silent)
    assert minimum["isomer"] == "[H]/N=N/[H]"
    assert minimum["conformers"] == []


# --- names and keys -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("FC=CF", True),
        ("F/C=C/F", False),
        ("N=N", True),
        # One centre: mirror images have one spectrum. Two: diastereomers have two.
        ("CC(O)F", False),
        ("FC(Cl)C(F)Cl", True),
        ("F[C@@H](Cl)[C@H](F)Cl", False),
        ("F[C@@H](Cl)C(F)Cl", True),
        ("CCO", False),
    ],
)
def test_open_stereochemistry(smiles, expected):
    assert open_stereo(smiles) is expected


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        # InChIKeys of the InChI Trust's software, as PubChem lists them.
        ({"name": "water"}, "XLYOFNOQVPJJNP-UHFFFAOYSA-N"),
        ({"name": "CO2"}, "CURLTUGMZLYLDI-UHFFFAOYSA-N"),
        ({"name": "benzene"}, "UHOVQNZJYSORNB-UHFFFAOYSA-N"),
        ({"name": "uracil"}, "ISAKRJDGNUQOIC-UHFFFAOYSA-N"),
        ({"name": "x", "smiles": "[2H]O[2H]"}, "XLYOFNOQVPJJNP-ZSJDYOACSA-N"),
    ],
)
def test_inchikey_of_name_geometry_and_isotopes(entry, key):
    assert inchikey(read_molecule(entry)) == key


def test_inchikey_of_isotopes_in_a_geometry():
    water = read_molecule({"name": "water"})
    heavy = {**water, "masses_amu": [15.999, 2.014, 2.014]}
    assert inchikey(heavy) == "XLYOFNOQVPJJNP-ZSJDYOACSA-N"
    assert inchikey({**water, "charge": 2}) is None, "no bonds fit"


def test_bonds_of_geometries_and_their_changes():
    water = g2_molecule("H2O")
    whole = bonds_of(list(water.symbols), water.positions)
    assert whole == {(0, 1), (0, 2)}
    water.positions[2] *= 3
    broken = bonds_of(list(water.symbols), water.positions)
    assert changed_bonds(list(water.symbols), whole, broken) == "O0–H2 broke"
    assert changed_bonds(list(water.symbols), broken, whole) == "O0–H2 formed"
    assert changed_bonds(list(water.symbols), whole, whole) == ""
