"""Places of the crystals of a campaign: what is computed first, and what no model is trained on.

A design is a table (CSV) with the columns ``order`` (whole numbers, each once; the smallest comes
first), ``structure_id`` and ``role``; other columns are for its readers. A place is no part of the
identity of a crystal: another order or role computes nothing again.

Imports only the standard library: the Snakefile asks at every start.
"""

import csv
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from dft2spectra.columns import Role

COLUMNS = ("order", "structure_id", "role")
# Keys of a structure record that say its place.
PLACE_KEYS = ("order", "role")

Structure = dict[str, Any]


class Place(NamedTuple):
    """Place of a crystal in its campaign."""

    order: int | None = None
    """Rank in the order of computing, from the smallest; ``None`` comes after all."""
    role: Role = Role.TRAIN
    """``train``, or ``external``: kept for one evaluation at the very end."""


def read_design(path: str) -> dict[str, Place]:
    """Place of every crystal of a design by its id.

    Raises
    ------
    ValueError
        The file cannot be read, a column is missing, or a row makes no sense; names the line.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or [])]
            if missing:
                raise ValueError(f"{path} has no column {', '.join(missing)}")
            rows = [(table.line_num, row) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no table that can be read: {error}") from None
    places: dict[str, Place] = {}
    taken: dict[int, int] = {}
    for line, row in rows:
        name, role, order = row["structure_id"], row["role"], row["order"] or ""
        if role not in list(Role):
            raise ValueError(f"{path}, line {line}: role '{role}' is none of {', '.join(Role)}")
        if not order.isdecimal():
            raise ValueError(f"{path}, line {line}: order '{order}' is no whole number")
        if name in places:
            raise ValueError(f"{path}, line {line}: {name} has a row already")
        if int(order) in taken:
            raise ValueError(
                f"{path}, line {line}: order {order} is that of line {taken[int(order)]}"
            )
        taken[int(order)] = line
        places[name] = Place(int(order), Role(role))
    return places


def place(structures: Iterable[Structure], path: str | None) -> list[Structure]:
    """The structures with ``order`` and ``role``; those that no row names come last, to train.

    Raises
    ------
    ValueError
        As :func:`read_design`; or a crystal of the design is none of the campaign, which would
        otherwise lose it without a word.
    """
    given = list(structures)
    places = {} if path is None else read_design(path)
    lost = sorted(places.keys() - {structure["structure_id"] for structure in given})
    if lost:
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        raise ValueError(
            f"structures.design: {path}: {len(lost)} of {len(places)} crystals are none of this "
            f"campaign: {', '.join(lost[:5])}{more}. No source gives them any more, they are "
            "rejected, or their volumes and so their ids have changed; make the table anew, or "
            "take these rows out"
        )
    return [
        {**structure, "order": found.order, "role": str(found.role)}
        for structure in given
        for found in [places.get(structure["structure_id"], Place())]
    ]


def external_ids(path: str | None) -> list[str]:
    """Sorted ids of the crystals that are kept for one evaluation at the end.

    Raises
    ------
    ValueError
        As :func:`read_design`.
    """
    places = {} if path is None else read_design(path)
    return sorted(name for name, place in places.items() if place.role == Role.EXTERNAL)


def order_of(structure: Structure) -> int:
    """Rank of a structure in the order of computing, the smallest first."""
    order = structure.get("order")
    return sys.maxsize if order is None else int(order)
