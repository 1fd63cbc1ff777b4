"""Which element a CIF means: by a type symbol, by a site label, by the formula that it states.

A type symbol says one element. A label says it only by habit, and habits differ: ``OH`` is an
oxygen with its hydrogen in a mineral database, ``HO`` a hydrogen and no holmium, ``CA`` a carbon
in a molecule and calcium in an old file in capitals. Where a label can be read in several ways,
the stated formula decides; where it does not, the file is refused, so that no atom is lost and no
element invented.
"""

import re
from collections import Counter
from functools import cache
from itertools import product
from typing import NamedTuple

from dft2spectra.structures.raw import Reason, Rejected
from dft2spectra.terminal import harmless

ISOTOPES = {"D": "H", "T": "H"}
# Capitals that stand behind an element in labels: sites A to D, N, O, T and X, metal, hydrogen,
# water. Others behind a capital (FE, SI, AG) make a symbol written in capitals.
SITE_LETTERS = frozenset("ABCDHMNOTWXYZ")
# Readings of all labels together that are compared with the formula.
MAX_READINGS = 4096
# Relative difference from a stated formula that is rounding.
FORMULA_TOLERANCE = 0.02


class Reading(NamedTuple):
    """Elements that a label can mean, the likeliest first."""

    elements: tuple[str, ...]
    may_hide_hydrogen: bool = False
    """Whether it can be a group of oxygen and hydrogen: OH, Ow, Wat."""

    @property
    def is_sure(self) -> bool:
        return len(self.elements) == 1 and not self.may_hide_hydrogen


@cache
def _known() -> frozenset[str]:
    from ase.data import chemical_symbols

    return frozenset(chemical_symbols[1:]) | ISOTOPES.keys()


def element_of_type(text: str, label: str = "") -> str:
    """The element of an ``_atom_site_type_symbol`` such as ``Fe``, ``FE3+``, ``Fe+2`` or ``57Fe``.

    Raises
    ------
    Rejected
        It is a mixture, a group of atoms, or no element.
    """
    shown = harmless(text, 40)
    if re.search(r"[A-Za-z].*[+,/].*[A-Za-z]", text):
        raise Rejected(Reason.PARTIAL_OCCUPANCY, f"the type '{shown}' is a mixture")
    match = re.fullmatch(r"(\d{0,3})([A-Za-z]{1,2})(\d*[+-]|[+-]\d+|0?)", text.strip())
    symbol = match[2].title() if match else ""
    if match is None or symbol not in _known():
        raise Rejected(Reason.UNKNOWN_ELEMENT, f"the type '{shown}' is not an element")
    capitals = len(match[2]) == 2 and match[2].isupper() and set(match[2]) <= _known()
    start = re.sub(r"^\d+", "", label)[:2].title()
    if capitals and label and start != symbol and start[:1] == symbol[:1]:
        raise Rejected(
            Reason.UNREADABLE,
            f"the type '{shown}' of {harmless(label, 40)} can be {symbol}, or {match[2][0]} and "
            f"{match[2][1]}",
        )
    return symbol


def read_label(label: str) -> Reading:
    """What a label without a type symbol can mean.

    Raises
    ------
    Rejected
        No element.
    """
    shown = harmless(label, 40)
    match = re.match(r"\d{0,3}([A-Za-z]+)", label)
    letters = match[1] if match else ""
    if "," in label or re.search(r"[A-Za-z]\s*/\s*[A-Z]", label):
        raise Rejected(Reason.PARTIAL_OCCUPANCY, f"the label '{shown}' names a mixture")
    if re.match(r"(?i)wat|h2o", label):
        return Reading(("O",), may_hide_hydrogen=True)
    first, second, rest = letters[:1].upper(), letters[:2].title(), letters[2:]
    hides = first == "O" and letters[1:2].lower() in ("h", "w")
    hides |= first == "O" and re.fullmatch(r"O\d*[HhWw]\d*[A-Za-z]?", label) is not None
    readings: list[str] = []
    if len(letters) <= 1:
        readings = [first]
    elif letters[1].islower() or letters.islower():
        # Fe1, FeA, SiT; but not Iron.
        if not rest or (rest.isupper() and not letters.islower()):
            readings = [second]
            if second in _known() and {"O", "H"} & set(rest):  # an octahedral site, or FeO and FeOH
                readings += [first]
        if second not in _known() and first in ("O", "H"):  # Oh, Ow, Hw, Ohyd
            readings = [first]
    else:  # capitals: FE1, OW, HO1, CA, OHa
        plain = letters[1] not in SITE_LETTERS
        if second in _known() and len(letters) == 2:
            readings = [second]
        if first in _known() and not (plain and readings):
            readings += [first]
        if plain and not readings:
            readings = []
    known = tuple(dict.fromkeys(symbol for symbol in readings if symbol in _known()))
    if not known:
        raise Rejected(Reason.UNKNOWN_ELEMENT, f"'{shown}' is not an element")
    return Reading(known, hides)


