"""Which molecule a geometry is: its bonds, its InChIKey, the name of its isomer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import ArrayLike
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

# Two atoms closer than this, in units of the sum of their covalent radii, are bonded: RDKit's value
# (F–F in F2 1.25, H···O of the shortest hydrogen bonds 1.6).
BONDED = 1.3
# Orders of bonds are a search, which is given up for large molecules and after so many trials.
MAX_ATOMS = 60
MAX_TRIALS = 2000

Bonds = frozenset[tuple[int, int]]


def bonds_of(symbols: Sequence[str], positions_ang: ArrayLike) -> Bonds:
    """Pairs of bonded atoms (i < j), by their distance."""
    radii = covalent_radii[[atomic_numbers[symbol] for symbol in symbols]]
    positions = np.asarray(positions_ang, dtype=float)
    first, second = np.triu_indices(len(symbols), k=1)
    distances = np.linalg.norm(positions[first] - positions[second], axis=1)
    near = distances < BONDED * (radii[first] + radii[second])
    return frozenset(zip(first[near].tolist(), second[near].tolist(), strict=True))


def changed_bonds(symbols: Sequence[str], before: Bonds, after: Bonds) -> str:
    """Which bonds broke and which formed, such as ``N0–H5 broke, O4–H5 formed``; empty if none."""
    words = [
        f"{symbols[i]}{i}–{symbols[j]}{j} {what}"
        for pairs, what in ((before - after, "broke"), (after - before, "formed"))
        for i, j in sorted(pairs)
    ]
    return ", ".join(words)


def with_hydrogens(smiles: str) -> Chem.Mol:
    """Molecule of a valid SMILES with all hydrogen atoms, in the order of the records."""
    with rdBase.BlockLogs():
        return Chem.AddHs(Chem.MolFromSmiles(smiles))


def bonds_meant(molecule: Mapping[str, Any]) -> Bonds:
    """Bonds of the SMILES, or of the geometry that was given."""
    if "smiles" not in molecule:
        return bonds_of(molecule["symbols"], molecule["positions_ang"])
    pairs = with_hydrogens(molecule["smiles"]).GetBonds()
    return frozenset(
        (min(ends), max(ends))
        for ends in ((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in pairs)
    )


def perceived(molecule: Mapping[str, Any]) -> Chem.Mol | None:
    """Molecule with the bonds of its geometry; ``None`` where no orders of bonds fit."""
    symbols = molecule["symbols"]
    if len(symbols) > MAX_ATOMS:
        return None
    drawn = Chem.RWMol()
    for symbol in symbols:
        atom = Chem.Atom(symbol)
        atom.SetNoImplicit(True)
        drawn.AddAtom(atom)
    result = Chem.Mol(drawn)
    _set_positions(result, molecule["positions_ang"])
    try:
        with rdBase.BlockLogs():
            rdDetermineBonds.DetermineBonds(
                result, charge=molecule["charge"], maxIterations=MAX_TRIALS
            )
    except (ValueError, RuntimeError):
        return None
    return result


def drawn_as(known: Chem.Mol) -> str:
    """SMILES of a molecule without its hydrogen atoms."""
    with rdBase.BlockLogs():
        return str(Chem.MolToSmiles(Chem.RemoveHs(known)))


def inchikey(molecule: Mapping[str, Any]) -> str | None:
    """Standard InChIKey of a molecule of the configuration; ``None`` where it cannot be made.

    From the SMILES if there is one, else from the geometry. Isotopes count.
    """
    smiles = molecule.get("smiles")
    known = with_hydrogens(smiles) if smiles else perceived(molecule)
    if known is None:
        return None
    masses = molecule.get("masses_amu")
    if masses and not smiles:
        table = Chem.GetPeriodicTable()
        for atom, mass in zip(known.GetAtoms(), masses, strict=True):
            if abs(mass - table.GetAtomicWeight(atom.GetAtomicNum())) > 0.1:
                atom.SetIsotope(round(mass))
    with rdBase.BlockLogs():
        return Chem.MolToInchiKey(known) or None


def isomer_of(smiles: str, positions_ang: ArrayLike) -> str:
    """SMILES of the isomer that a geometry of the atoms of ``smiles`` is.

    Of two mirror images the one that comes first: their infrared spectra are equal.
    """
    positions = np.asarray(positions_ang, dtype=float)
    names = []
    for mirror in (1.0, -1.0):
        drawn = with_hydrogens(smiles)
        _set_positions(drawn, positions * [mirror, 1.0, 1.0])
        with rdBase.BlockLogs():
            Chem.AssignStereochemistryFrom3D(drawn)
            names.append(Chem.MolToSmiles(Chem.RemoveHs(drawn)))
    return min(names)


def open_stereo(smiles: str) -> bool:
    """Whether a SMILES leaves a configuration open that makes another spectrum.

    A single stereocentre makes none: its two molecules are mirror images.
    """
    with rdBase.BlockLogs():
        found = list(Chem.FindPotentialStereo(with_hydrogens(smiles)))
    open_ones = [each for each in found if each.specified == Chem.StereoSpecified.Unspecified]
    bonds = [each for each in open_ones if each.type == Chem.StereoType.Bond_Double]
    return bool(bonds) or (bool(open_ones) and len(found) > 1)


def _set_positions(drawn: Chem.Mol, positions_ang: ArrayLike) -> None:
    conformer = Chem.Conformer(drawn.GetNumAtoms())
    conformer.SetPositions(np.ascontiguousarray(positions_ang, dtype=float))
    drawn.RemoveAllConformers()
    drawn.AddConformer(conformer)


def describe(molecule: Mapping[str, Any], positions_ang: ArrayLike) -> dict[str, Any]:
    """Which isomer a relaxed molecule is: ``isomer`` of a SMILES, ``inchikey``, ``notes``.

    The notes are sentences about bonds that the relaxation changed, as those of a zwitterion, and
    about stereochemistry that the SMILES left open.
    """
    symbols, smiles = molecule["symbols"], molecule.get("smiles")
    here = {**molecule, "positions_ang": positions_ang}
    notes = []
    named: dict[str, Any] = {}
    changed = changed_bonds(symbols, bonds_meant(molecule), bonds_of(symbols, positions_ang))
    if changed:
        here["smiles"] = None
        now = perceived(here)
        drawn = "" if now is None else f": it is {drawn_as(now)} now"
        notes.append(f"the relaxation changed the bonds ({changed}){drawn}")
    elif smiles is not None:
        named["isomer"] = here["smiles"] = isomer_of(smiles, positions_ang)
        if open_stereo(smiles):
            notes.append(f"{smiles} leaves the configuration open; {named['isomer']} is computed")
    return {**named, "inchikey": inchikey(here), "notes": notes}
