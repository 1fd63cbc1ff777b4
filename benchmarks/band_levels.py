"""Write src/dft2spectra/learning/band_levels.csv: s and p levels of the free atoms in PBE.

python benchmarks/band_levels.py
"""

from ase.data import chemical_symbols
from ase.units import Hartree
from gpaw.setup_data import SetupData

from dft2spectra.learning.species import SPECIES
from dft2spectra.records import whole_file

TARGET = "src/dft2spectra/learning/band_levels.csv"
# Where a dataset binds no p valence state.
SPLITTING_EV = 6.0
# Elements without a dataset stand in for by one of their group; the actinides by La.
LIKE = {"Tc": "Mn", "Po": "Te", "At": "I", "Fr": "Cs", "Ra": "Ba"}
COMMENT = (
    "# s and p levels (eV) of the free atoms in PBE, of GPAW's datasets; where one binds no p\n"
    "# valence state, 6 eV above s; elements without a dataset: those of another of their group,\n"
    "# or of La. Written by benchmarks/band_levels.py\n"
)


def levels(symbol: str) -> tuple[float, float]:
    """Highest s and p level (eV) of a dataset."""
    data = SetupData(symbol, "PBE")
    found: dict[int, float] = {}
    for degree, number, level in zip(data.l_j, data.n_j, data.eps_j, strict=True):
        if number > 0:
            found[degree] = max(found.get(degree, -1e9), level * Hartree)
    bound = found.get(1, -1e9)
    return found[0], bound if bound > found[0] else found[0] + SPLITTING_EV


def main() -> None:
    """Write the table."""
    lines = []
    for symbol in SPECIES:
        try:
            s_level, p_level = levels(symbol)
        except FileNotFoundError:
            default = "La" if symbol in chemical_symbols[89:] else symbol
            s_level, p_level = levels(LIKE.get(symbol, default))
        lines.append(f"{symbol},{s_level:.2f},{p_level:.2f}")
    with whole_file(TARGET) as temporary:
        temporary.write_text(COMMENT + "symbol,s_ev,p_ev\n" + "\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
