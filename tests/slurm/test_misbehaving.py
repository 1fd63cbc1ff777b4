"""What is done when SLURM's programs refuse, forget, lose or garble; against programs to order."""

import signal
from pathlib import Path

import fake_programs
import pytest
from cluster import wait_until
from fake_cluster import FakeCluster

LIMIT = "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job"
LIMIT += " violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n"
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"
NOT_NOW = {"code": 1, "err": LIMIT}
UNTIL_GO = (
    "while test ! -e go; do sleep 0.2; done\n"
    "mkdir -p logs; echo begun > logs/a.log; echo done > a.txt"
)
AWAY = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"


@pytest.fixture
def fake(tmp_path: Path) -> FakeCluster:
    """A cluster that does as it is told."""
    return FakeCluster(tmp_path / "fake")


def outputs(fake: FakeCluster) -> set[str]:
    return {path.stem for path in fake.here.glob("*.txt")}


# --- 1: an end that nobody tells ------------------------------------------------------------------


def test_forgotten_jobs_say_themselves_how_they_ended(fake: FakeCluster) -> None:
    """squeue shows no ended job: one did its work, one failed and is tried again."""
    (fake.folder / "forgets").touch()
    fake.do(
        "name=${1##*_}; mkdir -p logs; echo begun > logs/$name.log; echo done > $name.txt\n"
        "test $name != bad -o -e second || { touch second; exit 3; }"
    )
    code, said = fake.run("good+bad")
    assert code == 0, said
    assert outputs(fake) == {"good", "bad"}
    assert "SLURM has forgotten job" in said
    assert "which ended with exit code 3" in said
    assert [job["memory"] for job in fake.jobs()].count("1200") == 1
    # Nothing of it stays.
    assert not list(fake.here.glob(".snakemake/slurm_logs/*/*/.ended*"))


def test_a_job_that_vanished_fails_after_a_time(fake: FakeCluster) -> None:
    """Neither the queue nor the job itself says anything: as after a loss of power."""
    (fake.folder / "forgets").touch()
    fake.do("sleep 100")
    driver = fake.start("a", "--retries", "0")
    wait_until(lambda: fake.jobs() and "pid" in fake.jobs()[0], "a job")
    fake.set_job("100", state="FAILED")
    assert fake.finish(driver) != 0
    assert "SLURM has forgotten job 100, which ended without a word of its end" in fake.said()
    assert len(fake.jobs()) == 1


@pytest.mark.parametrize("command", ["squeue", "sacct"])
def test_accounts_are_asked_for_what_squeue_forgot(fake: FakeCluster, command: str) -> None:
    """CANCELLED "by 0" is a state too; the plugin waits for ever."""
    (fake.folder / "forgets").touch()
    (fake.folder / "accounts").touch()
    fake.do("sleep 100")
    driver = fake.start("a", "--retries", "0", "--slurm-status-command", command)
    wait_until(lambda: fake.jobs() and "pid" in fake.jobs()[0], "a job")
    fake.set_job("100", state="CANCELLED")
    assert fake.finish(driver) != 0
    assert "SLURM job 100 on n1 ended as CANCELLED" in fake.said()


def test_a_silent_controller_loses_no_job(fake: FakeCluster) -> None:
    """The plugin forgets all its jobs when squeue fails five times in a row."""
    fake.do("sleep 5; mkdir -p logs; echo begun > logs/a.log; echo done > a.txt")
    fake.order("squeue", {}, *[{"code": 1, "err": AWAY}] * 5)
    code, said = fake.run("a")
    assert code == 0, said
    assert "Unable to contact slurm controller" in said
    assert said.count("asked again until it answers") == 1
    assert "SLURM answers again" in said


