"""Retrieval from the Materials Project: mp-api against a server of its documents on loopback."""

import copy
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import materials_project_server as server
import pytest
from emmet.core.summary import SummaryDoc
from materials_project_server import KEY, MaterialsProject, document, send_bytes
from mp_api.client.routes.materials.summary import SummaryRester
from pymatgen.core import Lattice, Structure

from dft2spectra.structures import materials_project, materials_project_session
from dft2spectra.structures.materials_project import check, fetch
from dft2spectra.structures.materials_project_entries import FIELDS
from dft2spectra.structures.pinned import RetrievalError, Retrieved, read
from dft2spectra.structures.retrieval import retrieve

ROOT = Path(__file__).parents[2]
SOURCE: dict[str, Any] = {"kind": "materials_project", "name": "mp"}
COMPOUNDS = {"FeAl": 2.909, "FeCo": 2.857, "FeTi": 2.976, "FeRh": 2.998, "NiAl": 2.887}


def cesium_chloride(formula: str, a: float) -> Structure:
    first, second = formula[:2], formula[2:]
    moments = [2.3 if first == "Fe" else 0.6, -0.04]
    return Structure(
        Lattice.cubic(a),
        [first, second],
        [[0, 0, 0], [0.5, 0.5, 0.5]],
        site_properties={"magmom": moments},
    )


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    """Five compounds of two elements, one without Fe, one above the hull, one never made."""
    made = []
    for number, (formula, a) in enumerate(COMPOUNDS.items()):
        made.append(
            document(
                f"mp-{200 + number}",
                cesium_chloride(formula, a),
                energy_above_hull=0.08 if formula == "FeRh" else 0.01,
                formation_energy_per_atom=-0.3,
                theoretical=formula == "FeCo",
                ordering="FM",
                total_magnetization=2.26,
            )
        )
    return made


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, small pages and no pauses."""
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.delenv("PMG_MAPI_KEY", raising=False)
    monkeypatch.setattr(materials_project, "PAGE", 2)
    monkeypatch.setattr(materials_project_session, "BACK_OFF_S", 0.01)
    monkeypatch.setattr(materials_project_session, "TIMEOUT_S", (2.0, 1.0))
    monkeypatch.setattr(materials_project_session, "ANSWER_S", 1.5)


@pytest.fixture
def project(documents: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Any:
    with MaterialsProject(copy.deepcopy(documents)) as running:
        monkeypatch.setenv("MP_API_ENDPOINT", running.address)
        yield running


def quiet(_: str) -> None:
    pass


def formulas(source: dict[str, Any]) -> list[str]:
    return sorted(entry["formula"] for entry in fetch({**SOURCE, **source}, quiet).entries)


# --- what is asked for and what comes -------------------------------------------------------------


def test_documents_of_the_server_are_those_of_the_client(documents: list[dict[str, Any]]) -> None:
    """Made by emmet's model; the fields asked for are fields of the model that mp-api uses."""
    assert SummaryRester.document_model is SummaryDoc
    for made in documents:
        again = SummaryDoc.model_validate(made)
        assert again.structure.site_properties["magmom"][1] == -0.04
    assert set(FIELDS) <= set(SummaryDoc.model_fields)


def test_requests_of_the_client(project: MaterialsProject) -> None:
    """The whole conversation: three heartbeats without the key, then a page after the other."""
    found = fetch({**SOURCE, "n_elements": [2, 3]}, quiet)
    paths = [path for path, _, _ in project.requests]
    assert paths == ["/heartbeat"] * 3 + ["/materials/summary/"] * 2
    assert found.requests == len(project.requests)
    keys = [headers.get("x-api-key") for _, _, headers in project.requests]
    assert keys == [None] * 3 + [KEY] * 2
    first, second = project.searches
    asked = {"elements": "Fe", "deprecated": "False", "nelements_min": "2", "nelements_max": "3"}
    paging = {"_limit": "2", "_sort_fields": "material_id", "_fields": ",".join(FIELDS)}
    assert first == asked | paging
    assert second == asked | paging | {"_skip": "2"}


