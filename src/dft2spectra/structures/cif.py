"""CIF through pymatgen, with the checks that it leaves to a warning or does not make.

pymatgen reads more CIF files as their authors meant them than ASE does, and tells partial
occupancies apart. It also guesses: an unreadable space group becomes P1, "Fx" becomes fluorine,
missing hydrogens are only mentioned. A guess that changes the crystal is a rejection here; the
other warnings go to the provenance.
"""

import re
from typing import Any

import numpy as np

from dft2spectra.structures.compounds import TWO_ORIGINS
from dft2spectra.structures.raw import RawStructure, Reason, Rejected, one_line, warnings_as_notes

# Asymmetric atoms times symmetry operations beyond which a file is not expanded.
MAX_EXPANDED_SITES = 20_000
SYMMETRY_LISTS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
GROUP_KEYS = (
    *("_symmetry_space_group_name_H-M", "_space_group_name_H-M_alt", "_space_group_name_Hall"),
    *("_symmetry_Int_Tables_number", "_space_group_IT_number"),
)


def read_cif(text: str) -> list[RawStructure | Rejected]:
    """One crystal, or the reason against it, per data block that lists atoms.

    Raises
    ------
    Rejected
        No block lists atoms.
    """
    blocks = [
        "data_" + block
        for block in re.split(r"^\s*data_", "\n" + text, flags=re.MULTILINE | re.IGNORECASE)[1:]
        if "_atom_site_" in block
    ]
    if not blocks:
        if re.search(r"^\s*data_", text, flags=re.MULTILINE | re.IGNORECASE) is None:
            raise Rejected(Reason.UNREADABLE, "not a CIF: it has no line that starts with data_")
        raise Rejected(Reason.UNREADABLE, "the CIF lists no atoms (no _atom_site_ entries)")
    results: list[RawStructure | Rejected] = []
    for block in blocks:
        try:
            results.append(_read_block(block))
        except Rejected as rejection:
            results.append(rejection)
        except Exception as error:
            results.append(Rejected(Reason.UNREADABLE, f"pymatgen says {one_line(error)}"))
    return results


def _read_block(block: str) -> RawStructure:
    from pymatgen.io.cif import CifParser

    with warnings_as_notes() as notes:
        parser: Any = CifParser.from_str(block)
        data: dict[str, Any] = next(iter(parser._cif.data.values())).data
        _check_numbers(data)
        _check_symbols(data)
        structure = _expand(parser, data)
        mismatch = parser.check(structure)
    messages = [*parser.warnings, *notes]
    _refuse_guesses(messages, data)
    _check_volume(data, structure.volume)
    if mismatch is not None and not mismatch.startswith("Cannot determine"):
        raise Rejected(
            Reason.UNREADABLE,
            "the atoms do not add up to the formula that the file states: "
            + " ".join(mismatch.split()),
        )
    for site in structure:
        if not site.is_ordered:
            raise Rejected(
                Reason.PARTIAL_OCCUPANCY, f"site {site.label} is occupied by {site.species_string}"
            )
    symbols = [getattr(site.specie, "symbol", str(site.specie)) for site in structure]
    isotopes = {"D": "H", "T": "H"}
    return RawStructure(
        cell=np.array(structure.lattice.matrix),
        symbols=[isotopes.get(symbol, symbol) for symbol in symbols],
        scaled_positions=np.array(structure.frac_coords),
        labels=[str(site.label) for site in structure],
        citation=_citation(data),
        notes=notes,
    )


def _as_list(data: dict[str, Any], key: str) -> list[str]:
    value = data.get(key, [])
    return [str(value)] if isinstance(value, str) else [str(item) for item in value]


