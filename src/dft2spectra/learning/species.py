"""Physical properties of the elements as weights of their atoms in a neighbour density, Fe = 1."""

from functools import cache

from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from pymatgen.core import Element

CHANNELS = (
    "density",
    "electronegativity",
    "covalent_radius",
    "valence_electrons",
    "magnetic",
    "d_electrons",
    "period",
    "group",
)

# H to Cm: all elements with a covalent radius (Cordero et al., Dalton Trans. 2008, 2832).
SPECIES = tuple(chemical_symbols[1:97])
# Pauling's scale has no value for the lightest noble gases; Allen's, J. Am. Chem. Soc. 111, 9003
# (1989), agrees with it to about 0.2 elsewhere in the p block.
ALLEN_ELECTRONEGATIVITY = {"He": 4.16, "Ne": 4.79, "Ar": 3.24}
# Spin moment (Bohr magnetons) of the 3d elements in ferromagnetic metals.
SPIN_MOMENT_MUB = {"Cr": 1.0, "Mn": 2.5, "Fe": 2.5, "Co": 1.6, "Ni": 0.7}


@cache
def species_weights(channel: str) -> dict[str, float]:
    """Weight of each element in a channel, Fe = 1.

    Raises
    ------
    ValueError
        Unknown channel.
    """

    def valence_electrons(symbol: str) -> float:
        group = Element(symbol).group
        return group if group < 12 else group - 10

    def d_electrons(symbol: str) -> float:
        # Of the atom with two s electrons; the filled shell of the p block is core.
        group = Element(symbol).group
        return group - 2 if 3 <= group <= 12 else 0

    def electronegativity(symbol: str) -> float:
        return ALLEN_ELECTRONEGATIVITY.get(symbol) or Element(symbol).X

    properties = {
        "density": lambda symbol: 1.0,
        "electronegativity": electronegativity,
        "covalent_radius": lambda symbol: covalent_radii[atomic_numbers[symbol]],
        "valence_electrons": valence_electrons,
        "magnetic": lambda symbol: SPIN_MOMENT_MUB.get(symbol, 0.0),
        "d_electrons": d_electrons,
        "period": lambda symbol: Element(symbol).row,
        "group": lambda symbol: Element(symbol).group,
    }
    if channel not in properties:
        raise ValueError(
            f"unknown SOAP channel {channel!r} in species_weighting; known: {', '.join(CHANNELS)}"
        )
    value = properties[channel]
    return {symbol: float(value(symbol) / value("Fe")) for symbol in SPECIES}
