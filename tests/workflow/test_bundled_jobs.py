"""Several crystals in one job: records, retries and status stay those of each crystal."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from campaign import CONFIGS, Campaign, new_folder, stub_library

from dft2spectra.records import content_hash

TARGETS = ("all_hyperfine",)


def config(campaign: Campaign, names: list[str] | None = None, **gpaw: Any) -> tuple[str, ...]:
    """Arguments for the stub campaign with these keys of ``gpaw`` and, if given, crystals."""
    settings = yaml.safe_load((CONFIGS / campaign.config).read_text(encoding="utf-8"))
    settings["gpaw"] = gpaw
    if names:
        settings["structures"]["sources"][0]["names"] = names
    text = yaml.safe_dump(settings)
    path = campaign.folder / f"{content_hash(text)}.yaml"
    path.write_text(text, encoding="utf-8")
    return "--configfile", str(path)


def in_threes(campaign: Campaign, names: list[str] | None = None) -> tuple[str, ...]:
    """Arguments for three crystals in each job; the six crystals make two jobs."""
    return config(campaign, names, structures_per_job=3, job_minutes=10000)


def hyperfine(campaign: Campaign) -> Path:
    return campaign.folder / "results" / "stub" / "hyperfine"


def records(campaign: Campaign) -> dict[str, Any]:
    """Records by formula."""
    found = [json.loads(path.read_text("utf-8")) for path in hyperfine(campaign).glob("*.json")]
    return {record["formula"]: record for record in found}


def members(campaign: Campaign) -> dict[str, list[str]]:
    """Formulas of the members of each bundle that is written down."""
    return {
        path.stem: [name.split("-")[0] for name in path.read_text("utf-8").split()]
        for path in hyperfine(campaign).glob("bundles/*.members")
    }


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """The campaign with one crystal per job, its records computed."""
    folder = new_folder(tmp_path_factory.mktemp("single"))
    campaign = Campaign(folder, library=stub_library(folder))
    campaign.finish("all_hyperfine")
    return campaign


def test_crash_and_no_convergence_of_members(fresh: Campaign, single: Campaign) -> None:
    """A killed process costs its own crystal; the retry computes that one alone."""
    arguments = in_threes(fresh)
    jobs = fresh.planned(*TARGETS, *arguments)
    expected = {"write_crystal": 6, "write_bundle": 2, "compute_hyperfine": 2, "write_record": 6}
    assert expected.items() <= jobs.items()

    fresh.environment |= {"STUB_KILLED": "TiFe", "STUB_UNCONVERGED": "FeCo"}
    done = fresh.run(*TARGETS, *arguments)
    assert done.returncode != 0
    assert "1 of 3 crystals without a record" in done.stdout
    assert "was ended by SIGKILL" in done.stdout
    folder = hyperfine(fresh) / "bundles" / "records"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert {path.name.split("-")[0] for path in before} == {
        *("Fe", "AlFe", "FeCo", "FeNi", "Fe3Si")
    }
    (broken,) = (found for found in members(fresh).values() if "TiFe" in found)

    del fresh.environment["STUB_KILLED"]
    jobs = fresh.planned(*TARGETS, *arguments)
    assert jobs["compute_hyperfine"] == 1
    assert jobs["write_record"] == len(broken) == 3
    assert "write_bundle" not in jobs
    fresh.finish(*TARGETS, *arguments)
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())

    summary = pd.read_csv(hyperfine(fresh) / "summary.csv").set_index("formula")
    assert summary.loc["FeCo", "status"] == "not_converged"
    assert (summary.drop("FeCo").status == "converged").all()
    for formula, record in records(single).items():
        if formula != "FeCo":
            assert records(fresh)[formula] == record
    logs = fresh.folder / "results" / "stub" / "logs" / "compute_hyperfine"
    assert {path.stem for path in folder.glob("*.json")} <= {path.stem for path in logs.glob("*")}
    # What is not converged is a record, not a fault: nothing is left to do.
    assert fresh.planned(*TARGETS, *arguments) == {}


def test_record_that_is_gone_or_spoilt(fresh: Campaign) -> None:
    """Only that crystal is computed again, by the job of its bundle."""
    arguments = in_threes(fresh)
    fresh.finish(*TARGETS, *arguments)
    folder = hyperfine(fresh) / "bundles" / "records"
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert fresh.planned(*TARGETS, *arguments) == {}

    (name,) = (name for name in before if name.startswith("FeCo-"))
    good = (folder / name).read_bytes()
    (folder / name).unlink()
    (hyperfine(fresh) / name).unlink()
    fresh.finish(*TARGETS, *arguments)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert after.pop(name) > before.pop(name)
    assert after == before
    assert (hyperfine(fresh) / name).read_bytes() == (folder / name).read_bytes() == good

    tables = {"summarize_hyperfine": 1}
    for path, jobs in (
        (folder / name, {"compute_hyperfine": 1, "write_record": 3}),
        (hyperfine(fresh) / name, {"write_record": 1}),
    ):
        path.write_bytes(good[:300])
        assert fresh.planned(*TARGETS, *arguments) == jobs | tables
        fresh.finish(*TARGETS, *arguments)
        assert path.read_bytes() == good
    assert fresh.planned(*TARGETS, *arguments) == {}


def test_kill_9_of_a_job(fresh: Campaign, single: Campaign) -> None:
    """At most the crystal in hand is lost; the process that computed it does not live on."""
    fresh.environment["STUB_SECONDS"] = "1.5"
    arguments = config(fresh, structures_per_job=6, job_minutes=10000)
    process = fresh.start("--cores", "1", "all_hyperfine", *arguments)
    folder = hyperfine(fresh) / "bundles" / "records"
    end = time.monotonic() + 200
    while len(list(folder.glob("[A-Z]*.json"))) < 2 and time.monotonic() < end:
        assert process.poll() is None, "the campaign ended before its job could be killed"
        time.sleep(0.05)
    runners = processes_of(process.pid, "dft2spectra.crystals.run_job")
    for pid in runners:
        os.kill(pid, signal.SIGKILL)
    process.wait(timeout=200)
    assert runners
    assert process.returncode != 0
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("[A-Z]*.json")}
    assert 2 <= len(kept) < 6
    time.sleep(2)
    assert len(list(folder.glob("[A-Z]*.json"))) == len(kept), "a child outlived its job"
    fresh.finish("all_hyperfine", *arguments)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    assert records(fresh) == records(single)


def processes_of(session: int, words: str) -> list[int]:
    """Ids of the processes of a session whose command line holds these words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                same = os.getsid(int(entry.name)) == session
            except OSError:  # ended meanwhile
                continue
            if same and words in command:
                found.append(int(entry.name))
    return found


