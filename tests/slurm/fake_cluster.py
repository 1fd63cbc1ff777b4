"""A cluster that answers what a test orders, with toy jobs on it; see fake_programs."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fake_programs

ROOT = Path(__file__).parents[2]
PROGRAMS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol", "sacct")

INCLUDED = f'include: "{ROOT}/rules/slurm.smk"'
SNAKEFILE = """
{included}

rule all:
    input: expand("{{name}}.txt", name=config["names"].split("+"))

rule write:
    output: "{{name}}.txt"
    log: "logs/{{name}}.log"
    resources:
        mem_mb=lambda wildcards, attempt: 600 * attempt,
        runtime=lambda wildcards, attempt: {minutes} * attempt,
    shell: "exit 1"
"""
# What a job does in place of Snakemake on a node: begins its log, and writes its output.
WORK = "name=${1##*_}; mkdir -p logs; echo begun > logs/$name.log; echo done > $name.txt"
# Times of the executor that are long for good reason. [s]
TIMES = {"LOST_S": 3.0, "LOOKED_FOR_EVERY_S": 1.0, "FORGOTTEN_S": 6.0, "RARER_BY_S": 0.5}
TIMES["SHORTEST_PAUSE_S"] = 2.0
# Longest run of Snakemake, on a machine with much else to do. [s]
PATIENCE_S = 240.0
# Snakemake with the times of the executor that a test cannot wait for.
DRIVER = """
import sys
from dft2spectra.slurm import waiting
from dft2spectra_slurm import executor, submitter
from snakemake.cli import main
for name, value in {times!r}.items():
    (home,) = [module for module in (executor, submitter, waiting) if name in vars(module)]
    setattr(home, name, value)
main(sys.argv[1:])
"""


@dataclass
class FakeCluster:
    """Programs of SLURM in a folder, whose answers are ordered beforehand.

    With ``plain``, Snakemake uses the executor of the plugin as it is.
    """

    folder: Path
    minutes: int = 20
    times: dict[str, float] = field(default_factory=TIMES.copy)
    requeue: bool = False
    plain: bool = False

    def __post_init__(self) -> None:
        for name in ("bin", "jobs", "orders", "work-folder"):
            (self.folder / name).mkdir(parents=True)
        for program in PROGRAMS:
            path = self.folder / "bin" / program
            script = f'exec {sys.executable} {fake_programs.__file__} {self.folder} {program} "$@"'
            path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
            path.chmod(0o755)
        self.do(WORK)
        included = "" if self.plain else INCLUDED
        text = SNAKEFILE.format(included=included, minutes=self.minutes)
        (self.here / "Snakefile").write_text(text, "utf-8")

    @property
    def here(self) -> Path:
        """Where Snakemake runs."""
        return self.folder / "work-folder"

    def do(self, work: str) -> None:
        """What every job does; ``$1`` is its comment, which ends in its name."""
        (self.folder / "work").write_text(work, "utf-8")

    def order(self, program: str, *answers: dict[str, Any]) -> None:
        """Answers to the next calls of a program."""
        lines = [f"{json.dumps(answer)}\n" for answer in answers]
        (self.folder / "orders" / program).write_text("".join(lines), "utf-8")

    def orders_left(self, program: str) -> int:
        """How many answers nobody has asked for yet."""
        return len((self.folder / "orders" / program).read_text("utf-8").splitlines())

    def calls(self, program: str) -> list[list[str]]:
        """Arguments of all calls of a program."""
        lines = (self.folder / "calls").read_text("utf-8").splitlines()
        return [words[1:] for words in map(json.loads, lines) if words[0] == program]

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs that were taken."""
        return fake_programs.read_jobs(self.folder)

    def set_job(self, number: str, **values: Any) -> None:
        """Change a job."""
        (job,) = [job for job in self.jobs() if job["id"] == number]
        fake_programs.write_job(self.folder, job | values)

    def start(self, names: str, *arguments: str) -> subprocess.Popen[str]:
        """Start Snakemake for outputs of these names, joined by plus signs."""
        command = [sys.executable, "-c", DRIVER.format(times=self.times)]
        command += ["--executor", "slurm", "--jobs", "9", "--keep-going", "--retries", "2"]
        command += ["--logger", "rich", "--latency-wait", "2"]
        command += ["--slurm-requeue" if self.requeue else "--slurm-no-requeue"]
        command += ["--slurm-init-seconds-before-status-checks", "1"]
        command += ["--slurm-status-command", "squeue", "--slurm-jobname-prefix", "toy"]
        command += ["--config", f"names={names}", *arguments]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        with open(self.folder / "driver.log", "a", encoding="utf-8") as log:
            return subprocess.Popen(
                command,
                cwd=self.here,
                env={**kept, "PATH": path, "COLUMNS": "300"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def said(self) -> str:
        """What Snakemake has said so far."""
        return (self.folder / "driver.log").read_text("utf-8")

    def run(self, names: str, *arguments: str) -> tuple[int, str]:
        """Run Snakemake to its end; exit code and what it said."""
        return self.finish(self.start(names, *arguments)), self.said()

    def finish(self, driver: subprocess.Popen[str]) -> int:
        """Exit code of Snakemake."""
        try:
            return driver.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            driver.send_signal(signal.SIGKILL)
            raise AssertionError(self.said()) from None
