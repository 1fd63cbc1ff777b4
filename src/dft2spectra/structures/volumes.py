r"""The volume of a crystal from its elements and its fractional coordinates, before any DFT.

Two known predictors err in opposite directions for compounds of Fe. Zen's law adds the volumes of
the elements [1] and comes out too large, most where charge is transferred. Data-mined bond lengths
(DLS, [2], in pymatgen) let the shortest bond decide and come out too small in close packings,
whose bonds are longer than those of open structures with the same atoms. Their weighted mean with
a correction for the coordination is

.. math:: \ln V = (1 - w) \ln V_{DLS} + w \ln V_{Zen} + p \ln n + s\, x_{sp} + e\, x_{early} + c,
   \qquad n = \frac1N \sum_{ij} (q_{min} / q_{ij})^{12}

with the bond lengths q in units of the sum of the data-mined radii, so that n counts the bonds per
atom that are about as short as the shortest, and the fractions x of atoms that are sp elements or
early transition metals, whose bands pull a compound with Fe together more than radii and volumes
of the elements say. The constants were fitted to the bundled compounds with measured lattices; the
errors stated are those of fits that saw no crystal of the structure type
(``benchmarks/volumes.py``, ``docs/volumes.csv``). A term for Fe beside Co, Ni and Mn
(magnetovolume) lowered the standard deviation left out from 3.8 to 3.7 %, too little to keep it;
alloys of Fe with Co or Ni come out 5 to 8 % too small.

[1] E.-a. Zen, Am. Mineral. 41, 523 (1956).
[2] I.-H. Chu, S. Roychowdhury, D. Han, A. Jain, S. P. Ong, Comput. Mater. Sci. 146, 184 (2018).
"""

import functools

import numpy as np
from scipy.constants import Avogadro

from dft2spectra.structures.neighbours import pairs_within
from dft2spectra.structures.raw import Reason, Rejected

# Fitted by benchmarks/volumes.py.
CONSTANT, COORDINATION_POWER, ZEN_WEIGHT = -0.366, 0.236, 0.212
SP_TERM, EARLY_TERM = -0.142, -0.238
# Metals and semimetals with s and p electrons alone at the Fermi energy; B, C, N and the
# chalcogens, which sit between the metal atoms or bind like ions, gained nothing as members.
SP_ELEMENTS = frozenset(
    ["Be", "Mg", "Al", "Si", "P", "Zn", "Ga", "Ge", "As", "Cd", "In", "Sn", "Sb", "Tl", "Pb", "Bi"]
)
EARLY_TRANSITION_METALS = frozenset(["Sc", "Ti", "V", "Y", "Zr", "Nb", "La", "Lu", "Hf", "Ta"])
EXPONENT = 12
# Neighbours are looked for up to so many times the mean spacing of the atoms.
LARGEST_CUTOFF = 8.0

PREDICTOR = (
    "data-mined bond lengths and volumes of the elements, corrected for coordination, sp elements "
    "and early transition metals"
)
# Predicted minus measured in percent, 5th to 95th percentile of the bundled compounds without the
# ionic ones, structure type left out.
EXPECTED_ERROR_PERCENT = (-7.0, 6.0)

# A volume this many times that of the elements is a parent whose positions do not suit the
# elements (or are wrong); the largest of a bundled compound is 1.1.
MOST_TIMES_THE_ELEMENTS = 2.0


