"""Which symmetry operations a file means by a space-group name, a Hall symbol or a number.

The names are those of the 530 settings of spglib's database (International Tables A and the list
of Hall, Acta Cryst. A 37, 517 (1981)); operations come from gemmi. What is said is taken at its
word: a setting in the name is never replaced by the standard one, and where several settings
remain, none is chosen.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from dft2spectra.structures.raw import Reason, Rejected
from dft2spectra.terminal import harmless

# Denominator of translations: all of the 230 groups are multiples of 1/24.
DENOMINATOR = 24
# Relative error of a metric component that is rounding and not another crystal system.
METRIC_TOLERANCE = 0.01
# No group has more in any cell that people use; 432 are those of the triple cell of Fm-3m.
MAX_OPERATIONS = 1000


class Operations(NamedTuple):
    """Symmetry operations of a cell, its centring included."""

    rotations: np.ndarray
    """(n, 3, 3) integers, acting on fractional coordinates."""
    translations: np.ndarray
    """(n, 3) integers from 0, in units of 1/24 of the lattice vectors."""


class Setting(NamedTuple):
    """One of the 530 descriptions of a space group in spglib's database."""

    number: int
    name: str
    choice: str
    hall: str

    def __str__(self) -> str:
        return f"{self.name}:{self.choice}" if self.choice in _CHOICES_SAID else self.name


# Choices that the name does not tell apart.
_CHOICES_SAID = ("1", "2", "H", "R")


@cache
def settings() -> tuple[Setting, ...]:
    """All settings, in the order of spglib."""
    from dft2spectra.structures.raw import warnings_as_notes

    found = []
    older = _names_of_gemmi()
    with warnings_as_notes():
        for kind in _kinds():
            # The name where it tells the setting: P 1 21/n 1, not P 21/c; C m m b, not C m m e.
            name = kind.international_full if 3 <= kind.number <= 15 else kind.international
            name = name.split("=")[0].replace("_", "").strip()
            name = older[kind.hall_symbol][0] if "e" in name else name
            found.append(Setting(int(kind.number), name, str(kind.choice), kind.hall_symbol))
    return tuple(found)


@cache
def _kinds() -> tuple[Any, ...]:
    """What spglib's database says of each setting."""
    import spglib

    return tuple(spglib.get_spacegroup_type(hall_number) for hall_number in range(1, 531))


@cache
def _names_of_gemmi() -> dict[str, list[str]]:
    """Names of gemmi's table by Hall symbol: those before the letter e of 1992 are among them."""
    import gemmi

    names: dict[str, list[str]] = {}
    for group in gemmi.spacegroup_table():
        names.setdefault(group.hall, []).append(group.hm)
    return names


@cache
def _by_name() -> dict[str, tuple[Setting, ...]]:
    """Settings by every name they go by, see :func:`_key`."""
    names: dict[str, dict[Setting, None]] = {}
    for kind, setting in zip(_kinds(), settings(), strict=True):
        known = {setting.name, kind.international_full, *_names_of_gemmi()[setting.hall]}
        if 3 <= setting.number <= 15:  # P 21/n for P 1 21/n 1, in which the axis is not said
            known.add(" ".join(word for word in setting.name.split() if word != "1"))
        else:
            known |= set(kind.international.split("="))
        keys = {_key(name) for name in known}
        if setting.number >= 195:  # P m 3 m, as it was written before 1983
            keys |= {key.replace("-3", "3") for key in keys}
        for key in keys:
            names.setdefault(key, {})[setting] = None
    return {key: tuple(found) for key, found in names.items()}


def _key(name: str) -> str:
    """A name without blanks, case, and a remark behind it such as (225) or (No. 225)."""
    name = re.sub(r"\((?:no\.?)?\s*\d+\)\s*\Z", "", name, flags=re.IGNORECASE)
    return re.sub(
        r"[\s_]", "", name.replace("\N{EN DASH}", "-").replace("\N{MINUS SIGN}", "-")
    ).lower()


