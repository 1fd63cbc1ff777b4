"""Molecules by name, by SMILES or from a file, checked before anything is computed for them."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.build import molecule as g2_molecule
from ase.collections import g2
from ase.io import read

from dft2spectra.molecules.contacts import COLLISION, closest_contact

METHOD_VERSION = 1

# Common names of molecules in the G2/97 set of ASE (Curtiss et al., J. Chem. Phys. 106, 1063
# (1997); geometries MP2/6-31G*). Names of the set itself (H2O, CH3OH, ...) are understood too.
COMMON_NAMES = {
    "water": "H2O",
    "methanol": "CH3OH",
    "ethanol": "CH3CH2OH",
    "formaldehyde": "H2CO",
    "acetaldehyde": "CH3CHO",
    "acetone": "CH3COCH3",
    "formic-acid": "HCOOH",
    "acetic-acid": "CH3COOH",
    "acetamide": "CH3CONH2",
    "acetonitrile": "CH3CN",
    "ammonia": "NH3",
    "methylamine": "H3CNH2",
    "hydrazine": "N2H4",
    "methane": "CH4",
    "ethane": "C2H6",
    "ethylene": "C2H4",
    "acetylene": "C2H2",
    "propane": "C3H8",
    "benzene": "C6H6",
    "pyridine": "C5H5N",
    "pyrrole": "C4H4NH",
    "furan": "C4H4O",
    "thiophene": "C4H4S",
    "hydrogen": "H2",
    "nitrogen": "N2",
    "hydrogen-cyanide": "HCN",
    "hydrogen-fluoride": "HF",
    "hydrogen-chloride": "HCl",
    "hydrogen-sulfide": "SH2",
    "hydrogen-peroxide": "H2O2",
    "carbon-monoxide": "CO",
    "carbon-dioxide": "CO2",
    "carbonyl-sulfide": "OCS",
    "nitrous-oxide": "N2O",
    "sulfur-dioxide": "SO2",
    "ozone": "O3",
    "silane": "SiH4",
    "dimethyl-ether": "CH3OCH3",
}

ENTRY_KEYS = ("name", "smiles", "file", "charge", "spin")
# Start of RDKit's embedding: one number, so that a SMILES gives one geometry.
EMBEDDING_SEED = 1


class MoleculeError(ValueError):
    """A molecule of the configuration that cannot be computed; the message says why."""


def read_molecule(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Molecule of one entry of the ``molecules`` section.

    Parameters
    ----------
    entry
        ``name`` alone (a common name, spelled with hyphens or blanks, or one of ASE's G2 set), with
        ``smiles`` (hydrogen added, embedded and relaxed with MMFF94 by RDKit), or with ``file``
        (any format of ASE, one frame). Optional ``charge`` (elementary charges; a SMILES brings its
        own) and ``spin`` (unpaired electrons, zero).

    Returns
    -------
    dict
        ``name, formula, symbols, positions_ang, charge, spin, origin``, ready for JSON. The
        geometry is a start for a relaxation, not a minimum of any functional used here.

    Raises
    ------
    MoleculeError
        The entry is unclear, unreadable, periodic, an open shell, or its atoms collide.
    """
    unknown = set(entry) - set(ENTRY_KEYS)
    if unknown:
        raise MoleculeError(f"molecules: unknown key {sorted(unknown)[0]!r}; known: {ENTRY_KEYS}")
    name = str(entry.get("name", ""))
    # The name becomes a folder of the results.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\- ]*", name):
        raise MoleculeError(
            f"molecules: the name {name!r} is not made of letters, digits, blanks, '-', '_' and '.'"
        )
    if "smiles" in entry and "file" in entry:
        raise MoleculeError(f"{name}: give smiles or file, not both")
    charge, spin = (_whole_number(entry, key, name) for key in ("charge", "spin"))
    if "smiles" in entry:
        atoms, own_charge = _from_smiles(name, str(entry["smiles"]))
        if "charge" in entry and charge != own_charge:
            raise MoleculeError(
                f"{name}: the SMILES has charge {own_charge:+d}, the entry says {charge:+d}"
            )
        charge, origin = own_charge, f"SMILES {entry['smiles']}"
    elif "file" in entry:
        atoms, origin = _from_file(name, Path(entry["file"])), f"file {entry['file']}"
    else:
        g2_name = _g2_name(name)
        atoms, origin = g2_molecule(g2_name), f"G2 set, {g2_name}"
        unpaired = round(abs(float(atoms.get_initial_magnetic_moments().sum())))
        # The set knows the ground state of the neutral molecule, such as the triplet of O2.
        if charge == 0 and spin == 0 and unpaired:
            raise MoleculeError(_open_shell(name, f"its ground state has {unpaired} unpaired"))
    _check_geometry(name, atoms)
    _check_shell(name, atoms, charge, spin)
    return {
        "name": name,
        "formula": atoms.get_chemical_formula(mode="hill"),
        "symbols": list(atoms.symbols),
        "positions_ang": atoms.positions.tolist(),
        "charge": charge,
        "spin": spin,
        "origin": origin,
    }


