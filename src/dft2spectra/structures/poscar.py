"""POSCAR as VASP reads it: Fortran numbers, scale, selective dynamics, what follows left alone."""

import re

import numpy as np

from dft2spectra.structures.raw import RawStructure, Reason, Rejected
from dft2spectra.terminal import harmless

# List-directed input of Fortran reals: 1.0D0 is a number too.
REAL = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))(?:[eEdD]([-+]?\d+))?")
FLAGS = frozenset({"T", "F", ".T.", ".F.", "TRUE", "FALSE", ".TRUE.", ".FALSE."})


def read_poscar(text: str) -> RawStructure:
    """Crystal of a POSCAR with an element line (VASP 5); without one the elements are a guess.

    Raises
    ------
    Rejected
        It is not complete, or it says two things.
    """
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) < 8:
        raise Rejected(
            Reason.UNREADABLE, f"a POSCAR has at least 8 lines, this file has {len(lines)}"
        )
    cell = _cell(lines)
    symbols = _symbols(lines)
    selective = lines[7].lstrip()[:1].lower() == "s"
    mode_line = 8 if selective else 7
    mode = lines[mode_line].strip() if mode_line < len(lines) else ""
    if not mode[:1].isalpha():
        raise Rejected(
            Reason.UNREADABLE,
            f"line {mode_line + 1} is '{harmless(mode, 40)}', not Direct or Cartesian",
        )
    first = mode_line + 1
    if len(symbols) > len(lines) - first:
        raise Rejected(
            Reason.UNREADABLE,
            f"{len(symbols)} atoms announced, {max(0, len(lines) - first)} lines of coordinates",
        )
    points = np.array(
        [
            _coordinates(lines[first + number], first + number + 1, symbol)
            for number, symbol in enumerate(symbols)
        ]
    )
    _check_end(lines, first + len(symbols), len(symbols))
    if mode[0].lower() in "ck":
        scale = _scale(lines, _vectors(lines))
        solid = abs(np.linalg.det(cell)) > 1e-9
        points = (points * scale) @ np.linalg.inv(cell) if solid else np.zeros_like(points)
    return RawStructure(cell=cell, symbols=symbols, scaled_positions=points)


def _number(word: str, line: int) -> float:
    match = REAL.fullmatch(word)
    if match:
        value = float(match[1] + "e" + (match[2] or "0"))
        if np.isfinite(value):
            return value
    shown = harmless(word, 40)
    if match or re.fullmatch(r"[-+]?(nan|inf|infinity)", word, re.IGNORECASE):
        raise Rejected(Reason.NOT_FINITE, f"line {line} holds {shown}, which is not finite")
    raise Rejected(Reason.UNREADABLE, f"line {line}: '{shown}' is not a number")


def _three(line: str, number: int) -> list[float]:
    words = line.split()[:3]
    if len(words) < 3:
        raise Rejected(
            Reason.UNREADABLE, f"line {number} is '{harmless(line.strip(), 60)}', not three numbers"
        )
    return [_number(word, number) for word in words]


def _vectors(lines: list[str]) -> np.ndarray:
    return np.array([_three(lines[i], i + 1) for i in (2, 3, 4)])


def _scale(lines: list[str], vectors: np.ndarray) -> np.ndarray:
    """(3,) factors of the Cartesian components; a negative number is the volume of the cell."""
    words = re.split(r"[!#]", lines[1])[0].split()
    # VASP 6 takes three factors; of other words after the first it takes no notice.
    three = len(words) >= 3 and all(REAL.fullmatch(word) for word in words[:3])
    factors = [_number(word, 2) for word in (words[:3] if three else words[:1])]
    if not factors:
        raise Rejected(Reason.UNREADABLE, "line 2 has no scale")
    if not all(factors) or (three and min(factors) < 0.0):
        shown = " ".join(words[: len(factors)])
        raise Rejected(Reason.NOT_PERIODIC, f"the scale in line 2 is {harmless(shown, 40)}")
    if factors[0] < 0.0:
        volume = abs(np.linalg.det(vectors))
        if volume < 1e-9:
            raise Rejected(Reason.NOT_PERIODIC, "the cell has no volume")
        factors = [float((-factors[0] / volume) ** (1 / 3))]
    return np.array(factors * 3 if len(factors) == 1 else factors)


def _cell(lines: list[str]) -> np.ndarray:
    vectors = _vectors(lines)
    return np.asarray(vectors * _scale(lines, vectors))


def _symbols(lines: list[str]) -> list[str]:
    """The element of every atom."""
    from ase.data import atomic_numbers

    words, counts = [re.split(r"[!#]", line)[0].split() for line in lines[5:7]]
    if words and all(word.isdigit() for word in words):
        raise Rejected(Reason.UNREADABLE, "no element line (VASP 4 format); add it as line 6")
    if (
        not counts
        or len(counts) != len(words)
        or not all(word.isdigit() and len(word) < 10 for word in counts)
    ):
        raise Rejected(Reason.UNREADABLE, "lines 6 and 7 are not elements and their numbers")
    if sum(map(int, counts)) > len(lines):
        raise Rejected(
            Reason.UNREADABLE,
            f"{sum(map(int, counts))} atoms announced, {len(lines) - 8} lines of coordinates",
        )
    symbols: list[str] = []
    for word, count in zip(words, counts, strict=True):
        # Names of PAW datasets: Fe_pv, Fe.GW, and Fe/hash as VASP 6 writes it.
        symbol = re.split(r"[_./]", word)[0].title()
        if symbol == "X" or symbol not in atomic_numbers:
            raise Rejected(Reason.UNKNOWN_ELEMENT, f"'{harmless(word, 40)}' is not an element")
        symbols += [symbol] * int(count)
    return symbols


def _coordinates(line: str, number: int, symbol: str) -> list[float]:
    """Three numbers; an element behind them has to be that of lines 6 and 7."""
    from ase.data import atomic_numbers

    point = _three(line, number)
    for word in line.split()[3:]:
        name = word.title()
        if word.upper() not in FLAGS and name in atomic_numbers and name != symbol:
            raise Rejected(
                Reason.UNREADABLE,
                f"line {number} calls its atom {harmless(word, 10)}, lines 6 and 7 {symbol}",
            )
    return point


def _check_end(lines: list[str], end: int, n_atoms: int) -> None:
    """Refuse another line of coordinates behind the last atom; velocities come after a blank."""
    words = lines[end].split() if end < len(lines) else []
    if len(words) >= 3 and all(REAL.fullmatch(word) for word in words[:3]):
        raise Rejected(
            Reason.UNREADABLE,
            f"{n_atoms} atoms announced, and line {end + 1} holds more coordinates",
        )
