"""The plan of a campaign: counts, costs and what is left, before and after some records."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dft2spectra.crystals.bundles import bundle_name
from dft2spectra.crystals.cost import STARTUP_S, estimate
from dft2spectra.crystals.identity import identity
from dft2spectra.crystals.plan import make_plan
from dft2spectra.records import read_json, write_json
from dft2spectra.structures.prototypes import sizes_in_words
from dft2spectra.structures.sources import collect, write_structures

ROOT = Path(__file__).parents[2]
NAMES = ["Fe", "FeAl", "FeCo", "Fe4N", "FeSi", "Fe3C"]
SETTINGS = {
    "cutoff_ev": 400,
    "kpoint_density_ang": 3.5,
    "xc": "PBE",
    "starts": ["ferromagnetic"],
    "semicore_efg": True,
}
ALONE = {"structures_per_job": 1, "job_minutes": 60}
MOLECULES = {
    "label_densities": {"jobs": 7, "core_hours": 12.5, "longest_job_h": 2.0, "memory_mb": 1234.0},
    "fit_density_model": {"jobs": 1, "core_hours": None, "longest_job_h": None, "memory_mb": None},
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A screened campaign: five crystals accepted, one too large, one there twice."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in NAMES:
        text = (ROOT / "data" / "structures" / f"{name}.yaml").read_text("utf-8")
        (folder / f"{name}.yaml").write_text(text, "utf-8")
    (folder / "again.yaml").write_text((folder / "FeAl.yaml").read_text("utf-8"), "utf-8")
    found = collect([{"kind": "files", "path": str(folder)}], {"max_atoms": 8})
    write_structures(*found, tmp_path / "run" / "structures")
    return tmp_path / "run"


def plan_of(results: Path, jobs: dict[str, Any], molecules: dict[str, Any]) -> str:
    return make_plan(results, SETTINGS, jobs, molecules, results / "structures")


def structures(results: Path) -> dict[str, dict[str, Any]]:
    paths = results.glob("structures/accepted/*.json")
    return {record["name"]: record for record in map(read_json, paths)}


def add_record(folder: Path, structure: dict[str, Any], seconds: float) -> None:
    record = {
        "structure_id": structure["structure_id"],
        **identity(structure, SETTINGS),
        "status": "converged",
        "wall_time_s": seconds,
        "mpi_ranks": 2,
    }
    write_json(folder / f"{structure['structure_id']}.json", record)


def test_before_anything_ran(results: Path) -> None:
    text = plan_of(results, ALONE, MOLECULES)
    plan = json.loads((results / "plan" / "plan.json").read_text("utf-8"))
    table = pd.read_csv(results / "plan" / "plan.csv")
    assert plan["accepted"] == len(table) == 5
    assert plan["rejected"]["count"] == 1
    assert plan["rejected"]["reasons"]["too_many_atoms"]["count"] == 1
    assert "16 atoms" in plan["rejected"]["reasons"]["too_many_atoms"]["example"]
    assert plan["duplicates"]["count"] == 1
    assert plan["sources"] == {"files": {"accepted": 5, "rejected": 1}}
    dft = plan["dft"]
    assert (dft["structures_to_do"], dft["jobs_to_do"]) == (5, 5)
    seconds = {n: estimate(s, SETTINGS).core_seconds for n, s in structures(results).items()}
    assert dft["core_hours_to_do"] == pytest.approx(sum(seconds.values()) / 3600, abs=1e-3)
    longest = max(seconds, key=seconds.__getitem__)
    assert dft["longest_job"] == structures(results)[longest]["structure_id"]
    assert dft["longest_job_core_min"] == pytest.approx(seconds[longest] / 60, abs=0.01)
    assert (table.status == "to do").all()
    assert table.bundle.isna().all()
    assert plan["machine_factor"] == 1.0
    assert plan["molecules"] == MOLECULES
    assert max(len(line) for line in text.splitlines()) <= 140
    assert len(text.splitlines()) <= 35


def test_records_are_counted_and_tell_the_speed(results: Path) -> None:
    """Two processes that took 3 times the estimate of one core: six times slower."""
    found = structures(results)
    for name, folder in {"Fe": ".", "FeAl": ".", "FeCo": "bundles/records"}.items():
        alone = estimate(found[name], SETTINGS).core_seconds
        add_record(results / "hyperfine" / folder, found[name], 3 * alone)
    add_record(results / "hyperfine", found["Fe4N"] | {"content_hash": "other"}, 1.0)
    plan_of(results, ALONE, {})
    plan = json.loads((results / "plan" / "plan.json").read_text("utf-8"))
    assert plan["machine_records"] == 3
    assert plan["machine_factor"] == pytest.approx(6.0)
    assert plan["dft"]["structures_to_do"] == 2
    left = [estimate(found[name], SETTINGS).core_seconds - STARTUP_S for name in ("Fe4N", "FeSi")]
    hours = (6 * sum(left) + 2 * STARTUP_S) / 3600
    assert plan["dft"]["core_hours_to_do"] == pytest.approx(hours, abs=1e-3)


def test_bundles(results: Path) -> None:
    """Jobs are bundles: those that are written down, and new ones."""
    found = {name: s["structure_id"] for name, s in structures(results).items()}
    members = [found["Fe"], found["Fe4N"]]
    path = results / "hyperfine" / "bundles" / f"{bundle_name(members)}.members"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(members), "utf-8")
    plan_of(results, {"structures_per_job": 2, "job_minutes": 60}, {})
    plan = json.loads((results / "plan" / "plan.json").read_text("utf-8"))
    assert plan["dft"]["jobs_to_do"] == 3
    table = pd.read_csv(results / "plan" / "plan.csv").set_index("structure_id")
    assert table.bundle[found["Fe"]] == table.bundle[found["Fe4N"]] == bundle_name(members)
    assert sorted(table.bundle.value_counts()) == [1, 2, 2]


def test_molecules_alone(tmp_path: Path) -> None:
    text = make_plan(tmp_path, SETTINGS, ALONE, MOLECULES, None)
    assert "DFT" not in text
    assert re.search(r"label_densities +7 +12\.50 +2\.00 +1,234\n", text)
    assert re.search(r"fit_density_model +1 +– +– +–\n", text)
    assert "times their estimate (docs/molecule-cost.csv)" in text
    assert not (tmp_path / "plan" / "plan.csv").exists()


def test_volumes_that_are_still_to_be_relaxed(results: Path) -> None:
    """FeTi with relaxation took 19 s on one core (docs/structures.md); copies are not relaxed."""
    source = {"kind": "prototypes", "name": "cscl", "parents": ["B2"], "elements": ["Ti"]}
    source |= {"n_elements": [2, 2], "strains": {"tetragonal": [0.02, 0.03]}}
    found = collect([source], {"max_atoms": 8})
    write_structures(*found, results / "plan" / "structures")
    text = make_plan(
        results,
        SETTINGS,
        ALONE,
        {},
        results / "plan" / "structures",
        sizes=sizes_in_words([source], {}),
        unrelaxed=["cscl"],
    )
    plan = json.loads((results / "plan" / "plan.json").read_text("utf-8"))
    assert plan["accepted"] == 3
    assert plan["relaxation"]["crystals"] == 1
    assert 10 < 3600 * plan["relaxation"]["core_hours"] < 40
    assert plan["sources"] == {"prototypes:cscl": {"accepted": 3, "rejected": 0}}
    assert "prototypes:cscl of B2: decorations × copies = 1 × 3 = 3 structures, at most 2" in text
    assert "Volumes of cscl are predicted: relax_volumes computes 1 first, about 0.01 core" in text


def test_a_source_has_one_label(results: Path) -> None:
    """Accepted and rejected crystals of a source are counted in one row."""
    source = {"kind": "prototypes", "name": "mine", "parents": ["B2"], "elements": ["Ti", "V"]}
    source |= {"n_elements": [2, 2], "exclude_elements": ["V"]}
    found = collect([source], {"max_atoms": 8})
    write_structures(*found, results / "structures")
    plan_of(results, ALONE, {})
    plan = json.loads((results / "plan" / "plan.json").read_text("utf-8"))
    assert plan["sources"] == {"prototypes:mine": {"accepted": 1, "rejected": 1}}