def _whole_number(entry: Mapping[str, Any], key: str, name: str) -> int:
    value = entry.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise MoleculeError(f"{name}: {key} must be a whole number, not {value!r}")
    return value


def _g2_name(name: str) -> str:
    """Name in the G2 set of a common name."""
    common = name.lower().replace(" ", "-").replace("_", "-")
    if common in COMMON_NAMES:
        return COMMON_NAMES[common]
    if name in g2.names:
        return name
    known = [*COMMON_NAMES, *g2.names]
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    hint = f"; did you mean {by_lower[near[0]]}?" if near else ""
    raise MoleculeError(f"molecules: no molecule named {name!r}{hint} Else give smiles or file.")


def _from_smiles(name: str, smiles: str) -> tuple[Atoms, int]:
    """Atoms and charge of a SMILES."""
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
    return atoms, Chem.GetFormalCharge(molecule)


def _from_file(name: str, path: Path) -> Atoms:
    if not path.is_file():
        raise MoleculeError(f"{name}: no file {path}")
    try:
        # ASE gives a list for a slice; the cast says so to the type checker.
        frames = cast(list[Atoms], read(path, index=":"))
    except Exception as error:  # whatever a reader of foreign formats stumbles over
        raise MoleculeError(f"{name}: {path} cannot be read: {error}") from error
    if len(frames) != 1:
        raise MoleculeError(f"{name}: {path} holds {len(frames)} frames; one is wanted")
    atoms = frames[0]
    if atoms.pbc.any():
        raise MoleculeError(
            f"{name}: {path} is periodic; molecules are computed alone in space. Write it as plain"
            " xyz if that is meant"
        )
    return atoms


def _open_shell(name: str, what: str) -> str:
    return (
        f"{name}: {what} electrons. A radical or triplet is out of reach: closed shells only,"
        " because the model predicts one density, without spin, for one restricted Kohn–Sham step"
    )


def _check_shell(name: str, atoms: Atoms, charge: int, spin: int) -> None:
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


def _check_geometry(name: str, atoms: Atoms) -> None:
    if len(atoms) < 2:
        raise MoleculeError(f"{name}: {len(atoms)} atom(s); a vibration needs two")
    if 0 in atoms.numbers:
        raise MoleculeError(f"{name}: an atom has no element (X)")
    if not np.isfinite(atoms.positions).all():
        raise MoleculeError(f"{name}: coordinates are not finite")
    ratio, first, second = closest_contact(list(atoms.symbols), atoms.positions)
    if ratio < COLLISION:
        raise MoleculeError(
            f"{name}: atoms {first} ({atoms.symbols[first]}) and {second} ({atoms.symbols[second]})"
            f" are {atoms.get_distance(first, second):.3f} Å apart, {ratio:.2f} of the sum of their"
            " covalent radii; are the coordinates in Å?"
        )
