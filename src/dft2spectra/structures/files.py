"""Readers of structure files: one file in, crystals and rejections out, no exception."""

import io
import json
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from dft2spectra.structures.cif import read_cif
from dft2spectra.structures.compounds import read_compound
from dft2spectra.structures.json_files import load, read_structures
from dft2spectra.structures.listing import SUFFIXES, file_format
from dft2spectra.structures.raw import RawStructure, Reason, Rejected, one_line, warnings_as_notes

if TYPE_CHECKING:
    from ase import Atoms

Results = list[RawStructure | Rejected]

# No single structure needs this much text, and a trajectory of this size is not a source.
MAX_FILE_BYTES = 200_000_000


def read_file(path: str) -> Results:
    """Crystals of one file in its order; what cannot be read is a :class:`Rejected` in the list.

    Parameters
    ----------
    path
        A file of a format in :data:`dft2spectra.structures.listing.SUFFIXES`, or a POSCAR or
        CONTCAR by its name.
    """
    try:
        with warnings_as_notes() as notes:
            results = _read(path)
    except Rejected as rejection:
        return [rejection]
    except yaml.YAMLError as error:
        return [Rejected(Reason.UNREADABLE, f"not valid YAML: {one_line(error)}")]
    except json.JSONDecodeError as error:
        return [Rejected(Reason.UNREADABLE, f"not valid JSON: {one_line(error)}")]
    except Exception as error:  # whatever a reader of foreign formats stumbles over
        return [_rejection_of(error)]
    for result in results:
        if isinstance(result, RawStructure):
            result.notes += notes
            if len(results) == 1 and result.name is None:
                result.name = _name_of(path)
    return results or [Rejected(Reason.EMPTY_FILE, "the file holds no structure")]


def _read(path: str) -> Results:
    kind = file_format(path)
    if kind is None:
        raise Rejected(
            Reason.UNREADABLE,
            f"no reader for '{os.path.basename(path)}'; known are POSCAR*, CONTCAR* and "
            + ", ".join(SUFFIXES),
        )
    if not os.path.isfile(path):
        raise Rejected(Reason.UNREADABLE, "a broken link, or not a regular file")
    size = os.path.getsize(path)
    if size == 0:
        raise Rejected(Reason.EMPTY_FILE, "the file has no content")
    if size > MAX_FILE_BYTES:
        raise Rejected(Reason.UNREADABLE, f"the file has {size / 1e6:.0f} MB")
    if kind == "ase_db":
        return _read_ase_database(path, "db")
    text = _text(path)
    if kind == "json":
        return _read_json(text)
    readers: dict[str, Callable[[str], Results]] = {
        "cif": read_cif,
        "poscar": lambda text: [_read_poscar(text)],
        "extxyz": _read_extxyz,
        "compound": lambda text: [read_compound(text)],
    }
    return readers[kind](text)


def _text(path: str) -> str:
    """Content of a text file; refuses what is not UTF-8."""
    with open(path, "rb") as handle:
        content = handle.read()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Rejected(Reason.UNREADABLE, "the file is UTF-16 text; save it as UTF-8")
    if b"\0" in content:
        raise Rejected(Reason.UNREADABLE, "the file is binary, not text")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Rejected(
            Reason.UNREADABLE,
            f"the file is not UTF-8 text (byte 0x{content[error.start]:02x} at {error.start}); "
            "save it as UTF-8",
        ) from None
    if not text.strip():
        raise Rejected(Reason.EMPTY_FILE, "the file has only blanks")
    return text


def _name_of(path: str) -> str | None:
    """Stem of the file, unless all files of the format are called the same."""
    stem = os.path.splitext(os.path.basename(path))[0]
    return None if stem.upper() in ("POSCAR", "CONTCAR") else stem


def _rejection_of(error: Exception) -> Rejected:
    """Rejection for an error of a foreign reader; ASE reports an unknown element as a KeyError."""
    if isinstance(error, KeyError) and error.args:
        symbol = str(error.args[0])
        if re.fullmatch(r"[A-Za-z]{1,3}", symbol):
            return Rejected(Reason.UNKNOWN_ELEMENT, f"'{symbol}' is not an element")
    return Rejected(Reason.UNREADABLE, one_line(error))


