"""Bundled compounds: space group and Wyckoff positions in YAML, expanded by ASE's space groups.

pymatgen's ``Structure.from_spacegroup`` was tried and left: from a number it takes origin choice 1
in the 24 groups that have two origins, where the handbooks this data comes from use choice 2.
ASE's ``Spacegroup(number, setting)`` gave the same operations as the database of spglib for all
230 groups (origin choice 2, hexagonal axes, unique axis b).
"""

import difflib
import re
from typing import Any, ClassVar

import numpy as np
import yaml

from dft2spectra.structures.raw import RawStructure, Reason, Rejected
from dft2spectra.terminal import harmless

# International Tables A: groups described with two origins; choice 2 has the inversion centre at 0.
TWO_ORIGINS = frozenset(
    {48, 50, 59, 68, 70, 85, 86, 88, 125, 126, 129, 130, 133, 134, 137, 138, 141, 142}
    | {201, 203, 222, 224, 227, 228}
)
REQUIRED_KEYS = ("name", "formula", "spacegroup", "lattice", "sites")
OPTIONAL_KEYS = (
    *("prototype", "structure_type", "pearson", "citation", "measured", "magnetic_order"),
    *("doi", "notes", "comment"),
)
SITE_KEYS = ("label", "element", "wyckoff", "position", "moment")
MEASURED_NUMBERS = (
    *("temperature_k", "isomer_shift_mm_s", "quadrupole_splitting_mm_s", "bhf_t", "moment_mub"),
    "quadrupole_shift_mm_s",  # 2ε, of a sextet
)
MEASURED_KEYS = (*MEASURED_NUMBERS, "calibration", "trust", "source")
# Larger is no measured value in any of these units.
LARGEST_MEASURED = 1e4
# Characters of a name, and of a sentence about the compound.
MAX_NAME, MAX_TEXT = 100, 2000
MAGNETIC_ORDERS = ("antiferromagnetic", "paramagnetic", "ferromagnetic", "ferrimagnetic")

# Coordinates this close to a multiple of 1/6 are meant to be it (0.3333 for 1/3).
SNAP = 1e-4


class _StrictLoader(yaml.SafeLoader):
    """YAML loader that refuses keys given twice and aliases, and reads numbers as YAML 1.2 does.

    PyYAML keeps the last of two keys, and takes ``NO`` for false, ``1:30`` for ninety.
    """

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise Rejected(
                Reason.UNREADABLE,
                f"an alias (*{harmless(event.anchor, 40)}) in line {event.start_mark.line + 1}; "
                "write out what it stands for",
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            text, line = str(key.value), key.start_mark.line + 1
            if text in lines:
                raise Rejected(
                    Reason.UNREADABLE,
                    f"the key '{harmless(text, 60)}' is given twice, in lines {lines[text]} and "
                    f"{line}",
                )
            lines[text] = line
        return super().construct_mapping(node, deep)


# What plain values are, by their first character: YAML 1.2's core schema in decimals.
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
):
    _StrictLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first)
    )


def read_compound(text: str) -> RawStructure:
    """Crystal of one bundled compound in its conventional cell.

    Parameters
    ----------
    text
        YAML with ``name, formula, spacegroup, lattice, sites`` and the optional keys of
        ``OPTIONAL_KEYS``; lattice in Å and degrees with the independent parameters only.

    Raises
    ------
    Rejected
        The text is not such a description, or it contradicts itself: a Wyckoff multiplicity that
        the position does not generate, a formula that the sites do not add up to, a measured value
        for a site that does not exist.
    """
    data = yaml.load(text, Loader=_StrictLoader)
    if not isinstance(data, dict):
        raise Rejected(Reason.UNREADABLE, "the file is not a mapping of keys to values")
    _check_keys(data, REQUIRED_KEYS, OPTIONAL_KEYS, "the compound")
    group = data["spacegroup"]
    if not isinstance(group, int) or not 1 <= group <= 230:
        raise Rejected(Reason.UNREADABLE, f"spacegroup is {group!r}, not a number from 1 to 230")
    sites = data["sites"]
    if not isinstance(sites, list) or not sites:
        raise Rejected(Reason.UNREADABLE, "sites is not a list with at least one site")

    raw = RawStructure(
        cell=_cell(group, data["lattice"]),
        symbols=[],
        scaled_positions=np.zeros((0, 3)),
        labels=[],
        moments_mub=[],
        name=_text(data["name"], "name", MAX_NAME),
        prototype=_optional_text(data, "prototype"),
        magnetic_order=_magnetic_order(data),
        citation=_optional_text(data, "citation"),
    )
    for site in sites:
        _add_site(raw, group, site)
    _check_formula(raw, str(data["formula"]))
    raw.measured = _measured(data.get("measured"), set(raw.labels or []))
    return raw


