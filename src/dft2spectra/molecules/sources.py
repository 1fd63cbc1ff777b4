"""Molecules by name, by SMILES or from a file, checked before anything is computed for them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule as g2_molecule
from ase.data import atomic_numbers

from dft2spectra.molecules.contacts import COLLISION, closest_contact
from dft2spectra.molecules.files import read_geometry
from dft2spectra.molecules.names import COMMON_NAMES, g2_name, near, open_shells, smiles_of
from dft2spectra.terminal import harmless

__all__ = ["COMMON_NAMES", "MoleculeError", "read_molecule"]

METHOD_VERSION = 1

ENTRY_KEYS = ("name", "smiles", "file", "charge", "spin")
# Names become folders and parts of file names, with room for what is put behind them.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
MAX_NAME = 100
# Larger ones are out of reach of the DFT, and of what is done here for every pair of atoms.
MAX_ATOMS = 200
MAX_SMILES = 2000
# Shortest distance of all in units of covalent radii; beyond, no two atoms are bonded.
LONGEST_BOND = 1.5
# Start of RDKit's embedding: one number, so that a SMILES gives one geometry.
EMBEDDING_SEED = 1


class MoleculeError(ValueError):
    """A molecule of the configuration that cannot be computed; the message says why."""


def read_molecule(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Molecule of one entry of the ``molecules`` section.

    Parameters
    ----------
    entry
        ``name`` alone (a common name, spelled with hyphens or underscores, one of ASE's G2 set, or
        a name that PubChem knows), with ``smiles`` (hydrogen added, embedded and relaxed with
        MMFF94 by RDKit), or with ``file`` (any format of ASE, one frame). Optional ``charge``
        (elementary charges; a SMILES and some files bring their own) and ``spin`` (unpaired
        electrons, zero; given as zero it says that a closed shell is meant where another state
        lies lower).

    Returns
    -------
    dict
        ``name, formula, symbols, positions_ang, charge, spin, origin``, ``masses_amu`` if any atom
        is a stated isotope, and ``smiles`` if the molecule came as one: its conformers are then
        looked for; ready for JSON. The geometry is a start for a relaxation, not a minimum of any
        functional used here.

    Raises
    ------
    MoleculeError
        The entry is unclear, unreadable, periodic, an open shell, or its atoms collide.
    """
    unknown = set(entry) - set(ENTRY_KEYS)
    if unknown:
        raise MoleculeError(f"molecules: unknown key {sorted(unknown)[0]!r}; known: {ENTRY_KEYS}")
    name = str(entry.get("name", ""))
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise MoleculeError(
            f"molecules: the name {harmless(name, 120)!r} is not made of letters, digits, '-', '_' "
            f"and '.', at most {MAX_NAME} of them"
        )
    if "smiles" in entry and "file" in entry:
        raise MoleculeError(f"{name}: give smiles or file, not both")
    charge, spin = (_whole_number(entry, key, name) for key in ("charge", "spin"))
    isotopes: Sequence[int | None] = ()
    smiles: str | None = None
    if "smiles" in entry:
        smiles = str(entry["smiles"])
        atoms, own_charge, isotopes = _from_smiles(name, smiles)
        charge, origin = _agreed(entry, own_charge, "SMILES"), f"SMILES {smiles}"
    elif "file" in entry:
        atoms, stated, isotopes, smiles = _from_file(name, Path(entry["file"]), "spin" in entry)
        if stated is not None:
            charge = _agreed(entry, stated, "file")
        origin = f"file {harmless(str(entry['file']))}"
        if smiles is not None:
            origin += f", drawn flat without hydrogen: SMILES {smiles}"
    elif (found := g2_name(name)) is not None:
        atoms, origin = g2_molecule(found), f"G2 set, {found}"
        unpaired = round(abs(float(atoms.get_initial_magnetic_moments().sum())))
        # The set knows the ground state of the neutral molecule, such as the triplet of O2.
        if charge == 0 and unpaired and "spin" not in entry:
            raise MoleculeError(_open_shell(name, f"its ground state has {unpaired} unpaired"))
    elif (known := smiles_of(name)) is not None:
        smiles, what = known
        atoms, own_charge, isotopes = _from_smiles(name, smiles)
        charge, origin = _agreed(entry, own_charge, "name"), f"SMILES {smiles}, {what}"
    else:
        other = near(name)
        hint = f"; did you mean {other}?" if other else "."
        raise MoleculeError(
            f"molecules: no molecule named {name!r}{hint} Else give smiles or file."
        )
    _check_geometry(name, atoms)
    _check_shell(name, atoms, charge, spin, said="spin" in entry)
    molecule = {
        "name": name,
        "formula": atoms.get_chemical_formula(mode="hill"),
        "symbols": list(atoms.symbols),
        "positions_ang": atoms.positions.tolist(),
        "charge": charge,
        "spin": spin,
        "origin": origin,
    }
    if any(isotopes):
        molecule["masses_amu"] = _masses(name, atoms, isotopes)
    if smiles is not None:
        molecule["smiles"] = smiles
    return molecule


