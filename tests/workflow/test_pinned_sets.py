"""Databases in the graph: retrieved once, pinned, refreshed on demand, and never in the way.

The Materials Project is the one of tests/materials_project_server.py; the client is the real one.
"""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from campaign import CONFIGS, ROOT, Campaign, job_counts
from materials_project_server import KEY, MaterialsProject, bundled, document, send_bytes
from pymatgen.core import Structure

from dft2spectra.structures.retrieval import remote_sources, retrieve

FORCED = ("--forcerun", "retrieve_structures")
HELD = ["Fe", "FeAl", "FePd", "FePt", "FeRh", "Fe3Si", "Fe3Al"]


@pytest.fixture
def project() -> Iterator[MaterialsProject]:
    with MaterialsProject(bundled(ROOT / "data" / "structures", HELD)) as running:
        yield running


def connected(campaign: Campaign, project: MaterialsProject) -> Campaign:
    """The campaign with two sets of the database besides three files."""
    online(campaign, project)
    configure(campaign)
    return campaign


def configure(
    campaign: Campaign, palladium: str = "Fe-Pd", aluminium: str = "Fe-Al", **more: Any
) -> None:
    first = {"kind": "materials_project", "name": "palladium", "chemical_systems": [palladium]}
    second = {"kind": "materials_project", "name": "aluminium", "chemical_systems": [aluminium]}
    local = {"kind": "files", "path": "data/structures", "names": ["Fe", "FeAl", "FeTi", "Fe3Si"]}
    content = {
        "branches": ["mossbauer"],
        "structures": {"sources": [local, first | more, second]},
        "calibration": {"sources": [local]},
        "candidates": {"sources": []},
        "mossbauer": {"mixtures": []},
    }
    (campaign.folder / "own.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


OWN = ("--configfile", str(CONFIGS / "stub.yaml"), "own.yaml")


def sets(campaign: Campaign) -> dict[str, bytes]:
    folder = campaign.folder / "data" / "retrieved"
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}


def asked(project: MaterialsProject) -> list[str]:
    """Systems that were asked for since the last time."""
    systems = [terms["chemsys"] for terms in project.searches]
    project.requests.clear()
    return systems


def test_life_of_pinned_sets(planning: Campaign, project: MaterialsProject) -> None:
    campaign = connected(planning, project)
    plan = campaign.finish("--dry-run", *OWN)
    assert "To be retrieved before the crystals and their jobs are known" in plan
    assert "aluminium is not retrieved yet" in plan
    assert "will result in alteration of the DAG" in plan
    jobs = job_counts(plan)
    assert jobs["retrieve_structures"] == 2
    assert jobs["summarize_hyperfine"] == jobs["plot_mossbauer"] == 1
    assert not (campaign.folder / "data" / "retrieved").exists()
    assert project.requests == []

    # One call retrieves, screens and writes.
    output = campaign.finish("all_structures", *OWN)
    assert sorted(asked(project)) == ["Al-Fe", "Fe-Pd"]
    assert "retrieve_structures palladium: page 1: 1 of 1 entries" in output
    assert sorted(sets(campaign)) == ["aluminium.json", "palladium.json"]
    table = pd.read_csv(campaign.folder / "results" / "stub" / "structures" / "index.csv")
    sources = dict(zip(table.formula, table.sources, strict=True))
    assert sources["AlFe"] == "files;materials_project:aluminium"
    assert sources["AlFe3"] == "materials_project:aluminium"
    assert sources["FePd"] == "materials_project:palladium"
    crystals = list((campaign.folder / "results" / "stub" / "structures" / "crystals").iterdir())
    assert len(crystals) == len(table) == 6

    # Nothing is asked again, also not for a filter that acts on the set.
    configure(campaign, at_most=7, exclude_elements=["O"])
    assert campaign.planned("all_structures", *OWN) == {"screen_structures": 1}
    # A change of what is asked for asks for this set alone.
    configure(campaign, palladium="Fe-Pt")
    before = sets(campaign)
    campaign.finish("all_structures", *OWN)
    assert asked(project) == ["Fe-Pt"]
    assert sets(campaign)["aluminium.json"] == before["aluminium.json"]
    changes = pd.read_csv(campaign.folder / "data" / "retrieved" / "palladium.changes.csv")
    assert list(changes.change) == ["removed", "added"]

    # A refresh that goes wrong leaves all as it is, and the campaign goes on without the database.
    before = sets(campaign)
    project.fault = lambda handler, *_: (
        send_bytes(handler, b"<html>Down</html>", kind="text/html") or True
    )
    failed = campaign.run("data/retrieved/palladium.json", *FORCED, *OWN)
    assert failed.returncode != 0
    assert "17 bytes of text/html that are no whole JSON" in failed.stdout
    assert "stays as it was and in use" in failed.stdout
    assert "Traceback" not in failed.stdout
    assert sets(campaign) == before
    project.requests.clear()
    (campaign.folder / "results" / "stub" / "structures" / "index.csv").unlink()
    campaign.finish("all_structures", *OWN)
    assert project.requests == []

    # The key is nowhere: not in results, logs, records of Snakemake or what was printed.
    for path in campaign.folder.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    assert KEY not in plan + output + failed.stdout


