"""``snakemake --profile slurm`` on a real SLURM: to the end, through faults, without its driver."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from campaign_on_slurm import CAMPAIGN_S, Campaign, stop
from cluster import Cluster, wait_until

pytestmark = pytest.mark.slurm

# Structure ids of the tiny campaign begin with these.
CRYSTALS = ("Fe-", "AlFe-", "FeCo-", "FeNi-", "TiFe-")


def dft_jobs(cluster: Cluster, campaign: Campaign) -> pd.DataFrame:
    """All DFT jobs of a campaign that SLURM remembers, in order."""
    columns = ["id", "state", "memory", "limit", "node", "what", "folder"]
    text = cluster.ask("squeue", "--noheader", "--states=all", "--format", "%i|%T|%m|%l|%N|%k|%Z")
    table = pd.DataFrame([line.split("|") for line in text.splitlines()], columns=columns)
    chosen = (table.folder == str(campaign.folder)) & table.what.str.contains("compute_hyperfine")
    return table[chosen].astype({"id": int}).sort_values("id", ignore_index=True)


def unfinished(cluster: Cluster, campaign: Campaign) -> pd.DataFrame:
    """DFT jobs that wait, run or are being ended."""
    table = dft_jobs(cluster, campaign)
    return table[table.state.isin(["PENDING", "RUNNING", "COMPLETING"])]


def test_mossbauer_branch(cluster: Cluster, demo: Campaign) -> None:
    """Twelve crystals in three jobs, to spectra, models and candidates; then nothing is left."""
    targets = ["all_hyperfine", "all_sites", "all_models", "all_mossbauer"]
    said = demo.finish(*targets)
    assert list(dft_jobs(cluster, demo).state) == ["COMPLETED"] * 3
    summary = pd.read_csv(demo.results / "hyperfine" / "summary.csv")
    assert list(summary.status) == ["converged"] * 12
    sites = pd.read_csv(demo.results / "sites" / "sites.csv")
    assert len(sites) >= 12
    spectra = list(demo.results.glob("mossbauer/structures/*.png"))
    assert len(spectra) == sites.structure_id.nunique()
    assert len(pd.read_csv(demo.results / "candidates" / "ranked.csv")) > 0
    # The partitions file decides: two hours of DFT are too much for `short`, small jobs are not.
    assert "Auto-selected partition 'long' for job compute_hyperfine" in said
    assert "othing to be done" in demo.finish(*targets)


def test_faults_are_retried_with_more(cluster: Cluster, tiny: Campaign) -> None:
    """Too much memory, too much time, scancel and a lost node cost an attempt, not a record."""
    memory = "(300 if 'FeNi' in wildcards.structure else 1500) * attempt ** 2"
    minutes = "1 * attempt if 'TiFe' in wildcards.structure else 20 * attempt"
    # The node that will be lost holds one job.
    place = "'--nodelist=n2' if 'FeCo' in wildcards.structure and attempt == 1 else '--nodelist=n1'"
    driver = tiny.start(
        *("all_hyperfine", "--set-resources", f"compute_hyperfine:mem_mb={memory}"),
        *(f"compute_hyperfine:runtime={minutes}", f"compute_hyperfine:slurm_extra={place}"),
    )
    for name in ("TiFe", "AlFe", "FeCo"):
        os.kill(tiny.wait_for_calculation(driver, name), signal.SIGSTOP)

    def job_of(name: str) -> pd.Series:
        table = dft_jobs(cluster, tiny)
        return table[table.what.str.contains(f"_{name}-")].iloc[0]

    cluster.ask("scancel", str(job_of("AlFe").id))
    assert job_of("FeCo").node == "n2"
    cluster.lose_node("n2")
    # TiFe hangs until its minute is over.
    assert driver.wait(timeout=CAMPAIGN_S) == 0, tiny.output()[-6000:]
    cluster.start_node("n2")

    table = dft_jobs(cluster, tiny)
    attempts = {
        name: table[table.what.str.contains(f"_{name}")].reset_index(drop=True) for name in CRYSTALS
    }
    states = {name: list(jobs.state) for name, jobs in attempts.items()}
    assert states == {
        "Fe-": ["COMPLETED"],
        "AlFe-": ["CANCELLED", "COMPLETED"],
        "FeCo-": ["NODE_FAIL", "COMPLETED"],
        "FeNi-": ["FAILED", "COMPLETED"],  # OUT_OF_MEMORY where cgroups watch
        "TiFe-": ["TIMEOUT", "COMPLETED"],
    }
    assert list(attempts["FeNi-"].memory) == ["300M", "1200M"]
    assert list(attempts["TiFe-"].limit) == ["1:00", "2:00"]
    assert list(attempts["FeCo-"].node) == ["n2", "n1"]
    assert set(tiny.statuses().values()) == {"converged"}
    assert len(tiny.statuses()) == 5
    assert not list(tiny.results.rglob("*.lock"))


def test_unconverged_cycle_is_a_record(cluster: Cluster, tiny: Campaign, tmp_path: Path) -> None:
    tiny.configs.append(tmp_path / "three-iterations.yaml")
    tiny.configs[-1].write_text("gpaw: {max_iterations: 3, ladder: [{}]}\n", "utf-8")
    record = tiny.record_of("AlFe")
    assert list(dft_jobs(cluster, tiny).state) == ["COMPLETED"]
    assert record["status"] == "not_converged"
    assert "no self-consistency in 3 iterations" in record["reason"]
    assert record["sites"] == []


def test_full_and_read_only_disk(cluster: Cluster, tiny: Campaign) -> None:
    """It is said what to do; with room again, the next run finishes."""
    (tiny.folder / "results").symlink_to(cluster.mount_disk("size=16m"))
    tiny.finish("all_structures")
    (crystal,) = tiny.results.glob("structures/crystals/AlFe-*.json")
    record = f"results/tiny/hyperfine/{crystal.name}"

    cluster.mount_disk("ro")
    code, said = tiny.run(record)
    assert code != 0
    assert "cannot be written: Read-only file system" in said
    assert dft_jobs(cluster, tiny).empty
    cluster.mount_disk("rw")

    # Room for the driver's files and the crystal's log, and then none.
    driver = tiny.start(record, "--retries", "0")
    tiny.wait_for_calculation(driver)
    filler = tiny.results / "filler"
    with suppress(OSError), open(filler, "wb") as file:
        while True:
            file.write(bytes(1 << 12))
            file.flush()
    assert driver.wait(timeout=CAMPAIGN_S) != 0
    assert "No space left on device" in tiny.output()
    assert "Make room" in tiny.output()
    assert tiny.records() == {}
    filler.unlink()
    tiny.finish(record)
    assert list(tiny.statuses().values()) == ["converged"]


def test_lost_driver(cluster: Cluster, tiny: Campaign) -> None:
    """kill −9, SIGINT and SIGTERM of the driver; each rerun goes on, none computes twice."""
    seen: dict[str, bytes] = {}

    def nothing_lost() -> None:
        for name, content in tiny.records().items():
            json.loads(content)
            assert seen.setdefault(name, content) == content, f"{name} was written twice"
        assert seen.keys() == tiny.records().keys()

    tiny.finish("all_structures")
    # Killed: its jobs go on, and what they finish counts.
    driver = tiny.start("all_hyperfine", "--jobs", "2")
    tiny.wait_for_calculation(driver)
    stop(driver, signal.SIGKILL)
    wait_until(lambda: unfinished(cluster, tiny).empty, "the jobs of the killed driver", CAMPAIGN_S)
    nothing_lost()
    assert len(seen) == 2

    # The lock of Snakemake stays and says what to do.
    code, said = tiny.run("all_hyperfine")
    assert code != 0
    assert "--unlock" in said
    tiny.finish("--unlock")

    # Killed while a job of the next driver still runs: the third driver waits for it, and submits
    # the same job only when it has ended, which then takes its record.
    driver = tiny.start("all_hyperfine", "--jobs", "1")
    first = tiny.wait_for_calculation(driver)
    name = tiny.calculations()[first]
    os.kill(first, signal.SIGSTOP)
    stop(driver, signal.SIGKILL)
    state = tiny.status()
    assert state["queue"]["jobs"] == {"compute_hyperfine": {"RUNNING": 1}}
    counts = {key: state["crystals"][key] for key in ("converged", "running", "waiting")}
    assert counts == {"converged": 2, "running": 1, "waiting": 2}
    tiny.finish("--unlock")
    driver = tiny.start("all_hyperfine", "--jobs", "1")
    wait_until(
        lambda: "1 jobs of another run in this folder are in the queue" in tiny.output(),
        f"the driver to see the job for {name}",
        CAMPAIGN_S,
    )
    assert dft_jobs(cluster, tiny).what.str.contains(name).sum() == 1
    os.kill(first, signal.SIGCONT)

    # Interrupted: the jobs are cancelled. Terminated: they end, and no other is submitted.
    for how, state in ((signal.SIGINT, "CANCELLED"), (signal.SIGTERM, "COMPLETED")):
        wait_until(lambda: len(tiny.records()) > len(seen), "one more record", CAMPAIGN_S)
        tiny.wait_for_calculation(driver)
        nothing_lost()
        assert stop(driver, how) != 0
        wait_until(lambda: unfinished(cluster, tiny).empty, "the jobs to end")
        assert dft_jobs(cluster, tiny).state.iloc[-1] == state
        nothing_lost()
        driver = tiny.start("all_hyperfine", "--jobs", "1")
    assert driver.wait(timeout=CAMPAIGN_S) == 0, tiny.output()[-6000:]
    nothing_lost()
    assert len(seen) == 5
    assert dft_jobs(cluster, tiny).what.str.contains(name).sum() >= 2
    assert set(tiny.statuses().values()) == {"converged"}
    assert not list(tiny.results.rglob("*.lock"))
    assert "othing to be done" in tiny.finish("all_hyperfine")
