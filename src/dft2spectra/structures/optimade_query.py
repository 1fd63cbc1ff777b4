"""What can be known about an OPTIMADE query before it is sent: its address and its filter."""

import difflib
import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

TERMINALS = {
    "IDENTIFIER": "a property",
    "ESCAPED_STRING": 'a text in "double quotes"',
    "SIGNED_FLOAT": "a number",
    "SIGNED_INT": "a number",
    "OPERATOR": "a comparison such as =, < or >=",
    "LPAR": "(",
    "RPAR": ")",
}

# Entry types that a filter can follow by relationship (references.doi).
RELATED = frozenset({"structures", "references", "calculations", "files"})


def versioned_base(base_url: str) -> str:
    """The base address of version 1 of the interface, ``https://…/v1``.

    Raises
    ------
    ValueError
        The address is none, names another version, or holds more than an address should.
    """
    try:
        url = urlsplit(base_url.strip())
        possible = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # half a bracket, or a port that is no number
        possible = False
    if not possible:
        raise ValueError(
            "base_url: allowed: an address with http or https, for example "
            "https://optimade.materialsproject.org"
        )
    if url.username is not None or url.password is not None:
        raise ValueError("base_url: allowed: an address without user name and password")
    if url.query or url.fragment:
        raise ValueError(
            "base_url: allowed: an address without ? and #; the filter has its own key"
        )
    path = url.path.rstrip("/")
    if path.endswith("/structures"):
        raise ValueError("base_url: leave out /structures, it is added")
    version = re.search(r"/v(\d+)(\.\d+){0,2}\Z", path)
    if version and version[1] != "1":
        raise ValueError(
            f"base_url: version {version[1]} of OPTIMADE; only version 1 is known here"
        )
    path = path if version else f"{path}/v1"
    return urlunsplit((url.scheme, url.netloc, path, "", ""))


def check_filter(text: str) -> None:
    """Return if the text is an OPTIMADE filter over properties that structures can have.

    Raises
    ------
    ValueError
        Names the place of the first mistake and what could stand there, or the nearest property.
    """
    from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput

    if not text.strip():
        raise ValueError('filter: allowed: a filter, for example elements HAS "Fe"')
    try:
        tree = _grammar().parse(text)
    except UnexpectedEOF as error:
        raise ValueError(f"filter: ends too early; {_could_follow(error.expected)}") from None
    except UnexpectedCharacters as error:
        place = error.pos_in_stream or 0
        rest = text[place : place + 20]
        raise ValueError(
            f"filter: mistake at character {place + 1}, '{rest}'; {_could_follow(error.allowed)}"
        ) from None
    except UnexpectedInput as error:
        raise ValueError(f"filter: {str(error).splitlines()[0]}") from None
    standard = _standard_properties()
    for name in sorted(_properties(tree) - standard):
        if not name.startswith("_"):
            close = difflib.get_close_matches(name, sorted(standard), n=1)
            hint = f"; nearest: {close[0]}" if close else ""
            raise ValueError(
                f"filter: '{name}' is no property of OPTIMADE structures{hint}; properties of one "
                "database begin with an underscore and its name, such as _mp_"
            )


def properties_of(text: str) -> set[str]:
    """Properties of structures that a checked filter asks for, without those of related entries."""
    return _properties(_grammar().parse(text)) - RELATED


def _properties(tree: Any) -> set[str]:
    """First parts of the property names of a parsed filter: ``_mp_stability`` of nested ones."""
    return {str(node.children[0]) for node in tree.find_data("property")}


@cache
def _grammar() -> Any:
    """Parser of the newest grammar that the optimade package holds."""
    from optimade.filterparser import LarkParser

    return LarkParser().lark


@cache
def _standard_properties() -> frozenset[str]:
    """Names that a property in a filter over structures may begin with."""
    from optimade.models import StructureResourceAttributes

    return frozenset({"id", "type", *RELATED, *StructureResourceAttributes.model_fields})


def _could_follow(terminals: Any) -> str:
    words = {TERMINALS.get(name, name.strip("_")) for name in map(str, terminals or ())}
    return "allowed there: " + ", ".join(sorted(words)) if words else "nothing may follow there"
