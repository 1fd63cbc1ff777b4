"""What every reader hands over: a crystal as its source describes it, not yet checked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from dft2spectra.terminal import harmless


class Reason(StrEnum):
    """Codes of ``rejected.csv``: the word before the colon of each reason."""

    NO_FE = "no_fe"
    PARTIAL_OCCUPANCY = "partial_occupancy"
    UNKNOWN_ELEMENT = "unknown_element"
    NO_PAW_DATASET = "no_paw_dataset"
    OVERLAPPING_ATOMS = "overlapping_atoms"
    TOO_MANY_ATOMS = "too_many_atoms"
    HUGE_CELL = "huge_cell"
    NOT_FINITE = "not_finite"
    NO_VOLUME = "no_volume"
    EMPTY_FILE = "empty_file"
    UNREADABLE = "unreadable"
    NOT_PERIODIC = "not_periodic"
    WITHDRAWN = "withdrawn"
    DUPLICATE_OF = "duplicate_of"
    FILTERED = "filtered"
    BEYOND_LIMIT = "beyond_limit"


class Rejected(Exception):
    """Why an input cannot become a structure; turned into a row of ``rejected.csv``.

    Parameters
    ----------
    code
        What kind of fault it is.
    sentence
        The fault in words, with the numbers that show it.
    """

    def __init__(self, code: Reason, sentence: str) -> None:
        sentence = harmless(sentence)
        super().__init__(code, sentence)
        self.code = code
        self.sentence = sentence

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"


@dataclass
class RawStructure:
    """A crystal as read: any cell, any origin, any order of atoms."""

    cell: np.ndarray
    """(3, 3) lattice vectors as rows, Å."""
    symbols: list[str]
    """Chemical symbols, one per atom; may be wrong."""
    scaled_positions: np.ndarray
    """(n, 3) coordinates in units of the lattice vectors."""
    periodic: tuple[bool, bool, bool] = (True, True, True)
    labels: list[str] | None = None
    """Site labels of the source, one per atom."""
    moments_mub: list[float | None] | None = None
    """Starting moments of the source, one per atom; ``None`` where the element default holds."""
    keeps_order: bool = False
    """Whether the moments are a magnetic structure, refused where the primitive cell has no room
    for it; else they are a start, of which the size is kept."""
    name: str | None = None
    prototype: str | None = None
    parent: str | None = None
    """Structure type of the crystal that this is a strained copy of; else found from symmetry."""
    magnetic_order: str | None = None
    citation: str | None = None
    measured: list[dict[str, Any]] = field(default_factory=list)
    """Measured values; ``site`` is a label of :attr:`labels`."""
    notes: list[str] = field(default_factory=list)
    """What the reader had to assume, kept in the provenance."""


@contextmanager
def warnings_as_notes() -> Iterator[list[str]]:
    """Warnings of foreign code inside the block, as one-line notes instead of output.

    Deprecation warnings are dropped: they address the authors of libraries, not the owner of a
    structure.
    """
    import warnings

    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield notes
    for warning in caught:
        if issubclass(warning.category, (DeprecationWarning, PendingDeprecationWarning)):
            continue
        note = " ".join(str(warning.message).split())[:200]
        if note not in notes:
            notes.append(note)


def one_line(error: BaseException) -> str:
    """Type and message of an exception in one line of at most 160 characters."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}"[:160]
