"""A database as a source, from the query to the table of crystals: the real OPTIMADE server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml
from campaign import Campaign, job_counts
from optimade_loopback import (
    Proxy,
    bundled_resources,
    free_port,
    running_proxy,
    running_server,
    unusable_resources,
)

TAKEN = ["Fe", "FeAl", "FeTi", "Fe3Si", "FeRh", "FePd", "Fe3Pt"]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Proxy]:
    """The server with seven crystals and three entries of no use, and a proxy that counts."""
    resources = [entry for entry in bundled_resources() if entry["id"] in TAKEN]
    (tmp_path / "server").mkdir()
    everything = resources + unusable_resources(resources[0])
    with (
        running_server(tmp_path / "server", everything) as address,
        running_proxy(address) as proxy,
    ):
        yield proxy


def configured(campaign: Campaign, address: str, **limits: int) -> list[str]:
    """Arguments for the stub campaign with Fe and FeAl as files and all else from the database."""
    remote = {
        "kind": "optimade",
        "name": "loopback",
        "base_url": address,
        "filter": 'elements HAS "Fe" AND nsites<9',
        "page_limit": 4,
    }
    local = {"kind": "files", "path": "data/structures", "names": ["Fe", "FeAl"]}
    content = {
        "branches": ["mossbauer"],
        "structures": {"sources": [local, remote], **limits},
        "mossbauer": {"mixtures": []},
    }
    path = campaign.folder / "database.yaml"
    path.write_text(yaml.safe_dump(content))
    stub = Path(__file__).parents[1] / "configs" / "stub.yaml"
    return ["--configfile", str(stub), str(path)]


def test_a_database_is_asked_once_and_never_again(planning: Campaign, database: Proxy):
    arguments = configured(planning, database.address)
    plan = planning.finish("all_structures", "--dry-run", *arguments)
    assert "retrieve_structures" in plan
    assert database.paths == []

    planning.finish("all_structures", *arguments)
    pinned_file = planning.folder / "data" / "retrieved" / "loopback.json"
    pinned = json.loads(pinned_file.read_text())
    # Six crystals and three entries of no use; Fe3Si has 16 atoms and does not match the filter.
    assert pinned["n_entries"] == 9
    assert database.structure_requests == 3
    structures = planning.folder / "results" / "stub" / "structures"
    index = pd.read_csv(structures / "index.csv")
    # FeTi and Fe3Si are files too, as calibration compounds.
    assert index.groupby("sources")["name"].count().to_dict() == {
        "files": 1,
        "files;optimade:loopback": 3,
        "optimade:loopback": 0,  # a database gives no names
    }
    assert list(index["sources"]).count("optimade:loopback") == 3
    rejected = pd.read_csv(structures / "rejected.csv").set_index("origin")
    for name, reason in {
        "layer": "not_periodic",
        "mixed": "partial_occupancy",
        "no-positions": "unreadable",
        "Fe": "duplicate_of",
    }.items():
        assert rejected.loc[f"optimade:loopback/{name}", "reason"].startswith(f"{reason}: ")

    # The database is gone, and nobody misses it.
    before, asked = pinned_file.read_bytes(), len(database.paths)
    database.upstream = f"http://127.0.0.1:{free_port()}"
    assert planning.planned("all_structures", *arguments) == {}
    smaller = configured(planning, database.address, max_atoms=2)
    done = planning.finish("all_structures", *smaller)
    assert job_counts(done) == {"all_structures": 1, "screen_structures": 1}
    assert len(pd.read_csv(structures / "index.csv")) == 5  # without Fe3Si and Fe3Pt
    assert len(database.paths) == asked

    # A refresh that fails says so and leaves the set, and the campaign goes on with it.
    refresh = planning.run("all_retrieved", "--forcerun", "retrieve_structures", *smaller)
    assert refresh.returncode != 0
    assert "refuses the request with status 418: closed for tea" in refresh.stdout
    assert "stays as it was" in refresh.stdout
    assert pinned_file.read_bytes() == before
    assert planning.planned("all_structures", *smaller) == {}