@pytest.fixture
def cloned(
    planning: Campaign, project: MaterialsProject, monkeypatch: pytest.MonkeyPatch
) -> Campaign:
    """A fresh clone with the pinned sets of somebody else, and no network."""
    campaign = connected(planning, project)
    for name, value in campaign.environment.items():
        monkeypatch.setenv(name, value)
    content = yaml.safe_load((campaign.folder / "own.yaml").read_text(encoding="utf-8"))
    for name, source in remote_sources(content["structures"]["sources"]).items():
        retrieve(source, campaign.folder / "data" / "retrieved" / f"{name}.json", print)
    project.requests.clear()
    campaign.environment = {"MP_API_KEY": "", "MP_API_ENDPOINT": "http://127.0.0.1:9/"}
    return campaign


def online(campaign: Campaign, project: MaterialsProject) -> None:
    campaign.environment = {"MP_API_KEY": KEY, "MP_API_ENDPOINT": project.address}


def test_a_clone_uses_the_sets_that_came_with_it(
    cloned: Campaign, project: MaterialsProject
) -> None:
    jobs = cloned.planned(*OWN)
    assert "retrieve_structures" not in jobs
    assert jobs["compute_hyperfine"] == 6

    # Other settings than those of the sets are noticed without a record of the old ones.
    configure(cloned, palladium="Fe-Pt")
    plan = cloned.finish("all_structures", "--dry-run", *OWN)
    assert 'chemical_systems: ["Fe-Pd"] then, ["Fe-Pt"] now' in plan
    assert job_counts(plan)["retrieve_structures"] == 1
    online(cloned, project)
    cloned.finish("all_structures", *OWN)
    assert asked(project) == ["Fe-Pt"]
    assert "retrieve_structures" not in cloned.planned(*OWN)


def test_delete_all_output_spares_the_sets(cloned: Campaign) -> None:
    """No database gives its answer of then again; what lies beside the results goes with them."""
    results = cloned.folder / "results" / "stub"
    before = sets(cloned)
    files = [results / "sites" / "sites.parquet", results / "hyperfine" / "summary.csv"]
    beside = results / "hyperfine" / ".summary.csv.kept"
    for path in (*files, beside):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    said = cloned.finish("--delete-all-output", "--dry-run", *OWN)
    assert "Would delete results/stub/sites/sites.parquet" in said
    assert "retrieved" not in said
    assert all(path.exists() for path in (*files, beside))
    said = cloned.finish("--delete-all-output", *OWN)
    assert not any(path.exists() for path in (*files, beside))
    assert sets(cloned) == before


