"""From a database to its pinned set: whole, compared with the set before, or not at all.

Imports only the standard library at the top: the Snakefile asks which sets there are at every
start.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from dft2spectra.terminal import harmless
from dft2spectra.versions import method_versions

# A module with `fetch(source, progress) -> Retrieved` and `check(source)` for every kind.
PROVIDERS = {
    "materials_project": "dft2spectra.structures.materials_project",
    "optimade": "dft2spectra.structures.optimade",
}
DEFAULT_FOLDER = "data/retrieved"

# Settings that act on the pinned set or say how to ask, not what is asked for.
LOCAL_KEYS = frozenset(
    {"max_atoms", "elements", "exclude_elements", "at_most"}
    | {"page_limit", "max_entries", "timeout_s"}
)
# Of prototypes whose volumes are computed and pinned.
LOCAL_KEYS_OF_PROTOTYPES = frozenset({"strains", "unstrained", "at_most"})
# As in screening.DEFAULT_LIMITS.
DEFAULT_XC = "PBE"
# Share of the entries that a refresh may lose.
LARGEST_LOSS = 0.5

# Raised when a retrieval with the same settings would pin something else.
METHOD_VERSION = 1

Source = dict[str, Any]
Progress = Callable[[str], None]


def is_remote(source: Source) -> bool:
    """Whether the source is known by a pinned set: a database, or prototypes to be relaxed."""
    return source.get("kind") in PROVIDERS or is_relaxed(source)


def is_relaxed(source: Source) -> bool:
    """Whether the source is prototypes whose volumes are computed and pinned."""
    return source.get("kind") == "prototypes" and bool(source.get("relax_volume"))


def remote_sources(sources: Iterable[Source]) -> dict[str, Source]:
    """The databases among the sources, by name."""
    return {source["name"]: source for source in sources if is_remote(source)}


def pinned_path(source: Source, folder: str | Path | None = None) -> str:
    """File of the pinned set of a database."""
    return str(Path(folder or DEFAULT_FOLDER, f"{source['name']}.json"))


def query(source: Source, xc: str | None = None) -> Source:
    """The settings that decide what is asked for, so that a change of them retrieves anew.

    Volumes of prototypes also depend on the functional ``xc`` and on the version of their method.
    """
    if not is_relaxed(source):
        return {key: value for key, value in source.items() if key not in LOCAL_KEYS}
    asked = {key: value for key, value in source.items() if key not in LOCAL_KEYS_OF_PROTOTYPES}
    (version,) = method_versions("crystals.equation_of_state").values()
    return asked | {"xc": xc or DEFAULT_XC, "method_version": version}


def check(source: Source) -> None:
    """Return if the settings of a database are possible as far as is known without network.

    Raises
    ------
    ValueError
        Says what is wrong and what would be right.
    """
    importlib.import_module(PROVIDERS[source["kind"]]).check(source)


def check_current(source: Source, folder: str | Path | None = None, xc: str | None = None) -> None:
    """Return if there is a pinned set that is whole and answers the settings of the source.

    Parameters
    ----------
    source
        Database, or prototypes to be relaxed.
    folder
        Folder of the pinned sets, :data:`DEFAULT_FOLDER` if not given.
    xc
        Functional of the campaign, :data:`DEFAULT_XC` if not given.

    Raises
    ------
    ValueError
        It is missing, damaged, or was retrieved with other settings; says which.
    """
    from dft2spectra.structures.pinned import read

    path, asked = pinned_path(source, folder), query(source, xc)
    try:
        pinned = read(path)
    except FileNotFoundError:
        raise ValueError(
            f"{path}: {_name(source)} is not retrieved yet; `snakemake all_retrieved` does that"
        ) from None
    if different := _different(pinned["source"], asked):
        raise ValueError(
            f"{path}: retrieved with other settings ({different}); `snakemake all_retrieved` "
            "retrieves it again, or restore the settings"
        )


def answers_other_settings(
    source: Source, folder: str | Path | None = None, xc: str | None = None
) -> bool:
    """Whether the pinned set is whole, but of other settings than those of the source now.

    Parameters as for :func:`check_current`.
    """
    from dft2spectra.structures.pinned import read

    try:
        return bool(_different(read(pinned_path(source, folder))["source"], query(source, xc)))
    except (FileNotFoundError, ValueError):
        return False


def _different(then: Source, now: Source) -> str:
    """What differs between the settings of a set and those asked for, empty if nothing does."""
    return "; ".join(
        f"{key}: {json.dumps(then.get(key))} then, {json.dumps(now.get(key))} now"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    )


def retrieve(
    source: Source,
    path: str | Path,
    progress: Progress,
    fetch: Callable[[Source, Progress], Any] | None = None,
    xc: str | None = None,
) -> None:
    """Ask a database and pin what it gives; ``<name>.changes.csv`` beside it lists what changed.

    Parameters
    ----------
    source
        Source of a kind in :data:`PROVIDERS`.
    path
        Pinned set to write. One that is there stays as it is unless all goes well.
    progress
        Called with a line of text now and then.
    fetch
        What gives the entries; without it the module of the kind.
    xc
        As for :func:`check_current`.

    Raises
    ------
    RetrievalError
        The database did not give the whole; says what happened and what to do.
    """
    from dft2spectra.structures.pinned import RetrievalError, check_entries, write

    started = time.monotonic()
    asked, before = query(source, xc), _set_before(path, progress)
    progress(f"asking {_where(source)}")
    try:
        if fetch is None:
            fetch = importlib.import_module(PROVIDERS[source["kind"]]).fetch
        retrieved = fetch(source, progress)
        check_entries(retrieved.entries)
        unusable = sum("reason" in entry for entry in retrieved.entries)
        if not retrieved.entries:
            loosen = "name other parents or elements" if is_relaxed(source) else "loosen the filter"
            raise RetrievalError(f"there is no entry; {loosen}")
        if before is not None:
            # Of prototypes, limits that are no part of the question leave crystals out as well.
            if before["source"] == asked and not is_relaxed(source):
                _check_loss(before["entries"], retrieved.entries, path)
            _write_changes(path, before["entries"], retrieved.entries, progress)
        pinned = write(path, asked, retrieved)
    except RetrievalError as error:
        sentence = f"{_name(source)} was not retrieved: {str(error).rstrip('.')}. "
        if before is None:
            sentence += (
                f"Nothing was written to {path}; run the same command again when it is mended."
            )
        elif different := _different(before["source"], asked):
            sentence += (
                f"{path} of {before['retrieved_at']} stays as it was, but is not used with the new "
                f"settings ({different}); to try again, run the same command, or restore the "
                "settings to go on with it."
            )
        else:
            sentence += (
                f"{path} of {before['retrieved_at']} stays as it was and in use; to try again, run "
                "the same command."
            )
        progress(sentence)
        raise RetrievalError(sentence) from None
    progress(
        f"{pinned['n_entries']} entries, {unusable} of them unusable, in {retrieved.requests} "
        f"requests and {time.monotonic() - started:.0f} s; database version "
        f"{retrieved.provider.get('database_version') or 'not told'}; written to {path}"
    )


def _check_loss(before: list[dict[str, Any]], now: list[dict[str, Any]], path: str | Path) -> None:
    """Refuse an answer that lost most of the entries: more likely a fault than a fact."""
    lost = len({entry["id"] for entry in before} - {entry["id"] for entry in now})
    if lost > LARGEST_LOSS * len(before):
        from dft2spectra.structures.pinned import RetrievalError

        raise RetrievalError(
            f"{lost} of the {len(before)} entries of the set before are missing in an answer of "
            f"{len(now)} to the same question; if that is right, remove {path} first"
        )


def say_on(terminal: TextIO, name: str) -> Progress:
    """Progress that writes each line to the log (standard error) and to the terminal."""

    def say(line: str) -> None:
        for stream in dict.fromkeys((sys.stderr, terminal)):
            print(f"retrieve_structures {name}: {harmless(line)}", file=stream, flush=True)

    return say


@contextmanager
def exit_quietly() -> Iterator[None]:
    """End the program with code 1, and no traceback, if the block could not retrieve a set.

    :func:`retrieve` has told its ``progress`` what happened and what to do.
    """
    from dft2spectra.structures.pinned import RetrievalError

    try:
        yield
    except RetrievalError:
        sys.exit(1)


def _name(source: Source) -> str:
    return f"{source['kind']}:{source['name']}"


def _where(source: Source) -> str:
    if is_relaxed(source):
        return "GPAW for the volumes"
    return str(source.get("base_url") or "the Materials Project")


def _set_before(path: str | Path, progress: Progress) -> dict[str, Any] | None:
    from dft2spectra.structures.pinned import read

    try:
        before = read(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        progress(f"{error}; so it is replaced without a comparison")
        return None
    progress(f"the set of {before['retrieved_at']} holds {before['n_entries']} entries")
    return before


def _write_changes(
    path: str | Path, before: list[dict[str, Any]], now: list[dict[str, Any]], progress: Progress
) -> None:
    """Table of the difference, written before the set, so that it never lags behind it."""
    import pandas as pd

    from dft2spectra.records import write_csv
    from dft2spectra.structures.pinned import CHANGE_COLUMNS, difference

    rows = difference(before, now)
    table = pd.DataFrame(rows, columns=CHANGE_COLUMNS)
    target = Path(path).with_suffix(".changes.csv")
    write_csv(target, table)
    counts = table["change"].value_counts()
    words = ", ".join(f"{counts.get(kind, 0)} {kind}" for kind in ("added", "removed", "changed"))
    progress(f"against the set before: {words}" + (f"; see {target}" if rows else ""))