def predicted_volume(cell: np.ndarray, symbols: list[str], scaled: np.ndarray) -> float:
    """Predicted volume of the cell (Å³); only the shape of ``cell`` matters, not its size.

    Parameters
    ----------
    cell
        (3, 3) lattice vectors as rows.
    symbols
        Elements, n.
    scaled
        (n, 3) coordinates in units of the lattice vectors.

    Raises
    ------
    Rejected
        An element without a known volume or radius, or a volume beyond
        :data:`MOST_TIMES_THE_ELEMENTS`.
    """
    zen = sum(element_volume(symbol) for symbol in symbols)
    bonds, coordination = bond_volume(cell, symbols, scaled)
    logarithm = (1 - ZEN_WEIGHT) * np.log(bonds) + ZEN_WEIGHT * np.log(zen)
    logarithm += COORDINATION_POWER * np.log(coordination) + CONSTANT
    logarithm += SP_TERM * fraction(symbols, SP_ELEMENTS)
    logarithm += EARLY_TERM * fraction(symbols, EARLY_TRANSITION_METALS)
    volume = float(np.exp(logarithm))
    if volume > MOST_TIMES_THE_ELEMENTS * zen:
        raise Rejected(
            Reason.NO_VOLUME,
            f"bonds of usual length need {volume / zen:.1f} times the volume of the elements: "
            "the positions of the parent do not suit them",
        )
    return volume


def bond_volume(cell: np.ndarray, symbols: list[str], scaled: np.ndarray) -> tuple[float, float]:
    """Volume (Å³) at which the shortest bond has its data-mined length, and bonds per atom.

    The volume is that of pymatgen's ``DLSVolumePredictor`` without its limits on the scaling.
    """
    radii = _radii(symbols)
    cell = np.asarray(cell) / np.cbrt(abs(np.linalg.det(cell)) / len(symbols))  # one per atom
    positions = np.asarray(scaled) @ cell
    cutoff, widest = 2.0, 2.0 * radii.max()
    while True:
        first, second, distance = pairs_within(cell, positions, cutoff)
        in_radii = distance / (radii[first] + radii[second])
        shortest = in_radii.min() if len(in_radii) else np.inf
        # Bonds twice as long as the shortest add less than a hundredth to the sum below.
        if 2.0 * shortest * widest <= cutoff or cutoff > LARGEST_CUTOFF:
            break
        cutoff = 1.01 * min(2.0 * shortest * widest, LARGEST_CUTOFF)
    coordination = np.sum((shortest / in_radii) ** EXPONENT) / len(symbols)
    return len(symbols) / float(shortest) ** 3, float(coordination)


def fraction(symbols: list[str], elements: frozenset[str]) -> float:
    """Fraction of the atoms that are one of the elements."""
    return sum(symbol in elements for symbol in symbols) / len(symbols)


@functools.cache
def element_volume(symbol: str) -> float:
    """Volume per atom of the element (Å³), from the molar volume that pymatgen tabulates.

    Raises
    ------
    Rejected
        None is tabulated.
    """
    from pymatgen.core import Element

    from dft2spectra.structures.raw import warnings_as_notes

    with warnings_as_notes():
        molar_cm3 = Element(symbol).molar_volume
    if molar_cm3 is None or not np.isfinite(float(molar_cm3)):
        raise Rejected(Reason.NO_VOLUME, f"the volume of {symbol} is not known")
    return float(molar_cm3) * 1e24 / Avogadro


def _radii(symbols: list[str]) -> np.ndarray:
    """Data-mined radii (Å), linear in the spread of the electronegativities; (n,)."""
    from pymatgen.core import Element

    from dft2spectra.structures.raw import warnings_as_notes

    table = _bond_parameters()
    with warnings_as_notes():
        elements = [Element(symbol) for symbol in symbols]
        spread = float(np.std([element.X for element in elements]))
    radii = []
    for element in elements:
        if element.symbol in table:
            constant, slope = table[element.symbol]
            radii.append(constant + slope * spread)
        elif element.atomic_radius:
            radii.append(float(element.atomic_radius))
        else:
            raise Rejected(Reason.NO_VOLUME, f"the radius of {element.symbol} is not known")
    return np.array(radii)


@functools.cache
def _bond_parameters() -> dict[str, tuple[float, float]]:
    from pymatgen.core.structure_prediction.volume_predictor import bond_params

    return {name: (float(entry["r"]), float(entry["k"])) for name, entry in bond_params.items()}