def test_edited_filter_and_a_database_that_is_down(
    cloned: Campaign, project: MaterialsProject
) -> None:
    """Asked for again by every command that needs it, and the old filter is in use at once."""
    before = sets(cloned)
    online(cloned, project)
    project.fault = lambda handler, *_: (
        send_bytes(handler, b"<html>Down</html>", kind="text/html") or True
    )
    configure(cloned, palladium="Fe-Pt")
    for target in ("all_retrieved", "all_retrieved", "all_structures"):
        project.requests.clear()
        failed = cloned.run(target, *OWN)
        assert failed.returncode != 0
        assert "is not used with the new settings" in failed.stdout
        assert "stays as it was and in use" not in failed.stdout
        assert len(project.requests) > 0
        assert sets(cloned) == before
    # What needs no set is left alone.
    assert cloned.planned("data/retrieved/aluminium.json", *OWN) == {}

    configure(cloned)
    project.requests.clear()
    assert "retrieve_structures" not in cloned.planned("all_retrieved", *OWN)
    cloned.finish("all_structures", *OWN)
    assert project.requests == []
    configure(cloned, palladium="Fe-Pt")
    project.fault = None
    cloned.finish("all_structures", *OWN)
    assert asked(project) == ["Fe-Pt"]
    assert cloned.planned("all_retrieved", *OWN) == {}


def test_damaged_set(cloned: Campaign, project: MaterialsProject) -> None:
    path = cloned.folder / "data" / "retrieved" / "aluminium.json"
    path.write_bytes(path.read_bytes().replace(b"2.909", b"2.919"))
    done = cloned.run("all_structures", "--dry-run", *OWN)
    assert done.returncode != 0
    assert "data/retrieved/aluminium.json: damaged or edited" in done.stdout
    assert "snakemake all_retrieved --forcerun retrieve_structures" in done.stdout
    online(cloned, project)
    cloned.finish("data/retrieved/aluminium.json", *FORCED, *OWN)
    assert b"2.909" in path.read_bytes()
    assert len(asked(project)) == 1


def test_without_a_key(planning: Campaign, project: MaterialsProject) -> None:
    campaign = connected(planning, project)
    campaign.environment = {"MP_API_KEY": "", "MP_API_ENDPOINT": project.address}
    done = campaign.run("all_retrieved", *OWN)
    assert done.returncode != 0
    assert "export MP_API_KEY=..." in done.stdout
    assert "Traceback" not in done.stdout
    assert sets(campaign) == {}
    assert project.requests == []


def test_killed_in_the_middle(cloned: Campaign, project: MaterialsProject) -> None:
    """kill -9 of everything while the database answers: the set before is there and whole."""
    campaign = cloned
    online(campaign, project)
    before = sets(campaign)
    project.fault = lambda *_: time.sleep(30) or True
    process = campaign.start("--cores", "1", "all_retrieved", *FORCED, *OWN)
    while not project.searches:
        assert process.poll() is None
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert sets(campaign) == before
    project.fault = None
    project.requests.clear()
    campaign.run("--unlock", *OWN)
    output = campaign.finish("all_retrieved", *OWN)
    assert len(asked(project)) == 1  # the one that was killed runs again
    assert "0 added, 0 removed, 0 changed" in output


def test_whole_campaign_in_one_call(fresh: Campaign, project: MaterialsProject) -> None:
    """From a clone without sets to spectra, with stub DFT; then a refresh with a new crystal."""
    campaign = connected(fresh, project)
    campaign.finish("all_mossbauer", *OWN)
    results = campaign.folder / "results" / "stub"
    assert len(list((results / "hyperfine").glob("*.json"))) == 6
    assert len(list((results / "mossbauer" / "structures").glob("*.png"))) >= 1
    asked(project)

    faces = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    crystal = Structure(3.65 * np.eye(3), ["Al", "Fe", "Fe", "Fe"], faces)
    crystal.add_site_property("magmom", [0.0, 2.2, 2.2, 2.2])
    project.documents.append(document("mp-999", crystal))
    campaign.finish("all_hyperfine", *FORCED, *OWN)
    assert sorted(asked(project)) == ["Al-Fe", "Fe-Pd"]
    table = pd.read_csv(results / "hyperfine" / "summary.csv")
    assert len(table) == 7
    records = sorted((results / "hyperfine").glob("*.json"), key=lambda path: path.stat().st_mtime)
    assert len(records) == 7
    finished = (results / "mossbauer" / "structures").stat().st_mtime
    assert [path.stat().st_mtime > finished for path in records] == [False] * 6 + [True]