def _agreed(entry: Mapping[str, Any], own: int, what: str) -> int:
    """The charge that a source brings, if the entry says nothing else."""
    if "charge" in entry and entry["charge"] != own:
        raise MoleculeError(
            f"{entry['name']}: the {what} has charge {own:+d}, the entry says {entry['charge']:+d}"
        )
    return own


def _masses(name: str, atoms: Atoms, isotopes: Sequence[int | None]) -> list[float]:
    """Masses (u): of the isotopes that are named, else of the natural mixture."""
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    masses = []
    for symbol, mass, isotope in zip(atoms.symbols, atoms.get_masses(), isotopes, strict=True):
        value = table.GetMassForIsotope(symbol, isotope) if isotope else float(mass)
        if not value:
            raise MoleculeError(f"{name}: there is no isotope {isotope}{symbol}")
        masses.append(float(value))
    return masses


def _whole_number(entry: Mapping[str, Any], key: str, name: str) -> int:
    value = entry.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise MoleculeError(f"{name}: {key} must be a whole number, not {value!r}")
    return value


def _from_smiles(name: str, smiles: str) -> tuple[Atoms, int, list[int | None]]:
    """Atoms, charge and mass numbers of a SMILES."""
    if len(smiles) > MAX_SMILES:
        raise MoleculeError(
            f"{name}: a SMILES of {len(smiles):,d} characters, at most {MAX_SMILES}"
        )
    # Imported here: molecules by name or file need no RDKit.
    from rdkit import Chem, rdBase
    from rdkit.Chem import Descriptors, rdDistGeom, rdForceFieldHelpers

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise MoleculeError(f"{name}: {smiles!r} is no valid SMILES")
    if len(Chem.GetMolFrags(molecule)) > 1:
        raise MoleculeError(
            f"{name}: the SMILES {smiles} holds several molecules, whose distance it does not say;"
            " give a file"
        )
    if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
        raise MoleculeError(f"{name}: the SMILES {smiles} has an undefined atom (*)")
    radicals = Descriptors.NumRadicalElectrons(molecule)
    if radicals:
        raise MoleculeError(_open_shell(name, f"the SMILES {smiles} has {radicals} unpaired"))
    molecule = Chem.AddHs(molecule)
    _check_size(name, molecule.GetNumAtoms())
    # RDKit's type hints have the attributes wrong.
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = EMBEDDING_SEED
    parameters.numThreads = 1
    with rdBase.BlockLogs():
        if rdDistGeom.EmbedMolecule(molecule, parameters) != 0:
            raise MoleculeError(f"{name}: RDKit finds no geometry for {smiles}; give a file")
        # What the force field does not know stays as embedded; the relaxation takes it from there.
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
            rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=2000)
    symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    atoms = Atoms(symbols, positions=molecule.GetConformer().GetPositions())
    isotopes = [atom.GetIsotope() or None for atom in molecule.GetAtoms()]
    return atoms, Chem.GetFormalCharge(molecule), isotopes


