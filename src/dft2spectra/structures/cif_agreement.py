"""What a CIF says twice has to agree: atoms with formula, Z, multiplicities, volume and density."""

import math
import re
from collections import Counter

import numpy as np
from scipy.constants import physical_constants

from dft2spectra.structures.cif_atoms import Atom, is_full
from dft2spectra.structures.cif_blocks import Block, number_in
from dft2spectra.structures.cif_elements import (
    FORMULA_TOLERANCE,
    choose,
    composition,
    in_words,
    plain,
    read_formulas,
    same_formula,
)
from dft2spectra.structures.cif_sites import Orbit, coincide, orbit_of
from dft2spectra.structures.cif_symmetry import Found
from dft2spectra.structures.raw import Reason, Rejected
from dft2spectra.structures.space_groups import operations_of
from dft2spectra.terminal import harmless

# Relative difference of a stated density: solvents and hydrogens that are not listed make more.
DENSITY_TOLERANCE = 0.05
VOLUME_TOLERANCE = 0.01
DALTON_G = physical_constants["atomic mass constant"][0] * 1e3
CM3_PER_ANG3 = 1e-24
# Distances in units of the sum of covalent radii: bonds between metals are longer than the first;
# where another origin gives the second, it was meant.
TOO_CLOSE, PLAUSIBLE = 0.75, 0.85


def formulas(block: Block) -> list[Counter[str]]:
    """What the stated formula can mean, isotopes with their element; empty if none is stated."""
    return read_formulas(block.text("_chemical_formula_sum"))


def elements(atoms: list[Atom], orbits: list[Orbit], stated: list[Counter[str]]) -> list[str]:
    """The element of every row, see :func:`dft2spectra.structures.cif_elements.choose`."""
    return choose(
        [atom.label for atom in atoms],
        [atom.reading for atom in atoms],
        [len(orbit.positions) for orbit in orbits],
        stated,
    )


def full_sites(
    atoms: list[Atom], symbols: list[str], orbits: list[Orbit], cell: np.ndarray
) -> tuple[list[int], list[str]]:
    """Rows that one element fills, rows of one place together, and notes.

    Raises
    ------
    Rejected
        A place is filled in part, by several elements, or more than once.
    """
    kept: list[int] = []
    notes: list[str] = []
    done: set[int] = set()
    for i, atom in enumerate(atoms):
        if i in done:
            continue
        here = [i]
        if not is_full(atom.occupancy, 0.0):
            here += [
                j
                for j in range(i + 1, len(atoms))
                if j not in done and coincide(orbits[i].positions, orbits[j].positions, cell)
            ]
        done |= set(here)
        shares: Counter[str] = Counter()
        for j in here:
            shares[plain(symbols[j])] += atoms[j].occupancy  # type: ignore[assignment]
        total, label = sum(shares.values()), harmless(atom.label, 40)
        error = max(atoms[j].error for j in here)
        mixture = ", ".join(f"{symbol}:{share:.4g}" for symbol, share in shares.items())
        if len(shares) > 1 or not is_full(total, error):
            if total > 1.0 and not is_full(total, error):
                raise Rejected(
                    Reason.PARTIAL_OCCUPANCY,
                    f"the occupancies of site {label} add up to more than one ({mixture})",
                )
            raise Rejected(Reason.PARTIAL_OCCUPANCY, f"site {label} is occupied by {mixture}")
        if total != 1.0:
            notes.append(f"the occupancy {total:g} of {label} is taken as one")
        if len(here) > 1:
            names = ", ".join(harmless(atoms[j].label, 40) for j in here)
            notes.append(f"{names} are one atom in the same place")
        kept.append(i)
    return kept, notes


