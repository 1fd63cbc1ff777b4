"""Frames of XYZ and extended XYZ files, line by line; nothing in them is guessed or left out.

ASE's reader was used before and left: a blank line ended its reading, so that a second frame was
lost, labels and atomic numbers were errors, and a property of twenty million columns took all
memory. What every column means is in https://github.com/libAtoms/extxyz.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from dft2spectra.terminal import harmless

# A number in Fortran's or, in the QM9 set, Mathematica's writing (1.1*^-6).
REAL = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))(?:(?:[eEdD]|\*\^)([-+]?\d+))?")
NOT_FINITE = re.compile(r"[-+]?(nan|inf|infinity)", re.IGNORECASE)
PAIR = re.compile(
    r"""(?<!\S)([^\s="'\[\]{}]+)\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|\{[^}]*\}|\[(?:[^\[\]]|\[[^\]]*\])*\]|\S*)"""
)
SPECIES, PLACES = ("species", "symbols", "Z", "numbers"), ("pos", "positions")
# By preference: a start is asked for; a result or something else is only there.
MOMENTS = ("initial_magmoms", "magmoms", "magmom", "moment", "moments", "magnetic_moments")
MASSES, CHARGES = ("masses", "mass"), ("initial_charges", "formal_charges", "charges", "charge")
# Charge with its sign and multiplicity, as many programs write them in the comment line.
CHARGE_AND_MULTIPLICITY = re.compile(r"([-+]\d)\s+([1-9])")
# Sum of a column of charges that counts as whole: partial charges have few digits.
WHOLE_CHARGE = 0.05
# More columns than any program writes.
MAX_COLUMNS = 1000


class XyzError(ValueError):
    """What is wrong with a file, in words."""


@dataclass
class Frame:
    """One frame."""

    symbols: list[str]
    """Elements; a word that is none is left as it is."""
    mass_numbers: list[int | None]
    """Of isotopes: 2 for D, 13 for 13C."""
    positions: np.ndarray
    """(n, 3), Å; may be not finite."""
    comment: str
    values: dict[str, str] = field(default_factory=dict)
    """What the comment line says as key and value, the keys in lower case."""
    cell: np.ndarray | None = None
    """(3, 3) lattice vectors as rows, Å."""
    periodic: tuple[bool, bool, bool] = (False, False, False)
    moments: np.ndarray | None = None
    """(n,) or (n, 3) moments, µB."""
    masses: np.ndarray | None = None
    """(n,), u."""
    charges: np.ndarray | None = None
    """(n,) charges of the atoms, elementary charges."""


def read_frames(text: str) -> Iterator[Frame]:
    """All frames of a text; blank lines between and after them are no matter.

    Raises
    ------
    XyzError
        A frame is not complete, or followed by something else than a frame.
    """
    lines = text.split("\n")
    start = 0
    while True:
        while start < len(lines) and not lines[start].strip():
            start += 1
        if start == len(lines):
            return
        words = lines[start].split()
        if len(words) != 1 or not re.fullmatch(r"\d{1,9}", words[0]):
            before = "an XYZ file begins" if start == 0 else "the next frame begins"
            raise XyzError(
                f"line {start + 1} is '{harmless(lines[start].strip(), 60)}', and {before} with "
                "its number of atoms"
            )
        n = int(words[0])
        if start + 2 + n > len(lines):
            raise XyzError(
                f"{n} atoms announced, {max(0, len(lines) - start - 2)} lines of coordinates"
            )
        if n == 0:
            raise XyzError("a frame of no atoms")
        yield _frame(lines[start + 1], lines[start + 2 : start + 2 + n], start + 3)
        comment = lines[start + 1]
        start += 2 + n
        if comment.startswith("gdb ") and len(lines) > start:
            start += 3  # the QM9 set: frequencies, SMILES, InChI


def _frame(comment: str, rows: list[str], first_line: int) -> Frame:
    values = {key.lower(): _unquoted(value) for key, value in PAIR.findall(comment)}
    cell = _cell(values)
    columns = _columns(values.get("properties", ""))
    n = len(rows)
    symbols, masses = [], []
    positions = np.zeros((n, 3))
    moment = next((name for name in MOMENTS if name in columns), None)
    wide = columns[moment][1] if moment else 0
    if moment and wide not in (1, 3):
        raise XyzError(f"the property {harmless(moment)} has {wide} columns, not one or three")
    moments = np.zeros((n, wide))
    single = {
        what: next((columns[name][0] for name in names if columns.get(name, (0, 0))[1] == 1), None)
        for what, names in (("masses", MASSES), ("charges", CHARGES))
    }
    numbers = {what: np.zeros(n) for what, column in single.items() if column is not None}
    species = next((name for name in SPECIES if name in columns), None)
    place = next((name for name in PLACES if name in columns), None)
    if species is None or place is None or columns[place][1] != 3:
        raise XyzError("Properties names no species, or no three columns of positions (pos:R:3)")
    last = max(begin + width for begin, width in columns.values())
    for number, row in enumerate(rows):
        words = row.split()
        line = first_line + number
        if len(words) < last:
            raise XyzError(
                f"line {line} is '{harmless(row.strip(), 60)}', with {len(words)} columns of {last}"
            )
        symbol, mass = read_symbol(words[columns[species][0]])
        symbols.append(symbol)
        masses.append(mass)
        begin = columns[place][0]
        positions[number] = [_number(word, line) for word in words[begin : begin + 3]]
        for what, own in numbers.items():
            own[number] = _number(words[single[what] or 0], line)
        if moment:
            begin = columns[moment][0]
            moments[number] = [_number(word, line) for word in words[begin : begin + wide]]
    return Frame(
        symbols=symbols,
        mass_numbers=masses,
        positions=positions,
        comment=comment.strip(),
        values=values,
        cell=cell,
        periodic=_periodic(values, cell is not None),
        moments=None if moment is None else moments[:, 0] if wide == 1 else moments,
        masses=numbers.get("masses"),
        charges=numbers.get("charges"),
    )


def read_symbol(word: str) -> tuple[str, int | None]:
    """Element and mass number of ``Fe``, ``FE``, ``26``, ``Fe1``, ``D`` or ``13C``.

    A word that is none of these is returned as it is: ``CA1`` can be a carbon or calcium.
    """
    from ase.data import atomic_numbers, chemical_symbols

    if word.isdigit() and len(word) < 4:
        number = int(word)
        return (chemical_symbols[number] if 0 < number < len(chemical_symbols) else word), None
    match = re.fullmatch(r"(\d{1,3})?([A-Za-z]{1,2})(_?\d{1,6})?", word)
    if match is None:
        return word, None
    symbol = match[2].title()
    if symbol in ("D", "T"):
        return "H", 2 if symbol == "D" else 3
    known = symbol in atomic_numbers and symbol != "X"
    letters = match[2]
    two = len(letters) == 2 and letters.isupper() and all(one in atomic_numbers for one in letters)
    if not known or (match[3] and two):
        return word, None
    return symbol, int(match[1]) if match[1] else None


def _number(word: str, line: int) -> float:
    match = REAL.fullmatch(word)
    if match:
        return float(match[1] + "e" + (match[2] or "0"))
    if NOT_FINITE.fullmatch(word):
        return float("nan")
    raise XyzError(f"line {line}: '{harmless(word, 40)}' is not a number")


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] in "\"'{" else value