def _check_numbers(data: dict[str, Any]) -> None:
    """Refuse what is not a finite number before it reaches the symmetry code."""
    lengths = [f"_cell_length_{axis}" for axis in "abc"]
    angles = [f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")]
    if not any(data.get(key) for key in lengths):
        raise Rejected(Reason.NOT_PERIODIC, "the file gives no cell (_cell_length_a is missing)")
    coordinates = [f"_atom_site_fract_{axis}" for axis in "xyz"]
    n_atoms = len(_as_list(data, coordinates[0]))
    if n_atoms == 0:
        raise Rejected(Reason.UNREADABLE, "the atoms have no fractional coordinates")
    for key in lengths + angles + coordinates:
        values = _as_list(data, key)
        if not values:
            raise Rejected(Reason.UNREADABLE, f"{key} is missing")
        for value in values:
            number = _number(value, key)
            if not np.isfinite(number):
                raise Rejected(Reason.NOT_FINITE, f"{key} is {value}")
            if key in lengths and number <= 0.0:
                raise Rejected(Reason.NOT_PERIODIC, f"{key} is {value}: the cell has no volume")
            if key in lengths and number > 1e4:
                raise Rejected(Reason.HUGE_CELL, f"{key} is {value} Å")
            if key in angles and not 0.0 < number < 180.0:
                raise Rejected(Reason.NOT_PERIODIC, f"{key} is {value}, not between 0 and 180°")
            if key in coordinates and abs(number) > 1e4:  # wrapped into the cell, digits are lost
                raise Rejected(Reason.NOT_FINITE, f"{key} is {value} cells")
    for value in _as_list(data, "_atom_site_occupancy"):
        if value not in (".", "?") and not np.isfinite(_number(value, "occupancy")):
            raise Rejected(Reason.NOT_FINITE, f"an occupancy is {value}")
    n_operations = max(1, *(len(_as_list(data, key)) for key in SYMMETRY_LISTS))
    if n_atoms * n_operations > MAX_EXPANDED_SITES:
        raise Rejected(
            Reason.TOO_MANY_ATOMS, f"{n_atoms} sites times {n_operations} symmetry operations"
        )


def _number(value: str, key: str) -> float:
    try:
        return float(re.sub(r"\(.*", "", value))
    except ValueError:
        raise Rejected(Reason.UNREADABLE, f"{key} is '{value}', not a number") from None


def _check_volume(data: dict[str, Any], volume: float) -> None:
    """Refuse a stated volume that the lattice parameters do not give: one of them is wrong."""
    stated = " ".join(_as_list(data, "_cell_volume")).strip("'? .")
    if stated and not abs(_number(stated, "_cell_volume") / volume - 1.0) < 0.01:
        raise Rejected(
            Reason.UNREADABLE,
            f"_cell_volume is {stated} Å³, but {volume:.2f} by the lattice parameters; correct "
            "what is wrong or remove _cell_volume",
        )


def _check_symbols(data: dict[str, Any]) -> None:
    """Refuse symbols that pymatgen would shorten to another element ("Fx" to F)."""
    from ase.data import atomic_numbers

    known = (set(atomic_numbers) - {"X"}) | {"D", "T"}
    types = _as_list(data, "_atom_site_type_symbol")
    for text in types or _as_list(data, "_atom_site_label"):
        letters = re.match(r"[A-Za-z]*", text)
        symbol = letters[0] if letters else ""
        readings = {symbol.title()}
        if not types:  # a label may go on with letters: FeA, OW, HB
            readings |= {symbol[:2].title()}
            readings |= {symbol[:1].upper()} if symbol[1:2].isupper() else set()
        if not readings & known:
            raise Rejected(Reason.UNKNOWN_ELEMENT, f"'{text}' is not an element")


def _expand(parser: Any, data: dict[str, Any]) -> Any:
    """pymatgen structure of the only block, with all atoms of the cell."""
    try:
        return parser.parse_structures(primitive=False, on_error="raise")[0]
    except ValueError as error:
        message = " ".join(str(error).split())
        if "Occupancy" in message and "tolerance" in message:
            occupancies = _as_list(data, "_atom_site_occupancy")
            if all(_number(value, "occupancy") == 1.0 for value in occupancies):
                raise Rejected(
                    Reason.OVERLAPPING_ATOMS, "two fully occupied sites coincide"
                ) from None
            raise Rejected(
                Reason.PARTIAL_OCCUPANCY, "the occupancies of one site add up to more than one"
            ) from None
        if "thickness" in message:
            raise Rejected(Reason.NOT_PERIODIC, "the cell has no volume") from None
        raise


def _refuse_guesses(messages: list[str], data: dict[str, Any]) -> None:
    """Refuse what pymatgen only warns about, where the warning means another crystal."""
    stated = {key: " ".join(_as_list(data, key)).strip("' ") for key in GROUP_KEYS}
    stated = {key: value for key, value in stated.items() if value and value not in ("?", ".")}
    if any("implicit hydrogens" in message for message in messages):
        raise Rejected(Reason.UNREADABLE, "the file has hydrogen atoms without positions")
    if any("Defaulting to P1" in message for message in messages):
        for key, value in stated.items():
            if value.replace(" ", "").upper() not in ("P1", "1"):
                raise Rejected(
                    Reason.UNREADABLE,
                    f"no symmetry operations, and {key} '{value}' is not a known space group",
                )
    if not any(_as_list(data, key) for key in SYMMETRY_LISTS):
        number = _space_group_number(stated)
        explicit = any(re.search(r":\s*[12]|[SZ]$", value) for value in stated.values())
        if number in TWO_ORIGINS and not explicit:
            raise Rejected(
                Reason.UNREADABLE,
                f"no symmetry operations, and space group {number} has two origins: "
                "which one is meant is not said",
            )


def _space_group_number(stated: dict[str, str]) -> int | None:
    from pymatgen.symmetry.groups import SpaceGroup

    for key, value in stated.items():
        if value.isdigit():
            return int(value)
        if "Hall" in key:
            continue
        try:
            return int(SpaceGroup(value.replace(" ", "")).int_number)
        except ValueError:
            continue
    return None


def _citation(data: dict[str, Any]) -> str | None:
    """DOI, or journal and year, as far as the file gives them."""
    doi = " ".join(_as_list(data, "_journal_paper_doi") or _as_list(data, "_citation_doi"))
    if doi.strip("?. "):
        return "doi:" + doi.strip()
    keys = ("_journal_name_full", "_journal_volume", "_journal_page_first", "_journal_year")
    parts = [" ".join(_as_list(data, key)).strip("'? ") for key in keys]
    return " ".join(part for part in parts if part) or None
