"""A provider that misbehaves: the same result as undisturbed, or a sentence and the old set.

The answers are those of the real server; the proxy spoils them on the way.
"""

import copy
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from optimade_loopback import Fault, Proxy, Reply, free_port, send

from dft2spectra.structures import web
from dft2spectra.structures.optimade import fetch
from dft2spectra.structures.pinned import RetrievalError
from dft2spectra.structures.retrieval import retrieve

PAGE = 20
Handler = BaseHTTPRequestHandler


@pytest.fixture
def source(proxy: Proxy) -> dict[str, Any]:
    return {
        "kind": "optimade",
        "name": "loopback",
        "base_url": proxy.address,
        "filter": 'elements HAS "Fe"',
        "page_limit": PAGE,
        "timeout_s": 10.0,
    }


@pytest.fixture(scope="module")
def undisturbed(one_proxy: Proxy) -> list[dict[str, Any]]:
    one_proxy.fault = None
    settings = {"base_url": one_proxy.address, "filter": 'elements HAS "Fe"', "page_limit": PAGE}
    return fetch(settings, print).entries


# --- faults --------------------------------------------------------------------------------------


def on(number: int, spoil: Callable[[Handler, Reply], Reply | None]) -> Fault:
    """Spoil one request for structures, the first being number 1; a repetition is a new one."""
    return lambda handler, n, reply: spoil(handler, reply) if n == number else reply


def always(spoil: Callable[[Handler, Reply], Reply | None], after: int = 1) -> Fault:
    """Spoil every request for structures from page ``after`` on."""
    return lambda handler, n, reply: spoil(handler, reply) if n > after else reply


def status(code: int, **headers: str) -> Callable[[Handler, Reply], Reply]:
    page = {"Content-Type": "text/html", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return lambda handler, reply: Reply(code, page, b"<html><body>Busy</body></html>")


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Handler, Reply], Reply]:
    """Change the JSON of an answer in place."""

    def spoil(handler: Handler, reply: Reply) -> Reply:
        content = reply.json()
        change(content)
        return reply.with_json(content)

    return spoil


def reset(handler: Handler, reply: Reply) -> None:
    handler.close_connection = True