def _columns(properties: str) -> dict[str, tuple[int, int]]:
    """First column and number of columns of every property; those of plain XYZ without any."""
    if not properties:
        return {"species": (0, 1), "pos": (1, 3)}
    words = properties.split(":")
    columns: dict[str, tuple[int, int]] = {}
    begin = 0
    for name, kind, width in zip(words[::3], words[1::3], words[2::3], strict=False):
        if kind not in ("S", "R", "I", "L") or not re.fullmatch(r"[1-9]\d{0,2}", width):
            raise XyzError(f"Properties says {harmless(f'{name}:{kind}:{width}', 60)}")
        if name in columns:
            raise XyzError(f"Properties names {harmless(name, 40)} twice")
        columns[name] = begin, int(width)
        begin += int(width)
    if len(words) % 3 or begin > MAX_COLUMNS:
        raise XyzError(f"Properties is '{harmless(properties, 60)}', which is no list of columns")
    return columns


def _cell(values: dict[str, str]) -> np.ndarray | None:
    text = values.get("lattice")
    if text is None:
        return None
    words = re.findall(r"[^\s,\[\]]+", text)
    numbers = []
    for word in words:
        if not (REAL.fullmatch(word) or NOT_FINITE.fullmatch(word)):
            raise XyzError(f"Lattice holds '{harmless(word, 40)}', which is no number")
        numbers.append(_number(word, 2))
    if len(numbers) == 3:  # an orthogonal cell
        return np.diag(numbers)
    if len(numbers) != 9:
        raise XyzError(f"Lattice has {len(numbers)} numbers, not nine")
    cell = np.array(numbers).reshape(3, 3)
    # Nine numbers are the vectors one after the other; in a matrix they are the columns.
    return cell.T if text.lstrip().startswith("[[") else cell