def test_what_reruns(fresh: Campaign) -> None:
    """Another crystal makes one new job; other settings compute all; other job sizes nothing."""
    fresh.finish("all_hyperfine", *in_threes(fresh))
    before = members(fresh)
    names = ["Fe", "FeAl", "FeCo", "FeNi", "FeTi", "Fe3Si"]

    one_more = in_threes(fresh, [*names, "FeRh"])
    jobs = fresh.planned("all_hyperfine", *one_more)
    wanted = {"write_crystal": 1, "write_bundle": 1, "compute_hyperfine": 1, "write_record": 1}
    assert jobs == wanted | {"summarize_hyperfine": 1}
    fresh.finish("all_hyperfine", *one_more)
    assert before.items() <= members(fresh).items()
    assert sorted(map(len, members(fresh).values())) == [1, 3, 3]

    # A campaign goes on with its bundles whatever the sizes of new ones are.
    for size in (1, 2, 50):
        sizes = config(fresh, [*names, "FeRh"], structures_per_job=size)
        assert fresh.planned("all_hyperfine", *sizes) == {}
    finer = config(fresh, [*names, "FeRh"], structures_per_job=3, cutoff_ev=420)
    assert fresh.planned("all_hyperfine", *finer)["compute_hyperfine"] == 3

    # One changed crystal: its job runs, and computes that one alone.
    path = fresh.folder / "data" / "structures" / "FeAl.yaml"
    path.write_text(path.read_text("utf-8").replace("moment: 0.8", "moment: 1.1"), "utf-8")
    assert fresh.planned("all_hyperfine", *one_more)["compute_hyperfine"] == 1
    folder = hyperfine(fresh) / "bundles" / "records"
    then = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    fresh.finish("all_hyperfine", *one_more)
    changed = [path for path in then if path.stat().st_mtime_ns != then[path]]
    assert [path.name.split("-")[0] for path in changed] == ["AlFe"]


def test_records_of_single_jobs_are_taken_over(single: Campaign, tmp_path: Path) -> None:
    """A campaign computed one crystal per job goes on in bundles without computing again."""
    shutil.copytree(single.folder, tmp_path / "work", symlinks=True)
    copied = Campaign(tmp_path / "work", library=single.library)
    copied.environment["STUB_KILLED"] = "Fe"  # would end its job if it were computed
    copied.finish("all_hyperfine", *in_threes(copied))
    assert records(copied) == records(single)


def test_launcher(fresh: Campaign) -> None:
    """Each process of a bundle is started by the launcher, with its number of processes."""
    program = fresh.folder / "launch"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> launched; shift 2; exec "$@"\n', "utf-8")
    program.chmod(0o755)
    resources = [f"compute_hyperfine:mpi='{program}'", "compute_hyperfine:tasks=4"]
    fresh.finish("all_hyperfine", *in_threes(fresh), "--set-resources", *resources)
    lines = (fresh.folder / "launched").read_text("utf-8").splitlines()
    assert len(lines) == 6
    assert all(line.startswith("-n 4 ") and "-m dft2spectra.crystals" in line for line in lines)


def test_plan_on_the_terminal(fresh: Campaign) -> None:
    """Nothing runs but the screening, and the plan is made anew each time."""
    arguments = in_threes(fresh)
    assert fresh.planned("plan", *arguments) == {"plan": 1, "screen_structures": 1}
    shown = fresh.finish("plan", *arguments)
    assert re.search(r"to do +6 +2 +0\.\d\d", shown)
    assert re.search(r"label_densities +4 +0\.\d\d +0\.\d\d +[\d,]+\n", shown)
    assert fresh.planned("plan", *arguments) == {"plan": 1}
    assert not hyperfine(fresh).exists()
