"""Crystals from any database with an OPTIMADE interface, complete or not at all.

The query goes to ``<base>/v1/structures`` with a filter that the grammar of the specification has
accepted (:mod:`dft2spectra.structures.optimade_query`), and its pages are followed and counted
(:mod:`dft2spectra.structures.optimade_pages`). One entry that cannot be used is no fault: it is
returned with its reason (:mod:`dft2spectra.structures.optimade_entries`).

The pages are not left to `optimade.client.OptimadeClient` (1.5.0). Behind the faults of the tests
it gave 109, 49 and 60 of 89 entries, without an error, when a page was repeated, skipped or said to
be the last; it compares no counts, follows redirects to any host, repeats after 429 without regard
to Retry-After, and does not try again after 5xx or a broken connection. The package's grammar and
its list of standard properties are used.

Specification: OPTIMADE API 1.2, https://github.com/Materials-Consortia/OPTIMADE, sections "Base
URL", "Info Endpoints" and "Entry Listing Endpoints".
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from dft2spectra.structures.optimade_pages import all_entries, check_version, mapping
from dft2spectra.structures.optimade_query import check_filter, properties_of, versioned_base
from dft2spectra.structures.pinned import RetrievalError, Retrieved

if TYPE_CHECKING:
    from dft2spectra.structures.web import Service

PAGE_LIMIT = 100  # the most that COD allows
MAX_ENTRIES = 10_000
TIMEOUT_S = 60.0
NOT_CONFIRMED = "not confirmed by the provider"

Source = dict[str, Any]
Progress = Callable[[str], None]


def check(source: Source) -> None:
    """Return if the address and the filter are possible.

    Raises
    ------
    ValueError
        Says what is wrong with ``base_url`` or ``filter``, the latter with the place of the
        mistake.
    """
    versioned_base(source["base_url"])
    check_filter(source["filter"])


def fetch(source: Source, progress: Progress) -> Retrieved:
    """All entries that match the filter of a source.

    Parameters
    ----------
    source
        ``base_url`` (with or without ``/v1``), ``filter``; optionally ``page_limit``,
        ``max_entries`` (a filter that matches more is refused) and ``timeout_s`` (per answer).
    progress
        Called with a line per page and per pause.

    Raises
    ------
    ValueError
        As :func:`check`.
    RetrievalError
        The provider did not give the whole of it; says what happened and what to do.
    """
    from dft2spectra.structures.optimade_entries import (
        KEPT,
        MOST_KEPT,
        NEEDED,
        OPTIONAL,
        plain,
    )
    from dft2spectra.structures.web import Service

    check(source)
    base = versioned_base(source["base_url"])
    service = Service(base, source.get("timeout_s", TIMEOUT_S), progress)
    provider = _provider(service, base)
    progress(f"{provider['name']}: OPTIMADE {provider['api_version']} at {base}")

    known = _properties_served(service, base)
    for name in sorted(properties_of(source["filter"]) - known if known else ()):
        progress(f"the provider does not list the property {name}, which the filter uses")
    own = [name for name in sorted(known) if name.startswith("_") and KEPT.search(name)]
    # A provider that lists no properties is asked for the standard ones.
    standard = [name for name in OPTIONAL if not known or name in known]
    query = {
        "filter": source["filter"],
        "response_fields": ",".join([*NEEDED, *standard, *own[:MOST_KEPT]]),
        "page_limit": source.get("page_limit", PAGE_LIMIT),
    }
    url = f"{base}/structures?{urlencode(query, quote_via=quote, safe=',')}"
    entries, confirmed = all_entries(service, url, source.get("max_entries", MAX_ENTRIES))
    if not confirmed:
        provider["complete"] = NOT_CONFIRMED
        progress(
            f"warning: that these {len(entries)} entries are all is {NOT_CONFIRMED}, which gives "
            "no count to compare with"
        )
    dates = [entry["last_modified"] for entry in entries if entry["last_modified"]]
    provider["last_modified"] = max(dates, default=None)
    return Retrieved(entries=entries, provider=plain(provider), requests=service.n_requests)


# --- the provider --------------------------------------------------------------------------------


def _provider(service: "Service", base: str) -> dict[str, Any]:
    """Name, address and versions, as ``/info`` gives them."""
    try:
        info = service.json(f"{base}/info")
    except RetrievalError:
        _check_versions(service, base)
        raise
    meta, attributes = mapping(info, "meta"), mapping(mapping(info, "data"), "attributes")
    version = meta.get("api_version") or attributes.get("api_version")
    if not isinstance(version, str):
        raise RetrievalError(f"{base}/info states no api_version: not OPTIMADE, check the base_url")
    check_version(version, base)
    who, database = mapping(meta, "provider"), mapping(meta, "database")
    return {
        "name": str(who.get("name") or urlsplit(base).hostname),
        "base_url": base,
        "api_version": version.lstrip("v"),
        "database_version": database.get("version"),
    }


def _check_versions(service: "Service", base: str) -> None:
    """Say so where ``/versions`` explains why there is no version 1."""
    root = re.sub(r"/v1(\.\d+){0,2}$", "", base)
    answer = service.glance(f"{root}/versions")
    if answer is None or answer.media_type != "text/csv":
        return
    header, *versions = answer.body.decode("utf-8", "replace").split() or [""]
    if header == "version" and "1" not in versions:
        raise RetrievalError(
            f"{root} serves version {', '.join(versions)} of OPTIMADE; only 1 is known here"
        )


def _properties_served(service: "Service", base: str) -> set[str]:
    """Properties of structures that the provider lists; empty if it lists none."""
    data = mapping(service.json(f"{base}/info/structures"), "data")
    return {str(name) for name in mapping(data, "properties")}