def check_multiplicities(atoms: list[Atom], orbits: list[Orbit], n_operations: int) -> None:
    """Refuse stated multiplicities that the operations do not give.

    SHELXL-97 wrote the order of the site symmetry under this name, so both are understood.
    """
    rows = [(a, o) for a, o in zip(atoms, orbits, strict=True) if a.multiplicity is not None]
    if all(atom.multiplicity == len(orbit.positions) for atom, orbit in rows):
        return
    if all(atom.multiplicity == n_operations // len(orbit.positions) for atom, orbit in rows):
        return
    atom, orbit = next((a, o) for a, o in rows if a.multiplicity != len(o.positions))
    raise Rejected(
        Reason.UNREADABLE,
        f"{harmless(atom.label, 40)} has the multiplicity {atom.multiplicity} by the file, and "
        f"{len(orbit.positions)} by its {n_operations} symmetry operations",
    )


def check_volume(block: Block, volume: float) -> None:
    """Refuse a stated volume that the lattice parameters do not give: one of them is wrong."""
    stated = block.text("_cell_volume")
    if stated and not abs(number_in(stated, "_cell_volume") / volume - 1.0) < VOLUME_TOLERANCE:
        raise Rejected(
            Reason.UNREADABLE,
            f"_cell_volume is {harmless(stated, 40)} Å³, but {volume:.2f} by the lattice "
            "parameters; correct what is wrong or remove _cell_volume",
        )


def check_formula(
    block: Block,
    stated: list[Counter[str]],
    symbols: list[str],
    counts: list[int],
    cell: np.ndarray,
) -> None:
    """Refuse atoms that add up to another formula, Z or density than the file states."""
    found = composition(symbols, counts)
    fitting = [formula for formula in stated if same_formula(found, formula)]
    if stated and not fitting:
        raise Rejected(
            Reason.UNREADABLE,
            f"the atoms add up to {in_words(found)} in the cell, not to the formula that the file "
            f"states: {in_words(stated[0])}",
        )
    z = block.text("_cell_formula_units_z")
    if fitting and re.fullmatch(r"\d{1,6}", z) and int(z):
        units = sum(found.values()) / sum(fitting[0].values())
        # pymatgen writes the content of the cell for the formula, beside the Z of the reduced one.
        reduced = math.gcd(*found.values())
        if min(abs(n / int(z) - 1.0) for n in (units, reduced)) > FORMULA_TOLERANCE:
            raise Rejected(
                Reason.UNREADABLE,
                f"the cell holds {units:.4g} formula units of {in_words(fitting[0])}, and "
                f"_cell_formula_units_Z is {z}",
            )
    density = block.text("_exptl_crystal_density_diffrn")
    if density:
        value = number_in(density, "_exptl_crystal_density_diffrn")
        computed = _density(symbols, counts, cell)
        if value > 0.0 and abs(computed / value - 1.0) > DENSITY_TOLERANCE:
            raise Rejected(
                Reason.UNREADABLE,
                f"the density is {computed:.3f} g/cm³ by the atoms and the cell, and "
                f"{harmless(density, 40)} by the file (_exptl_crystal_density_diffrn)",
            )


def _density(symbols: list[str], counts: list[int], cell: np.ndarray) -> float:
    """Density (g/cm³) of so many atoms of each symbol, D and T among them, in a cell (rows, Å)."""
    from ase.data import atomic_masses, atomic_numbers

    heavy = {"D": 2.0141, "T": 3.0160}  # atomic mass evaluation 2020, u
    mass = 0.0
    for symbol, count in zip(symbols, counts, strict=True):
        mass += count * heavy.get(symbol, float(atomic_masses[atomic_numbers[plain(symbol)]]))
    return mass * DALTON_G / (abs(float(np.linalg.det(cell))) * CM3_PER_ANG3)


def check_origin(
    found: Found, atoms: list[Atom], symbols: list[str], orbits: list[Orbit], cell: np.ndarray
) -> None:
    """Refuse an origin that a name alone says, if it crowds the atoms and the other one does not.

    A file with coordinates of one origin and the name of the other is a real crystal of other
    coordination; only its distances tell.
    """
    if not found.alternatives:
        return
    here = _closest(symbols, orbits, cell)
    if here >= TOO_CLOSE:
        return
    for setting in found.alternatives:
        try:
            there = [orbit_of(atom.point, operations_of(setting), cell) for atom in atoms]
        except Rejected:
            continue
        # Other multiplicities would be another compound, of which nothing is said.
        if _closest(symbols, there, cell) >= PLAUSIBLE:
            raise Rejected(
                Reason.UNREADABLE,
                f"with the origin that the name says, atoms are at {here:.2f} of the sum of their "
                f"covalent radii, with the other ({setting}) at none below {PLAUSIBLE}; correct "
                "the name or list the symmetry operations",
            )


def _closest(symbols: list[str], orbits: list[Orbit], cell: np.ndarray) -> float:
    """Least distance between atoms, in units of the sum of their covalent radii."""
    from ase.data import atomic_numbers, covalent_radii

    from dft2spectra.structures.neighbours import pairs_within

    radii = np.concatenate(
        [
            np.full(len(orbit.positions), covalent_radii[atomic_numbers[plain(symbol)]])
            for symbol, orbit in zip(symbols, orbits, strict=True)
        ]
    )
    positions = np.concatenate([orbit.positions for orbit in orbits]) @ cell
    first, second, distance = pairs_within(cell, positions, 2.0 * float(radii.max()))
    if not len(distance):
        return 1.0
    return float((distance / (radii[first] + radii[second])).min())
