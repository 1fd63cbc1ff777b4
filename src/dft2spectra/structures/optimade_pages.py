"""All pages of an OPTIMADE query, counted: the whole, or an error that says what is amiss.

Pages are followed by ``links.next``. What comes is counted against what the provider says it has;
entries that come twice, counts that do not agree, links in circles, empty pages that go on and
attributes that vanish stop the retrieval. A page that is lost between others where the provider
gives no count at all cannot be noticed by anybody; such a set is told apart.

Specification: OPTIMADE API 1.2, section "JSON Response Schema: Common Fields" (``meta`` and
``links``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from dft2spectra.structures.pinned import RetrievalError

if TYPE_CHECKING:
    from dft2spectra.structures.web import Service

# `meta.request_delay` beyond this is taken for a mistake of the provider.
LONGEST_DELAY_S = 60.0
# More malformed entries than this are a changed schema; fewer are single mistakes.
MALFORMED_SHARE = 0.5


@dataclass(frozen=True)
class _Page:
    """One page: its entries, and what the provider says about the whole."""

    resources: list[dict[str, Any]]
    returned: int | None
    available: int | None
    more: bool | None


def all_entries(
    service: "Service", url: str, max_entries: int
) -> tuple[list[dict[str, Any]], bool]:
    """Entries of all pages, sorted by id, and whether a count of the provider confirms them.

    Parameters
    ----------
    service
        The provider.
    url
        Address of the first page, with ``response_fields`` in its query.
    max_entries
        A query that matches more is refused.

    Raises
    ------
    RetrievalError
        A page does not come, or what came is not all, not new or not OPTIMADE; says which.
    """
    from dft2spectra.structures.optimade_entries import read_entry

    structures_url = url.partition("?")[0]
    found: dict[str, dict[str, Any]] = {}
    pages: list[_Page] = []
    malformed: list[str] = []
    for page in _pages(service, url):
        pages.append(page)
        broken = []
        for resource in page.resources:
            entry, is_malformed = read_entry(resource, structures_url)
            if entry["id"] in found:
                raise RetrievalError(
                    f"page {len(pages)} of {structures_url} brings the entry {entry['id']} "
                    "a second time: a page was repeated, or the order changed meanwhile; run again"
                )
            found[entry["id"]] = entry
            broken += [f"{entry['id']}: {entry['reason']}"] if is_malformed else []
        malformed += broken
        # Three, so that a short last page with one mistake is not taken for a change.
        if len(page.resources) >= 3:
            _check_schema(broken, len(page.resources), structures_url)
        most = max(len(found), page.returned or 0)
        if most > max_entries:
            raise RetrievalError(
                f"the filter matches {most} entries or more of {structures_url}, max_entries is "
                f"{max_entries}; narrow the filter or raise max_entries"
            )
    confirmed = _check_whole(pages, len(found), structures_url)
    _check_schema(malformed, len(found), structures_url)
    return [found[name] for name in sorted(found)], confirmed


def _pages(service: "Service", url: str) -> Iterator[_Page]:
    """Pages in the order of the provider's links, until there is no next one."""
    begin, entries = monotonic(), 0
    visited: set[str] = set()
    fields = dict(parse_qsl(urlsplit(url).query))["response_fields"]
    warned: set[str] = set()
    following: str | None = url
    while following is not None:
        if following in visited:
            raise RetrievalError(
                f"the link to the page after page {len(visited)} leads back to an earlier page of "
                f"{url.partition('?')[0]}; run again, and tell the provider if it stays so"
            )
        visited.add(following)
        content = service.json(following)
        page = _page(content, following)
        entries += len(page.resources)
        current, following = following, _next_link(content, following, service.base_url, fields)
        if following is not None and not page.resources:
            raise RetrievalError(
                f"page {len(visited)} of {current.partition('?')[0]} is empty but links to another "
                "page; run again, and tell the provider if it stays so"
            )
        _tell(service, content, warned, len(visited), entries, page, monotonic() - begin)
        delay = mapping(content, "meta").get("request_delay")
        if following is not None and isinstance(delay, int | float) and delay > 0:
            sleep(min(delay, LONGEST_DELAY_S))
        yield page


def _page(content: dict[str, Any], url: str) -> _Page:
    """What a page holds, if it has the form of the specification."""
    where = url.partition("?")[0]
    if content.get("errors"):
        raise RetrievalError(f"{where} reports {str(content['errors'])[:300]}")
    meta, data = mapping(content, "meta"), content.get("data")
    if "api_version" in meta:
        check_version(str(meta["api_version"]), where)
    if not isinstance(data, list):
        raise RetrievalError(f"{where} sends no list of entries under 'data'; check the base_url")
    for resource in data:
        fault = _fault_of(resource)
        if fault:
            raise RetrievalError(
                f"{where} sends {fault}, which is not the form of OPTIMADE 1; if it worked before, "
                "the provider changed it: tell it"
            )
    return _Page(
        resources=data,
        returned=_count(meta, "data_returned"),
        available=_count(meta, "data_available"),
        more=meta["more_data_available"] if meta.get("more_data_available") in (0, 1) else None,
    )


