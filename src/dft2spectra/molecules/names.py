"""Molecules that are known by their names, without a network."""

import difflib
from functools import cache
from importlib import metadata

from ase.collections import g2

# Common names of molecules in the G2/97 set of ASE (Curtiss et al., J. Chem. Phys. 106, 1063
# (1997); geometries MP2/6-31G*). Names of the set itself (H2O, CH3OH, ...) are understood too.
COMMON_NAMES = {
    "water": "H2O",
    "methanol": "CH3OH",
    "ethanol": "CH3CH2OH",
    "formaldehyde": "H2CO",
    "acetaldehyde": "CH3CHO",
    "acetone": "CH3COCH3",
    "formic-acid": "HCOOH",
    "acetic-acid": "CH3COOH",
    "acetamide": "CH3CONH2",
    "acetonitrile": "CH3CN",
    "ammonia": "NH3",
    "methylamine": "H3CNH2",
    "hydrazine": "N2H4",
    "methane": "CH4",
    "ethane": "C2H6",
    "ethylene": "C2H4",
    "acetylene": "C2H2",
    "propane": "C3H8",
    "benzene": "C6H6",
    "pyridine": "C5H5N",
    "pyrrole": "C4H4NH",
    "furan": "C4H4O",
    "thiophene": "C4H4S",
    "hydrogen": "H2",
    "nitrogen": "N2",
    "hydrogen-cyanide": "HCN",
    "hydrogen-fluoride": "HF",
    "hydrogen-chloride": "HCl",
    "hydrogen-sulfide": "SH2",
    "hydrogen-peroxide": "H2O2",
    "carbon-monoxide": "CO",
    "carbon-dioxide": "CO2",
    "carbonyl-sulfide": "OCS",
    "nitrous-oxide": "N2O",
    "sulfur-dioxide": "SO2",
    "ozone": "O3",
    "silane": "SiH4",
    "dimethyl-ether": "CH3OCH3",
}

# A name less alike than this is no typing error.
LIKENESS = 0.75


def g2_name(name: str) -> str | None:
    """Name in the G2 set of a common name or of one of the set; ``None`` if it is not in it."""
    common = name.lower().replace(" ", "-").replace("_", "-")
    if common in COMMON_NAMES:
        return COMMON_NAMES[common]
    return name if name in g2.names else None


@cache
def smiles_of(name: str) -> tuple[str, str] | None:
    """SMILES of a name, and where it comes from; ``None`` if nobody knows it.

    Looked up among the names and synonyms of 70,000 substances in PubChem, as the package
    ``chemicals`` (https://github.com/CalebBell/chemicals) carries them. Hyphens may be blanks.
    """
    # Imported here: it reads 40 MB, which takes a second.
    from chemicals.identifiers import get_pubchem_db

    database = get_pubchem_db()
    for spelled in dict.fromkeys((name, name.replace("_", " "), name.replace("-", " "))):
        found = database.search_name(spelled.lower())
        if found:
            version = metadata.version("chemicals")
            return str(found.smiles), f"{found.common_name} of chemicals {version}"
    return None


def near(name: str) -> str | None:
    """The known name that a mistyped one can mean."""
    known = {candidate.lower(): candidate for candidate in [*COMMON_NAMES, *g2.names]}
    found = difflib.get_close_matches(name.lower(), known, n=1, cutoff=LIKENESS)
    return known[found[0]] if found else None


@cache
def open_shells() -> dict[str, int]:
    """Unpaired electrons of formulas whose ground state has some and no isomer in the set has none.

    The G2 set knows the triplets of O2, S2 and SO, beside radicals, which the count of electrons
    tells.
    """
    unpaired: dict[str, set[int]] = {}
    for name in g2.names:
        atoms = g2[name]
        number = round(abs(float(atoms.get_initial_magnetic_moments().sum())))
        unpaired.setdefault(atoms.get_chemical_formula(mode="hill"), set()).add(number)
    return {formula: min(numbers) for formula, numbers in unpaired.items() if 0 not in numbers}