def test_what_is_waited_for_is_said(fake: FakeCluster) -> None:
    fake.times["TOLD_EVERY_S"] = 2.0
    held = {"job": {"state": "PENDING", "reason": "PartitionTimeLimit", "node": ""}}
    fake.do("sleep 6; mkdir -p logs; echo begun > logs/a.log; touch a.txt b.txt")
    fake.order("sbatch", {}, held, {"code": 1, "err": LIMIT})
    driver = fake.start("a+b+c")
    wait_until(lambda: "Waiting for 3 jobs" in fake.said(), "a line")
    line = next(line for line in fake.said().splitlines() if "Waiting for 3 jobs" in line)
    assert "1 running (longest write" in line
    assert "1 pending (1 PartitionTimeLimit: asks for more time than its partition allows)" in line
    assert "1 not submitted (AssocMaxSubmitJobLimit; " in line
    # SIGTERM ends it: what was not submitted is let go, what runs is waited for.
    driver.send_signal(signal.SIGTERM)
    wait_until(lambda: fake.jobs()[0]["state"] == "COMPLETED", "the job that runs")
    fake.set_job("101", state="CANCELLED")
    assert fake.finish(driver) != 0
    assert "1 jobs were not submitted" in fake.said()


# --- 3, 5: refusals -------------------------------------------------------------------------------


def test_a_limit_costs_no_attempt(fake: FakeCluster) -> None:
    """A refused job waits, and asks for no more than before."""
    fake.order("sbatch", {}, NOT_NOW, NOT_NOW)
    code, said = fake.run("a+b")
    assert code == 0, said
    assert {job["memory"] for job in fake.jobs()} == {"600"}
    assert {job["minutes"] for job in fake.jobs()} == {"20"}
    assert "AssocMaxSubmitJobLimit" in said
    assert "no attempt is counted" in said


@pytest.mark.parametrize(
    ("words", "stops"),
    [
        ("Batch job submission failed: Invalid account or account/partition combination", True),
        (
            "Batch job submission failed: Requested time limit is invalid (missing or exceeds)",
            False,
        ),
    ],
)
def test_a_final_refusal_is_shown_and_not_repeated(
    fake: FakeCluster, words: str, stops: bool
) -> None:
    """In the scheduler's words; one of account or partition submits nothing more."""
    (fake.here / "logs").mkdir()
    for name in "ab":
        (fake.here / "logs" / f"{name}.log").write_text("ended by SIGKILL, days ago\n", "utf-8")
    fake.order("sbatch", {"code": 1, "err": f"sbatch: error: {words}\n"})
    code, said = fake.run("a+b", "--jobs", "1")
    assert code != 0
    assert f"SLURM refuses it{', and would refuse all others' if stops else ''}: {words}" in said
    assert "SIGKILL" not in said
    assert "Traceback" not in said
    assert len(fake.calls("sbatch")) == (1 if stops else 2)
    assert len(fake.jobs()) == (0 if stops else 1)


def test_an_unnamed_limit_is_final_when_nothing_else_is_in_the_queue(fake: FakeCluster) -> None:
    """The same words mean too many jobs, or one that is too large."""
    words = LIMIT.splitlines()[1] + "\n"
    fake.order("sbatch", {"code": 1, "err": words})
    code, said = fake.run("a")
    assert code != 0
    assert "SLURM refuses it: Batch job submission failed: Job violates accounting" in said
    assert len(fake.calls("sbatch")) == 1


def test_only_logs_of_this_attempt_are_shown(fake: FakeCluster) -> None:
    """A job that began shows its log; one without a log shows what SLURM said, and no traceback."""
    fake.do("echo slurmstepd: error: Exceeded job memory limit; echo words of the node; exit 1")
    (fake.here / "logs").mkdir()
    (fake.here / "logs" / "a.log").write_text("of last week\n", "utf-8")
    code, said = fake.run("a+b", "--retries", "0")
    assert code != 0
    assert "of last week" not in said
    assert "words of the node" in said
    assert "Traceback" not in said


# --- 4, 7: nodes ----------------------------------------------------------------------------------


