"""The symmetry that a CIF states: operations, names, numbers, codes, which have to agree."""

from dataclasses import dataclass, field

import numpy as np

from dft2spectra.structures import space_groups
from dft2spectra.structures.raw import Reason, Rejected
from dft2spectra.structures.space_groups import Operations, Setting
from dft2spectra.terminal import harmless


@dataclass
class Stated:
    """What a file says about its symmetry."""

    triplets: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    halls: list[str] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    code: str = ""


@dataclass
class Found:
    """The operations in force, and how they were found."""

    operations: Operations
    note: str = ""
    alternatives: list[Setting] = field(default_factory=list)
    """Settings of the same group with another origin, if names alone say the symmetry."""


def symmetry_of(stated: Stated, cell: np.ndarray) -> Found:
    """Operations of a file whose cell has these vectors (rows, Å).

    Raises
    ------
    Rejected
        Nothing is stated, what is stated contradicts itself or the cell, or several settings are
        possible.
    """
    settings, said = _settings(stated)
    if stated.triplets:
        found = Found(space_groups.from_triplets(tuple(stated.triplets)))
        _fits(found.operations, cell, "the symmetry operations")
        _check_operations(found.operations, stated, settings, said, cell)
        return found
    return _by_name(stated, settings, cell)


def _settings(stated: Stated) -> tuple[list[Setting] | None, bool]:
    """Settings that agree with all names and numbers; ``None`` if none is stated or known.

    The second is whether a suffix or a code says the origin or the axes.
    """
    settings: list[Setting] | None = None
    said = False
    for number in stated.numbers:
        if not number.isdigit() or not 1 <= int(number) <= 230:
            raise Rejected(
                Reason.UNREADABLE, f"'{harmless(number, 40)}' is not the number of a space group"
            )
        settings = _narrowed(
            settings, [s for s in space_groups.settings() if s.number == int(number)], number
        )
    for name in stated.names:
        found, suffix = space_groups.named(name)
        if not found and not (stated.triplets or stated.halls):
            raise Rejected(
                Reason.UNREADABLE,
                f"no symmetry operations, and '{harmless(name, 40)}' is not a known space group",
            )
        if found:
            settings, said = _narrowed(settings, found, name), said or suffix
    if stated.code and settings:
        found = space_groups.with_code(settings, stated.code)
        if found:
            settings, said = found, True
        elif stated.code not in ("1", "abc"):  # the only one, said all the same
            raise Rejected(
                Reason.UNREADABLE,
                f"the coordinate-system code '{harmless(stated.code, 20)}' does not belong to "
                f"{_these(settings)}",
            )
    return settings, said


def _narrowed(settings: list[Setting] | None, found: list[Setting], what: str) -> list[Setting]:
    if settings is None:
        return found
    left = [setting for setting in found if setting in settings]
    if not left:
        raise Rejected(
            Reason.UNREADABLE,
            f"the file states {_these(settings)}, and '{harmless(what, 40)}' is not that",
        )
    return left


def _these(settings: list[Setting]) -> str:
    names = list(dict.fromkeys(map(str, settings)))
    return " or ".join(names[:4]) + (" or ..." if len(names) > 4 else "")


def _fits(operations: Operations, cell: np.ndarray, what: str) -> None:
    if not space_groups.fits(operations, cell):
        lengths = ", ".join(f"{length:g}" for length in np.linalg.norm(cell, axis=1))
        raise Rejected(
            Reason.UNREADABLE,
            f"{what} do not leave the cell as it is (lengths {lengths} Å and its angles)",
        )


def _check_operations(
    operations: Operations,
    stated: Stated,
    settings: list[Setting] | None,
    said: bool,
    cell: np.ndarray,
) -> None:
    """Refuse operations that are not those of the group that the file names."""
    for hall in stated.halls:
        meant = space_groups.of_hall(hall)
        if meant is not None and not _same(meant, operations):
            raise Rejected(
                Reason.UNREADABLE,
                f"the {len(operations.rotations)} symmetry operations are not those of the Hall "
                f"symbol '{harmless(hall, 40)}', which has {len(meant.rotations)}",
            )
    if settings is None:
        return
    if said:
        if any(_same(space_groups.operations_of(setting), operations) for setting in settings):
            return
    else:
        shape = space_groups.without_origin(operations)
        if any(space_groups.shape_of(setting) == shape for setting in settings):
            return
    number = space_groups.number_of(operations, cell)
    if number is not None and not stated.names and number in {s.number for s in settings}:
        return  # a number alone does not say the axes
    raise Rejected(
        Reason.UNREADABLE,
        f"the {len(operations.rotations)} symmetry operations are "
        + (f"those of space group {number}, not" if number else "not those")
        + f" of {_these(settings)} ({settings[0].number}), which the file states",
    )


def _same(first: Operations, second: Operations) -> bool:
    return set(space_groups.codes(first).tolist()) == set(space_groups.codes(second).tolist())


def _by_name(stated: Stated, settings: list[Setting] | None, cell: np.ndarray) -> Found:
    """Operations of a file that lists none."""
    for hall in stated.halls:
        meant = space_groups.of_hall(hall)
        if meant is None:
            if settings is None:
                raise Rejected(
                    Reason.UNREADABLE,
                    f"no symmetry operations, and '{harmless(hall, 40)}' is no Hall symbol",
                )
            continue
        shape = space_groups.without_origin(meant)
        if settings and not any(space_groups.shape_of(setting) == shape for setting in settings):
            raise Rejected(
                Reason.UNREADABLE,
                f"the Hall symbol '{harmless(hall, 40)}' is not one of {_these(settings)}",
            )
        _fits(meant, cell, f"the operations of '{harmless(hall, 40)}'")
        return Found(meant, f"symmetry operations of the Hall symbol {harmless(hall, 40)}")
    if settings is None:
        raise Rejected(
            Reason.UNREADABLE,
            "the file states no symmetry; write the space group 'P 1' if it lists all atoms",
        )
    left = [s for s in settings if space_groups.fits(space_groups.operations_of(s), cell)]
    if not left:
        _fits(
            space_groups.operations_of(settings[0]), cell, f"the operations of {_these(settings)}"
        )
    # With all angles at 90°, a short monoclinic name means the unique axis b.
    if stated.names and 3 <= left[0].number <= 15:
        along_b = [setting for setting in left if setting.choice.startswith("b")]
        left = along_b or left
    different = {
        frozenset(space_groups.codes(space_groups.operations_of(s)).tolist()) for s in left
    }
    if len(different) > 1:
        origins = (
            "has two origins" if {"1", "2"} <= {s.choice for s in left} else "has several settings"
        )
        raise Rejected(
            Reason.UNREADABLE,
            f"no symmetry operations, and space group {left[0].number} {origins}: which one of "
            f"{_these(left)} is meant is not said",
        )
    others = [
        setting
        for setting in space_groups.settings()
        if setting.number == left[0].number and {setting.choice, left[0].choice} == {"1", "2"}
    ]
    return Found(
        space_groups.operations_of(left[0]),
        f"symmetry operations of {left[0]}, which the file names",
        others,
    )