def plain(symbol: str) -> str:
    """The element of an isotope: hydrogen for D and T."""
    return ISOTOPES.get(symbol, symbol)


def choose(
    labels: list[str], readings: list[Reading], counts: list[int], formulas: list[Counter[str]]
) -> list[str]:
    """The element of each row, from labels alone.

    Parameters
    ----------
    labels, readings
        Of each row.
    counts
        Atoms of the cell that each row stands for.
    formulas
        Readings of the stated formula; empty if there is none.

    Raises
    ------
    Rejected
        A label stays ambiguous.
    """
    unsure = [row for row, reading in enumerate(readings) if not reading.is_sure]
    if not unsure:
        return [reading.elements[0] for reading in readings]
    if formulas:
        choices: dict[str, tuple[str, ...]] = {}
        for row in range(len(labels)):
            choices[labels[row]] = readings[row].elements
        total = 1
        for elements in choices.values():
            total *= len(elements)
        if total <= MAX_READINGS:
            fitting = []
            for each in product(*choices.values()):
                chosen = dict(zip(choices, each, strict=True))
                found = composition([chosen[label] for label in labels], counts)
                if any(same_formula(found, formula) for formula in formulas):
                    fitting.append(chosen)
            if len(fitting) == 1:
                return [fitting[0][label] for label in labels]
            if not fitting:
                stated = " or ".join(in_words(formula) for formula in formulas)
                raise Rejected(
                    Reason.UNREADABLE,
                    f"no reading of the labels adds up to the formula {stated}; add "
                    "_atom_site_type_symbol",
                )
    certain = {reading.elements[0] for reading in readings if len(reading.elements) == 1}
    for row in unsure:
        reading = readings[row]
        # An oxygen whose hydrogen has a row of its own is no group.
        if len(reading.elements) == 1 and {"H", "D"} & certain:
            continue
        meanings = [
            *reading.elements,
            *(["a group with hydrogen"] if reading.may_hide_hydrogen else []),
        ]
        raise Rejected(
            Reason.UNREADABLE,
            f"the label '{harmless(labels[row], 40)}' can mean {' or '.join(meanings)}, and "
            "nothing in the file decides; add _atom_site_type_symbol or _chemical_formula_sum",
        )
    return [reading.elements[0] for reading in readings]


# --- formulas ------------------------------------------------------------------------------------


def composition(symbols: list[str], counts: list[int]) -> Counter[str]:
    """Atoms of each element, isotopes with their element."""
    found: Counter[str] = Counter()
    for symbol, count in zip(symbols, counts, strict=True):
        found[plain(symbol)] += count
    return found


def read_formulas(text: str) -> list[Counter[str]]:
    """What ``_chemical_formula_sum`` can mean (CO: cobalt, or carbon and oxygen); empty if nothing.

    Charges and remarks in brackets are left out.
    """
    text = re.sub(r"\(.*?=.*?\)", " ", text)
    words = [word for word in text.split() if not re.fullmatch(r"\d*[+-]|[+-]\d+", word)]
    found: list[Counter[str]] = []
    for capitals in (False, True):
        formula: Counter[str] = Counter()
        for word in words:
            pattern = r"[A-Za-z]{1,2}" if capitals else r"[A-Z][a-z]?"
            parts = re.findall(rf"({pattern})(\d*\.?\d*)", word)
            if "".join(symbol + number for symbol, number in parts) != word:
                formula.clear()
                break
            for symbol, number in parts:
                formula[plain(symbol.title())] += float(number or 1) if number != "." else 1  # type: ignore[assignment]
        formula = Counter({symbol: n for symbol, n in formula.items() if n > 0})
        if formula and set(formula) <= _known() and formula not in found:
            found.append(formula)
    return found


def same_formula(found: Counter[str], stated: Counter[str]) -> bool:
    """Whether two compositions are one formula within :data:`FORMULA_TOLERANCE`."""
    if set(found) != set(stated):
        return False
    ratios = [found[symbol] / stated[symbol] for symbol in stated]
    return max(ratios) <= min(ratios) * (1.0 + 2.0 * FORMULA_TOLERANCE)


def in_words(formula: Counter[str]) -> str:
    """A composition such as ``Al1 Fe2``."""
    return " ".join(f"{symbol}{formula[symbol]:g}" for symbol in sorted(formula))
