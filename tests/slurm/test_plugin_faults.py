"""Faults of the plugin alone, for which there is an executor of our own.

A test that fails here says that the plugin has learned something, and that a piece of
``src/dft2spectra_slurm`` may go.
"""

import time
from pathlib import Path

import pytest
from cluster import wait_until
from fake_cluster import FakeCluster
from test_misbehaving import AWAY, NOT_NOW, TIMED_OUT

pytestmark = pytest.mark.slurm

# Looks at the queue follow one another after 1, 11, 21 s: an end would be noticed by then. [s]
LONG_ENOUGH_S = 25


@pytest.fixture
def plain(tmp_path: Path) -> dict[str, FakeCluster]:
    """Clusters by name, each with the plugin as it is."""
    names = ("forgotten", "cancelled", "preempted", "silent", "limit", "lost", "banner")
    return {name: FakeCluster(tmp_path / name, plain=True) for name in names}


def test_the_plugin_waits_for_ever(plain: dict[str, FakeCluster]) -> None:
    """For a job that squeue forgot, one that was cancelled, one that was preempted, and for all
    jobs when squeue failed five times.
    """
    (plain["forgotten"].folder / "forgets").touch()
    (plain["cancelled"].folder / "accounts").touch()
    plain["silent"].order("squeue", *[{"code": 1, "err": AWAY}] * 5)
    for name in ("cancelled", "preempted"):
        plain[name].do("sleep 100")
    by = {"cancelled": ["--slurm-status-command", "sacct"]}
    names = ("forgotten", "cancelled", "preempted", "silent")
    drivers = {name: plain[name].start("a", *by.get(name, [])) for name in names}
    try:
        for name in names:
            wait_until(
                lambda jobs=plain[name].jobs: jobs() and "pid" in jobs()[0], f"{name}: a job"
            )
        plain["cancelled"].set_job("100", state="CANCELLED")
        plain["preempted"].set_job("100", state="PREEMPTED")
        for name in ("forgotten", "silent"):
            wait_until(
                lambda jobs=plain[name].jobs: jobs()[0]["state"] == "COMPLETED", f"{name}: its end"
            )
        wait_until(lambda: plain["silent"].orders_left("squeue") == 0, "five failures")
        time.sleep(LONG_ENOUGH_S)
        assert {name: driver.poll() for name, driver in drivers.items()} == dict.fromkeys(names)
    finally:
        for driver in drivers.values():
            driver.kill()
            driver.wait()


def test_the_plugin_gives_up_or_does_it_twice(plain: dict[str, FakeCluster]) -> None:
    """A limit on the number of jobs, an answer that was lost, and a banner with a number."""
    plain["limit"].order("sbatch", *[NOT_NOW] * 3)
    plain["lost"].order("sbatch", {"code": 1, "err": TIMED_OUT, "take": True})
    plain["banner"].order("sbatch", *[{"out": "Welcome, you are user 4711\n{id}"}] * 3)
    names = ("limit", "lost", "banner")
    drivers = {name: plain[name].start("a") for name in names}
    codes = {name: plain[name].finish(driver) for name, driver in drivers.items()}
    assert codes["limit"] != 0, "a limit is waited for"
    assert codes["banner"] != 0, "the last line of a banner is read"
    assert len(plain["lost"].jobs()) == 2, "the queue is asked for a job whose answer was lost"
