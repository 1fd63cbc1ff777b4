"""Mistakes in the configuration as messages: key, value, where it stands, what is allowed."""

import difflib
import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from dft2spectra.terminal import harmless

COMMAND_LINE = "on the command line (--config)"
# The value of an unknown key is not shown, it may be a secret.
UNKNOWN = "unknown key"
SECRET = re.compile("key|token|passw|secret", re.IGNORECASE)

Key = tuple[str | int, ...]
Finding = tuple[Key, str]


def dotted(key: Key) -> str:
    """Path of a key as a person writes it: ``structures.sources[0].path``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".") or "the configuration"


def nearest(name: str, known: Sequence[str]) -> str:
    """Words that offer the nearest known name, empty if none is near."""
    names = [str(item) for item in known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    close += [item for item in names if name and name in item]
    return f"; did you mean '{close[0]}'?" if close else ""


def _look_up(config: Any, key: Key) -> Any:
    for part in key:
        config = config[part]
    return config


def _origin(key: Key, config: dict[str, Any], files: Sequence[str]) -> str:
    """The last file whose value at ``key`` is the one in force; else the command line."""
    while key:
        try:
            value = _look_up(config, key)
            break
        except (KeyError, IndexError, TypeError):
            key = key[:-1]  # a missing key belongs where its section is
    else:
        return f"in {files[-1]}" if files else COMMAND_LINE
    for path in reversed(files):
        with open(path, encoding="utf-8") as handle:
            content = yaml.safe_load(handle)
        try:
            found = _look_up(content, key)
        except (KeyError, IndexError, TypeError):
            continue
        # A section is merged from several files; a value, or an entry of a list, comes from one.
        section = isinstance(found, dict) and not any(isinstance(part, int) for part in key)
        if section or _same(found, value):
            return f"in {path}"
    return COMMAND_LINE


def _same(found: Any, value: Any) -> bool:
    """Whether a value can be the one of a file: equal, both no number, or as it was meant there."""
    if isinstance(found, dict) and isinstance(value, dict):
        return found.keys() == value.keys() and all(_same(found[k], value[k]) for k in found)
    if isinstance(found, list) and isinstance(value, list):
        return len(found) == len(value) and all(map(_same, found, value))
    if found == value or (found != found and value != value):
        return True
    if isinstance(found, str) and isinstance(value, int | float):
        try:
            return float(found) == value
        except ValueError:
            return False
    return isinstance(value, str) and isinstance(found, bool | int | float)


def _public(value: Any, key: Key) -> Any:
    """The value as it may be shown: addresses without what could be a password or a key."""
    if isinstance(value, dict):
        return {name: _public(item, (name,)) for name, item in value.items()}
    if isinstance(value, list):
        return [_public(item, ()) for item in value]
    if isinstance(value, str) and ("://" in value or key == ("base_url",)):
        return re.sub(
            r"[?#].*", "?...", re.sub(r"(^|//)[^/?#]*@", r"\1...@", value), flags=re.DOTALL
        )
    return value


def message(config: dict[str, Any], found: Sequence[Finding], files: Sequence[str] = ()) -> str:
    """One line for each finding: key, value, the file that it stands in, and what is allowed.

    Parameters
    ----------
    config
        The merged configuration.
    found
        Pairs of a key, as a tuple of its parts, and a sentence.
    files
        As in :func:`complete_config`.
    """
    lines = []
    for key, sentence in found:
        try:
            value = json.dumps(_public(_look_up(config, key), key[-1:]), ensure_ascii=False)
            shown = f" = {value if len(value) <= 120 else value[:117] + '...'}"
        except (KeyError, IndexError, TypeError):
            shown = ""
        if sentence.startswith(UNKNOWN):
            shown = ""
        lines.append(f"{dotted(key)}{shown} {_origin(key, config, files)}: {sentence}")
    return correct(lines)


def correct(lines: Sequence[str]) -> str:
    """The message that lists what is to correct, one line each."""
    lines = [harmless(line) for line in lines]
    count = "one entry" if len(lines) == 1 else f"{len(lines)} entries"
    return f"The configuration has {count} to correct:\n  " + "\n  ".join(lines)