def html(handler: Handler, reply: Reply) -> Reply:
    return Reply(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Maintenance</html>")


def cut_off(handler: Handler, reply: Reply) -> None:
    """Half of the page, with the length of the whole in the header."""
    headers = {**reply.headers, "Content-Length": str(len(reply.body))}
    send(handler, Reply(200, headers, reply.body[: len(reply.body) // 2]))


def cut_off_unannounced(handler: Handler, reply: Reply) -> Reply:
    """Half of the page as if it were all, as a proxy in between would pass it on."""
    return Reply(200, reply.headers, reply.body[: len(reply.body) // 2])


def silent(handler: Handler, reply: Reply) -> None:
    time.sleep(2.5)


def dripping(handler: Handler, reply: Reply) -> None:
    """Byte after byte, each well within the time for one."""
    send(handler, Reply(200, {**reply.headers, "Content-Length": str(len(reply.body))}, b""))
    for place in range(25):
        handler.wfile.write(reply.body[place : place + 1])
        time.sleep(0.1)


def broken_gzip(handler: Handler, reply: Reply) -> Reply:
    return Reply(200, {**reply.headers, "Content-Encoding": "gzip"}, reply.body)


def next_as(form: Callable[[str], Any]) -> Callable[[Handler, Reply], Reply]:
    """The link to the next page in another form."""

    def change(content: dict[str, Any]) -> None:
        link = content["links"]["next"]
        if link is not None:
            link = link["href"] if isinstance(link, dict) else link
            content["links"]["next"] = form(link)

    return edited(change)


def path_of(url: str) -> str:
    return "/" + url.split("/", 3)[3]


def without_fields(url: str) -> str:
    return re.sub(r"&?response_fields=[^&]*", "", url)


def as_cod(handler: Handler, reply: Reply) -> Reply:
    """Links without the fields, and no positions where they are not asked for by name."""

    def change(content: dict[str, Any]) -> None:
        for resource in content["data"] if "response_fields" not in handler.path else []:
            del resource["attributes"]["cartesian_site_positions"]

    return edited(change)(handler, next_as(without_fields)(handler, reply))


def moved_within(handler: Handler, reply: Reply) -> Reply:
    if "response_format=json" in handler.path:
        return reply
    return Reply(302, {"Location": handler.path + "&response_format=json"}, b"")


RECOVERED: dict[str, Fault] = {
    "500 once": on(2, status(500)),
    "502 and 503 in a row": lambda h, n, r: status(502 + n - 3)(h, r) if n in (3, 4) else r,
    "connection closed without an answer": on(3, reset),
    "web page once": on(2, html),
    "cut off": on(4, cut_off),
    "cut off on the first page": on(1, cut_off),
    "cut off unannounced": on(3, cut_off_unannounced),
    "cannot be decompressed": on(2, broken_gzip),
    "next link as an object": always(next_as(lambda url: {"href": url}), after=0),
    "next link relative": always(next_as(path_of), after=0),
    "next link of the query only": always(next_as(lambda url: "?" + url.split("?")[1]), after=0),
    "next link without response_fields, as COD": always(as_cod, after=0),
    "redirected within the server": always(moved_within, after=0),
    "no counts, but more_data_available": always(
        edited(lambda content: content["meta"].pop("data_returned")), after=0
    ),
    "extra attributes of any shape": always(
        edited(lambda c: [d["attributes"].update(_x_y=[{}, 1]) for d in c["data"]]), after=0
    ),
}


@pytest.mark.parametrize("name", RECOVERED)
def test_recovers_what_an_undisturbed_retrieval_gives(name, source, proxy, undisturbed, pauses):
    proxy.fault = RECOVERED[name]
    retrieved = fetch(source, print)
    assert retrieved.entries == undisturbed
    assert retrieved.requests == len(proxy.paths)


@pytest.mark.parametrize("spoil", [silent, dripping])
def test_a_slow_answer_is_given_up_and_asked_for_again(spoil, source, proxy, undisturbed, pauses):
    proxy.fault = on(2, spoil)
    lines: list[str] = []
    assert fetch({**source, "timeout_s": 1.5}, lines.append).entries == undisturbed
    assert any("within 1.5 s" in line for line in lines)


def test_too_many_requests_waits_as_long_as_asked(source, proxy, undisturbed, pauses):
    proxy.fault = on(2, status(429, Retry_After="7"))
    assert fetch(source, print).entries == undisturbed
    assert pauses == [7.0]
    pauses.clear()
    date = formatdate(time.time() + 100.0, usegmt=True)
    proxy.paths.clear()
    proxy.fault = on(3, status(503, Retry_After=date))
    assert fetch(source, print).entries == undisturbed
    assert len(pauses) == 1
    assert 60.0 < pauses[0] <= 100.0


def test_pauses_grow_within_bounds(source, proxy, pauses):
    proxy.fault = always(status(503))
    with pytest.raises(RetrievalError):
        fetch(source, print)
    assert len(pauses) == web.ATTEMPTS - 1
    for number, pause in enumerate(pauses):
        assert 0.5 <= pause / (web.FIRST_PAUSE_S * 2**number) <= 1.0
    assert web.LONGEST_PAUSE_S / 2 <= web._pause(30) <= web.LONGEST_PAUSE_S


def test_the_delay_that_the_provider_asks_for_is_kept(source, proxy, undisturbed, pauses):
    proxy.fault = always(edited(lambda c: c["meta"].update(request_delay=3.5)), after=0)
    assert fetch(source, print).entries == undisturbed
    assert pauses == [3.5] * 4  # five pages, none after the last


def test_oqmd_counts_pages_and_says_more_on_the_last(source, proxy, undisturbed, pauses):
    """As qmpy/web/views/api/optimade_api.py of wolverton-research-group/qmpy counts."""

    def oqmd(content: dict[str, Any]) -> None:
        total = content["meta"]["data_returned"]
        content["meta"].update(data_returned=len(content["data"]), data_available=total)
        content["meta"]["more_data_available"] = True

    proxy.fault = always(edited(oqmd), after=0)
    assert fetch(source, print).entries == undisturbed
    last = edited(lambda content: content["links"].update(next=None))
    proxy.paths.clear()
    proxy.fault = lambda h, n, r: last(h, edited(oqmd)(h, r)) if n == 3 else edited(oqmd)(h, r)
    with pytest.raises(RetrievalError, match="more after its last page, of 60 entries"):
        fetch(source, print)

    # The link lost and `more_data_available` wrong as well: only the count of the whole tells.
    def end(content: dict[str, Any]) -> None:
        oqmd(content)
        content["links"].update(next=None)
        content["meta"]["more_data_available"] = False

    proxy.paths.clear()
    proxy.fault = lambda h, n, r: edited(end if n == 3 else oqmd)(h, r)
    with pytest.raises(RetrievalError, match="counts 89 matching entries but sent 60"):
        fetch(source, print)


@pytest.mark.parametrize("per_page", [False, True])
def test_without_a_count_of_the_whole_the_set_says_so(
    per_page, source, proxy, undisturbed, pauses, tmp_path
):
    def change(content: dict[str, Any]) -> None:
        content["meta"]["data_returned"] = len(content["data"]) if per_page else None
        content["meta"].pop("data_available", None)

    proxy.fault = always(edited(change), after=0)
    lines: list[str] = []
    retrieved = fetch(source, lines.append)
    assert retrieved.entries == undisturbed
    assert retrieved.provider["complete"] == "not confirmed by the provider"
    assert any("warning: that these 89 entries are all is not confirmed" in line for line in lines)
    proxy.fault = None
    assert "complete" not in fetch(source, print).provider


def test_fewer_entries_in_the_database_than_were_sent(source, proxy, pauses):
    counts = {"data_returned": None, "data_available": 41}
    proxy.fault = always(edited(lambda c: c["meta"].update(counts)), after=0)
    with pytest.raises(RetrievalError, match="says that it holds 41 entries but sent 89"):
        fetch(source, print)


# --- faults that stop the retrieval --------------------------------------------------------------


def second_page_again(proxy: Proxy) -> Fault:
    """The third page is the second one, word for word."""
    seen: dict[int, Reply] = {}

    def fault(handler: Handler, number: int, reply: Reply) -> Reply:
        seen[number] = reply
        return seen[2] if number == 3 else reply

    return fault


def renamed(content: dict[str, Any]) -> None:
    for resource in content["data"]:
        resource["attributes"]["positions"] = resource["attributes"].pop("cartesian_site_positions")


def as_text(content: dict[str, Any]) -> None:
    for resource in content["data"]:
        resource["attributes"]["lattice_vectors"] = str(resource["attributes"]["lattice_vectors"])


def skipped(url: str) -> str:
    return re.sub(r"page_offset=\d+", "page_offset=60", url)


def jumps_back(url: str) -> str:
    return re.sub(r"page_offset=\d+", "page_offset=20", url)


def endless(renames: bool) -> Fault:
    """Page after page, with entries of new names or without any."""
    numbers = count()

    def change(content: dict[str, Any]) -> None:
        content["meta"].update(data_returned=None, more_data_available=True)
        for resource in content["data"]:
            resource["id"] = f"entry-{next(numbers)}"
        if not renames:
            content["data"] = []
        content["links"]["next"] = f"?email_address=n{next(numbers)}@example.org"

    return always(edited(change), after=0)


def elsewhere(handler: Handler, reply: Reply) -> Reply:
    return Reply(302, {"Location": "http://127.0.0.2:9/v1/structures"}, b"")


def refused(handler: Handler, reply: Reply) -> Reply:
    body = b'{"errors": [{"status": "403", "title": "Forbidden", "detail": "page_limit > 10"}]}'
    return Reply(403, {"Content-Type": "application/vnd.api+json"}, body)


STOPPED: dict[str, tuple[Fault | Callable[[Proxy], Fault], str]] = {
    "down for good": (always(reset), r"breaks the connection .*, 5 times in a row; run again"),
    "always busy": (always(status(500)), r"answers 500 .*, 5 times in a row"),
    "web pages for good": (always(html), r"a web page \(text/html\) instead of data, 5 times"),
    "always cut off": (always(cut_off), r"breaks the connection \(.*\), 5 times"),
    "always cut off unannounced": (always(cut_off_unannounced), r"broken JSON, perhaps cut off"),
    "plain text": (
        always(lambda h, r: Reply(200, {"Content-Type": "text/plain"}, r.body)),
        r"no JSON \(text/plain\)",
    ),
    "a list": (
        always(lambda h, r: Reply(200, r.headers, b"[1, 2]")),
        r"JSON of another form than OPTIMADE's, a list",
    ),
    "deeply nested": (
        always(lambda h, r: Reply(200, r.headers, b"[" * 200_000)),
        r"broken JSON, perhaps cut off",
    ),
    "nothing": (always(lambda h, r: Reply(200, r.headers, b"")), r"broken JSON"),
    "waits for a day": (always(status(429, Retry_After="86400")), r"asks to wait 86400 s"),
    "refused with a reason": (always(refused), r"status 403: page_limit > 10"),
    "page repeated": (second_page_again, r"brings the entry \S+ a second time"),
    "link back": (
        always(next_as(jumps_back), after=1),
        r"the page after page 2 leads back to an earlier page",
    ),
    "page skipped": (on(1, next_as(skipped)), r"counts 89 matching entries but sent 49"),
    "link lost": (
        on(3, edited(lambda c: c["links"].update(next=None))),
        r"more after its last page, of 60 entries so far",
    ),
    "end announced too early": (
        on(
            3,
            edited(lambda c: (c["links"].clear(), c["meta"].update(more_data_available=False))),
        ),
        r"counts 89 matching entries but sent 60",
    ),
    "links of another kind": (
        on(2, edited(lambda c: c["links"].update(next=7))),
        r"links to its next page by 7, no address",
    ),
    "attribute renamed": (always(edited(renamed), after=0), r"20 of 20 entries .* no cartesian_si"),
    "attribute renamed on a later page": (on(3, edited(renamed)), r"20 of 20 entries"),
    "numbers as text": (on(3, edited(as_text)), r"lattice_vectors is not a list of rows"),
    "attributes missing": (
        on(3, edited(lambda c: c["data"][4].pop("attributes"))),
        r"sends the entry \S+ without attributes",
    ),
    "no id": (on(2, edited(lambda c: c["data"][0].update(id=None))), r"the id 'None'"),
    "entry of another type": (
        on(2, edited(lambda c: c["data"][0].update(type="references"))),
        r"of type references",
    ),
    "entries that are text": (on(2, edited(lambda c: c.update(data=["x"]))), r"an entry that is"),
    "data missing": (on(2, edited(lambda c: c.pop("data"))), r"no list of entries under 'data'"),
    "error inside an answer": (
        on(2, edited(lambda c: c.update(errors=[{"detail": "lost the database"}]))),
        r"reports .*lost the database",
    ),
    "another version of the interface": (
        on(3, edited(lambda c: c["meta"].update(api_version="2.0.0"))),
        r"answers in version 2.0.0",
    ),
    "count too high": (
        always(edited(lambda c: c["meta"].update(data_returned=200)), after=0),
        r"counts 200 matching entries but sent 89",
    ),
    "count too low": (
        always(edited(lambda c: c["meta"].update(data_returned=41)), after=0),
        r"counts 41 matching entries but sent 89",
    ),
    "count changes": (
        on(3, edited(lambda c: c["meta"].update(data_returned=90))),
        r"counts 89 and 90 matching entries on different pages",
    ),
    "nothing to count by": (
        always(
            edited(lambda c: c["meta"].update(data_returned=None, more_data_available=None)),
            after=0,
        ),
        r"neither how many entries match nor whether there are more",
    ),
    "endless pages": (endless(renames=True), r"matches \d+ entries or more .* max_entries is 300"),
    "endless empty pages": (endless(renames=False), r"is empty but links to another page"),
    "redirected elsewhere": (
        on(2, elsewhere),
        r"sends on to http://127.0.0.2:9/\S+, another place",
    ),
    "link elsewhere": (
        on(2, next_as(lambda url: url.replace("127.0.0.1", "example.org"))),
        r"sends on to http://example.org:\d+/v1/structures, another place",
    ),
    "link to another port": (
        on(2, next_as(lambda url: re.sub(r":\d+/", ":1/", url))),
        r"sends on to http://127.0.0.1:1/v1/structures, another place",
    ),
    "redirected in circles": (
        always(lambda h, r: Reply(302, {"Location": h.path}, b"")),
        r"redirects in circles",
    ),
}


@pytest.mark.parametrize("name", STOPPED)
def test_stops_with_a_sentence_and_leaves_the_set(name, source, proxy, pauses, tmp_path):
    fault, expected = STOPPED[name]
    if fault is second_page_again:
        fault = second_page_again(proxy)
    path = tmp_path / "loopback.json"
    path.write_bytes(pinned_before(source, proxy, tmp_path))
    before = path.read_bytes()
    proxy.paths.clear()
    proxy.fault = fault  # type: ignore[assignment]
    with pytest.raises(RetrievalError, match=expected) as caught:
        retrieve({**source, "max_entries": 300}, path, print)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["loopback.json"]


_pinned: dict[str, bytes] = {}


def pinned_before(source: dict[str, Any], proxy: Proxy, folder: Path) -> bytes:
    """A pinned set of an undisturbed retrieval, made once."""
    if proxy.address not in _pinned:
        path = folder / "undisturbed.json"
        retrieve(source, path, print)
        _pinned[proxy.address] = path.read_bytes()
        path.unlink()
    return copy.copy(_pinned[proxy.address])


def test_an_answer_beyond_the_limit_is_not_read(source, proxy, pauses, monkeypatch):
    monkeypatch.setattr(web, "LARGEST_ANSWER_BYTES", 30_000)
    with pytest.raises(RetrievalError, match="sends more than 0 MB in one answer; lower page_lim"):
        fetch(source, print)


def test_nobody_listens(pauses):
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RetrievalError, match=r"Connection refused\), 5 times in a row"):
        fetch({"base_url": address, "filter": "nelements=2"}, print)


def test_numbers_that_are_not_finite_cost_one_entry(source, proxy, undisturbed, pauses):
    def change(content: dict[str, Any]) -> None:
        content["data"][3]["attributes"]["lattice_vectors"][0][0] = float("nan")
        content["data"][4]["attributes"]["_exmpl_hull_distance"] = float("inf")

    proxy.fault = on(1, edited(change))
    entries = fetch(source, print).entries
    different = [e for e, good in zip(entries, undisturbed, strict=True) if e != good]
    assert len(different) == 2
    reasons = [e["reason"] for e in different if "reason" in e]
    assert reasons == ["not_finite: a number of the cell is not finite"]
    assert [e["properties"] for e in different if "reason" not in e] == [
        {"_exmpl_magnetization": 2.2}
    ]


def test_a_malformed_entry_costs_one_entry(source, proxy, undisturbed, pauses):
    proxy.fault = on(2, edited(lambda c: c["data"][7]["attributes"].update(nsites=99)))
    entries = fetch(source, print).entries
    different = [e for e, good in zip(entries, undisturbed, strict=True) if e != good]
    assert len(different) == 1
    assert re.match(r"unreadable: \d+ positions, \d+ .* nsites = 99", different[0]["reason"])
