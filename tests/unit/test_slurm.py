"""What SLURM's programs print, as data; doors that close after a refusal; nodes that fail."""

import math
import re
import subprocess
from pathlib import Path

import pytest

from dft2spectra.slurm import answers, states
from dft2spectra.slurm.answers import Kind, Refusal, names_no_limit, read_answer
from dft2spectra.slurm.limits import minutes_of, read_partitions
from dft2spectra.slurm.nodes import AVOIDED_S, IN_A_ROW, Nodes
from dft2spectra.slurm.profile import contradictions, fitted, status_command
from dft2spectra.slurm.waiting import LONGEST_PAUSE_S, SHORTEST_PAUSE_S, Waiting

ROOT = Path(__file__).parents[2]
PROFILE = (ROOT / "profiles" / "slurm" / "profile.yaml").read_text("utf-8")


class Clock:
    """A time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


# --- answers of sbatch ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "number"),
    [
        ("17\n", "17"),
        ("17;lab\n", "17"),
        ("You have used 4711 of 5000 core hours.\n17\n", "17"),
        ("Submitted batch job 17 on cluster lab\n", "17"),
        ("Job 3 of 9\n\n  17  \n", "17"),
    ],
)
def test_number_of_a_job(out: str, number: str) -> None:
    assert read_answer(0, out, "a warning of 12 lines") == number


@pytest.mark.parametrize("out", ["", "42\n17\n", "job 17 is in the queue"])
def test_a_number_that_cannot_be_told_is_looked_for(out: str) -> None:
    answer = read_answer(0, out, "")
    assert isinstance(answer, Refusal)
    assert answer.kind is Kind.LOST


# Texts as printed by sbatch 22.05; "job submission failed" is cut off.
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.LATER, "AssocMaxSubmitJobLimit"),
        (Kind.LATER, "QOSMaxSubmitJobPerUserLimit"),
        (Kind.LATER, "Unable to contact slurm controller (connect failure)"),
        (Kind.LATER, "Slurm temporarily unable to accept job, sleeping and retrying"),
        (Kind.LATER, "Required partition not available (inactive or drain)"),
        (Kind.LATER, "Protocol authentication error"),
        (Kind.LOST, "Socket timed out on send/recv operation"),
        (Kind.LOST, "Zero Bytes were transmitted or received"),
        (Kind.NODES, "Requested node configuration is not available"),
        (Kind.USER, "Invalid partition name specified"),
        (Kind.USER, "Invalid account or account/partition combination specified"),
        (Kind.USER, "Invalid qos specification"),
        (Kind.JOB, "Requested time limit is invalid (missing or exceeds some limit)"),
        (Kind.JOB, "a sentence of a job_submit plugin that nobody knows"),
    ],
)
def test_refusals(kind: Kind, text: str) -> None:
    said = f"sbatch: error: Batch job submission failed: {text}\n"
    assert read_answer(1, "", said) == Refusal(kind, f"Batch job submission failed: {text}")


def test_a_limit_without_a_name() -> None:
    words = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    assert names_no_limit(Refusal(Kind.JOB, words))
    assert not names_no_limit(Refusal(Kind.JOB, f"QOSMaxWallDurationPerJobLimit; {words}"))
    assert not names_no_limit(Refusal(Kind.JOB, "Invalid qos specification"))
    assert read_answer(None, "", "") == Refusal(Kind.LOST, "sbatch hung")


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        ("30:00", 30.0),
        ("12:00:00", 720.0),
        ("1-00:00:00", 1440.0),
        ("2-12", 3600.0),
        ("45", 45.0),
        ("0:30", 0.5),
        ("infinite", math.inf),
        ("n/a", math.inf),
    ],
)
def test_times_of_slurm(time: str, minutes: float) -> None:
    assert minutes_of(time) == minutes


def test_partitions() -> None:
    """The largest node counts; a node without memory in slurm.conf (1 MB) has no limit."""
    text = "short*|30:00|16000|4\nshort*|30:00|64000+|2\nlong|infinite|1|8\na banner|of\n"
    found = read_partitions(text)
    short = found["short"]
    assert (short.is_default, short.minutes, short.node_mb, short.node_cpus) == (True, 30, 64000, 4)
    assert short.excess(30, 64000, 4) == []
    assert short.excess(31, 64001, 5) == [
        "31 minutes, and it allows 30",
        "64001 MB, and its largest node has 64000",
        "5 cores, and its largest node has 4",
    ]
    assert found["long"].excess(1e6, 1e6, 8) == []


# --- states ---------------------------------------------------------------------------------------


def test_every_state_is_documented() -> None:
    """The table of docs/slurm.md names every state, in the row of what happens."""
    text = (ROOT / "docs" / "slurm.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for state, outcome in states.OUTCOMES.items():
        (row,) = [row for row in rows if f"`{state}`" in row.split("|")[1]]
        assert outcome.value in row, state


def test_reasons_of_pending_jobs() -> None:
    assert states.why_pending("Priority") == "Priority"
    assert states.why_pending("(ReqNodeNotAvail, UnavailableNodes:n1)").endswith(
        "the nodes that it asks for are down, drained or reserved"
    )
    assert states.outcome("A_STATE_OF_2030") is states.Outcome.WAITS


def test_no_text_is_in_two_kinds() -> None:
    """Only the first kind that is found counts."""
    texts = [part for _, parts in answers.TEXTS for part in parts]
    assert len(set(texts)) == len(texts)
    assert all(text == text.lower() for text in texts)


# --- waiting --------------------------------------------------------------------------------------


def test_one_tries_a_door_that_was_closed() -> None:
    clock = Clock()
    waiting = Waiting(clock)
    assert waiting.refuse("a", "limit", "short") == SHORTEST_PAUSE_S
    assert waiting.joins("b", "short")
    assert not waiting.joins("c", "long")
    assert waiting.reasons() == {"limit": 2}
    assert waiting.take() == []
    clock.now = SHORTEST_PAUSE_S
    assert waiting.take() == ["a"]
    assert waiting.take() == []  # b waits for what a hears
    assert waiting.refuse("a", "limit", "short") == 2 * SHORTEST_PAUSE_S
    for _ in range(10):
        pause_s = waiting.refuse("a", "limit", "short")
    assert pause_s == LONGEST_PAUSE_S
    waiting.knock()  # a job has ended: b has come first
    assert waiting.take() == ["b"]
    waiting.let_in("short")
    assert waiting.take() == ["a"]
    assert not waiting.joins("a", "short")


def test_a_pause_of_ones_own() -> None:
    clock = Clock()
    waiting = Waiting(clock)
    waiting.put("a", "gave way", pause_s=60)
    waiting.put("b", "preempted")
    assert waiting.take() == ["b"]
    clock.now = 60
    assert waiting.take_all() == ["a"]
    assert waiting.take_all() == []


# --- nodes ----------------------------------------------------------------------------------------


def test_nodes_are_avoided_for_a_time() -> None:
    clock = Clock()
    nodes = Nodes(clock)
    assert nodes.failed("n1", "a") is None
    assert nodes.avoided("a") == {"n1"}
    assert nodes.avoided("b") == set()
    nodes.worked("n1")
    warnings = [nodes.failed("n1", "b") for _ in range(IN_A_ROW)]
    assert warnings[:-1] == [None] * (IN_A_ROW - 1)
    assert "Node n1: 3 jobs in a row failed there" in str(warnings[-1])
    assert nodes.avoided("c") == {"n1"}
    nodes.forget("c")
    assert nodes.avoided("c") == set()
    clock.now = AVOIDED_S
    assert nodes.avoided("a") == nodes.avoided("b") == set()


# --- the profile ----------------------------------------------------------------------------------


def test_profile_fits_the_cluster() -> None:
    assert status_command(None) == "sacct"
    assert status_command("no slurmdbd") == "squeue"
    by_sacct = fitted(PROFILE, "sacct")
    assert re.findall(r"^slurm-status-command: (\w+)", by_sacct, re.MULTILINE) == ["sacct"]
    assert fitted(by_sacct, "squeue") == PROFILE
    assert contradictions(PROFILE, "no slurmdbd", 300.0) == []
    assert contradictions(by_sacct, None, 5.0) == []
    assert "has to be squeue: no slurmdbd" in contradictions(by_sacct, "no slurmdbd", 300.0)[0]
    assert "forgets ended jobs after 20 s" in contradictions(PROFILE, None, 20.0)[0]
    both = f"{PROFILE}slurm-requeue: true\n"
    assert "exclude each other" in contradictions(both, "no slurmdbd", 300.0)[0]


def test_slurm_profile_is_kept(tmp_path: Path) -> None:
    """Away from a cluster it is written as it is; what the user changed stays."""
    path = tmp_path / "snakemake" / "slurm" / "profile.yaml"
    command = ["make", "--no-print-directory", "slurm-profile", f"XDG_CONFIG_HOME={tmp_path}"]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"Written: {path}" in first.stdout
    assert "SLURM does not answer here" in first.stdout or path.read_text("utf-8") != PROFILE
    path.write_text(f"{path.read_text('utf-8')}jobs: 7\n", "utf-8")
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"Kept your {path}" in second.stdout
    assert "-jobs: 7" in second.stdout
    assert path.read_text("utf-8").endswith("jobs: 7\n")
