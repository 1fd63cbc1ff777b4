"""Readers of structure files: one file in, crystals and rejections out, no exception.

A file is read in a child process with limits (:mod:`dft2spectra.foreign`), since a few bytes can
ask a parser for all memory: :func:`read_file` and :func:`read_files` are called by the rest of the
library, :func:`read_here` by the child.
"""

import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from dft2spectra.foreign import Reader, TooMuchError, read_one
from dft2spectra.structures.cif import read_cif
from dft2spectra.structures.compounds import read_compound
from dft2spectra.structures.json_files import load, read_structures
from dft2spectra.structures.listing import SUFFIXES, file_format
from dft2spectra.structures.moments import along_one_axis
from dft2spectra.structures.poscar import read_poscar
from dft2spectra.structures.raw import RawStructure, Reason, Rejected, one_line, warnings_as_notes
from dft2spectra.terminal import harmless
from dft2spectra.xyz_files import Frame, XyzError, read_frames

if TYPE_CHECKING:
    from ase import Atoms

Results = list[RawStructure | Rejected]

# No text of a source is longer; a database may be.
MAX_FILE_BYTES = 50_000_000
MAX_DATABASE_BYTES = 500_000_000
# Characters of a name that a database gives to a structure.
MAX_NAME = 100
IN_CHILD = "dft2spectra.structures.files:read_here"


def read_file(path: str) -> Results:
    """Crystals of one file in its order; what cannot be read is a :class:`Rejected` in the list.

    Parameters
    ----------
    path
        A file of a format in :data:`dft2spectra.structures.listing.SUFFIXES`, or a POSCAR or
        CONTCAR by its name.
    """
    return _finished(path, [_result(item) for item in read_one(IN_CHILD, path)])


def read_files(paths: Iterable[str]) -> Iterator[tuple[str, Results]]:
    """:func:`read_file` of many, each with its path; a child reads ahead while this waits."""
    with Reader(IN_CHILD) as reader:
        found: Results = []
        for path, item in reader.read(paths):
            if item is not None:
                found.append(_result(item))
                continue
            yield path, _finished(path, found)
            found = []


def _result(item: Any) -> RawStructure | Rejected:
    if isinstance(item, TooMuchError):
        return Rejected(Reason.UNREADABLE, f"{item}; nothing more of it is read")
    assert isinstance(item, RawStructure | Rejected)
    return item


def _finished(path: str, results: Results) -> Results:
    first = results[0] if len(results) == 1 else None
    if isinstance(first, RawStructure) and first.name is None:
        first.name = _name_of(path)
    return results or [Rejected(Reason.EMPTY_FILE, "the file holds no structure")]


# --- in the child --------------------------------------------------------------------------------


def read_here(path: str) -> Iterator[RawStructure | Rejected]:
    """Crystals and rejections of one file, without limits: for the child, and for own files."""
    try:
        results = _read(path)
        while True:
            with warnings_as_notes() as notes:
                result = next(results, None)
            if result is None:
                return
            if isinstance(result, RawStructure):
                result.notes += notes
                result = _with_elements(result)
            yield result
    except MemoryError:
        raise
    except Rejected as rejection:
        yield rejection
    except XyzError as error:
        yield Rejected(Reason.UNREADABLE, str(error))
    except yaml.YAMLError as error:
        yield Rejected(Reason.UNREADABLE, f"not valid YAML: {one_line(error)}")
    except json.JSONDecodeError as error:
        yield Rejected(Reason.UNREADABLE, f"not valid JSON: {one_line(error)}")
    except RecursionError:
        yield Rejected(Reason.UNREADABLE, "it is nested too deeply")
    except Exception as error:  # whatever a reader of foreign formats stumbles over
        yield _rejection_of(error)


def _read(path: str) -> Iterator[RawStructure | Rejected]:
    kind = file_format(path)
    if kind is None:
        raise Rejected(
            Reason.UNREADABLE,
            f"no reader for '{harmless(os.path.basename(path))}'; known are POSCAR*, CONTCAR* and "
            + ", ".join(SUFFIXES),
        )
    if not os.path.isfile(path):
        raise Rejected(Reason.UNREADABLE, "a broken link, or not a regular file")
    size = os.path.getsize(path)
    most = MAX_DATABASE_BYTES if kind == "ase_db" else MAX_FILE_BYTES
    if size == 0:
        raise Rejected(Reason.EMPTY_FILE, "the file has no content")
    if size > most:
        raise Rejected(
            Reason.UNREADABLE,
            f"the file has {size / 1e6:.0f} MB, at most {most / 1e6:.0f} are read; split it",
        )
    if kind == "ase_db":
        yield from _read_ase_database(path, "db")
        return
    text = _text(path)
    if kind == "json":
        yield from _read_json(text)
    elif kind == "cif":
        yield from read_cif(text)
    elif kind == "poscar":
        yield read_poscar(text)
    elif kind == "extxyz":
        for frame in read_frames(text):
            yield _from_frame(frame)
    else:
        yield read_compound(text)


