"""What a calculation starts from: atoms, moments and the semicore dataset; known without GPAW.

Apart from :mod:`dft2spectra.crystals.gpaw_input`, so that the cost of a calculation can be told
where GPAW is not loaded.
"""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry.minkowski_reduction import minkowski_reduce

# Iron with 3s and 3p in the valence and three partial waves for s and p, made with
#   gpaw dataset Fe -f PBE -P 3s,4s,1.0s,3p,4p,1.0p,3d,1.0d,F -r 1.9 -w -t 3s3p
# The frozen 3p shell of the standard dataset leaves out its polarisation by the crystal, 0.26e21
# V/m² of Vzz in FePt. Contact densities stay with the standard dataset and its re-solved core.
SEMICORE = {"Fe": "3s3p"}
# Its plane waves are cut here at the earliest: field gradients converge later than the rest, for
# which the standard run is. Vzz of Fe4N is −1.8 at 400 eV and −2.2 at 600 eV (1e21 V/m²).
SEMICORE_CUTOFF_EV = 600.0
DATASETS = Path(__file__).parent / "datasets"

# Least guess for a magnetic iron atom: fcc Fe takes 13 iterations from 2.5 µB, 32 from less.
FERROMAGNETIC_FE_MUB = 2.5
# Share of the full moments that the start ``reduced`` and the second rung of the ladder take: FeGe
# and FeGa in B2, unconverged after 60 iterations from full moments and from 0.6 of them, take 14.
REDUCED = 0.4
# Elements whose sp states take up moments of Fe: compounds at the edge of magnetism, with several
# states (FeGe in L1_0 has three within 0.04 eV). Alloys with d metals end in one from either start.
ITINERANT_WITH = frozenset({"Al", "Si", "Ga", "Ge", "Sn"})


def to_atoms(structure: dict[str, Any]) -> Atoms:
    """ASE atoms of a structure file, with its initial moments.

    Raises
    ------
    ValueError
        If a number is not finite or the cell has no volume: foreign code must not see those.
    """
    cell = np.array(structure["cell_ang"], dtype=float)
    positions = np.array(structure["scaled_positions"], dtype=float)
    moments = np.array(structure["initial_moments_mub"], dtype=float)
    if not all(np.isfinite(values).all() for values in (cell, positions, moments)):
        raise ValueError("cell, positions or moments are not finite")
    if abs(np.linalg.det(cell)) < 1.0:
        raise ValueError(f"cell of {abs(np.linalg.det(cell)):.3g} Å³ holds no crystal")
    atoms = Atoms(
        structure["symbols"], cell=cell, scaled_positions=positions, pbc=True, magmoms=moments
    )
    # Short vectors in the same axes: primitive cells of body-centred crystals are needles, where
    # k-meshes of equal density are uneven and GPAW warns of wrong results.
    atoms.set_cell(minkowski_reduce(atoms.cell)[0])
    atoms.wrap()
    return atoms


def start_moments(name: str, structure: dict[str, Any]) -> np.ndarray | None:
    """Initial moments (µB) of a magnetic start; ``None`` where it does not differ from another.

    - ``ferromagnetic`` turns all guesses up, those of magnetic iron to :data:`FERROMAGNETIC_FE_MUB`
      at least: a start above the moment that is found needs fewer iterations than one below;
    - ``given`` keeps the signs of the input;
    - ``nonmagnetic`` sets all to zero;
    - ``alternating`` turns every second magnetic atom of an orbit down (and every second orbit
      where orbits have one atom);
    - ``mn_antiparallel`` turns manganese against iron, in crystals that hold both;
    - ``reduced`` takes :data:`REDUCED` of all, in crystals of iron with one of
      :data:`ITINERANT_WITH`: there several moments can be stable, and a start from full ones misses
      the smaller.

    An order larger than the cell is out of reach: structures are reduced to their primitive cell.
    """
    given = np.array(structure["initial_moments_mub"], dtype=float)
    symbols = np.array(structure["symbols"])
    guess = np.abs(given)
    guess[(symbols == "Fe") & (guess > 0)] = np.maximum(
        guess[(symbols == "Fe") & (guess > 0)], FERROMAGNETIC_FE_MUB
    )
    match name:
        case "given":
            return given if np.any(given < 0) else None
        case "ferromagnetic":
            return guess
        case "nonmagnetic":
            return np.zeros_like(guess)
        case "mn_antiparallel":
            return np.where(symbols == "Mn", -guess, guess) if {"Fe", "Mn"} <= {*symbols} else None
        case "reduced":
            itinerant = bool(ITINERANT_WITH & {*symbols}) and np.any(guess > 0)
            return REDUCED * guess if itinerant else None
    signs = _alternating(guess, structure["site_labels"])
    return None if np.all(signs > 0) else guess * signs


def _alternating(guess: np.ndarray, site_labels: list[str]) -> np.ndarray:
    """Signs of the atoms of the alternating order; atoms with a small guess stay up."""
    signs = np.ones_like(guess)
    count: dict[str, int] = {}
    magnetic = [a for a in range(len(guess)) if guess[a] > 0.5]
    labels = [site_labels[a] for a in magnetic]
    single = len(set(labels)) == len(labels)
    for a, label in zip(magnetic, labels, strict=True):
        key = "all" if single else label
        signs[a] = -1.0 if count.get(key, 0) % 2 else 1.0
        count[key] = count.get(key, 0) + 1
    return signs


def with_total(moments: np.ndarray, total: float) -> np.ndarray:
    """Moments of the atoms (µB) shifted in proportion to their size until they sum to ``total``.

    Moments in spheres leave out what lies between them; a run with a fixed total moment takes the
    sum of its initial moments for it.
    """
    sizes = np.abs(moments)
    if sizes.sum() == 0.0:
        raise ValueError("atoms without moments have no total moment to share")
    return np.asarray(moments + (total - moments.sum()) * sizes / sizes.sum())
