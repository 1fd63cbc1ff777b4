"""Data blocks of a CIF: tags in any case and with any dots, values as text."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from dft2spectra.structures.raw import Reason, Rejected
from dft2spectra.terminal import harmless

# CIF 1.1, appendix A: a number with an error in brackets.
NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?:\((\d+)\))?")
HEADER = re.compile("data_", re.IGNORECASE)
# Data blocks of one file; of more nobody has anything.
MAX_BLOCKS = 20_000
# Blanks before data_ on its line.
MAX_INDENT = 200


class Block:
    """One data block."""

    def __init__(self, block: Any) -> None:
        self._block = block
        self._tags: dict[str, str] = {}
        self._twice: set[str] = set()
        for item in block:
            found = item.loop.tags if item.loop else [item.pair[0]] if item.pair else []
            for tag in found:
                # CIF 2 writes _cell.length_a for _cell_length_a.
                key = tag.lower().replace(".", "_")
                if self._tags.setdefault(key, tag) != tag:
                    self._twice.add(key)

    def lists_atoms(self) -> bool:
        """Whether it has rows of atoms, anisotropic displacements alone not counted."""
        return any(
            tag.startswith("_atom_site_") and not tag.startswith("_atom_site_aniso")
            for tag in self._tags
        )

    def values(self, tag: str) -> list[str]:
        """All values of a tag in lower case without dots; unquoted ``.`` and ``?`` as they are."""
        import gemmi

        if tag in self._twice:
            raise Rejected(Reason.UNREADABLE, f"{tag} is given twice, with and without a dot")
        if tag not in self._tags:
            return []
        column = self._block.find_values(self._tags[tag])
        return [raw if raw in (".", "?") else gemmi.cif.as_string(raw) for raw in column]

    def text(self, tag: str) -> str:
        """The only value of a tag in one line, empty if there is none or it is unknown."""
        found = self.values(tag)
        return " ".join(found[0].split()) if len(found) == 1 and found[0] not in (".", "?") else ""

    def texts(self, tags: Iterable[str]) -> list[str]:
        """:meth:`text` of several tags, as far as there is one."""
        return [text for text in map(self.text, tags) if text]

    def number(self, tag: str) -> float:
        """The only value of a tag as a number."""
        return number_in(self.text(tag), tag)

    def numbers(self, tag: str) -> np.ndarray:
        """All values of a tag as numbers, ``.`` as zero."""
        return np.array([0.0 if one == "." else number_in(one, tag) for one in self.values(tag)])


def number_in(text: str, tag: str) -> float:
    """A CIF number without its error, or a fraction such as ``1/3``.

    Raises
    ------
    Rejected
        It is none, or not finite.
    """
    shown = harmless(text, 40)
    match = NUMBER.fullmatch(text)
    fraction = re.fullmatch(r"([-+]?\d+)/([1-9]\d*)", text)
    if fraction and len(text) < 20:
        return int(fraction[1]) / int(fraction[2])
    if match is None:
        if re.fullmatch(r"[-+]?(nan|inf|infinity)", text, re.IGNORECASE):
            raise Rejected(Reason.NOT_FINITE, f"{tag} is {shown}")
        raise Rejected(Reason.UNREADABLE, f"{tag} is '{shown}', not a number")
    value = float(match[1])
    if not np.isfinite(value):
        raise Rejected(Reason.NOT_FINITE, f"{tag} is {shown}")
    return value


def error_in(text: str) -> float:
    """The error in brackets of a CIF number, in its own units; zero without one."""
    match = NUMBER.fullmatch(text)
    if match is None or not match[2]:
        return 0.0
    decimals = len(match[1].partition(".")[2].partition("e")[0].partition("E")[0])
    return float(int(match[2]) * 10.0**-decimals)


def split_blocks(text: str) -> Iterator[Block | Rejected]:
    """The data blocks of a text, each by itself: one that breaks the grammar is a `Rejected`.

    Raises
    ------
    Rejected
        The text has no data block.
    """
    import gemmi

    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if re.match(r"\s*#\\#CIF_2", text):
        text = _triple_quotes_as_text_fields(text)
    found = False
    for number, (begin, end) in enumerate(_parts(text)):
        found = True
        if number == MAX_BLOCKS:
            yield Rejected(Reason.UNREADABLE, f"more than {MAX_BLOCKS} data blocks; split the file")
            return
        part = text[begin:end]
        try:
            document = gemmi.cif.read_string(part)
        except (ValueError, RuntimeError) as error:
            before = text.count("\n", 0, begin)
            yield Rejected(Reason.UNREADABLE, _grammar(str(error), part, before))
            continue
        for block in document:
            yield Block(block)
    if not found:
        raise Rejected(Reason.UNREADABLE, "not a CIF: it has no line that starts with data_")


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """Beginning and end of each data block; what stands before the first belongs to it."""
    begin, first = 0, True
    for start in _headers(text):
        if not first:
            yield begin, start
            begin = start
        first = False
    if not first:
        yield begin, len(text)


def _headers(text: str) -> Iterator[int]:
    """Where data blocks begin: ``data_`` first on a line, but not in a text field.

    A text field goes from one line that starts with a semicolon to the next.
    """
    semicolons, counted = int(text.startswith(";")), 0
    for match in HEADER.finditer(text):
        before = text[max(0, match.start() - MAX_INDENT) : match.start()]
        blanks = before.rpartition("\n")[2]
        if blanks.strip() or (len(blanks) == len(before) < match.start()):
            continue
        semicolons += text.count("\n;", counted, match.start())
        counted = max(0, match.start() - 1)
        if semicolons % 2 == 0:
            yield match.start()


def _grammar(said: str, text: str, before: int) -> str:
    """What breaks the grammar, with the number of the line and the line itself."""
    match = re.match(r"string:(\d+)(?::\d+\(\d+\))?(?: in \S*)?:?\s*(.*)", said, re.DOTALL)
    if match is None:
        return f"not valid CIF: {harmless(said, 120)}"
    number = int(match[1])
    lines = text.split("\n", number)
    line = lines[number - 1].strip() if number <= len(lines) else ""
    what = match[2].replace("parse error", "this is no name and value of CIF")
    return f"not valid CIF in line {before + number}, '{harmless(line, 60)}': {harmless(what, 80)}"


def _triple_quotes_as_text_fields(text: str) -> str:
    """CIF 2's triple-quoted strings as the text fields that CIF 1 has for them."""
    pattern = re.compile(
        r"^;.*?^;(?=\s)"  # text fields, comments and strings are passed over
        r"|(?<!\S)#[^\n]*"
        r"|(?<!\S)('''|\"\"\")(?P<content>.*?)\1(?=\s|\Z)"
        r"|(?<!\S)'[^\n]*?'(?=\s|\Z)|(?<!\S)\"[^\n]*?\"(?=\s|\Z)",
        re.MULTILINE | re.DOTALL,
    )

    def as_field(match: re.Match[str]) -> str:
        content = match["content"]
        if content is None or "\n;" in content:
            return match[0]
        return f"\n;{content}\n;\n"

    return pattern.sub(as_field, text)
