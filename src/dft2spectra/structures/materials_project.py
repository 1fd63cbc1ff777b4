"""Crystals of the Materials Project through its own client, mp-api, complete or not at all.

The client is kept for what it knows (names of the search terms, pages, the shape of a document)
and not believed in what it passes over: it takes an empty page for the end, has no limit of time
on its first requests and reads a key from files. So every answer is looked at on its way, counted
against ``meta.total_doc``, and the key comes from the environment alone.

What the client asks for (0.46.5): ``GET heartbeat`` twice, without the key, then ``GET
materials/summary/`` with ``_limit`` and ``_skip`` per page. This module asks for the heartbeat
first itself, with a limit of time.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from dft2spectra.structures.materials_project_entries import FIELDS, entry_of, identifier
from dft2spectra.structures.materials_project_session import patient_session, words
from dft2spectra.structures.pinned import RetrievalError, Retrieved

if TYPE_CHECKING:
    from requests import Response, Session

# Names in the environment, in the order in which they are tried.
KEY_VARIABLES = ("MP_API_KEY", "PMG_MAPI_KEY")
# Another address than that of the Materials Project; mp-api's own variable.
ENDPOINT_VARIABLE = "MP_API_ENDPOINT"
ENDPOINT = "https://api.materialsproject.org/"

KEY_LENGTH = 32
BLOTTED = "<key>"
PAGE = 500  # documents; one of a small cell has some 5 kB
# More unreadable entries than this are a changed schema.
UNREADABLE_SHARE = 0.5
# That of this module and those of the client, per retrieval.
HEARTBEATS = 3
# Settings that limit a property, by the name that it has in an entry.
LIMITED = {
    "max_energy_above_hull_ev_per_atom": "energy_above_hull_ev_per_atom",
    "theoretical": "theoretical",
}

Source = dict[str, Any]
Document = dict[str, Any]
Progress = Callable[[str], None]


def check(source: Source) -> None:
    """Return if the settings can be asked for.

    Raises
    ------
    ValueError
        A chemical system without Fe or with something that is no element, or bounds the wrong way
        round.
    """
    for system in source.get("chemical_systems", ()):
        parts = system.split("-")
        wrong = [part for part in parts if part != "*" and not _is_element(part)]
        if wrong:
            raise ValueError(
                f"chemical_systems: '{system}' has '{wrong[0]}' where an element or * belongs; "
                "allowed: such as Fe-Al or Fe-*-*"
            )
        if "Fe" not in parts:
            raise ValueError(f"chemical_systems: '{system}' is without Fe; allowed: such as Fe-Al")
    least, most = source.get("n_elements", (1, 1))
    if least > most:
        raise ValueError(f"n_elements: allowed: fewest first, [{most}, {least}]")


def fetch(source: Source, progress: Progress) -> Retrieved:
    """All documents that match the settings of a source.

    Parameters
    ----------
    source
        Optionally ``chemical_systems``, ``n_elements``, ``max_energy_above_hull_ev_per_atom`` and
        ``theoretical``; without any, all crystals with Fe.
    progress
        Called with a line per page.

    Raises
    ------
    ValueError
        As :func:`check`.
    RetrievalError
        There is no key, or the database did not give the whole. The key is in no message.
    """
    check(source)
    key = _key()
    with _without(key):
        return _fetch(source, key, lambda line: progress(line.replace(key, BLOTTED)))


def _fetch(source: Source, key: str, progress: Progress) -> Retrieved:
    from mp_api.client import MPRester

    from dft2spectra.structures.raw import warnings_as_notes

    endpoint = os.environ.get(ENDPOINT_VARIABLE) or ENDPOINT
    endpoint = endpoint.rstrip("/") + "/"
    session = patient_session(progress)
    state = _heartbeat(session, endpoint)
    watch = _Watch(progress)
    session.hooks["response"].append(watch.look_at)
    with (
        warnings_as_notes() as notes,
        MPRester(
            key,
            endpoint=endpoint,
            session=session,
            mute_progress_bars=True,
            use_document_model=False,  # one odd document is to cost one entry, not the page
        ) as client,
    ):
        documents: list[Any] = client.materials.summary.search(
            **_terms(source), fields=list(FIELDS), chunk_size=PAGE, _sort_fields="material_id"
        )
    for note in notes:
        progress(f"mp-api says: {note}")
    watch.check_whole(documents)
    entries = [_judged(entry_of(document), source) for document in _each_once(documents)]
    _check_readable(entries)
    _check_asked(entries, source)
    provider = {
        "name": "Materials Project",
        "base_url": endpoint,
        "api_version": state["version"],
        "database_version": state["db_version"],
    }
    return Retrieved(entries, provider, watch.requests + HEARTBEATS)


def _terms(source: Source) -> dict[str, Any]:
    """Arguments of the client's search."""
    terms: dict[str, Any] = {"deprecated": False}
    if "chemical_systems" in source:
        # The database sorts the elements of a system; * goes to the end.
        terms["chemsys"] = [_sorted(system) for system in source["chemical_systems"]]
    else:
        terms["elements"] = ["Fe"]
    if "n_elements" in source:
        terms["num_elements"] = tuple(source["n_elements"])
    if "max_energy_above_hull_ev_per_atom" in source:
        terms["energy_above_hull"] = (None, source["max_energy_above_hull_ev_per_atom"])
    if "theoretical" in source:
        terms["theoretical"] = source["theoretical"]
    return terms