def _check_keys(
    data: dict[Any, Any], required: tuple[str, ...], optional: tuple[str, ...], where: str
) -> None:
    known = required + optional
    for key in data:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise Rejected(Reason.UNREADABLE, f"{where} has an unknown key '{key}'{hint}")
    for key in required:
        if data.get(key) is None:
            raise Rejected(Reason.UNREADABLE, f"{where} has no '{key}'")


def _optional_text(data: dict[str, Any], key: str) -> str | None:
    return None if data.get(key) is None else _text(data[key], key, MAX_TEXT)


def _text(value: Any, what: str, most: int) -> str:
    """A text of one line and of bounded length."""
    if isinstance(value, dict | list):
        raise Rejected(Reason.UNREADABLE, f"{what} is no text")
    text = str(value)
    if len(text) > most:
        raise Rejected(Reason.UNREADABLE, f"{what} has {len(text)} characters, at most {most}")
    return harmless(text)


def _magnetic_order(data: dict[str, Any]) -> str | None:
    order = _optional_text(data, "magnetic_order")
    if order is not None and order not in MAGNETIC_ORDERS:
        raise Rejected(
            Reason.UNREADABLE,
            f"magnetic_order is '{order}', not one of {', '.join(MAGNETIC_ORDERS)}",
        )
    return order