def named(name: str) -> tuple[list[Setting], bool]:
    """Settings that a Hermann-Mauguin name can mean, and whether it says which by a suffix.

    Understood are short and full names, with or without blanks, in any case, with the suffixes
    ``:1 :2 :H :R`` or another coordinate-system code after a colon, ``S Z H R HS RS HZ RZ`` (as
    ICSD writes them: standard origin, origin at the centre, hexagonal, rhombohedral) or ``O1 O2``.
    The list is empty for a name that is none of these.
    """
    key = _key(name)
    base, colon, code = key.partition(":")
    if colon:
        return with_code(_by_name().get(base, ()), code), True
    if key in _by_name():
        return list(_by_name()[key]), False
    match = re.fullmatch(r"(.{2,}?)(o[12]|[hr]?[sz]|[hr])", key)
    if match is None or match[1] not in _by_name():
        return [], False
    found, said = list(_by_name()[match[1]]), False
    for letter in match[2].removeprefix("o"):
        meant = {"s": "1", "z": "2"}.get(letter, letter.upper())
        narrowed = [setting for setting in found if setting.choice.startswith(meant)]
        if narrowed or letter in "hr12":
            found, said = narrowed, True
        # S and Z say nothing where there is one origin.
    return found, said


def with_code(found: Iterable[Setting], code: str) -> list[Setting]:
    """Settings with a coordinate-system code of the core dictionary (``b1``, ``2``, ``cab``)."""
    code = re.sub(r"abc$", "", code.strip().lower())
    return [setting for setting in found if setting.choice.lower() == code]


@cache
def of_hall(symbol: str) -> Operations | None:
    """Operations of a Hall symbol, ``None`` if it is none."""
    import gemmi

    try:
        group = gemmi.symops_from_hall(symbol.replace("_", " "))
    except (ValueError, RuntimeError):
        return None
    return from_triplets(tuple(operation.triplet() for operation in group))


@cache
def from_triplets(triplets: tuple[str, ...]) -> Operations:
    """Operations of a list such as ``('x,y,z', '-x,y+1/2,-z')``, each once.

    Raises
    ------
    Rejected
        One is not understood or no symmetry, or the list is no group: an operation is missing.
    """
    import gemmi

    if len(triplets) > MAX_OPERATIONS:
        raise Rejected(Reason.UNREADABLE, f"{len(triplets)} symmetry operations")
    rotations, translations = [], []
    for triplet in triplets:
        try:
            operation = gemmi.parse_triplet(triplet)
        except (ValueError, RuntimeError):
            raise Rejected(
                Reason.UNREADABLE,
                f"the symmetry operation '{harmless(triplet, 60)}' is not understood",
            ) from None
        rotation = np.array(operation.rot) / DENOMINATOR
        if (
            not np.array_equal(rotation, np.rint(rotation))
            or abs(round(np.linalg.det(rotation))) != 1
        ):
            raise Rejected(
                Reason.UNREADABLE, f"'{harmless(triplet, 60)}' is not a symmetry operation"
            )
        rotations.append(rotation.astype(int))
        translations.append(np.array(operation.tran, dtype=int) % DENOMINATOR)
    given = Operations(np.array(rotations), np.array(translations))
    _, first = np.unique(codes(given), return_index=True)
    unique = Operations(given.rotations[np.sort(first)], given.translations[np.sort(first)])
    _check_group(unique)
    return unique


def codes(operations: Operations) -> np.ndarray:
    """(n,) integers, one for each operation, equal for equal ones."""
    entries = operations.rotations.reshape(len(operations.rotations), 9) + 8
    weights = 17 ** np.arange(9, dtype=np.int64)
    place = operations.translations @ np.array([1, DENOMINATOR, DENOMINATOR**2])
    return (entries @ weights) * DENOMINATOR**3 + place


def _check_group(operations: Operations) -> None:
    """Refuse a list in which two operations after each other give one that is missing."""
    rotations, translations = operations
    products = np.einsum("aij,bjk->abik", rotations, rotations)
    shifts = np.einsum("aij,bj->abi", rotations, translations) + translations[:, None]
    n = len(rotations)
    together = Operations(products.reshape(n * n, 3, 3), shifts.reshape(n * n, 3) % DENOMINATOR)
    if np.abs(together.rotations).max(initial=0) > 8:
        raise Rejected(Reason.UNREADABLE, "the symmetry operations are not a group")
    missing = ~np.isin(codes(together), codes(operations))
    if missing.any() or n == 0:
        example = ""
        if n:
            place = int(missing.argmax())
            example = (
                f": {triplet(together.rotations[place], together.translations[place])} is missing"
            )
        raise Rejected(Reason.UNREADABLE, f"the symmetry operations are not a group{example}")