def _sorted(system: str) -> str:
    return "-".join(sorted(system.split("-"), key=lambda part: (part == "*", part)))


def _is_element(symbol: str) -> bool:
    from ase.data import chemical_symbols

    return symbol in chemical_symbols[1:]


# --- the key --------------------------------------------------------------------------------------


def _key() -> str:
    for variable in KEY_VARIABLES:
        key = os.environ.get(variable, "").strip()
        if key and len(key) != KEY_LENGTH:
            raise RetrievalError(
                f"{variable} in the environment has {len(key)} characters, a key of the Materials "
                f"Project has {KEY_LENGTH}; copy it again from https://materialsproject.org/api"
            )
        if key:
            return key
    raise RetrievalError(
        "the Materials Project wants a key; log in at https://materialsproject.org/api (free), "
        f"copy the key shown there and put it into the environment: export {KEY_VARIABLES[0]}=... "
        "(not into a config file)"
    )


@contextmanager
def _without(key: str) -> Iterator[None]:
    """Any error of the block as a `RetrievalError` in whose text the key is blotted out.

    The error that it was is not chained: its text may hold the key.
    """
    try:
        yield
    except Exception as error:
        text = str(error) if isinstance(error, RetrievalError) else _told(error)
        raise RetrievalError(text.replace(key, BLOTTED)) from None


def _told(error: Exception) -> str:
    """An error of the client or of the network in one line of at most 400 characters."""
    from requests.exceptions import ConnectionError

    from dft2spectra.structures.web import last_cause

    if isinstance(error, ConnectionError):
        return (
            f"the Materials Project cannot be reached ({words(last_cause(error))}); look at the "
            f"network of this machine and at {ENDPOINT_VARIABLE} in the environment, or run again "
            "later"
        )
    return f"{type(error).__name__}: {words(str(error))[:400]}"


# --- what comes -----------------------------------------------------------------------------------


def _heartbeat(session: "Session", endpoint: str) -> dict[str, str]:
    """Version of the interface and of the database."""
    state = _json(session.get(endpoint + "heartbeat"))
    missing = [name for name in ("version", "db_version") if not isinstance(state.get(name), str)]
    if missing:
        raise RetrievalError(
            f"{endpoint} answers, but not as the Materials Project (no {', '.join(missing)}); "
            f"check {ENDPOINT_VARIABLE} in the environment"
        )
    return state


def _json(response: "Response") -> dict[str, Any]:
    """Answer as a mapping; refuses web pages, cut answers and error states."""
    what = f"{response.url.partition('?')[0]} answered"
    if response.status_code in (401, 403):
        raise RetrievalError(
            f"{what} with status {response.status_code}: it refuses the key; look at "
            f"https://materialsproject.org/api whether {KEY_VARIABLES[0]} is still the one shown"
        )
    if response.status_code != 200:
        text = words(response.text)[:200]
        raise RetrievalError(f"{what} with status {response.status_code}: {text}")
    try:
        data = json.loads(response.content)
    except ValueError:
        kind = response.headers.get("content-type", "no type")
        raise RetrievalError(
            f"{what} with {len(response.content)} bytes of {kind} that are no whole JSON"
        ) from None
    if not isinstance(data, dict):
        raise RetrievalError(f"{what} with something that is no mapping")
    return data


