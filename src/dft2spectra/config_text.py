"""Configuration files as they are written: keys given twice, and values that YAML reads otherwise.

Snakemake reads YAML 1.1, in which ``010`` is eight, ``1:30`` is ninety, ``NO`` is false and
``4.0e2`` is text. Where the schema wants a number or a text, the value is read as a person means
it; where nobody can know, it is refused with the way to write it.
"""

import datetime
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dft2spectra.config_messages import Key, dotted
from dft2spectra.terminal import harmless

# Numbers that YAML 1.1, YAML 1.2 and a person read alike.
PLAIN_NUMBER = re.compile(
    r"[-+]?(0|[1-9]\d*)(\.\d*)?([eE][-+]?\d+)?|[-+]?\.\d+([eE][-+]?\d+)?|[-+]?\.(inf|nan)"
    r"|0x[0-9a-fA-F]+",
    re.IGNORECASE,
)
# Entries of one file, those behind aliases counted each time.
MAX_ENTRIES = 100_000


class Written(NamedTuple):
    """A value as it stands in a file, without quotes around it."""

    text: str
    line: int


class UnreadableError(ValueError):
    """A file that is no configuration; the message names it and the line."""


def read_written(path: str | os.PathLike[str]) -> tuple[dict[Key, Written], list[str]]:
    """Plain values of a file by their keys, and what is wrong with it, one sentence each.

    Raises
    ------
    UnreadableError
        The file is no text in UTF-8, no YAML, or has too many aliases.
    """
    shown = harmless(str(path))
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UnreadableError(
            f"{shown} is no text in UTF-8 (byte 0x{error.object[error.start]:02x} in line {line}); "
            "save it as UTF-8"
        ) from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        node = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        said = harmless(" ".join(str(error).split()), 300)
        raise UnreadableError(f"{shown} cannot be read as a configuration: {said}") from None
    except RecursionError:
        raise UnreadableError(f"{shown} is nested too deeply") from None
    values: dict[Key, Written] = {}
    wrong: list[str] = []
    for number, (key, part, twice) in enumerate(_entries(node, ())):
        if number > MAX_ENTRIES:
            raise UnreadableError(f"{shown} has more than {MAX_ENTRIES} entries by its aliases")
        line = part.start_mark.line + 1
        if twice:
            wrong.append(
                f"{shown}: the key '{harmless(dotted(key))}' is given twice, in lines {twice} and "
                f"{line}; remove one"
            )
        elif isinstance(part, yaml.ScalarNode) and not part.style:
            values[key] = Written(part.value, line)
            wrong += _misread(shown, key, part)
    return values, wrong


def _entries(node: Any, key: Key) -> Iterator[tuple[Key, Any, int]]:
    """Every entry with its key; for a key that is there already, the line of the first."""
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for name, part in node.value:
            text = str(name.value)
            line = name.start_mark.line + 1
            if text in lines and text != "<<":
                yield (*key, text), name, lines[text]
            lines[text] = line
            yield from _entries(part, (*key, text))
    elif isinstance(node, yaml.SequenceNode):
        for place, part in enumerate(node.value):
            yield from _entries(part, (*key, place))
    elif node is not None:
        yield key, node, 0


def _misread(path: str, key: Key, node: Any) -> Iterator[str]:
    """A number that YAML 1.1 reads as another one than a person."""
    if node.tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
        return
    if PLAIN_NUMBER.fullmatch(node.value):
        return
    text = harmless(node.value, 40)
    try:
        value = yaml.safe_load(node.value)
    except (yaml.YAMLError, ValueError):
        value = "nothing"
    yield (
        f"{path}, line {node.start_mark.line + 1}: {harmless(dotted(key))} is written as {text}, "
        f"which YAML reads as {value}; write the number in plain decimals, or '{text}' in quotes "
        "if it is a text"
    )


def as_meant(value: Any, node: dict[str, Any], written: dict[Key, Written], resolve: Any) -> Any:
    """A value with numbers and texts as the schema wants them and a person means them.

    ``4.0e2`` becomes a number where one is wanted, ``5.0`` a whole number, and ``NO``, ``1.10`` or
    a date the text that stands in the file.

    Parameters
    ----------
    value
        As Snakemake read it.
    node
        Its schema.
    written
        The plain values of the files, those of the last file in force.
    resolve
        Puts a reference of the schema in place and, of alternatives, picks that of a value.
    """
    return _as_meant(value, node, written, resolve, ())


def _as_meant(
    value: Any, node: dict[str, Any], written: dict[Key, Written], resolve: Any, key: Key
) -> Any:
    node = resolve(node, value)
    if isinstance(value, dict):
        parts = node.get("properties", {})
        return {
            name: _as_meant(part, parts.get(name, {}), written, resolve, (*key, name))
            for name, part in value.items()
        }
    if isinstance(value, list):
        item = node.get("items", {})
        return [
            _as_meant(part, item, written, resolve, (*key, place))
            for place, part in enumerate(value)
        ]
    kinds = _kinds(node)
    if "string" in kinds and not {type(value).__name__} & _names(kinds):
        return _text(value, written.get(key))
    if {"number", "integer"} & kinds and isinstance(value, str):
        value = _number(value)
    whole = isinstance(value, float) and value == value // 1 and abs(value) < 2**53
    if "integer" in kinds and "number" not in kinds and whole:
        return int(value)
    return value


def _kinds(node: dict[str, Any]) -> set[str]:
    """Types that a schema allows; those of its constants, if it names none."""
    kinds = node.get("type", [])
    if kinds:
        return {kinds} if isinstance(kinds, str) else set(kinds)
    constants = node.get("enum", [node["const"]] if "const" in node else [])
    return {"string"} if constants and all(isinstance(one, str) for one in constants) else set()


def _names(kinds: set[str]) -> set[str]:
    names = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"}
    return {names.get(kind, "NoneType") for kind in kinds} | (
        {"int"} if "number" in kinds else set()
    )


def _text(value: Any, written: Written | None) -> Any:
    """The text in the file, if it is what the value was read from."""
    if written is None or not isinstance(value, bool | int | float | datetime.date):
        return value
    return written.text if yaml.safe_load(written.text) == value else value


def _number(text: str) -> Any:
    """The number that a text is, as in YAML 1.2; else the text."""
    if not re.fullmatch(
        r"[-+]?(0|[1-9]\d*)(\.\d*)?([eE][-+]?\d+)?|[-+]?\.\d+([eE][-+]?\d+)?", text
    ):
        return text
    return int(text) if re.fullmatch(r"[-+]?\d{1,18}", text) else float(text)


def read_all(files: Sequence[str]) -> tuple[dict[Key, Written], list[str]]:
    """:func:`read_written` of several files, of which a later one counts; those gone are left out.

    Raises
    ------
    UnreadableError
        As :func:`read_written`.
    """
    values: dict[Key, Written] = {}
    wrong: list[str] = []
    for path in files:
        if not Path(path).is_file():
            continue  # read by Snakemake before, and not there for a job elsewhere
        found, mistakes = read_written(path)
        # A list is replaced as a whole, so none of its earlier entries stays.
        lists = {key[:place] for key in found for place, part in enumerate(key) if part == 0}
        values = {key: one for key, one in values.items() if not _within(key, lists)}
        values |= found
        wrong += mistakes
    return values, wrong


def _within(key: Key, lists: set[Key]) -> bool:
    return any(key[:place] in lists for place in range(len(key)))
