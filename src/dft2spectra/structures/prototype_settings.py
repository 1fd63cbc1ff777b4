"""Settings of a source of prototypes: what is taken where none is given, and what is possible."""

from collections.abc import Iterator
from typing import Any

from dft2spectra.structures.strains import LARGEST_STRAIN, MODES

Source = dict[str, Any]

DEFAULTS: dict[str, Any] = {
    "elements": None,
    "n_elements": [2, 3],  # fewest and most
    "decorations": None,
    "sublattices": "species",
    "strains": {},
    "unstrained": True,
    "volume_scale": 1.0,
    "at_most": 2000,
    "relax_volume": False,
}


def check(source: Source) -> None:
    """Return if the settings of a source are possible as far as is known without its parents.

    Raises
    ------
    ValueError
        An unknown element, more elements at least than at most, a strain that is none, keys that
        do not go together.
    """
    for mistake in _mistakes(source):
        raise ValueError(mistake)


def decorated(source: Source) -> bool:
    """Whether the atoms of the parents are replaced."""
    return any(source.get(key) is not None for key in ("elements", "decorations"))


def _mistakes(source: Source) -> Iterator[str]:
    fewest, most = source.get("n_elements") or DEFAULTS["n_elements"]
    if fewest > most:
        yield f"n_elements: {fewest} at least and {most} at most"
    for element in source.get("elements") or []:
        if not _is_element(element):
            yield f"elements: '{element}' is not an element"
    yield from _mistakes_of_decorations(source)
    for mode, strains in (source.get("strains") or {}).items():
        if mode not in MODES:
            yield f"strains: '{mode}' is not a mode; known are {', '.join(MODES)}"
        for strain in strains:
            if strain == 0 or not abs(strain) <= LARGEST_STRAIN:
                yield (
                    f"strains: {mode} {strain:g} is not a strain other than zero of at most "
                    f"{LARGEST_STRAIN:g} (a fraction: 0.03 is 3 %)"
                )
    if not source.get("unstrained", True) and not any((source.get("strains") or {}).values()):
        yield "unstrained: false leaves nothing without strains"
    if "volume_scale" in source and (not decorated(source) or source.get("relax_volume")):
        yield (
            "volume_scale: allowed with elements or decorations and without relax_volume; it is a "
            "factor on the predicted volume, and here none is predicted"
        )


def _mistakes_of_decorations(source: Source) -> Iterator[str]:
    decorations = source.get("decorations")
    if decorations is None:
        return
    for key in ("elements", "n_elements"):
        if source.get(key) is not None:
            yield f"{key}: allowed without decorations, which name every element themselves"
    for number, decoration in enumerate(decorations, start=1):
        for sublattice, element in decoration.items():
            if not _is_element(element):
                yield f"decorations: {number}: {sublattice}: '{element}' is not an element"
        if "Fe" not in decoration.values():
            yield f"decorations: {number}: Fe is on no sublattice of {in_words(decoration)}"


def in_words(decoration: dict[str, str]) -> str:
    """Such as ``Ca=Al,O=Fe,Ti=C``, part of the origin of a crystal."""
    return ",".join(f"{name}={element}" for name, element in sorted(decoration.items()))


def _is_element(symbol: str) -> bool:
    from ase.data import atomic_numbers

    return symbol != "X" and symbol in atomic_numbers