def test_a_bad_node_is_avoided_and_named(fake: FakeCluster) -> None:
    """No environment on n1: no attempt is lost, and after three failures it is named."""
    (fake.folder / "bad-n1").touch()
    code, said = fake.run("a+b+c+d")
    assert code == 0, said
    assert {job["memory"] for job in fake.jobs()} == {"600"}
    failed = [job for job in fake.jobs() if job["state"] == "FAILED"]
    assert {job["node"] for job in failed} == {"n1"}
    assert "no-such-python: not found" in said
    assert "Node n1: 3 jobs in a row failed there" in said
    assert {job["node"] for job in fake.jobs() if job["state"] == "COMPLETED"} == {"n2"}


def test_no_environment_anywhere_ends_with_its_reason(fake: FakeCluster) -> None:
    """All nodes are tried; when none is left, all may be taken again, and it ends."""
    for node in ("n1", "n2", "n3"):
        (fake.folder / f"bad-{node}").touch()
    code, said = fake.run("a", "--retries", "0")
    assert code != 0
    assert [job["node"] for job in fake.jobs()] == ["n1", "n2", "n3", "n1"]
    assert "no-such-python: not found" in said


# --- 6: answers that got lost ---------------------------------------------------------------------


def test_a_job_that_was_taken_without_an_answer(fake: FakeCluster) -> None:
    """ "Socket timed out", and the job is there: it is looked for by name, and not sent twice."""
    lost = {"code": 1, "err": TIMED_OUT, "take": True}
    fake.order("sbatch", lost, {}, lost)
    code, said = fake.run("a+b+c")
    assert code == 0, said
    assert len(fake.jobs()) == len(fake.calls("sbatch")) == 3
    assert said.count("SLURM had taken it, as job") == 2


def test_a_job_that_was_not_taken_is_submitted_again(fake: FakeCluster) -> None:
    fake.order("sbatch", {"code": 1, "err": TIMED_OUT, "take": False})
    code, said = fake.run("a")
    assert code == 0, said
    (job,) = fake.jobs()
    assert job["memory"] == "600"
    assert "SLURM may have taken it" in said


def test_a_job_that_turns_up_late_is_cancelled(fake: FakeCluster) -> None:
    """Taken long after the second submission: one of the two goes."""
    fake.do(UNTIL_GO)
    driver = fake.start("a")
    wait_until(lambda: fake.jobs() and "pid" in fake.jobs()[0], "a job")
    twin = fake.jobs()[0] | {"id": "999", "state": "PENDING", "node": "", "pid": 0}
    fake_programs.write_job(fake.folder, twin)
    wait_until(lambda: fake.jobs()[1]["state"] == "CANCELLED", "the twin to go")
    (fake.here / "go").touch()
    assert fake.finish(driver) == 0, fake.said()
    assert [job["state"] for job in fake.jobs()] == ["COMPLETED", "CANCELLED"]
    assert "SLURM job 999 is there twice" in fake.said()


def test_a_job_that_gives_way_comes_back(fake: FakeCluster) -> None:
    """Its record is locked by a job that lives: it gives its cores back, and no attempt is lost."""
    fake.times["COMES_BACK_S"] = 2.0
    fake.do(
        "mkdir -p logs; test -e second && { echo x > logs/a.log; echo done > a.txt; exit 0; }\n"
        "touch second; test $DFT2SPECTRA_GIVE_WAY = 1 &&\n"
        "echo 'a.txt: process 1 on n9 writes this output; this job gives its cores back.'"
        " > logs/a.log; exit 1"
    )
    code, said = fake.run("a", "--retries", "0")
    assert code == 0, said
    assert [job["memory"] for job in fake.jobs()] == ["600", "600"]
    assert "another job writes its record" in said


