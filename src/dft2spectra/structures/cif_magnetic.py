"""Magnetic CIF: operations with time reversal, and the moments that they make of the listed ones.

Read is what the magCIF dictionary says of commensurate structures: operations and centrings with
``+1`` or ``-1`` for time reversal, moments in µB along unit vectors of the crystal axes. A moment
is an axial vector: under (R, t, θ) it becomes θ det(R) R m.
"""

import re
from typing import NamedTuple

import numpy as np

from dft2spectra.structures import space_groups
from dft2spectra.structures.cif_sites import Orbit
from dft2spectra.structures.moments import along_one_axis
from dft2spectra.structures.raw import Reason, Rejected
from dft2spectra.structures.space_groups import DENOMINATOR, Operations
from dft2spectra.terminal import harmless

# µB; moments that an operation which fixes their atom turns by more contradict it.
TURNED_MUB = 0.05


class MagneticOperations(NamedTuple):
    """Symmetry operations, each with its time reversal."""

    operations: Operations
    reversals: np.ndarray
    """(n,) +1 or -1."""


def magnetic_operations(operations: list[str], centrings: list[str]) -> MagneticOperations:
    """Operations of a magnetic group from its lists, such as ``['x,y,z,+1', '-x,-y,z,-1']``.

    Raises
    ------
    Rejected
        An entry is not understood, the list is no group, or an operation stands there with and
        without time reversal: such a group has no moments.
    """
    reversal_of: dict[str, int] = {}
    for centring in centrings or ["x,y,z,+1"]:
        moved, back = _split(centring)
        shift = _one(moved)
        for operation in operations:
            triplet, reversal = _split(operation)
            first = _one(triplet)
            together = space_groups.triplet(
                first.rotations[0],
                (first.translations[0] + shift.translations[0]) % DENOMINATOR,
            )
            if reversal_of.setdefault(together, back * reversal) != back * reversal:
                raise Rejected(
                    Reason.UNREADABLE,
                    f"'{together}' is there with and without time reversal: no moments fit that",
                )
    triplets = tuple(reversal_of)
    return MagneticOperations(
        space_groups.from_triplets(triplets), np.array([reversal_of[one] for one in triplets])
    )


def _split(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"\s*([^,]+,[^,]+,[^,]+),\s*\+?(-?1)\s*", text)
    if match is None:
        raise Rejected(
            Reason.UNREADABLE, f"the magnetic operation '{harmless(text, 60)}' is not understood"
        )
    return match[1], int(match[2])


def _one(triplet: str) -> Operations:
    """A single operation; that it is no group is no matter here."""
    import gemmi

    try:
        operation = gemmi.parse_triplet(triplet)
    except (ValueError, RuntimeError):
        raise Rejected(
            Reason.UNREADABLE, f"the magnetic operation '{harmless(triplet, 60)}' is not understood"
        ) from None
    rotation = np.array([operation.rot]) // DENOMINATOR
    return Operations(rotation, np.array([operation.tran]) % DENOMINATOR)


def moments_of(
    orbits: list[Orbit], listed: np.ndarray, group: MagneticOperations, cell: np.ndarray
) -> list[float | None]:
    """Moments (µB, with sign) of all atoms of the orbits, in their order.

    Parameters
    ----------
    listed
        (n, 3) moments of the listed atoms along unit vectors of the crystal axes, µB.

    Raises
    ------
    Rejected
        A moment is not left by the operations that fix its atom, or there is no common axis.
    """
    lengths = np.linalg.norm(cell, axis=1)
    axial = np.rint(np.linalg.det(group.operations.rotations))[:, None, None]
    turns = axial * group.reversals[:, None, None] * group.operations.rotations
    vectors = []
    for orbit, moment in zip(orbits, listed, strict=True):
        fractional = moment / lengths
        turned = (turns[orbit.fixing] @ fractional - fractional) @ cell
        if len(turned) and np.linalg.norm(turned, axis=1).max() > TURNED_MUB:
            raise Rejected(
                Reason.UNREADABLE,
                "a magnetic moment is turned by an operation that leaves its atom in place",
            )
        vectors.append(turns[orbit.makers] @ fractional @ cell)
    return list(along_one_axis(np.concatenate(vectors)))