def _read_poscar(text: str) -> RawStructure:
    """POSCAR with an element line (VASP 5); without one the elements would be a guess."""
    import ase.io

    lines = text.splitlines()
    if len(lines) < 8:
        raise Rejected(
            Reason.UNREADABLE, f"a POSCAR has at least 8 lines, this file has {len(lines)}"
        )
    symbols, counts = lines[5].split("!")[0].split(), lines[6].split("!")[0].split()
    if symbols and all(word.isdigit() for word in symbols):
        raise Rejected(Reason.UNREADABLE, "no element line (VASP 4 format); add it as line 6")
    if not counts or len(counts) != len(symbols) or not all(word.isdigit() for word in counts):
        raise Rejected(Reason.UNREADABLE, "lines 6 and 7 are not elements and their numbers")
    n_atoms = sum(int(word) for word in counts)
    if n_atoms > len(lines) - 8:
        raise Rejected(
            Reason.UNREADABLE, f"{n_atoms} atoms announced, {len(lines) - 8} lines of coordinates"
        )
    atoms = ase.io.read(io.StringIO(text), index=-1, format="vasp")
    assert isinstance(atoms, ase.Atoms)
    return _from_atoms(atoms)


def _read_extxyz(text: str) -> Results:
    import ase.io

    lines = text.rstrip("\n").split("\n")
    start = 0
    while start < len(lines) and lines[start].strip().isdigit():
        n_atoms = int(lines[start])
        if start + 2 + n_atoms > len(lines):  # ASE would go through as many lines as announced
            raise Rejected(
                Reason.UNREADABLE,
                f"{n_atoms} atoms announced, {max(0, len(lines) - start - 2)} lines of coordinates",
            )
        start += 2 + n_atoms
    return [_from_atoms(atoms) for atoms in ase.io.read(io.StringIO(text), ":", format="extxyz")]


def _read_json(text: str) -> Results:
    """Structures of an ASE database in JSON, of ``Atoms.todict``, of pymatgen or of OPTIMADE."""
    from ase import Atoms
    from ase.io.jsonio import decode

    data = load(text)
    if isinstance(data, dict) and "ids" in data:
        return _read_ase_database(io.StringIO(text), "json")
    if isinstance(data, dict) and data.get("__ase_objtype__") == "atoms":
        atoms = decode(text)
        assert isinstance(atoms, Atoms)
        return [_from_atoms(atoms)]
    results = read_structures(data)
    if results is None:
        raise Rejected(
            Reason.UNREADABLE,
            "JSON, but not an ASE database or Atoms object, not a pymatgen Structure or a list of "
            "such, and not an OPTIMADE response",
        )
    return results


def _read_ase_database(source: str | io.StringIO, kind: str) -> Results:
    import ase.db

    results: Results = []
    with ase.db.connect(source, type=kind, use_lock_file=False) as database:
        for row in database.select():
            try:
                raw = _from_atoms(row.toatoms())
            except Exception as error:
                results.append(_rejection_of(error))
                continue
            name = row.key_value_pairs.get("name")
            raw.name = str(name) if name else None
            results.append(raw)
    return results


def _from_atoms(atoms: "Atoms") -> RawStructure:
    """Crystal of an ASE object; a cell without volume leaves the coordinates at zero."""
    cell = np.array(atoms.cell)
    solid = np.isfinite(cell).all() and abs(np.linalg.det(cell)) > 1e-9
    positions = np.array(atoms.positions)
    moments, notes = _moments(atoms)
    return RawStructure(
        cell=cell,
        symbols=list(atoms.get_chemical_symbols()),
        scaled_positions=positions @ np.linalg.inv(cell) if solid else np.zeros_like(positions),
        periodic=(bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2])),
        moments_mub=moments,
        notes=notes,
    )


def _moments(atoms: Any) -> tuple[list[float | None] | None, list[str]]:
    """Starting moments, or else the moments of a stored calculation, one number per atom (µB)."""
    stored = getattr(atoms.calc, "results", {}).get("magmoms") if atoms.calc else None
    values = atoms.get_initial_magnetic_moments() if atoms.has("initial_magmoms") else stored
    if values is None and "magmoms" in atoms.arrays:
        values = atoms.arrays["magmoms"]
    if values is None or len(values) != len(atoms):
        return None, []
    values = np.asarray(values, dtype=float)
    if values.ndim == 2:
        return list(np.linalg.norm(values, axis=1)), ["noncollinear moments: lengths kept"]
    return list(values), []
