"""Filters and limits that a source has of its own, besides those of the section."""

from collections.abc import Iterable
from typing import Any

from dft2spectra.structures.raw import Reason, Rejected

Source = dict[str, Any]


def filter_elements(symbols: Iterable[str], source: Source) -> None:
    """Return if the source takes crystals of these elements, else raise `Rejected`.

    ``elements`` are those allowed besides Fe, ``exclude_elements`` those that are not.
    """
    found = set(symbols)
    allowed, excluded = source.get("elements"), set(source.get("exclude_elements", ()))
    if found & excluded:
        names = ", ".join(sorted(found & excluded))
        raise Rejected(Reason.FILTERED, f"{names} is among exclude_elements of this source")
    if allowed is not None and not found <= {"Fe", *allowed}:
        names = ", ".join(sorted(found - {"Fe", *allowed}))
        raise Rejected(
            Reason.FILTERED,
            f"{names} is not among the elements of this source, Fe and {', '.join(allowed)}",
        )


def filter_size(n_atoms: int, source: Source) -> None:
    """Return if the source takes primitive cells of ``n_atoms``, else raise `Rejected`."""
    most = source.get("max_atoms")
    if most is not None and n_atoms > most:
        raise Rejected(
            Reason.FILTERED, f"{n_atoms} atoms in the primitive cell, this source takes {most}"
        )


def filter_number(taken: int, source: Source) -> None:
    """Return if a source that gave ``taken`` crystals may give another, else raise `Rejected`.

    The limit of an enumeration acts before it begins, see
    :mod:`dft2spectra.structures.prototypes`.
    """
    most = source.get("at_most")
    if source["kind"] != "prototypes" and most is not None and taken >= most:
        raise Rejected(
            Reason.BEYOND_LIMIT, f"this source gives at most {most}, in the order of their origin"
        )