def test_entries(project: MaterialsProject) -> None:
    found = fetch(SOURCE, quiet)
    assert found.provider == {
        "name": "Materials Project",
        "base_url": project.address,
        "api_version": "0.87.1",
        "database_version": "2026.10.1",
    }
    by_formula = {entry["formula"]: entry for entry in found.entries}
    assert sorted(by_formula) == ["AlFe", "FeCo", "FeRh", "TiFe"]  # pymatgen's order; no NiAl
    iron_cobalt = by_formula["FeCo"]
    assert iron_cobalt["id"] == "mp-201"
    assert iron_cobalt["symbols"] == ["Fe", "Co"]
    assert iron_cobalt["cell_ang"][0] == [2.857, 0.0, 0.0]
    assert iron_cobalt["moments_mub"] == [2.3, -0.04]
    assert iron_cobalt["last_modified"].startswith("2026-10-01")
    assert iron_cobalt["url"].startswith("https://next-gen.materialsproject.org/materials/mp-")
    assert iron_cobalt["properties"] == {
        "energy_above_hull_ev_per_atom": 0.01,
        "formation_energy_ev_per_atom": -0.3,
        "is_stable": False,
        "theoretical": True,
        "ordering": "FM",
        "total_moment_mub": 2.26,
    }


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"chemical_systems": ["Fe-Al"]}, ["AlFe"]),
        ({"chemical_systems": ["Co-Fe", "Fe-Ti"]}, ["FeCo", "TiFe"]),
        ({"chemical_systems": ["Fe-*"]}, ["AlFe", "FeCo", "FeRh", "TiFe"]),
        ({"chemical_systems": ["Fe-*-*"]}, []),
        ({"n_elements": [3, 4]}, []),
        ({"max_energy_above_hull_ev_per_atom": 0.05}, ["AlFe", "FeCo", "TiFe"]),
        ({"theoretical": True}, ["FeCo"]),
        ({"theoretical": False, "max_energy_above_hull_ev_per_atom": 0.02}, ["AlFe", "TiFe"]),
    ],
)
def test_filters(project: MaterialsProject, terms: dict[str, Any], expected: list[str]) -> None:
    assert formulas(terms) == expected


def test_system_is_sent_as_the_database_writes_it(project: MaterialsProject) -> None:
    fetch({**SOURCE, "chemical_systems": ["Fe-Al", "*-Fe-Al"]}, quiet)
    assert project.searches[0]["chemsys"] == "Al-Fe,Al-Fe-*"


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"chemical_systems": ["Fe-Xx"]}, "'Fe-Xx' has 'Xx' where an element or"),
        ({"chemical_systems": ["Fe2O3"]}, "'Fe2O3' has 'Fe2O3'"),
        ({"chemical_systems": ["Al-Ni"]}, "'Al-Ni' is without Fe"),
        ({"n_elements": [3, 2]}, r"fewest first, \[2, 3\]"),
    ],
)
def test_impossible_settings(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check({**SOURCE, **terms})


def test_nothing_is_printed(
    project: MaterialsProject, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []
    with caplog.at_level(logging.INFO):
        fetch(SOURCE, lines.append)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert [line.partition(",")[0] for line in lines] == [
        "page 1: 2 of 4 entries",
        "page 2: 4 of 4 entries",
    ]
    assert "s left" in lines[0]


def test_other_notation_of_an_id_is_the_same_id(project: MaterialsProject) -> None:
    """The server went from mp-200 to letters; both are one entry, so a refresh shows no change."""
    letters = fetch(SOURCE, quiet).entries
    assert project.documents[0]["material_id"] == "mp-aaaaaahs"
    for made in project.documents:
        number = {"mp-aaaaaahs": 200, "mp-aaaaaaht": 201, "mp-aaaaaahu": 202, "mp-aaaaaahv": 203}
        made["material_id"] = f"mp-{number.get(made['material_id'], 204)}"
    digits = fetch(SOURCE, quiet).entries
    assert [entry["id"] for entry in letters] == [entry["id"] for entry in digits]


# --- entries that cannot be used ------------------------------------------------------------------


def shared_site(structure: dict[str, Any]) -> None:
    structure["sites"][1]["species"] = [
        {"element": "Al", "occu": 0.5},
        {"element": "Si", "occu": 0.5},
    ]


def no_position(structure: dict[str, Any]) -> None:
    del structure["sites"][0]["abc"]


def no_lattice(structure: dict[str, Any]) -> None:
    structure["lattice"] = None


def unknown_element(structure: dict[str, Any]) -> None:
    structure["sites"][0]["species"] = [{"element": "Zz", "occu": 1}]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (shared_site, "partial_occupancy: "),
        (no_position, "unreadable: KeyError"),
        (no_lattice, "unreadable: "),
        (unknown_element, "unreadable: "),
    ],
)
def test_unusable_entry_is_recorded(
    project: MaterialsProject, spoil: Callable[[dict[str, Any]], None], code: str
) -> None:
    spoil(project.documents[0]["structure"])
    entries = {entry["id"]: entry for entry in fetch(SOURCE, quiet).entries}
    assert entries["mp-200"]["formula"] == "AlFe"
    assert entries["mp-200"]["reason"].startswith(code)
    assert sum("reason" in entry for entry in entries.values()) == 1