def _number(value: Any, what: str) -> float:
    """The value as a float; a fraction may be written as text ("1/3")."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Rejected(Reason.UNREADABLE, f"{what} is {value!r}, not a number")
    try:
        if isinstance(value, str) and value.count("/") == 1:
            numerator, denominator = value.split("/")
            return float(numerator) / float(denominator)
        return float(value)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise Rejected(Reason.UNREADABLE, f"{what} is {str(value)[:40]!r}, not a number") from None


def _cell(group: int, lattice: Any) -> np.ndarray:
    """(3, 3) lattice vectors, Å, from the independent parameters of the crystal system."""
    from ase.geometry import cellpar_to_cell

    free, tied = _lattice_parameters(group)
    if not isinstance(lattice, dict):
        raise Rejected(
            Reason.UNREADABLE, f"lattice is {lattice!r}, not a mapping such as {{a: 2.87}}"
        )
    _check_keys(lattice, free, (), f"lattice of space group {group}")
    values = {key: _number(lattice[key], f"lattice.{key}") for key in free}
    if not all(np.isfinite(value) and 0.0 < value < 1e4 for value in values.values()):
        raise Rejected(Reason.NOT_FINITE, f"a lattice parameter is not a positive length: {values}")
    for key, same in tied.items():
        values[key] = values[same] if isinstance(same, str) else same
    order = ("a", "b", "c", "alpha", "beta", "gamma")
    return np.asarray(cellpar_to_cell([values[key] for key in order]))


def _lattice_parameters(group: int) -> tuple[tuple[str, ...], dict[str, str | float]]:
    """Free lattice parameters of a space group, and the others as a name or as degrees."""
    if group >= 195:
        return ("a",), {"b": "a", "c": "a", "alpha": 90.0, "beta": 90.0, "gamma": 90.0}
    if group >= 143:
        return ("a", "c"), {"b": "a", "alpha": 90.0, "beta": 90.0, "gamma": 120.0}
    if group >= 75:
        return ("a", "c"), {"b": "a", "alpha": 90.0, "beta": 90.0, "gamma": 90.0}
    if group >= 16:
        return ("a", "b", "c"), {"alpha": 90.0, "beta": 90.0, "gamma": 90.0}
    if group >= 3:
        return ("a", "b", "c", "beta"), {"alpha": 90.0, "gamma": 90.0}
    return ("a", "b", "c", "alpha", "beta", "gamma"), {}


def _add_site(raw: RawStructure, group: int, site: Any) -> None:
    """Append all atoms that the space group makes of one site."""
    from ase.spacegroup import Spacegroup

    if not isinstance(site, dict):
        raise Rejected(Reason.UNREADABLE, f"a site is {site!r}, not a mapping")
    _check_keys(site, SITE_KEYS[:-1], SITE_KEYS[-1:], f"site {site.get('label')}")
    label = _text(site["label"], "a label", 24)
    assert raw.labels is not None
    assert raw.moments_mub is not None
    if label in raw.labels:
        raise Rejected(Reason.UNREADABLE, f"the label {label} is given to two sites")
    match = re.fullmatch(r"(\d+)([a-zA-Z])", str(site["wyckoff"]))
    if match is None:
        raise Rejected(
            Reason.UNREADABLE, f"wyckoff of {label} is {site['wyckoff']!r}, not like '8c'"
        )
    position = site["position"]
    if not isinstance(position, list) or len(position) != 3:
        raise Rejected(Reason.UNREADABLE, f"position of {label} is {position!r}, not three numbers")
    point = np.array([_number(x, f"position of {label}") for x in position])
    if not np.all(np.isfinite(point)) or np.abs(point).max() > 10:
        raise Rejected(Reason.NOT_FINITE, f"position of {label} is {position}")
    nearest = np.rint(point * 6) / 6
    point = np.where(np.abs(point - nearest) < SNAP, nearest, point)

    setting = 2 if group in TWO_ORIGINS else 1
    orbit, _ = Spacegroup(group, setting).equivalent_sites([point])
    if len(orbit) != int(match[1]):
        raise Rejected(
            Reason.UNREADABLE,
            f"site {label} at {position} generates {len(orbit)} atoms in space group {group}, "
            f"not the {match[1]} of its Wyckoff position {match[0]}",
        )
    moment = site.get("moment")
    if moment is not None:
        moment = _number(moment, f"moment of {label}")
    raw.symbols += [str(site["element"])] * len(orbit)
    raw.labels += [label] * len(orbit)
    raw.moments_mub += [moment] * len(orbit)
    raw.scaled_positions = np.concatenate([raw.scaled_positions, orbit])


def _check_formula(raw: RawStructure, formula: str) -> None:
    from ase.formula import Formula

    try:
        stated, _ = Formula(formula).reduce()
        found, _ = Formula.from_list(raw.symbols).reduce()
    except (ValueError, KeyError):  # an unknown element; the screening names it
        return
    if stated.count() != found.count():
        raise Rejected(
            Reason.UNREADABLE, f"the sites add up to {found:metal}, not to the formula {formula}"
        )


def _measured(entries: Any, labels: set[str]) -> list[dict[str, Any]]:
    """Measured values with a known site and finite numbers."""
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Rejected(Reason.UNREADABLE, "measured is not a list of mappings")
    for entry in entries:
        if entry.get("site") not in labels:
            raise Rejected(
                Reason.UNREADABLE,
                f"a measured value is given for site {entry.get('site')!r}; "
                f"the sites are {', '.join(sorted(labels))}",
            )
        _check_keys(entry, ("site",), MEASURED_KEYS, f"the measured entry of {entry['site']}")
        for key in MEASURED_NUMBERS:
            value, what = entry.get(key), f"measured {key} of {entry['site']}"
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise Rejected(Reason.UNREADABLE, f"{what} is {value!r}, not a number")
            if not abs(value) < LARGEST_MEASURED:
                raise Rejected(Reason.NOT_FINITE, f"{what} is {str(value)[:20]}")
        _check_flag(entry)
    return [dict(entry) for entry in entries]


def _check_flag(entry: dict[str, Any]) -> None:
    """Refuse a flag for the calibration that is neither true nor false nor names of quantities."""
    flag = entry.get("calibration", False)
    wrong = [key for key in flag if key not in entry] if isinstance(flag, list) else []
    if not isinstance(flag, bool | list) or wrong:
        raise Rejected(
            Reason.UNREADABLE,
            f"calibration of the measured entry of {entry['site']} is {flag!r}, not true, false or "
            "a list of quantities of the entry",
        )
