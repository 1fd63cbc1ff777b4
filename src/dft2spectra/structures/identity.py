r"""When two descriptions are the same crystal, and the id that says so.

Numbers with a tolerance cannot be hashed without edges: however they are rounded, two descriptions
that differ by noise can fall on two sides of a boundary. So identity has two parts.

1. The **id** of a crystal is a function of that crystal alone: reduced formula, space group, and a
   hash of the occupied positions (element, multiplicity, site symmetry) and of few numbers in wide
   bins: the conventional lattice parameters in steps of :data:`LENGTH_BIN` of their logarithm, and
   for each pair of elements the soft nearest distance

   .. math:: d_{AB} = \Big[\frac1{N_A K}\sum_{a\in A}\sum_{k\le K} r_{ak}^{-p}\Big]^{-1/p}
             \Big/ (V/N)^{1/3}

   over the K = 8 nearest B of every A, p = 6, in steps of :data:`SHAPE_BIN`. It is continuous in
   the coordinates, knows nothing of cell, origin, order or orientation, and is a constant where
   the symmetry leaves no coordinate or axial ratio free.
2. Within one collection, crystals of the same formula, space group and occupied positions are
   **compared** (lattices within :data:`LENGTH_BIN`, then pymatgen's ``StructureMatcher``), and
   those that match become one structure whichever side of a boundary they fall on.

What this gives and what it does not:

- Descriptions that differ by noise are always one structure within a collection. Between
  collections (a file edited by 1e-4 Å, a second database) the id can change when a number sits at
  an edge. Measured for noise of 1e-4 Å in all lattice and position components: 3 of 860 ids of
  the bundled compounds, 11 of 900 of random small cells; with 1e-3 Å 14 of 516 of the bundled
  ones. A changed id costs one calculation.
- Crystals closer than the tolerance are not told apart: 0.5 % in a lattice parameter, 2 % of the
  mean atomic spacing (about 0.05 Å, root mean square) in the coordinates. 1 % strain always is
  another crystal, unless it is a shear of a monoclinic or triclinic cell, where it usually is.
- If two crystals share all bins and do not match, the second (in an order that is theirs, not the
  sources') gets its own id, which then depends on the presence of the first.
- A distortion near the symmetry tolerance (0.01 Å) can be found in either symmetry, and ids differ.
- Mirror images have one id: their spectra are the same. Moments are no part of identity.
"""

import hashlib
import json
import math
from collections import defaultdict
from typing import Any

import numpy as np

from dft2spectra.structures.neighbours import pairs_within

LENGTH_BIN = 0.005  # of ln(length): 0.5 %
SHAPE_BIN = 0.02  # of the mean atomic spacing (V/N)^(1/3)
NEIGHBOURS = 8
EXPONENT = 6
# Edges are shifted so that no bin begins at a value that symmetry or rounding favours.
EDGE_SHIFT = 1.0 / math.e

Structure = dict[str, Any]


def invariants(structure: Structure) -> dict[str, Any]:
    """Numbers that the id of a canonical structure is made from.

    Returns
    -------
    dict
        ``exact``: formula, space group and occupied positions; ``lengths``: natural logarithms of
        lengths in Å; ``shape``: soft nearest distances, one per pair of elements in sorted order,
        in units of the mean atomic spacing.
    """
    key = structure["_key"]
    return {
        "exact": [key["formula"], key["spacegroup"], [list(orbit) for orbit in key["occupation"]]],
        "lengths": np.log(_lattice_lengths(key["spacegroup"], key["conventional_cell_ang"])),
        "shape": _soft_distances(structure),
    }