def _with_elements(raw: RawStructure) -> RawStructure | Rejected:
    """The crystal, if all its symbols are elements: other words go no further."""
    from ase.data import atomic_numbers

    for symbol in raw.symbols:
        if symbol == "X" or symbol not in atomic_numbers:
            return Rejected(Reason.UNKNOWN_ELEMENT, f"'{harmless(symbol, 40)}' is not an element")
    return raw


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
    return text.replace("\r\n", "\n").replace("\r", "\n")


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


def _from_frame(frame: Frame) -> RawStructure | Rejected:
    """Crystal of a frame; without a cell it is a molecule, which the screening says."""
    try:
        if frame.cell is None and "cell" in frame.values:
            raise Rejected(
                Reason.NOT_PERIODIC, "no cell: extended XYZ calls it Lattice, this file cell"
            )
        cell = np.zeros((3, 3)) if frame.cell is None else frame.cell
        heavy = sorted({m for m in frame.mass_numbers if m is not None})
        return RawStructure(
            cell=cell,
            symbols=frame.symbols,
            scaled_positions=_scaled(frame.positions, cell),
            periodic=frame.periodic,
            moments_mub=_moments(frame.moments),
            notes=[f"isotopes ({', '.join(map(str, heavy))}) are read as elements"]
            if heavy
            else [],
        )
    except Rejected as rejection:
        return rejection


def _scaled(positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Fractional coordinates; of a cell without volume zeros, which the screening refuses."""
    solid = np.isfinite(cell).all() and abs(np.linalg.det(cell)) > 1e-9
    return positions @ np.linalg.inv(cell) if solid else np.zeros_like(positions)


def _read_json(text: str) -> Iterator[RawStructure | Rejected]:
    """Structures of an ASE database in JSON, of ``Atoms.todict``, of pymatgen or of OPTIMADE."""
    from ase import Atoms
    from ase.io.jsonio import decode

    data = load(text)
    if isinstance(data, dict) and "ids" in data:
        yield from _read_ase_database(io.StringIO(text), "json")
    elif isinstance(data, dict) and data.get("__ase_objtype__") == "atoms":
        atoms = decode(text)
        assert isinstance(atoms, Atoms)
        yield _from_atoms(atoms)
    else:
        results = read_structures(data)
        if results is None:
            raise Rejected(
                Reason.UNREADABLE,
                "JSON, but not an ASE database or Atoms object, not a pymatgen Structure or a list "
                "of such, and not an OPTIMADE response",
            )
        yield from results


def _read_ase_database(source: str | io.StringIO, kind: str) -> Iterator[RawStructure | Rejected]:
    import ase.db

    with ase.db.connect(source, type=kind, use_lock_file=False) as database:
        for row in database.select():
            try:
                raw = _from_atoms(row.toatoms())
            except MemoryError:
                raise
            except Rejected as rejection:
                yield rejection
                continue
            except Exception as error:
                yield _rejection_of(error)
                continue
            name = row.key_value_pairs.get("name")
            raw.name = harmless(str(name), MAX_NAME) if name else None
            yield raw


def _from_atoms(atoms: "Atoms") -> RawStructure:
    """Crystal of an ASE object; a cell without volume leaves the coordinates at zero."""
    cell = np.array(atoms.cell)
    return RawStructure(
        cell=cell,
        symbols=list(atoms.get_chemical_symbols()),
        scaled_positions=_scaled(np.array(atoms.positions), cell),
        periodic=(bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2])),
        moments_mub=_moments(_stored_moments(atoms)),
    )


def _stored_moments(atoms: Any) -> Any:
    """Starting moments of an ASE object, or else those of a stored calculation."""
    if atoms.has("initial_magmoms"):
        return atoms.get_initial_magnetic_moments()
    stored = getattr(atoms.calc, "results", {}).get("magmoms") if atoms.calc else None
    values = atoms.arrays.get("magmoms") if stored is None else stored
    return values if values is not None and len(values) == len(atoms) else None


def _moments(values: Any) -> list[float | None] | None:
    """One number per atom (µB) of (n,) numbers or (n, 3) vectors along one axis."""
    if values is None:
        return None
    values = np.asarray(values, dtype=float)
    if values.ndim == 2 and values.shape[1] == 3:
        return list(along_one_axis(values))
    return [float(value) for value in values]