class _Watch:
    """Looks at every page on its way to the client and counts."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.started = progress, monotonic()
        self.requests, self.total = 0, -1
        self.pages: list[set[str]] = []
        self.arrived = 0

    def look_at(self, response: "Response", **_: Any) -> None:
        """Hook of the session; an error here reaches the caller of the client."""
        page = _json(response)
        self.requests += 1
        meta, data = page.get("meta"), page.get("data")
        total = meta.get("total_doc") if isinstance(meta, dict) else None
        if not isinstance(data, list) or not isinstance(total, int):
            raise RetrievalError("the page has not the shape of a list with meta.total_doc")
        if self.total not in (-1, total):
            raise RetrievalError(
                f"the database changed in the middle: {self.total} entries, then {total}"
            )
        names = {identifier(document) for document in data if _is_document(document)}
        if len(names) == 0 < len(data):
            raise RetrievalError("the entries of a page have no material_id")
        if any(names & earlier for earlier in self.pages):
            raise RetrievalError("a page came twice, or entries moved between pages")
        self.total, self.arrived = total, self.arrived + len(data)
        self.pages.append(names)
        seconds = (monotonic() - self.started) * (total - self.arrived) / max(self.arrived, 1)
        self.progress(
            f"page {len(self.pages)}: {self.arrived} of {total} entries, about {seconds:.0f} s left"
        )

    def check_whole(self, documents: list[Any]) -> None:
        """Return if all that the database announced has come, and through the client."""
        if self.arrived != self.total or len(documents) != self.total:
            raise RetrievalError(
                f"the database announced {max(self.total, 0)} entries, {len(documents)} came"
            )


def _is_document(document: Any) -> bool:
    return isinstance(document, dict) and bool(document.get("material_id"))


def _each_once(documents: Iterable[Any]) -> list[Document]:
    """The documents; one that came twice must be equal both times."""
    found: dict[str, Document] = {}
    for document in documents:
        if not _is_document(document):
            raise RetrievalError(f"an entry without material_id: {str(document)[:80]}")
        name = identifier(document)
        if found.setdefault(name, document) != document:
            raise RetrievalError(f"{name} came twice with different content")
    return list(found.values())


def _check_readable(entries: list[dict[str, Any]]) -> None:
    """Refuse an answer most of which cannot be read: single mistakes are few."""
    unreadable = [entry for entry in entries if str(entry.get("reason")).startswith("unreadable")]
    if len(unreadable) > UNREADABLE_SHARE * len(entries):
        raise RetrievalError(
            f"{len(unreadable)} of {len(entries)} entries cannot be read ({unreadable[0]['id']}: "
            f"{unreadable[0]['reason']}): the form of the documents has changed; look for a newer "
            "mp-api"
        )


def _judged(entry: dict[str, Any], source: Source) -> dict[str, Any]:
    """The entry, or the reason against it: it lacks a property that the settings limit."""
    for setting, name in LIMITED.items():
        if setting in source and "reason" not in entry and name not in entry["properties"]:
            reason = f"unreadable: the entry has no {name}, which {setting} limits"
            return {"id": entry["id"], "formula": entry["formula"], "reason": reason}
    return entry


def _check_asked(entries: list[dict[str, Any]], source: Source) -> None:
    """Refuse an answer to another question: then the search terms were not understood."""
    least, most = source.get("n_elements", (1, 200))
    highest = source.get("max_energy_above_hull_ev_per_atom", float("inf"))
    for entry in entries:
        if "reason" in entry:
            continue
        elements, properties = set(entry["symbols"]), entry["properties"]
        asked = "Fe" in elements and least <= len(elements) <= most
        if "chemical_systems" in source:
            asked &= any(_is_of(elements, system) for system in source["chemical_systems"])
        asked &= properties.get("energy_above_hull_ev_per_atom", 0.0) <= highest
        if "theoretical" in source:
            asked &= properties["theoretical"] is source["theoretical"]
        if not asked:
            raise RetrievalError(
                f"{entry['id']} ({entry['formula']}) was not asked for: the database does not "
                "understand the search as before; look for a newer mp-api"
            )


def _is_of(elements: set[str], system: str) -> bool:
    """Whether a crystal of these elements belongs to a system such as Fe-Al or Fe-*-*."""
    parts = system.split("-")
    return len(parts) == len(elements) and set(parts) - {"*"} <= elements
