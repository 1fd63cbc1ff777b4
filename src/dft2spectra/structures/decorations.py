r"""Ways to put elements on the sublattices of a crystal, counted before they are made.

A **sublattice** is the atoms of one species of the parent, or one orbit. Fe or another element
stands on each, Fe on at least one. Ways that a symmetry of the parent carries into each other (Fe
and Al exchanged in CsCl) are one; with G the permutations of the sublattices that leave the parent
as it is, their number is, by Burnside's lemma,

.. math:: \frac1{|G|} \sum_{g \in G} \sum_n \binom{m}{n-1} \, s(c(g), n)

for m elements besides Fe and n elements in all, where c(g) is the number of cycles of g and s(c, n)
the number of ways to put n elements on c places using each.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dft2spectra.structures.parents import Parent

# Permutations of alike sublattices that are tried one by one; of more, only exchanges of two.
MOST_PERMUTATIONS = 120

Permutation = tuple[int, ...]


@dataclass(frozen=True)
class Sublattices:
    """Sublattices of a parent."""

    names: list[str]
    """Names in sorted order, elements of the parent or labels of its orbits."""
    of_atoms: list[str]
    """Name of the sublattice of every atom."""
    group: list[Permutation]
    """Permutations of the sublattices that leave the parent as it is."""

    def sizes(self, others: Sequence[str], numbers: range) -> dict[str, int]:
        """``assignments`` of Fe and the others, ``allowed`` and, after symmetry, ``distinct``."""
        fixed = sum(n_colourings(n_cycles(g), len(others), numbers) for g in self.group)
        return {
            "assignments": (len(others) + 1) ** len(self.names),
            "allowed": n_colourings(len(self.names), len(others), numbers),
            "distinct": fixed // len(self.group),
        }

    def decorations(self, others: Sequence[str], numbers: range) -> Iterator[dict[str, str]]:
        """Element of every sublattice, for each way that no symmetry repeats, in a fixed order.

        Parameters
        ----------
        others
            Elements besides Fe, each once.
        numbers
            Numbers of different elements that a decoration may have.
        """
        for number in numbers:
            for some in itertools.combinations(sorted(others), number - 1):
                for elements in itertools.product(sorted(["Fe", *some]), repeat=len(self.names)):
                    if len(set(elements)) == number and elements == min(
                        tuple(elements[i] for i in permutation) for permutation in self.group
                    ):
                        yield dict(zip(self.names, elements, strict=True))


def sublattices(parent: Parent, by: str) -> Sublattices:
    """Sublattices of a parent by ``species`` or by ``orbits``."""
    labels = parent.raw.labels
    of_atoms = list(parent.raw.symbols) if by == "species" or labels is None else labels
    names = sorted(set(of_atoms))
    indices = [[i for i, other in enumerate(of_atoms) if other == name] for name in names]
    return Sublattices(names, of_atoms, _group(parent, indices))


def n_colourings(n_places: int, n_others: int, numbers: range) -> int:
    """Ways to put Fe and others on places so that Fe is there and the elements are as many."""
    return sum(math.comb(n_others, n - 1) * _n_surjections(n_places, n) for n in numbers)


def _n_surjections(n_places: int, n: int) -> int:
    """Ways to put n elements on places so that each is there (inclusion and exclusion)."""
    return sum((-1) ** j * math.comb(n, j) * (n - j) ** n_places for j in range(n + 1))


def n_cycles(permutation: Permutation) -> int:
    seen: set[int] = set()
    cycles = 0
    for start in range(len(permutation)):
        if start not in seen:
            cycles += 1
            while start not in seen:
                seen.add(start)
                start = permutation[start]
    return cycles


def _group(parent: Parent, indices: list[list[int]]) -> list[Permutation]:
    """Permutations of the sublattices that leave the parent as it is, the identity among them."""
    identity = tuple(range(len(indices)))
    found = {identity}
    for permutation in _candidates(_alike(parent, indices), identity):
        if permutation not in found and _leaves_unchanged(parent, indices, permutation):
            found = _closure(found | {permutation})
    return sorted(found)


def _alike(parent: Parent, indices: list[list[int]]) -> list[list[int]]:
    """Sublattices in classes of equal size and like surroundings, whatever atoms stand there."""
    from dft2spectra.structures.neighbours import pairs_within

    cell, n_atoms = parent.raw.cell, parent.n_atoms
    spacing = np.cbrt(abs(np.linalg.det(cell)) / n_atoms)
    first, _, distance = pairs_within(cell, parent.raw.scaled_positions @ cell, 3.0 * spacing)
    near = np.bincount(first, (spacing / distance) ** 8, minlength=n_atoms)
    around = [np.sort(near[atoms]) for atoms in indices]
    classes: list[list[int]] = []
    for i in range(len(indices)):
        for members in classes:
            j = members[0]
            if len(around[i]) == len(around[j]) and np.allclose(around[i], around[j], rtol=0.05):
                members.append(i)
                break
        else:
            classes.append([i])
    return classes


def _candidates(classes: list[list[int]], identity: Permutation) -> Iterator[Permutation]:
    """Permutations within the classes: all, or where they are many the exchanges of two."""
    if math.prod(math.factorial(len(members)) for members in classes) <= MOST_PERMUTATIONS:
        images = itertools.product(*(itertools.permutations(members) for members in classes))
    else:
        exchanges = [pair for members in classes for pair in itertools.combinations(members, 2)]
        for i, j in exchanges:
            yield tuple({i: j, j: i}.get(k, k) for k in identity)
        return
    for image in images:
        permutation = list(identity)
        for members, moved in zip(classes, image, strict=True):
            for i, j in zip(members, moved, strict=True):
                permutation[i] = j
        yield tuple(permutation)


def _leaves_unchanged(parent: Parent, indices: list[list[int]], permutation: Permutation) -> bool:
    """Whether exchanging the atoms of the sublattices gives the same crystal."""
    from ase.data import chemical_symbols
    from pymatgen.core import Structure
    from pymatgen.core.structure_matcher import StructureMatcher

    def labelled(order: Permutation) -> Structure:
        species = [""] * parent.n_atoms
        for place, atoms in zip(order, indices, strict=True):
            for atom in atoms:
                species[atom] = chemical_symbols[place + 1]
        return Structure(parent.raw.cell, species, parent.raw.scaled_positions)

    matcher = StructureMatcher(
        ltol=0.005,
        stol=0.02,
        angle_tol=0.3,
        primitive_cell=False,
        scale=False,
        attempt_supercell=False,
    )
    before, after = labelled(tuple(range(len(indices)))), labelled(permutation)
    return bool(matcher.fit(before, after))


def _closure(permutations: set[Permutation]) -> set[Permutation]:
    """The group that permutations generate."""
    group = set(permutations)
    while True:
        products = {tuple(a[i] for i in b) for a in group for b in permutations}
        if products <= group:
            return group
        group |= products