def test_entry_without_structure_or_moments(project: MaterialsProject) -> None:
    project.documents[0]["structure"] = None
    for site in project.documents[1]["structure"]["sites"]:
        site["properties"] = {}
    entries = {entry["id"]: entry for entry in fetch(SOURCE, quiet).entries}
    assert entries["mp-200"]["reason"] == "unreadable: the entry has no structure"
    assert entries["mp-201"]["moments_mub"] is None


# --- answers that are not whole -------------------------------------------------------------------


def on_page(number: int, act: Callable[[Any, dict[str, Any]], Any]) -> Callable[..., Any]:
    """A fault on one page, or on all for 0."""
    return lambda handler, page, answer: act(handler, answer) if number in (0, page) else None


def web_page(handler: Any, _: dict[str, Any]) -> bool:
    send_bytes(handler, b"<html><body>Down for maintenance</body></html>", kind="text/html")
    return True


def cut_off(handler: Any, answer: dict[str, Any]) -> bool:
    content = json.dumps(answer).encode()
    send_bytes(handler, content[: len(content) // 2], announced=len(content))
    handler.close_connection = True
    handler.connection.shutdown(1)
    return True


def cut_off_unannounced(handler: Any, answer: dict[str, Any]) -> bool:
    content = json.dumps(answer).encode()
    send_bytes(handler, content[: len(content) // 2])
    return True


def too_slow(handler: Any, _: dict[str, Any]) -> None:
    server.wait(1.5)


def dripping(handler: Any, _: dict[str, Any]) -> bool:
    send_bytes(handler, b"{", announced=1000)
    try:
        for _ in range(50):
            handler.wfile.write(b" ")
            server.wait(0.2)
    except OSError:  # the client has gone
        handler.close_connection = True
    return True


def asks_for_hours(handler: Any, _: dict[str, Any]) -> bool:
    send_bytes(handler, b"", status=429, headers=[("Retry-After", "7200")])
    return True


def one_missing(_: Any, answer: dict[str, Any]) -> None:
    del answer["data"][0]


def empty(_: Any, answer: dict[str, Any]) -> None:
    answer["data"].clear()


def other_count(_: Any, answer: dict[str, Any]) -> None:
    answer["meta"]["total_doc"] += 1


def no_count(_: Any, answer: dict[str, Any]) -> None:
    del answer["meta"]


def no_ids(_: Any, answer: dict[str, Any]) -> None:
    for made in answer["data"]:
        made["id"] = made.pop("material_id")


def one_without_id(_: Any, answer: dict[str, Any]) -> None:
    del answer["data"][0]["material_id"]


def data_as_mapping(_: Any, answer: dict[str, Any]) -> None:
    answer["data"] = {made["material_id"]: made for made in answer["data"]}


def a_list(handler: Any, answer: dict[str, Any]) -> bool:
    send_bytes(handler, json.dumps(answer["data"]).encode())
    return True


def refused(handler: Any, _: dict[str, Any]) -> bool:
    # A careless server that repeats what it was sent.
    text = json.dumps({"detail": f"bad request with {handler.headers['x-api-key']}"})
    send_bytes(handler, text.encode(), status=400)
    return True


def elsewhere(handler: Any, _: dict[str, Any]) -> bool:
    send_bytes(handler, b"", status=302, headers=[("Location", "http://127.0.0.1:9/")])
    return True


def repeated(_: Any, answer: dict[str, Any]) -> None:
    answer["data"][:] = copy.deepcopy(FIRST_PAGE)


def twice_and_different(_: Any, answer: dict[str, Any]) -> None:
    answer["data"][1] = {**answer["data"][0], "energy_above_hull": 0.5}


def not_asked_for(_: Any, answer: dict[str, Any]) -> None:
    for site in answer["data"][0]["structure"]["sites"]:
        site["species"] = [{"element": "Ni", "occu": 1}]


def other_schema(_: Any, answer: dict[str, Any]) -> None:
    for made in answer["data"]:
        made["crystal"] = made.pop("structure")


FIRST_PAGE: list[dict[str, Any]] = []
FAULTS: dict[str, tuple[int, Callable[[Any, dict[str, Any]], Any], str]] = {
    "web page": (2, web_page, "bytes of text/html that are no whole JSON"),
    "cut off": (2, cut_off, "IncompleteRead|no whole JSON|Connection broken"),
    "cut off, length as sent": (2, cut_off_unannounced, "no whole JSON"),
    "too slow": (2, too_slow, "[Tt]imed out"),
    "dripping": (2, dripping, "did not send its whole answer within 1.5 s; run again later"),
    "asks for hours": (2, asks_for_hours, "answers 429 and asks to wait 7200 s; run again after"),
    "an entry is missing": (1, one_missing, "announced 4 entries, 3 came"),
    "an empty page": (2, empty, "announced 4 entries, 2 came"),
    "a page came twice": (2, repeated, "a page came twice"),
    "the count changes": (2, other_count, "changed in the middle: 4 entries, then 5"),
    "the count is too high": (1, other_count, "changed in the middle|announced 5 entries"),
    "no count": (1, no_count, "not the shape"),
    "no ids": (1, no_ids, "entries of a page have no material_id"),
    "an entry without id": (2, one_without_id, "an entry without material_id"),
    "a mapping of entries": (1, data_as_mapping, "not the shape"),
    "a list": (1, a_list, "something that is no mapping"),
    "request refused": (1, refused, "status 400: .*bad request with <key>"),
    "redirected": (2, elsewhere, "status 302"),
    "an id twice": (1, twice_and_different, "mp-200 came twice with different content"),
    "the schema changed": (0, other_schema, r"4 of 4 entries cannot be read \(mp-200: unreadable"),
    "filter not understood": (2, not_asked_for, "was not asked for"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_leaves_the_pinned_set_alone(
    project: MaterialsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "mp.json"
    retrieve(SOURCE, path, quiet)
    before = path.read_bytes()
    FIRST_PAGE[:] = [made for made in project.documents if "Fe" in made["elements"]][:2]
    project.requests.clear()
    page, act, words = FAULTS[name]
    if act is too_slow:
        monkeypatch.setattr(materials_project_session, "RETRIES", 0)
    project.fault = on_page(page, act)
    lines: list[str] = []
    with pytest.raises(RetrievalError, match=words) as caught:
        retrieve(SOURCE, path, lines.append)
    assert "stays as it was and in use" in str(caught.value)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["mp.json"]
    assert KEY not in str(caught.value) + "".join(lines)


def answers_first_with(status: int, times: int, after: str | None = None) -> Callable[..., Any]:
    left = [times]

    def act(handler: Any, _: int, __: dict[str, Any]) -> bool:
        left[0] -= 1
        if left[0] >= 0:
            headers = [("Retry-After", after)] if after else []
            send_bytes(handler, b"<p>busy</p>", kind="text/html", status=status, headers=headers)
        return left[0] >= 0

    return act


@pytest.mark.parametrize(("status", "after"), [(500, None), (503, None), (502, None), (429, "1")])
def test_trouble_that_passes(project: MaterialsProject, status: int, after: str | None) -> None:
    undisturbed = fetch(SOURCE, quiet).entries
    project.fault = answers_first_with(status, 2 if after is None else 1, after)
    assert fetch(SOURCE, quiet).entries == undisturbed


def test_trouble_that_stays(project: MaterialsProject) -> None:
    project.fault = answers_first_with(503, 1000)
    lines: list[str] = []
    with pytest.raises(RetrievalError, match="status 503: busy"):
        fetch(SOURCE, lines.append)
    assert len(project.searches) == 1 + materials_project_session.RETRIES
    pause = re.compile(r"the Materials Project answers 503; next attempt in \d+ s")
    assert (
        len([line for line in lines if pause.fullmatch(line)]) == materials_project_session.RETRIES
    )


def test_equal_entries_on_one_page_collapse(project: MaterialsProject) -> None:
    project.fault = on_page(
        1, lambda _, answer: answer["data"].__setitem__(1, copy.deepcopy(answer["data"][0]))
    )
    assert len(fetch(SOURCE, quiet).entries) == 3


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MP_API_ENDPOINT", "http://127.0.0.1:9/")
    words = r"cannot be reached \(.*Connection refused\); look at the network.*Nothing was written"
    with pytest.raises(RetrievalError, match=words):
        retrieve(SOURCE, tmp_path / "mp.json", quiet)
    assert list(tmp_path.iterdir()) == []


def test_somebody_else_is_there(project: MaterialsProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MaterialsProject, "answer", lambda _, handler: server.send(handler, {}))
    with pytest.raises(RetrievalError, match=r"not as the Materials Project.*MP_API_ENDPOINT"):
        fetch(SOURCE, quiet)


# --- the key --------------------------------------------------------------------------------------


def test_without_a_key(project: MaterialsProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MP_API_KEY")
    with pytest.raises(RetrievalError, match=r"https://materialsproject.org/api.*MP_API_KEY"):
        fetch(SOURCE, quiet)
    assert project.requests == []
    monkeypatch.setenv("PMG_MAPI_KEY", KEY)
    assert len(fetch(SOURCE, quiet).entries) == 4


def test_key_of_the_wrong_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_API_KEY", "secret")
    with pytest.raises(RetrievalError, match="has 6 characters") as caught:
        fetch(SOURCE, quiet)
    assert "secret" not in str(caught.value)


def test_wrong_key(project: MaterialsProject, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "f" * 32
    monkeypatch.setenv("MP_API_KEY", wrong)
    with pytest.raises(RetrievalError, match="status 401: it refuses the key") as caught:
        fetch(SOURCE, quiet)
    assert wrong not in str(caught.value)


def test_key_is_in_no_file(project: MaterialsProject, tmp_path: Path) -> None:
    lines: list[str] = []
    retrieve(SOURCE, tmp_path / "mp.json", lines.append)
    project.database_version = "2026.11.1"
    retrieve(SOURCE, tmp_path / "mp.json", lines.append)
    files = list(tmp_path.iterdir())
    assert len(files) == 2
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    assert KEY not in "".join(lines)


# --- a refresh ------------------------------------------------------------------------------------


def test_refresh_shows_the_difference(project: MaterialsProject, tmp_path: Path) -> None:
    path = tmp_path / "mp.json"
    retrieve(SOURCE, path, quiet)
    assert not path.with_suffix(".changes.csv").exists()
    project.documents[0]["energy_above_hull"] = 0.03
    del project.documents[1]
    project.documents.append(document("mp-300", cesium_chloride("FeGa", 2.92)))
    project.database_version = "2026.11.1"
    lines: list[str] = []
    retrieve(SOURCE, path, lines.append)
    assert any("1 added, 1 removed, 1 changed" in line for line in lines)
    assert path.with_suffix(".changes.csv").read_text(encoding="utf-8").splitlines() == [
        "id,formula,change,fields",
        "mp-200,AlFe,changed,properties.energy_above_hull_ev_per_atom",
        "mp-201,FeCo,removed,",
        "mp-300,GaFe,added,",
    ]
    assert read(path)["provider"]["database_version"] == "2026.11.1"
    retrieve(SOURCE, path, quiet)
    assert len(path.with_suffix(".changes.csv").read_text(encoding="utf-8").splitlines()) == 1


def test_an_empty_answer_does_not_empty_a_set(project: MaterialsProject, tmp_path: Path) -> None:
    path = tmp_path / "mp.json"
    retrieve(SOURCE, path, quiet)
    before = path.read_bytes()
    project.documents.clear()
    with pytest.raises(RetrievalError, match=r"there is no entry; loosen the filter\. .* in use"):
        retrieve(SOURCE, path, quiet)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["mp.json"]
    path.unlink()
    with pytest.raises(RetrievalError, match=r"loosen the filter\. Nothing was written"):
        retrieve(SOURCE, path, quiet)
    assert not path.exists()


def test_a_refresh_does_not_lose_most_entries(project: MaterialsProject, tmp_path: Path) -> None:
    path = tmp_path / "mp.json"
    retrieve(SOURCE, path, quiet)
    before = path.read_bytes()
    kept = [made for made in project.documents if made["formula_pretty"] == "AlFe"]
    project.documents[:] = kept
    with pytest.raises(RetrievalError, match="3 of the 4 entries of the set before are missing"):
        retrieve(SOURCE, path, quiet)
    assert path.read_bytes() == before
    # Another question may have fewer answers, and a person may say that it is right.
    retrieve(SOURCE | {"chemical_systems": ["Fe-Al"]}, path, quiet)
    path.write_bytes(before)
    path.unlink()
    retrieve(SOURCE, path, quiet)
    assert read(path)["n_entries"] == 1


def test_other_settings_are_not_in_use(project: MaterialsProject, tmp_path: Path) -> None:
    path = tmp_path / "mp.json"
    retrieve(SOURCE, path, quiet)
    before = path.read_bytes()
    project.documents.clear()
    with pytest.raises(RetrievalError, match="is not used with the new settings") as caught:
        retrieve(SOURCE | {"n_elements": [2, 2]}, path, quiet)
    assert "(n_elements: null then, [2, 2] now)" in str(caught.value)
    assert "or restore the settings" in str(caught.value)
    assert path.read_bytes() == before


ASKED = {
    "another system": ({"chemical_systems": ["Fe-Al", "Fe-*-*"]}, {}, "was not asked for"),
    "also a made one": ({"theoretical": True}, {"theoretical": False}, "was not asked for"),
    "too high": (
        {"max_energy_above_hull_ev_per_atom": 0.05},
        {"energy_above_hull": 0.06},
        "was not asked for",
    ),
    "no distance": (
        {"max_energy_above_hull_ev_per_atom": 0.5},
        {"energy_above_hull": None},
        "cannot be read .* has no energy_above_hull_ev_per_atom, which max_energy_above_hull",
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_all_that_was_asked_is_compared(project: MaterialsProject, name: str) -> None:
    """The server ignores the search terms."""
    terms, changes, words = ASKED[name]

    def ignore(_: Any, answer: dict[str, Any]) -> None:
        made = [made | changes for made in project.documents if made["formula_pretty"] != "AlNi"]
        answer["data"][:] = [made for made in made if made["formula_pretty"] == "FeCo"]
        answer["meta"]["total_doc"] = 1

    project.fault = on_page(0, ignore)
    with pytest.raises(RetrievalError, match=words):
        fetch({**SOURCE, **terms}, quiet)


def test_one_entry_without_the_limited_property(project: MaterialsProject) -> None:
    def one(_: Any, answer: dict[str, Any]) -> None:
        answer["data"][0] = answer["data"][0] | {"energy_above_hull": None}

    project.fault = on_page(1, one)
    terms = {"max_energy_above_hull_ev_per_atom": 0.5}
    entries = fetch({**SOURCE, **terms}, quiet).entries
    assert [entry["id"] for entry in entries if "reason" in entry] == ["mp-200"]


def test_impossible_entries_leave_all_files_alone(
    project: MaterialsProject, tmp_path: Path
) -> None:
    path = tmp_path / "mp.json"
    retrieve(SOURCE, path, quiet)
    before = path.read_bytes()
    one = {"id": "mp-1", "formula": "Fe"}
    with pytest.raises(RetrievalError, match="entry mp-1: without cell_ang"):
        retrieve(SOURCE, path, quiet, lambda *_: Retrieved([one], {}, 1))
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"mp.json": before}


def test_refresh_mends_a_damaged_set(project: MaterialsProject, tmp_path: Path) -> None:
    path = tmp_path / "mp.json"
    path.write_text("{", encoding="utf-8")
    lines: list[str] = []
    retrieve(SOURCE, path, lines.append)
    assert "replaced without a comparison" in lines[0]
    assert read(path)["n_entries"] == 4
