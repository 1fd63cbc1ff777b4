"""Retrieved structures on disk: one JSON file per source, whole, checksummed, read without network.

A pinned set is what a database held on a stated day. It is written only when all of it is there,
under a temporary name and then renamed, so that a retrieval that fails at any point leaves the set
before it as it was. One entry stands on one line, sorted by the provider's id: version control
shows what a refresh changed.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dft2spectra.terminal import harmless

FORMAT = "dft2spectra pinned structures"
FORMAT_VERSION = 1

# What a person types to have all sets retrieved again.
REFRESH = "`snakemake all_retrieved --forcerun retrieve_structures`"

HEADER = ("source", "retrieved_at", "provider", "requests", "n_entries", "checksum")
CRYSTAL_KEYS = ("cell_ang", "symbols", "scaled_positions", "moments_mub", "properties")
CHANGE_COLUMNS = ("id", "formula", "change", "fields")

Entry = dict[str, Any]


class RetrievalError(RuntimeError):
    """A database did not give the whole of what was asked for; says what happened.

    What the provider wrote is part of it, so nothing in the text acts on a terminal.
    """

    def __init__(self, text: str) -> None:
        super().__init__(harmless(text))


@dataclass(frozen=True)
class Retrieved:
    """What a provider gave, complete.

    Parameters
    ----------
    entries
        One mapping per entry of the database. Usable ones hold ``id`` (text, unique), ``formula``,
        ``cell_ang`` (3 × 3, rows), ``symbols``, ``scaled_positions`` (n × 3), ``moments_mub`` (n
        numbers or ``None``, or ``None`` for all) and ``properties`` (what the database says about
        the crystal, units in the names); ``url`` and ``last_modified`` where there are such. An
        entry that cannot become a crystal holds ``id``, ``formula`` (or ``None``) and ``reason``,
        ``"<code>: <sentence>"`` with a code of :class:`dft2spectra.structures.raw.Reason`.
    provider
        ``name``, ``base_url``, ``api_version`` and ``database_version`` (``None`` if not told),
        and whatever else says which state of the database this is.
    requests
        HTTP requests made for it.
    """

    entries: list[Entry]
    provider: dict[str, Any]
    requests: int


def write(path: str | Path, source: dict[str, Any], retrieved: Retrieved) -> dict[str, Any]:
    """The pinned set, as written to ``path`` by rename.

    Parameters
    ----------
    path
        ``<folder>/<name>.json``.
    source
        Settings of the source that decide what is asked for.
    retrieved
        All of what was asked for.

    Raises
    ------
    RetrievalError
        An entry has not the shape that :class:`Retrieved` describes; nothing is written.
    """
    from dft2spectra.records import whole_file

    entries = sorted(retrieved.entries, key=lambda entry: str(entry.get("id")))
    check_entries(entries)
    pinned = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "source": source,
        "retrieved_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "provider": retrieved.provider,
        "requests": retrieved.requests,
        "n_entries": len(entries),
        "checksum": checksum(entries),
    }
    head = json.dumps(pinned, indent=1, allow_nan=False, ensure_ascii=False)
    lines = [json.dumps(entry, allow_nan=False, ensure_ascii=False) for entry in entries]
    body = ",\n  ".join(lines)
    text = head.removesuffix("\n}") + ',\n "entries": [\n  ' + body + "\n ]\n}\n"
    try:
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RetrievalError(
            f"{path} cannot be written ({error.strerror}); check the folder `structures.pinned`"
        ) from None
    return {**pinned, "entries": entries}


def read(path: str | Path) -> dict[str, Any]:
    """A pinned set whose format, version, count and checksum hold.

    Raises
    ------
    ValueError
        The file is damaged or was edited, or is no pinned set of this version; says which of these
        and what to do. A missing file raises ``FileNotFoundError``.
    """
    remedy = f"restore it from version control, or retrieve it again with {REFRESH}"
    try:
        pinned = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: damaged, not valid JSON ({error}); {remedy}") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}); check the file and `structures.pinned`"
        ) from None
    if not isinstance(pinned, dict) or pinned.get("format") != FORMAT:
        raise ValueError(f"{path}: not a pinned set of structures; {remedy}")
    if pinned.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path}: version {pinned.get('format_version')} of the format, this program reads "
            f"{FORMAT_VERSION}; retrieve it again with {REFRESH}, or use the program that wrote it"
        )
    missing = [key for key in (*HEADER, "entries") if key not in pinned]
    if missing or not isinstance(pinned["entries"], list):
        raise ValueError(f"{path}: damaged, without {', '.join(missing) or 'entries'}; {remedy}")
    entries = pinned["entries"]
    if len(entries) != pinned["n_entries"] or checksum(entries) != pinned["checksum"]:
        raise ValueError(
            f"{path}: damaged or edited, its {len(entries)} entries do not have the count and the "
            f"checksum written at {pinned['retrieved_at']}; {remedy}"
        )
    return pinned


def checksum(entries: Sequence[Entry]) -> str:
    """SHA-256 of the entries as canonical JSON."""
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def difference(before: Sequence[Entry], now: Sequence[Entry]) -> list[dict[str, str | None]]:
    """What a refresh changed: rows of :data:`CHANGE_COLUMNS`, sorted by id.

    ``change`` is added, removed or changed; ``fields`` names what differs in a changed entry
    (``properties.energy_above_hull_ev``), separated by blanks.
    """
    old, new = ({entry["id"]: entry for entry in entries} for entries in (before, now))
    rows: list[dict[str, str | None]] = []
    for name in sorted(old.keys() | new.keys()):
        change, fields = "changed", ""
        if name not in old:
            change = "added"
        elif name not in new:
            change = "removed"
        else:
            first, second = _flat(old[name]), _flat(new[name])
            different = [
                key
                for key in sorted(first.keys() | second.keys())
                if first.get(key) != second.get(key)
            ]
            if not different:
                continue
            fields = " ".join(different)
        formula = (new.get(name) or old[name]).get("formula")
        rows.append({"id": name, "formula": formula, "change": change, "fields": fields})
    return rows


def _flat(entry: Entry) -> dict[str, Any]:
    properties = entry.get("properties") or {}
    rest = {key: value for key, value in entry.items() if key != "properties"}
    return rest | {f"properties.{key}": value for key, value in properties.items()}


def check_entries(entries: Sequence[Entry]) -> None:
    """Return if the entries have the shape that :class:`Retrieved` describes.

    Raises
    ------
    RetrievalError
        Names the entry and what is wrong; a screening would stumble over it.
    """
    seen: set[str] = set()
    for entry in entries:
        name = entry.get("id")
        if not isinstance(name, str) or not name:
            raise RetrievalError(f"an entry has no id: {str(entry)[:120]}")
        if name in seen:
            raise RetrievalError(f"two entries have the id {name}")
        seen.add(name)
        fault = _fault_of(entry)
        if fault:
            raise RetrievalError(f"entry {name}: {fault}")
        try:
            json.dumps(entry, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise RetrievalError(f"entry {name}: {error}") from None


def _fault_of(entry: Entry) -> str | None:
    if "reason" in entry:
        from dft2spectra.structures.raw import Reason

        code = str(entry["reason"]).partition(": ")[0]
        return None if code in set(Reason) else f"a reason without a known code, '{code}'"
    missing = [key for key in CRYSTAL_KEYS if key not in entry]
    if missing:
        return f"without {', '.join(missing)}"
    symbols, moments = entry["symbols"], entry["moments_mub"]
    if not symbols or not all(isinstance(symbol, str) for symbol in symbols):
        return "no atoms, or a symbol that is no text"
    if not _is_table(entry["cell_ang"], 3):
        return "the cell is not 3 × 3 finite numbers"
    if not _is_table(entry["scaled_positions"], len(symbols)):
        return f"the positions are not {len(symbols)} × 3 finite numbers"
    if moments is not None:
        given = [value for value in moments if value is not None]
        if len(moments) != len(symbols) or not all(map(_is_finite, given)):
            return f"the moments are not {len(symbols)} finite numbers"
    return None if isinstance(entry["properties"], dict) else "the properties are no mapping"


def _is_table(rows: Any, count: int) -> bool:
    return (
        isinstance(rows, list)
        and len(rows) == count
        and all(isinstance(row, list) and len(row) == 3 for row in rows)
        and all(_is_finite(value) for row in rows for value in row)
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
