"""A real SLURM that forgets, preempts and loses its nodes; what runs are toy jobs."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import NODES, Cluster, wait_until
from toy import Toy

pytestmark = pytest.mark.slurm

CHANGES = (
    "MinJobAge=2",
    "SlurmdTimeout=6",
    "EnforcePartLimits=NO",
    "PreemptType=preempt/partition_prio",
    "PreemptMode=REQUEUE",
    "PartitionName=short Nodes=n1,n2 Default=YES MaxTime=00:30:00 DefMemPerCPU=500 PriorityTier=1",
    "PartitionName=urgent Nodes=n1,n2 MaxTime=1-00:00:00 DefMemPerCPU=500 PriorityTier=9",
)


@pytest.fixture(scope="module")
def cluster(enter: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """It forgets ended jobs, keeps jobs that can never start, and has an urgent partition."""
    with Cluster(tmp_path_factory.mktemp("cluster"), enter, changes=CHANGES) as running:
        yield running


def test_paused_driver(cluster: Cluster, tmp_path: Path) -> None:
    """SLURM has forgotten the jobs when the driver goes on; they say themselves that they ended."""
    toy = Toy(tmp_path / "toy", cluster, seconds=4)
    driver = toy.start("a+b")
    wait_until(lambda: len(toy.jobs()) == 2, "two jobs")
    os.kill(driver.pid, signal.SIGSTOP)
    # SLURM looks for jobs to forget once a minute.
    wait_until(lambda: toy.jobs().empty, "SLURM to forget them", 200)
    os.kill(driver.pid, signal.SIGCONT)
    assert toy.finish(driver, 30) == 0, toy.said()
    assert "SLURM forgets ended jobs after 2 s (MinJobAge)" in toy.said()


def test_preempted_jobs(cluster: Cluster, tmp_path: Path) -> None:
    """They run again when the urgent work is done, and ask for no more."""
    toy = Toy(tmp_path / "toy", cluster, seconds=12)
    driver = toy.start("a+b")
    wait_until(lambda: list(toy.jobs().state) == ["RUNNING"] * 2, "two jobs that run")
    urgent = ["--partition=urgent", "--nodes=2", "--exclusive", "--wrap=sleep 5"]
    cluster.ask("sbatch", "--output=/dev/null", *urgent)
    assert toy.finish(driver) == 0, toy.said()
    assert toy.said().count("was preempted by more urgent work. Submitted again as it was") == 2
    assert "Trying to restart" not in toy.said()


def test_all_nodes_lost_and_back(cluster: Cluster, tmp_path: Path) -> None:
    """What was lost runs again on the same nodes, which nobody has to avoid any more."""
    toy = Toy(tmp_path / "toy", cluster, seconds=60)
    driver = toy.start("a+b")
    wait_until(lambda: list(toy.jobs().state) == ["RUNNING"] * 2, "two jobs that run")
    wait_until(lambda: len(list(toy.folder.glob("logs/*"))) == 2, "their work")
    for node in NODES:
        cluster.lose_node(node)
    wait_until(lambda: "ended as NODE_FAIL" in toy.said(), "their loss to be noticed")
    snakefile = toy.folder / "Snakefile"
    snakefile.write_text(snakefile.read_text("utf-8").replace("{config[seconds]}", "1"), "utf-8")
    for node in NODES:
        cluster.start_node(node)
    assert toy.finish(driver) == 0, toy.said()
    assert toy.said().count("Trying to restart") == 2


def test_a_request_beyond_the_partition(cluster: Cluster, tmp_path: Path) -> None:
    """It would be PENDING (PartitionTimeLimit) for ever: nothing is submitted."""
    toy = Toy(tmp_path / "toy", cluster, minutes=31)
    assert toy.finish(toy.start("a")) != 0
    assert "31 minutes, and it allows 30" in toy.said()
    assert toy.jobs().empty
