"""One molecule from a file of any format that ASE or RDKit reads, with its charge and isotopes.

As files of crystals, it is read in a child with limits, see :mod:`dft2spectra.foreign`.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from dft2spectra.foreign import TooMuchError, read_one
from dft2spectra.terminal import harmless
from dft2spectra.xyz_files import Frame, XyzError, charge_of, read_frames, unpaired_of

IN_CHILD = "dft2spectra.molecules.files:read_here"
MAX_FILE_BYTES = 10_000_000
# Words of a comment line that say another unit than that of the format.
UNITS = re.compile(r"\b(bohr|a\.?u\.?|atomic units|nm|nanomet\w+|pm|picomet\w+)\b", re.IGNORECASE)


def read_geometry(path: Path) -> dict[str, Any]:
    """Symbols, positions, charge and isotopes of the only molecule of a file.

    Returns
    -------
    dict
        ``symbols``; ``positions_ang`` (n, 3); ``mass_numbers``, ``None`` for an atom of the natural
        mixture; ``charge``, ``None`` if the file does not say it; ``unpaired`` electrons, where it
        can say them. Of a flat drawing without hydrogen, from which a geometry has to be made, its
        ``smiles`` alone.

    Raises
    ------
    ValueError
        The file holds no molecule, several, a periodic one, or another unit; the message says what.
    """
    state = path.stat()
    return dict(_read(str(path), state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=256)
def _read(path: str, modified: int, size: int) -> dict[str, Any]:
    items = list(read_one(IN_CHILD, path))
    ended = next((item for item in items if isinstance(item, TooMuchError)), None)
    if ended is not None:
        raise ValueError(str(ended))
    (item,) = items
    if isinstance(item, str):
        raise ValueError(item)
    assert isinstance(item, dict)
    return item


# --- in the child --------------------------------------------------------------------------------


def read_here(path: str) -> Iterator[dict[str, Any] | str]:
    """What :func:`read_geometry` gives, or a sentence about what is wrong."""
    try:
        yield _geometry(Path(path))
    except MemoryError:
        raise
    except ValueError as error:
        yield harmless(str(error), 300)
    except Exception as error:  # whatever a reader of foreign formats stumbles over
        yield f"cannot be read: {harmless(f'{type(error).__name__}: {error}', 200)}"


def _geometry(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"has {size / 1e6:.0f} MB, which is no molecule")
    suffix = path.suffix.lower()
    if suffix in (".xyz", ".extxyz"):
        return _from_xyz(path)
    if suffix in (".mol", ".sdf", ".mdl"):
        return _from_molfile(path)
    return _from_ase(path)


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is no text in UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _from_xyz(path: Path) -> dict[str, Any]:
    try:
        frames = list(read_frames(_text(path)))
        if len(frames) != 1:
            raise ValueError(f"holds {len(frames)} frames; one is wanted")
        (frame,) = frames
        charge, unpaired = charge_of(frame), unpaired_of(frame)
    except XyzError as error:
        raise ValueError(f"cannot be read: {error}") from None
    if any(frame.periodic):
        raise ValueError(
            "is periodic; molecules are computed alone in space. Write it as plain xyz if that is "
            "meant"
        )
    unit = UNITS.search(frame.comment)
    if unit:
        raise ValueError(
            f"says '{harmless(unit[0])}' in its comment line, and xyz is in Å; convert it, or "
            "change the comment"
        )
    return {
        "symbols": [_known(symbol) for symbol in frame.symbols],
        "positions_ang": frame.positions.tolist(),
        "mass_numbers": _isotopes(frame),
        "charge": charge,
        "unpaired": unpaired,
    }


def _isotopes(frame: Frame) -> list[int | None]:
    """Mass numbers by the words of the species, else by a column of masses."""
    if frame.masses is None:
        return frame.mass_numbers
    from ase.data import atomic_numbers

    numbers = [atomic_numbers[_known(symbol)] for symbol in frame.symbols]
    by_mass = _mass_numbers(frame.masses, numbers)
    return [said or own for said, own in zip(frame.mass_numbers, by_mass, strict=True)]


def _known(symbol: str) -> str:
    from ase.data import atomic_numbers

    if symbol == "X" or symbol not in atomic_numbers:
        raise ValueError(f"has an atom that is no element ('{harmless(symbol, 20)}')")
    return symbol


def _from_molfile(path: Path) -> dict[str, Any]:
    """By RDKit: charges (``M  CHG``), isotopes (``M  ISO``) and the hydrogens that are implied."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        supplier: Any = Chem.ForwardSDMolSupplier(str(path), removeHs=False)
        found = list(supplier)
    if len(found) != 1:
        raise ValueError(f"holds {len(found)} molecules; one is wanted")
    if found[0] is None:
        return _without_bonds(path)
    molecule = found[0]
    implied = sum(atom.GetTotalNumHs() for atom in molecule.GetAtoms())
    listed = sum(atom.GetAtomicNum() == 1 for atom in molecule.GetAtoms())
    if not molecule.GetNumBonds() and molecule.GetNumAtoms() > 1:
        return _without_bonds(path)
    if any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()):
        raise ValueError("is a radical by its bonds and charges; closed shells only")
    if implied and listed:
        raise ValueError(
            f"lists {listed} hydrogen atoms and by its bonds and charges lacks {implied}; list all "
            "or none"
        )
    if implied:
        if molecule.GetConformer().Is3D():
            molecule = Chem.AddHs(molecule, addCoords=True)
        else:
            return {"smiles": Chem.MolToSmiles(molecule)}
    return {
        "symbols": [atom.GetSymbol() for atom in molecule.GetAtoms()],
        "positions_ang": molecule.GetConformer().GetPositions().tolist(),
        "mass_numbers": [atom.GetIsotope() or None for atom in molecule.GetAtoms()],
        "charge": Chem.GetFormalCharge(molecule),
    }