def triplet(rotation: np.ndarray, translation: np.ndarray) -> str:
    """An operation in words, such as ``-y,x-y,z+1/3``."""
    import gemmi

    operation = gemmi.Op("x,y,z")
    operation.rot = (np.asarray(rotation) * DENOMINATOR).tolist()
    operation.tran = np.asarray(translation).tolist()
    return str(operation.triplet())


def fits(operations: Operations, cell: np.ndarray) -> bool:
    """Whether the operations leave lengths and angles of the cell (rows, Å) as they are."""
    metric = cell @ cell.T
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    moved = np.einsum("aji,jk,akl->ail", operations.rotations, metric, operations.rotations)
    return bool((np.abs(moved - metric) / scale).max() <= METRIC_TOLERANCE)


def without_origin(operations: Operations) -> frozenset[tuple[int, ...]]:
    r"""What operations are wherever the origin lies: rotations with their screw and glide parts.

    The part of (R, t) is :math:`\sum_{k<n} R^k t` with n the order of R; another origin leaves it
    as it is, another choice among the lattice translations adds :math:`\sum_k R^k` of an integer
    vector, modulo which it is kept.
    """
    found = set()
    for rotation, translation in zip(*operations, strict=True):
        key = tuple(rotation.ravel().tolist())
        total, steps = _powers(key)
        part = _modulo((total @ translation).tolist(), steps)
        found.add((*key, *part))
    return frozenset(found)


@cache
def _powers(rotation: tuple[int, ...]) -> tuple[np.ndarray, tuple[tuple[int, ...], ...]]:
    """Sum of the powers of a rotation, and a triangular basis of what it makes of 24ths."""
    matrix = np.array(rotation).reshape(3, 3)
    power, total = np.eye(3, dtype=int), np.zeros((3, 3), dtype=int)
    for _ in range(6):
        total = total + power
        power = power @ matrix
        if np.array_equal(power, np.eye(3, dtype=int)):
            break
    rows = (total.T * DENOMINATOR).tolist()
    basis = []
    for axis in range(3):
        # Euclid's algorithm on the first components that are left.
        while sum(row[axis] != 0 for row in rows) > 1:
            rows.sort(key=lambda row: (row[axis] == 0, abs(row[axis])))
            least = rows[0]
            for row in rows[1:]:
                times = row[axis] // least[axis]
                row[:] = [x - times * y for x, y in zip(row, least, strict=True)]
        for row in [row for row in rows if row[axis]]:
            rows.remove(row)
            basis.append(tuple(row if row[axis] > 0 else [-x for x in row]))
    return total, tuple(basis)


def _modulo(vector: list[int], basis: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """The smallest representative of an integer vector modulo a triangular basis."""
    for row in basis:
        axis = next(i for i, x in enumerate(row) if x)
        times = vector[axis] // row[axis]
        vector = [x - times * y for x, y in zip(vector, row, strict=True)]
    return tuple(vector)


@cache
def _of_setting(setting: Setting) -> Operations:
    operations = of_hall(setting.hall)
    assert operations is not None, setting
    return operations


def operations_of(setting: Setting) -> Operations:
    """All operations of a setting."""
    return _of_setting(setting)


@cache
def shape_of(setting: Setting) -> frozenset[tuple[int, ...]]:
    """:func:`without_origin` of the operations of a setting."""
    return without_origin(_of_setting(setting))


def number_of(operations: Operations, cell: np.ndarray) -> int | None:
    """Number of the space group that these operations of a cell (rows, Å) are."""
    import spglib

    from dft2spectra.structures.raw import warnings_as_notes

    try:
        with warnings_as_notes():
            kind = spglib.get_spacegroup_type_from_symmetry(
                operations.rotations, operations.translations / DENOMINATOR, lattice=cell
            )
    except Exception:  # spglib 3 raises what spglib 2 answers by None
        return None
    return None if kind is None else int(kind.number)