def _from_file(
    name: str, path: Path, spin_said: bool
) -> tuple[Atoms, int | None, list[int | None], str | None]:
    """Atoms, charge if the file says it, mass numbers, and the SMILES of a drawing."""
    if not path.is_file():
        raise MoleculeError(f"{name}: no file {harmless(str(path))}")
    try:
        found = read_geometry(path)
    except ValueError as error:
        raise MoleculeError(f"{name}: {harmless(str(path))} {error}") from error
    if "smiles" in found:
        atoms, charge, isotopes = _from_smiles(name, found["smiles"])
        return atoms, charge, isotopes, found["smiles"]
    if found.get("unpaired") and not spin_said:
        raise MoleculeError(_open_shell(name, f"{path.name} says {found['unpaired']} unpaired"))
    _check_size(name, len(found["symbols"]))
    atoms = Atoms(found["symbols"], positions=found["positions_ang"])
    return atoms, found["charge"], found["mass_numbers"], None


def _open_shell(name: str, what: str) -> str:
    return (
        f"{name}: {what} electrons. A radical or triplet is out of reach: closed shells only,"
        " because the model predicts one density, without spin, for one restricted Kohn–Sham step"
    )


def _check_shell(name: str, atoms: Atoms, charge: int, spin: int, said: bool) -> None:
    """Refuse what is no closed shell; ``said`` is whether the entry names the spin."""
    electrons = int(atoms.numbers.sum()) - charge
    if spin < 0 or electrons < 1:
        raise MoleculeError(f"{name}: {electrons} electrons, {spin} unpaired: impossible")
    if (electrons - spin) % 2 or spin > electrons:
        raise MoleculeError(
            f"{name}: {electrons} electrons at charge {charge:+d} cannot have {spin} unpaired;"
            " correct charge or spin. Closed shells only: a radical is out of reach"
        )
    if spin:
        raise MoleculeError(_open_shell(name, f"{spin} unpaired"))
    if said:
        return  # a closed shell is what is asked for
    formula = atoms.get_chemical_formula(mode="hill")
    unpaired = open_shells().get(formula, 0) if charge == 0 else 0
    if unpaired:
        raise MoleculeError(
            _open_shell(name, f"the ground state of {formula} has {unpaired} unpaired")
        )
    metals = sorted({one for one in atoms.symbols if _has_open_d_shell(one)})
    if metals:
        raise MoleculeError(
            f"{name}: {', '.join(metals)} has an open d or f shell, and its molecules often have "
            "unpaired electrons, which are out of reach here: closed shells only. If this one has "
            "none, say spin: 0"
        )


def _has_open_d_shell(symbol: str) -> bool:
    """Whether an element is a transition metal of the groups 3 to 11, a lanthanide or actinide."""
    number = atomic_numbers[symbol]
    return any(first <= number <= last for first, last in ((21, 29), (39, 47), (57, 79), (89, 111)))


def _check_distances(name: str, atoms: Atoms) -> None:
    ratio, _, _ = closest_contact(list(atoms.symbols), atoms.positions)
    if ratio > LONGEST_BOND:
        raise MoleculeError(
            f"{name}: no two atoms are bonded, the closest are at {ratio:.2f} of the sum of their "
            "covalent radii; are the coordinates in Å?"
        )


def _check_size(name: str, count: int) -> None:
    if count > MAX_ATOMS:
        raise MoleculeError(f"{name}: {count:,d} atoms, at most {MAX_ATOMS} can be computed")


def _check_geometry(name: str, atoms: Atoms) -> None:
    if len(atoms) < 2:
        raise MoleculeError(f"{name}: {len(atoms)} atom(s); a vibration needs two")
    if 0 in atoms.numbers:
        raise MoleculeError(f"{name}: an atom has no element (X)")
    if not np.isfinite(atoms.positions).all():
        raise MoleculeError(f"{name}: coordinates are not finite")
    _check_distances(name, atoms)
    ratio, first, second = closest_contact(list(atoms.symbols), atoms.positions)
    if ratio < COLLISION:
        raise MoleculeError(
            f"{name}: atoms {first} ({atoms.symbols[first]}) and {second} ({atoms.symbols[second]})"
            f" are {atoms.get_distance(first, second):.3f} Å apart, {ratio:.2f} of the sum of their"
            " covalent radii; are the coordinates in Å?"
        )