def _fault_of(resource: Any) -> str | None:
    """What keeps a resource object from being a structure entry; OQMD's ids are numbers."""
    if not isinstance(resource, dict):
        return f"an entry that is a {type(resource).__name__}"
    identifier = resource.get("id")
    if isinstance(identifier, bool) or not isinstance(identifier, str | int) or identifier == "":
        return f"an entry with the id {str(identifier)[:40]!r}"
    if not isinstance(resource.get("attributes"), dict):
        return f"the entry {identifier} without attributes"
    if resource.get("type", "structures") not in ("structures", "structure"):
        return f"the entry {identifier} of type {str(resource['type'])[:40]}"
    return None


def _count(meta: dict[str, Any], key: str) -> int | None:
    value = meta.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _next_link(content: dict[str, Any], url: str, base: str, fields: str) -> str | None:
    """Address of the next page: a text, an object with ``href``, relative or absolute, or none.

    COD leaves the fields out of its links (issue 391 of Materials-Consortia/OPTIMADE); without
    them the next page would come without positions.
    """
    from dft2spectra.structures.web import within

    link = mapping(content, "links").get("next")
    if isinstance(link, dict):
        link = link.get("href")
    if link is None or link == "":
        return None
    if not isinstance(link, str):
        raise RetrievalError(
            f"{url.partition('?')[0]} links to its next page by {link!r:.60}, no address; "
            "tell the provider"
        )
    following = urlsplit(within(base, url, link))
    if "response_fields" not in dict(parse_qsl(following.query)):
        more = urlencode({"response_fields": fields}, safe=",")
        following = following._replace(query=f"{following.query}&{more}".lstrip("&"))
    return urlunsplit(following)


def _check_whole(pages: list[_Page], n_entries: int, where: str) -> bool:
    """Whether a count of the provider confirms the set; refuses one that a count contradicts.

    ``data_returned`` is the number of all entries that match, ``data_available`` that of all
    entries whatever the filter. OQMD's server counts the page in the former and all that match in
    the latter, and says ``more_data_available`` also for pages before this one (qmpy,
    ``qmpy/web/views/api/optimade_api.py``).
    """
    counts = {page.returned for page in pages if page.returned is not None}
    totals = {page.available for page in pages if page.available is not None}
    last = pages[-1]
    per_page = len(pages) > 1 and all(page.returned == len(page.resources) for page in pages)
    if per_page and totals == {n_entries}:
        return True
    if last.more:
        raise RetrievalError(
            f"{where} says that there is more after its last page, of {n_entries} entries so far, "
            "but gives no link to it; run again, and tell the provider if it stays so"
        )
    if per_page:  # what it returned of the whole is not known
        counts = totals
    if len(counts) > 1:
        raise RetrievalError(
            f"{where} counts {' and '.join(map(str, sorted(counts)))} matching entries on "
            "different pages: the database changed meanwhile; run again"
        )
    if counts and counts != {n_entries}:
        raise RetrievalError(
            f"{where} counts {counts.pop()} matching entries but sent {n_entries}; run again, and "
            "tell the provider if it stays so"
        )
    if not counts and totals and min(totals) < n_entries:
        raise RetrievalError(
            f"{where} says that it holds {min(totals)} entries but sent {n_entries}; run again, "
            "and tell the provider if it stays so"
        )
    if not counts and last.more is None:
        raise RetrievalError(
            f"{where} says neither how many entries match nor whether there are more, so that a "
            "part could be taken for the whole; narrow the filter to fewer than page_limit entries "
            "and ask the provider"
        )
    if n_entries == 0:
        raise RetrievalError(f"no entry of {where} matches the filter; loosen it")
    return bool(counts)


def _check_schema(malformed: list[str], n_entries: int, where: str) -> None:
    if len(malformed) > MALFORMED_SHARE * n_entries:
        raise RetrievalError(
            f"{len(malformed)} of {n_entries} entries of {where} are not in the form of OPTIMADE "
            f"1, the first is {malformed[0]}; the provider seems to have changed its form: tell it"
        )


def _tell(
    service: "Service",
    content: dict[str, Any],
    warned: set[str],
    number: int,
    entries: int,
    page: _Page,
    elapsed_s: float,
) -> None:
    """A line about the page, and each warning of the provider once."""
    warnings = mapping(content, "meta").get("warnings")
    for warning in warnings if isinstance(warnings, list) else []:
        detail = warning.get("detail") if isinstance(warning, dict) else warning
        text = " ".join(str(detail).split())[:300]
        if text not in warned:
            warned.add(text)
            service.progress(f"the provider warns: {text}")
    line = f"page {number}: {entries} entries"
    if page.returned and page.returned > entries:
        left = elapsed_s / entries * (page.returned - entries) if entries else 0.0
        line += f" of {page.returned}, about {left:.0f} s left"
    service.progress(line)


def check_version(version: str, base: str) -> None:
    """Refuse another major version than 1 with `RetrievalError`."""
    if version.lstrip("v").partition(".")[0] != "1":
        raise RetrievalError(
            f"{base} answers in version {version} of OPTIMADE; only version 1 is known here"
        )


def mapping(content: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping under a key, empty if there is none."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}
