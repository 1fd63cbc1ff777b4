"""The optimade package's own server, asked by the real client for the bundled structures."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from optimade_loopback import BUNDLED, MODIFIED, Proxy, Reply

from dft2spectra.structures.optimade import fetch
from dft2spectra.structures.optimade_entries import MOST_KEPT
from dft2spectra.structures.pinned import RetrievalError, read
from dft2spectra.structures.retrieval import retrieve
from dft2spectra.structures.sources import collect

LIMITS = {"max_atoms": 100}
CSV = {"Content-Type": "text/csv; header=present"}
HTML = {"Content-Type": "text/html"}
ALL = 'elements HAS "Fe"'


def asked(address: str, text: str = ALL, **more: Any) -> dict[str, Any]:
    return {"kind": "optimade", "name": "loop", "base_url": address, "filter": text, **more}


@pytest.fixture(scope="module")
def whole(server: str) -> list[dict[str, Any]]:
    """Entries of one retrieval in one page."""
    return fetch(asked(server, page_limit=500), print).entries


def test_every_bundled_structure_has_the_id_that_it_has_from_its_file(server, tmp_path):
    source = asked(server)
    retrieve(source, tmp_path / "loop.json", print)
    files = {"kind": "files", "path": str(BUNDLED)}
    from_files, _ = collect([files], LIMITS)
    from_server, rejected = collect([source], LIMITS | {"pinned": str(tmp_path)})
    expected = {
        Path(entry["path"]).stem: structure["structure_id"]
        for structure in from_files
        for entry in structure["provenance"]
    }
    found = {
        entry["id"]: structure["structure_id"]
        for structure in from_server
        for entry in structure["provenance"]
    }
    assert found == expected
    assert len(found) == len(list(BUNDLED.glob("*.yaml")))
    reasons = {row["origin"]: row["reason"].partition(":")[0] for row in rejected}
    assert {name: reasons[f"optimade:loop/{name}"] for name in ("mixed", "layer")} == {
        "mixed": "partial_occupancy",
        "layer": "not_periodic",
    }
    assert reasons["optimade:loop/no-positions"] == "unreadable"


def test_both_sources_together_are_the_files_with_two_provenances(server, tmp_path):
    source = asked(server)
    retrieve(source, tmp_path / "loop.json", print)
    files = {"kind": "files", "path": str(BUNDLED)}
    alone, _ = collect([files], LIMITS)
    together, _ = collect([source, files], LIMITS | {"pinned": str(tmp_path)})
    hashes = {structure["structure_id"]: structure["content_hash"] for structure in alone}
    assert {s["structure_id"]: s["content_hash"] for s in together} == hashes
    for structure in together:
        by_source = [entry["source"] for entry in structure["provenance"]]
        assert by_source.count("files") == by_source.count("optimade") >= 1


@pytest.mark.parametrize("page_limit", [1, 7, 50])
def test_any_page_size_gives_the_same(page_limit, server, whole):
    entries = fetch(asked(server, page_limit=page_limit), print).entries
    assert entries == whole


def test_what_is_asked_for_and_by_whom(proxy: Proxy, monkeypatch):
    agents = []
    get = requests.Session.get

    def noting(session, url, **options):
        agents.append(options["headers"]["User-Agent"])
        return get(session, url, **options)

    monkeypatch.setattr(requests.Session, "get", noting)
    retrieved = fetch(asked(proxy.address, "nelements=2 AND nsites<=8", page_limit=500), print)
    assert retrieved.requests == len(proxy.paths) == len(agents) == 3
    info, properties, structures = proxy.paths
    assert (info, properties) == ("/v1/info", "/v1/info/structures")
    assert structures == (
        "/v1/structures?filter=nelements%3D2%20AND%20nsites%3C%3D8&response_fields=lattice_vectors,"
        "cartesian_site_positions,species_at_sites,species,nsites,dimension_types,"
        "nperiodic_dimensions,structure_features,chemical_formula_reduced,last_modified,"
        "_exmpl_hull_distance,_exmpl_magnetization&page_limit=500"
    )
    assert all(agent.startswith("dft2spectra/") for agent in agents)


def test_entries_keep_what_the_provider_says(server, whole, resources):
    retrieved = fetch(asked(f"{server}/v1/", 'chemical_formula_reduced="AlFe"'), print)
    (entry,) = retrieved.entries
    (resource,) = (r for r in resources if r["id"] == "FeAl")
    assert entry["id"] == "FeAl"
    assert entry["url"] == f"{server}/v1/structures/FeAl"
    assert requests.get(entry["url"], timeout=30).json()["data"]["id"] == "FeAl"
    assert entry["last_modified"] == MODIFIED
    assert entry["properties"] == {
        "_exmpl_hull_distance": resource["attributes"]["hull_distance"],
        "_exmpl_magnetization": 2.2,
    }
    assert retrieved.provider == {
        "name": "Example provider",
        "base_url": f"{server}/v1",
        "api_version": "1.2.0",
        "database_version": None,
        "last_modified": MODIFIED,
    }


def test_progress_names_pages_and_what_is_left(server, whole):
    lines: list[str] = []
    fetch(asked(server, page_limit=40), lines.append)
    assert lines[0].startswith("Example provider: OPTIMADE 1.2.0 at ")
    assert lines[1].startswith(f"page 1: 40 entries of {len(whole)}, about ")
    assert lines[-1] == f"page 3: {len(whole)} entries"


def test_a_filter_with_a_mistake_is_not_sent(proxy: Proxy):
    with pytest.raises(ValueError, match="mistake at character 23"):
        fetch(asked(proxy.address, 'elements HAS "Fe" AND AND nsites=2'), print)
    assert proxy.paths == []


def test_an_unknown_property_of_the_provider(server):
    lines: list[str] = []
    with pytest.raises(RetrievalError, match=r"status 400: '_exmpl_hull' is not a known"):
        fetch(asked(server, "_exmpl_hull<0.1"), lines.append)
    assert "the provider does not list the property _exmpl_hull, which the filter uses" in lines


def test_a_filter_that_matches_nothing(server, tmp_path):
    path = tmp_path / "loop.json"
    with pytest.raises(RetrievalError, match=r"no entry of \S+/v1/structures matches the filter"):
        retrieve(asked(server, 'elements HAS "Pu"'), path, print)
    assert not path.exists()


def test_a_filter_that_matches_too_much_stops_after_one_page(proxy: Proxy):
    with pytest.raises(RetrievalError, match=r"matches 89 entries or more .* max_entries is 50"):
        fetch(asked(proxy.address, page_limit=10, max_entries=50), print)
    assert proxy.structure_requests == 1


@pytest.mark.parametrize("wrong", ["/extensions/docs", "/nowhere"])
def test_an_address_without_optimade(server, wrong):
    with pytest.raises(RetrievalError, match=r"refuses the request with status 404"):
        fetch(asked(server + wrong), print)


def test_a_refresh_of_an_unchanged_database_changes_no_entry(server, tmp_path):
    path = tmp_path / "loop.json"
    retrieve(asked(server, "nelements=2"), path, print)
    first = read(path)
    retrieve(asked(server, "nelements=2"), path, print)
    assert read(path)["checksum"] == first["checksum"]
    assert path.with_suffix(".changes.csv").read_text().splitlines() == ["id,formula,change,fields"]


def info(proxy: Proxy, **meta: Any) -> dict[str, Any]:
    """What the server says about itself, with something else in ``meta``."""
    content = proxy.reply("/v1/info").json()
    content["meta"] |= meta
    return content


def json_reply(content: Any, status: int = 200) -> Reply:
    return Reply(status, {"Content-Type": "application/vnd.api+json"}, json.dumps(content).encode())


@pytest.mark.parametrize(
    ("instead", "sentence"),
    [
        (
            {"/v1/info": json_reply({}, 404), "/versions": Reply(200, CSV, b"version\n0\n")},
            r"serves version 0 of OPTIMADE; only 1 is known here",
        ),
        (
            {"/v1/info": json_reply({}, 404), "/versions": Reply(200, CSV, b"version\n1\n0\n")},
            r"refuses the request with status 404",
        ),
        (
            {"/v1/info": json_reply({}, 404), "/versions": Reply(200, HTML, b"<html>")},
            r"refuses the request with status 404",
        ),
        ({"/v1/info": Reply(200, HTML, b"<html>")}, r"a web page \(text/html\) instead of data, 5"),
        ({"/v1/info": json_reply({"version": "1"})}, r"states no api_version: not OPTIMADE"),
        ({"/v1/info": json_reply({"meta": {"api_version": "0.10.1"}})}, r"in version 0.10.1 of"),
        ({"/v1/info": json_reply({"meta": {"api_version": "v2.0.0"}})}, r"in version v2.0.0 of"),
    ],
)
def test_what_is_not_version_1_is_refused(instead, sentence, proxy: Proxy, pauses):
    proxy.instead.update(instead)
    with pytest.raises(RetrievalError, match=sentence):
        fetch(asked(proxy.address), print)
    assert proxy.structure_requests == 0


def test_the_version_of_the_database_is_kept_where_it_is_told(proxy: Proxy):
    proxy.instead["/v1/info"] = json_reply(info(proxy, database={"version": "2026.04.13"}))
    provider = fetch(asked(proxy.address, "nelements=1"), print).provider
    assert provider["database_version"] == "2026.04.13"


def test_a_provider_without_a_list_of_properties_is_asked_for_the_standard_ones(proxy, whole):
    proxy.instead["/v1/info/structures"] = json_reply({"data": {"description": "structures"}})
    entries = fetch(asked(proxy.address), print).entries
    assert "_exmpl_" not in proxy.paths[-1]
    assert "species," in proxy.paths[-1]
    assert [entry["id"] for entry in entries] == [entry["id"] for entry in whole]
    assert all(entry.get("properties", {}) == {} for entry in entries)


def test_not_more_own_properties_are_asked_for_than_fit_in_an_address(proxy: Proxy):
    many = {f"_exmpl_hull_{number:03}": {} for number in range(500)}
    proxy.instead["/v1/info/structures"] = json_reply(
        {"data": {"properties": {"species": {}, **many}}}
    )
    fetch(asked(proxy.address, "nelements=1"), print)
    assert proxy.paths[-1].count("_exmpl_hull_") == MOST_KEPT
    assert len(proxy.paths[-1]) < 2000