def _without_bonds(path: Path) -> dict[str, Any]:
    """A file that lists atoms and no bonds that make sense: the atoms, if no charge is stated."""
    text = _text(path)
    if re.search(r"^M  (CHG|ISO|RAD)|^M  V30", text, re.MULTILINE):
        raise ValueError("has charges or isotopes, and bonds that RDKit does not understand")
    return _from_ase(path)


def _from_ase(path: Path) -> dict[str, Any]:
    from ase import Atoms
    from ase.io import read

    # ASE gives a list for a slice; the cast says so to the type checker.
    frames = cast(list[Atoms], read(path, index=":"))
    if len(frames) != 1:
        raise ValueError(f"holds {len(frames)} frames; one is wanted")
    atoms = frames[0]
    if atoms.pbc.any():
        raise ValueError(
            "is periodic; molecules are computed alone in space. Write it as plain xyz if that is "
            "meant"
        )
    symbols = [_known(symbol) for symbol in atoms.get_chemical_symbols()]
    parameters = getattr(atoms.calc, "parameters", None) or {}
    said = [parameters.get("charge"), atoms.info.get("charge")]
    if atoms.has("initial_charges"):
        said.append(float(np.asarray(atoms.get_initial_charges()).sum()))
    charge = next((float(one) for one in said if one is not None), None)
    if charge is not None and abs(charge - round(charge)) > 0.01:
        raise ValueError(f"has a charge of {charge:g}, which is not whole")
    return {
        "symbols": symbols,
        "positions_ang": np.asarray(atoms.positions).tolist(),
        "mass_numbers": (
            _mass_numbers(atoms.get_masses(), atoms.numbers)
            if atoms.has("masses")
            else [None] * len(atoms)
        ),
        "charge": None if charge is None else round(charge),
        "unpaired": _unpaired(atoms, parameters),
    }


def _unpaired(atoms: Any, parameters: dict[str, Any]) -> int:
    """Unpaired electrons by the multiplicity of an input file, else by the atoms' moments."""
    if parameters.get("mult") is not None:
        return int(parameters["mult"]) - 1
    return round(abs(float(np.asarray(atoms.get_initial_magnetic_moments()).sum())))


def _mass_numbers(masses: Iterable[float], numbers: Iterable[int]) -> list[int | None]:
    """Isotopes of atoms with these masses (u) and atomic numbers; ``None`` of the natural mixture.

    Raises
    ------
    ValueError
        A mass is that of no nucleus of its element.
    """
    from ase.data import atomic_masses

    found: list[int | None] = []
    for mass, number in zip(map(float, masses), numbers, strict=True):
        near = abs(mass - atomic_masses[number])
        if near < 0.02:
            found.append(None)
        elif abs(mass - np.round(mass)) < 0.15 and mass > 0.5:
            found.append(round(mass))
        elif near < 0.1:  # a mean of older tables
            found.append(None)
        else:
            raise ValueError(f"gives an atom a mass of {mass:g} u, which no isotope has")
    return found