def test_jobs_of_an_earlier_run_are_waited_for(fake: FakeCluster) -> None:
    """After a kill −9 the same is not sent to the queue a second time while the first is there."""
    fake.do(UNTIL_GO)
    driver = fake.start("a")
    wait_until(lambda: fake.jobs() and "pid" in fake.jobs()[0], "a job")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    fake.run("a", "--unlock")
    driver = fake.start("a", "--rerun-incomplete")
    wait_until(
        lambda: "1 jobs of another run in this folder are in the queue" in fake.said(), "words"
    )
    wait_until(lambda: "write a" in fake.said() or len(fake.calls("squeue")) > 6, "some looks")
    assert len(fake.jobs()) == 1
    (fake.here / "go").touch()
    assert fake.finish(driver) == 0, fake.said()
    assert [job["state"] for job in fake.jobs()] == ["COMPLETED", "COMPLETED"]


# --- 2: preemption --------------------------------------------------------------------------------


@pytest.mark.parametrize("requeue", [False, True])
def test_a_preempted_job_is_submitted_again(fake: FakeCluster, requeue: bool) -> None:
    """Whether SLURM was asked to put it back or not: here it cancels what it preempts."""
    fake.requeue = requeue
    fake.do(
        "test -e second || { touch second; sleep 100; }\n"
        "mkdir -p logs; echo begun > logs/a.log; echo done > a.txt"
    )
    driver = fake.start("a", "--retries", "0")
    wait_until(lambda: (fake.here / "second").exists(), "a job")
    fake.set_job("100", state="PREEMPTED")
    assert fake.finish(driver) == 0, fake.said()
    assert [job["memory"] for job in fake.jobs()] == ["600", "600"]
    assert "was preempted by more urgent work. Submitted again as it was" in fake.said()


# --- 8: requests beyond the partition -------------------------------------------------------------


def test_requests_beyond_the_partition_stop_before_the_first_job(tmp_path: Path) -> None:
    fake = FakeCluster(tmp_path / "fake", minutes=90)
    code, said = fake.run("a+b")
    assert code != 0
    assert "write: 2 jobs for partition short, such as 90 minutes, and it allows 60" in said
    assert "--set-resources write:runtime=<minutes>" in said
    assert not fake.jobs()


def test_growth_stays_within_the_partition(tmp_path: Path) -> None:
    """40, then 80 cut to 60; after a timeout with all of that there is no third attempt."""
    fake = FakeCluster(tmp_path / "fake", minutes=40)
    fake.do("mkdir -p logs; echo begun > logs/a.log; sleep 100")
    driver = fake.start("a")
    for number in ("100", "101"):
        wait_until(
            lambda n=number: any(job["id"] == n and "pid" in job for job in fake.jobs()), "it"
        )
        wait_until(lambda: (fake.here / "logs" / "a.log").exists(), "its log")
        fake.set_job(number, state="TIMEOUT")
    assert fake.finish(driver) != 0
    assert [job["minutes"] for job in fake.jobs()] == ["40", "60"]
    assert "and had all of that already" in fake.said()


# --- 9: banners and names -------------------------------------------------------------------------


def test_numbers_in_a_banner(fake: FakeCluster) -> None:
    """Of a site's wrapper; where even that does not tell, the queue does."""
    fake.order(
        "sbatch",
        {"out": "You have used 4711 of 5000 hours\n{id}"},
        {"out": "42\n{id}"},
        {"out": "4711 hours used. Job {id} is in the queue, 3 are before it."},
    )
    fake.order("squeue", {"out": "Queue of lab, 17 jobs\n1|2|3\n"})
    code, said = fake.run("a+b+c")
    assert code == 0, said
    assert len(fake.jobs()) == len(fake.calls("sbatch")) == 3
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["50%j", "cash$HOME"])
def test_a_folder_that_slurm_would_rename_is_refused(fake: FakeCluster, name: str) -> None:
    folder = fake.here / name
    folder.mkdir()
    code, said = fake.run("a", "--directory", str(folder))
    assert code != 0
    assert "SLURM and the shells of its jobs replace" in said
    assert "Rename the folder" in said
    assert not fake.jobs()
