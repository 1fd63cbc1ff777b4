"""What a configuration asks for: crystals, calibration, DFT jobs and molecules; no Snakemake."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from dft2spectra.campaign import Campaign, CampaignError
from dft2spectra.campaign.jobs import LEAST_MB, LEAST_MINUTES, MORE_TIME, MOST_PRIORITY
from dft2spectra.config import complete_config
from dft2spectra.crystals.bundles import read_bundles
from dft2spectra.crystals.identity import identity
from dft2spectra.records import write_json

ROOT = Path(__file__).parents[2]
HYPERFINE = Path("results", "plan", "hyperfine")


def files(*names: str) -> list[dict[str, Any]]:
    return [{"kind": "files", "path": "data/structures", "names": list(names)}]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a campaign has said, in a working folder with the bundled structures."""
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(ROOT / "data")
    return []


def campaign(said: list[str], main: bool = True, **sections: Any) -> Campaign:
    """A campaign of four crystals; in ``own.yaml``, with some sections of its own."""
    config: dict[str, Any] = {
        "run": "plan",
        "record_store": None,
        "structures": {"sources": files("Fe", "FeAl", "FeCo", "FeTi")},
        "calibration": {"sources": files("Fe", "FeAl", "FeTi")},
        "learning": {"reference": None},
        "mossbauer": {"mixtures": []},
        "measurements": [],
    }
    for name, value in sections.items():
        config[name] = config.get(name, {}) | value if isinstance(value, dict) else value
    Path("own.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return Campaign(complete_config(config, ["own.yaml"]), ["own.yaml"], said.append, main)


def formulas(names: list[str]) -> list[str]:
    return [name.split("-")[0] for name in names]


def compute(plan: Campaign, *wanted: str, folder: Path = HYPERFINE) -> None:
    """Write the records of the crystals with these formulas."""
    for name, structure in plan.crystals.screened.items():
        if structure["formula"] in wanted:
            record = {"structure_id": name, "status": "converged", **identity(structure, plan.gpaw)}
            write_json(folder / f"{name}.json", record)


def test_crystals_and_calibration(said: list[str]) -> None:
    plan = campaign(said)
    plan.check()
    assert sorted(formulas(list(plan.crystals.asked))) == ["AlFe", "Fe", "FeCo", "TiFe"]
    assert sorted(formulas(plan.crystals.calibration)) == ["AlFe", "Fe", "TiFe"]
    assert plan.crystals.screened is plan.crystals.screened, "each question is answered once"


def test_a_job_reads_its_own_crystal(said: list[str]) -> None:
    planned = campaign(said)
    name = next(iter(planned.crystals.screened))
    text = planned.crystals.as_json(name, "measured", "provenance")
    assert {"measured", "provenance"}.isdisjoint(json.loads(text))
    write_json(f"results/plan/structures/crystals/{name}.json", json.loads(text) | {"mine": True})
    Path("data").unlink()  # nothing else can be read
    node = campaign_on_node(said)
    assert node.crystals.one(name)["mine"]


def campaign_on_node(said: list[str]) -> Campaign:
    """The campaign of ``own.yaml`` as a job sees it."""
    config = yaml.safe_load(Path("own.yaml").read_text("utf-8"))
    Path("data").symlink_to(ROOT / "data")
    complete = complete_config(config)
    Path("data").unlink()
    return Campaign(complete, [], said.append, main=False)


def test_mistakes_name_key_value_and_file(said: list[str]) -> None:
    plan = campaign(said, calibration={"reference": "Iron"})
    with pytest.raises(CampaignError, match=r'calibration\.reference = "Iron" in own\.yaml: allow'):
        plan.check()
    mixtures = [{"name": "rust", "phases": [{"structure": "Fe2O3", "fraction": 1}]}]
    plan = campaign(said, mossbauer={"mixtures": mixtures})
    with pytest.raises(CampaignError, match=r"one crystal of the campaign, Fe, FeAl, FeCo, FeTi"):
        plan.check()
    plan = campaign(said, molecules=[{"name": "watr"}])
    with pytest.raises(CampaignError, match=r'molecules\[0\]\.name = "watr" in own\.yaml'):
        plan.check()
    plan = campaign(said, structures={"max_atoms": 1}, calibration={"sources": files("FeAl")})
    plan.sources[0]["names"] = ["FeCo"]
    with pytest.raises(CampaignError, match=r"2 rejected, the first:\n  data/structures/Fe\w+\.y"):
        plan.check()


def test_names_that_snakemake_does_not_take(said: list[str]) -> None:
    Path("{x}.cif").write_text("", "utf-8")
    sources = [*files("Fe", "FeAl"), {"kind": "files", "path": "{x}.cif"}]
    with pytest.raises(CampaignError, match="rename this file"):
        campaign(said, structures={"sources": sources}).check()


def test_computed_only(said: list[str]) -> None:
    """Tables and calibration take what has a record; nothing is left to compute for them."""
    plan = campaign(said, computed_only=True)
    with pytest.raises(CampaignError, match="no crystal of the campaign has a record yet"):
        _ = plan.crystals.asked
    compute(plan, "AlFe", "FeCo")
    plan = campaign(said, computed_only=True)
    plan.check()
    assert sorted(formulas(list(plan.crystals.asked))) == ["AlFe", "FeCo"]
    assert said[-1] == "computed_only: 2 of 4 crystals have a record."
    with pytest.raises(CampaignError, match="Fe, the reference of the calibration, has no record"):
        _ = plan.crystals.calibration
    compute(plan, "Fe")
    assert formulas(campaign(said, computed_only=True).crystals.calibration) == ["AlFe", "Fe"]


def test_computed_only_computes_nothing_of_a_bundle(said: list[str]) -> None:
    together = {"structures_per_job": 4, "job_minutes": 10000}
    plan = campaign(said, computed_only=True, gpaw=together)
    (job,) = plan.jobs.bundles
    compute(plan, "Fe")
    compute(plan, "FeCo", folder=HYPERFINE / "bundles" / "records")
    assert sorted(formulas(plan.jobs.running_members(job))) == ["Fe", "FeCo"]
    assert len(plan.jobs.members(job)) == 4
    assert len(campaign(said, gpaw=together).jobs.running_members(job)) == 4


def test_a_set_that_is_retrieved_anew_is_read_anew(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = campaign(said)
    before, jobs = plan.crystals, plan.jobs
    assert plan.jobs is jobs
    assert jobs.crystals is before
    monkeypatch.setattr(plan.sets, "times", lambda: (1,))
    assert plan.crystals is not before
    assert plan.jobs.crystals is plan.crystals


def test_databases(said: list[str]) -> None:
    """Only those that decide about the jobs are waited for; candidates are none of them."""
    database = {
        "kind": "optimade",
        "base_url": "http://127.0.0.1:9/",
        "filter": 'elements HAS "Fe"',
    }
    plan = campaign(
        said,
        structures={"sources": [*files("Fe"), database | {"name": "one"}]},
        candidates={"sources": [database | {"name": "two"}]},
    )
    assert list(plan.sets.all) == ["one", "two"]
    assert list(plan.sets.deciding) == ["one"]
    assert plan.sets.path("one") == "data/retrieved/one.json"
    assert plan.sets.outdated("one") is None
    plan.check()
    (line,) = said
    assert "To be retrieved before the crystals and their jobs are known:\n" in line
    assert "one is not retrieved yet" in line


def test_jobs_of_one_crystal(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = campaign(said).jobs
    (iron,) = (name for name in jobs.crystals.screened if name.startswith("Fe-"))
    assert jobs.members(iron) == [iron]
    assert jobs.minutes(iron) == LEAST_MINUTES
    assert jobs.memory_mb(iron) == LEAST_MB
    assert jobs.largest_cost(iron).core_seconds > jobs.cost(iron).core_seconds
    assert jobs.priority(iron) == 0
    monkeypatch.setattr("dft2spectra.campaign.jobs.LEAST_MINUTES", 0)
    assert jobs.largest_cost(iron) == jobs.cost(iron), "the limit matters here"
    assert jobs.minutes(iron) == math.ceil(MORE_TIME * jobs.cost(iron).core_seconds / 60)


def test_what_the_design_puts_first_comes_first(said: list[str]) -> None:
    names = list(campaign(said).crystals.screened)
    rows = [f"{order},{name},train" for order, name in enumerate(names[:3], start=1)]
    Path("design.csv").write_text("\n".join(["order,structure_id,role", *rows]), "utf-8")
    jobs = campaign(said, structures={"design": "design.csv"}).jobs
    expected = [MOST_PRIORITY - 1, MOST_PRIORITY - 2, MOST_PRIORITY - 3, 0]
    assert [jobs.priority(name) for name in names] == expected


def test_bundles(said: list[str]) -> None:
    plan = campaign(said, gpaw={"structures_per_job": 3, "job_minutes": 10000})
    jobs = plan.jobs
    assert plan.bundled
    assert sorted(map(len, jobs.bundles.values())) == [1, 3]
    for bundle, names in jobs.bundles.items():
        assert {jobs.bundle_of[name] for name in names} == {bundle}
        assert jobs.minutes(bundle) >= LEAST_MINUTES
    bundle = min(jobs.bundles)
    folder = HYPERFINE / "bundles"
    folder.mkdir(parents=True)
    (folder / f"{bundle}.members").write_text("A-1-00000000\nB-1-00000000\n", "utf-8")
    assert campaign(said).bundled, "what began with bundles keeps them"
    node = campaign(said, main=False)
    assert node.jobs.members(bundle) == read_bundles(folder)[bundle]


def test_outdated_records(said: list[str]) -> None:
    plan = campaign(said)
    compute(plan, "Fe", "AlFe")
    iron, aluminide = (
        next(name for name in plan.crystals.screened if name.startswith(formula))
        for formula in ("Fe-", "AlFe-")
    )
    assert plan.jobs.outdated_record(iron) is None
    assert plan.jobs.outdated_job(iron) is None
    path = HYPERFINE / f"{iron}.json"
    path.write_bytes(path.read_bytes()[:80])
    assert plan.jobs.outdated_record(iron) == plan.jobs.outdated_job(iron) == path
    assert len(said) == 1
    assert "are computed again" in said[0]
    finer = campaign(said, gpaw={"cutoff_ev": 420})
    assert finer.jobs.outdated_record(aluminide)
    assert finer.jobs.outdated_record("FeCo-221-00000000") is None, "there is none"


def test_outdated_bundle(said: list[str]) -> None:
    """Also where a record behind it is gone."""
    plan = campaign(said, gpaw={"structures_per_job": 4, "job_minutes": 10000})
    (job,) = plan.jobs.bundles
    records = HYPERFINE / "bundles" / "records"
    compute(plan, "Fe", "AlFe", "FeCo", "TiFe", folder=records)
    assert plan.jobs.outdated_job(job) is None, "nothing is there"
    marker = HYPERFINE / "bundles" / f"{job}.json"
    marker.write_text("{}", "utf-8")
    assert plan.jobs.outdated_job(job) is None
    os.unlink(next(records.glob("FeCo-*.json")))
    assert plan.jobs.outdated_job(job) == marker


def test_molecules(said: list[str]) -> None:
    plan = campaign(
        said,
        molecules=[{"name": "water"}, {"name": "ethanol"}],
        sampling={"train": 5, "validation": 2, "test": 3, "geometries_per_job": 3},
    )
    molecules = plan.molecules
    assert molecules.batches_of("train") == ["train-000", "train-001"]
    assert molecules.batches_of("test", "validation") == ["test-000", "validation-000"]
    assert molecules.jobs["label_densities"] == 8
    assert json.loads(molecules.as_json("water"))["symbols"] == ["O", "H", "H"]
    assert molecules.measured_bands("water") == "data/molecules/water.yaml", "a file, no list"
    assert molecules.measured_bands("ethanol") == []


def test_only_the_branches_that_run(said: list[str]) -> None:
    plan = campaign(said, branches=["infrared"], structures={"sources": files("nowhere")})
    plan.check()
    assert (plan.mossbauer, plan.infrared) == (False, True)
    assert plan.sets.all == {}
    assert plan.external == []
    assert plan.reference is None


def test_reference_set_of_another_method(said: list[str]) -> None:
    plan = campaign(said, learning={"reference": "data/reference"}, gpaw={"cutoff_ev": 330})
    assert plan.reference is None
    assert "computed with other settings or methods" in said[0]
    assert plan.external == []
    same = campaign(said, learning={"reference": "data/reference"})
    if same.reference:
        assert same.external