def _periodic(values: dict[str, str], has_cell: bool) -> tuple[bool, bool, bool]:
    text = values.get("pbc")
    if text is None:
        return (has_cell,) * 3
    words = re.findall(r"\w+", text)
    meant = [{"t": True, "true": True, "1": True}.get(word.lower(), False) for word in words]
    plain = {"t", "true", "1", "f", "false", "0"}
    if len(meant) == 1:
        meant *= 3
    if len(meant) != 3 or not {word.lower() for word in words} <= plain:
        raise XyzError(f"pbc is '{harmless(text, 40)}', not three of T and F")
    return meant[0], meant[1], meant[2]


def charge_of(frame: Frame) -> int | None:
    """Charge (elementary charges) that the file says, if it does.

    By ``charge=``, by charge and multiplicity alone in the comment line, or as a column of charges
    whose sum is not zero.
    """
    said = _whole_value(frame, ("charge", "total_charge", "q"))
    if said is not None:
        return said
    if (pair := CHARGE_AND_MULTIPLICITY.fullmatch(frame.comment)) is not None:
        return int(pair[1])
    if frame.charges is None:
        return None
    total = float(frame.charges.sum())
    if not abs(total - np.round(total)) <= WHOLE_CHARGE:
        raise XyzError(
            f"the charges of the atoms add up to {total:.3g}, which is not whole; write charge= "
            "into the comment line"
        )
    return round(total) or None  # zero is what partial charges add up to as well


def unpaired_of(frame: Frame) -> int:
    """Unpaired electrons that the comment line says; zero if it says none.

    ``spin`` is a multiplicity for some programs and a number of electrons for others: above one,
    the shell is open for all of them.
    """
    multiplicity = _whole_value(frame, ("multiplicity", "mult", "spin_multiplicity"))
    if multiplicity is None and (pair := CHARGE_AND_MULTIPLICITY.fullmatch(frame.comment)):
        multiplicity = int(pair[2])
    if multiplicity is not None:
        return multiplicity - 1
    unpaired = _whole_value(frame, ("unpaired", "uhf", "spin")) or 0
    return unpaired if unpaired > 1 or "spin" not in frame.values else 0


def _whole_value(frame: Frame, keys: tuple[str, ...]) -> int | None:
    """The whole number of the first of these keys in the comment line."""
    key = next((key for key in keys if key in frame.values), None)
    if key is None:
        return None
    try:
        value = float(json.loads(frame.values[key].removeprefix("+")))
    except (ValueError, TypeError):
        raise XyzError(
            f"the comment says {key}={harmless(frame.values[key], 40)}, which is no number"
        ) from None
    if not value.is_integer():
        raise XyzError(f"the comment says {key}={value:g}, which is not whole")
    return int(value)