def structure_id(structure: Structure, numbers: dict[str, Any], ordinal: int = 0) -> str:
    """Id such as ``Fe3Si-225-1a2b3c4d``.

    Parameters
    ----------
    structure
        Canonical form.
    numbers
        Its :func:`invariants`.
    ordinal
        Counts crystals of one collection that share all bins and do not match.
    """
    bins = [
        *np.floor(numbers["lengths"] / LENGTH_BIN + EDGE_SHIFT).astype(int).tolist(),
        *np.floor(numbers["shape"] / SHAPE_BIN + EDGE_SHIFT).astype(int).tolist(),
    ]
    text = json.dumps([numbers["exact"], bins, ordinal], separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{structure['formula']}-{structure['_key']['spacegroup']}-{digest}"


def same_crystal(first: Structure, second: Structure) -> bool:
    """Whether two canonical structures with ``"_numbers"`` agree within the tolerance."""
    one, other = first["_numbers"], second["_numbers"]
    if one["exact"] != other["exact"]:
        return False
    if np.abs(one["lengths"] - other["lengths"]).max() > LENGTH_BIN:
        return False
    if np.abs(one["shape"] - other["shape"]).max() > 3 * SHAPE_BIN:
        return False
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(
        ltol=1.01 * LENGTH_BIN,
        stol=SHAPE_BIN,
        angle_tol=0.3,
        primitive_cell=False,
        scale=False,
        attempt_supercell=False,
    )
    return bool(matcher.fit(_pymatgen(first), _pymatgen(second)))


def group_same(structures: list[Structure]) -> list[tuple[str, list[Structure]]]:
    """Ids and the descriptions of each crystal, the one to compute first.

    Independent of the order of ``structures``: they are sorted by what they are (with measured
    values first, then by the kind of their source, then with a prototype, then by their numbers,
    then by path) and each joins the first crystal that it matches. A crystal a tolerance away from
    the first of its group starts its own, so a fine series of strains does not run together.
    """
    for structure in structures:
        structure["_numbers"] = invariants(structure)
    buckets: dict[str, list[Structure]] = {}
    for structure in sorted(structures, key=_preference):
        bucket = buckets.setdefault(json.dumps(structure["_numbers"]["exact"]), [])
        bucket.append(structure)
    result: list[tuple[str, list[Structure]]] = []
    for bucket in buckets.values():
        result += _with_ids(_groups(bucket))
    return sorted(result, key=lambda pair: pair[0])


def _groups(bucket: list[Structure]) -> list[list[Structure]]:
    """Structures that are one crystal, each compared only with those of about its first length."""
    groups: list[list[Structure]] = []
    by_length: dict[int, list[int]] = defaultdict(list)
    for structure in bucket:
        place = math.floor(structure["_numbers"]["lengths"][0] / LENGTH_BIN)
        near = sorted(by_length[place - 1] + by_length[place] + by_length[place + 1])
        for number in near:
            if same_crystal(groups[number][0], structure):
                groups[number].append(structure)
                break
        else:
            by_length[place].append(len(groups))
            groups.append([structure])
    return groups


def _with_ids(groups: list[list[Structure]]) -> list[tuple[str, list[Structure]]]:
    taken: dict[str, list[Structure]] = {}
    for group in groups:
        ordinal = 0
        while (name := structure_id(group[0], group[0]["_numbers"], ordinal)) in taken:
            ordinal += 1
        taken[name] = group
    return list(taken.items())


def _preference(structure: Structure) -> tuple[Any, ...]:
    numbers = structure["_numbers"]
    return (
        not structure["measured"],
        structure.get("_rank", 0),
        structure["prototype"] is None,
        [round(float(x), 6) for x in (*numbers["lengths"], *numbers["shape"])],
        structure["_origin"],
    )


def _lattice_lengths(group: int, conventional: np.ndarray) -> list[float]:
    """Independent lengths (Å) of the conventional cell, whatever axes were called a, b and c.

    Monoclinic and triclinic cells can be chosen in many ways; they are described by the lengths of
    the shortest lattice vector in each of the seven classes of vectors modulo 2 (the vonorms of
    Conway and Sloane, Proc. R. Soc. A 436, 55 (1992)), and the volume to the power 2/3, which 1 %
    along any direction changes by more than one bin.
    """
    a, b, c = np.linalg.norm(conventional, axis=1)
    if group >= 195:
        return [a]
    if group >= 75:
        return [a, c]
    if group >= 16:
        return sorted([a, b, c])
    from ase.geometry import minkowski_reduce

    reduced, _ = minkowski_reduce(conventional)
    grid = np.array(list(np.ndindex(5, 5, 5))) - 2
    lengths = np.linalg.norm(grid @ reduced, axis=1)
    classes = (grid % 2) @ [1, 2, 4]
    shortest = sorted(float(lengths[classes == number].min()) for number in range(1, 8))
    return [*shortest, abs(float(np.linalg.det(conventional))) ** (2 / 3)]


def _soft_distances(structure: Structure) -> np.ndarray:
    """Soft nearest distance of every pair of elements, in units of (V/N)^(1/3)."""
    elements, kinds = np.unique(structure["symbols"], return_inverse=True)
    cell = np.array(structure["cell_ang"])
    positions = np.array(structure["scaled_positions"]) @ cell
    spacing = (abs(np.linalg.det(cell)) / len(kinds)) ** (1 / 3)
    cutoff = 2.0 * spacing
    while True:
        first, second, distance = pairs_within(cell, positions, cutoff)
        # The neighbours of each atom, element by element, nearest first.
        groups = first * len(elements) + kinds[second]
        order = np.lexsort((distance, groups))
        counts = np.bincount(groups, minlength=len(kinds) * len(elements))
        if counts.min() >= NEIGHBOURS:
            break
        cutoff *= 1.3
    begins = np.cumsum(counts) - counts
    near = distance[order][begins[:, None] + np.arange(NEIGHBOURS)]
    near = near.reshape(len(kinds), len(elements), NEIGHBOURS)
    result = []
    for element in range(len(elements)):
        for partner in range(element, len(elements)):
            of_pair = near[kinds == element, partner].ravel()
            mean = np.mean((of_pair / spacing) ** -EXPONENT)
            result.append(mean ** (-1.0 / EXPONENT))
    return np.array(result)


def _pymatgen(structure: Structure) -> Any:
    from pymatgen.core import Structure as PymatgenStructure

    return PymatgenStructure(
        structure["cell_ang"], structure["symbols"], structure["scaled_positions"]
    )
