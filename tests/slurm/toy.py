"""A workflow of toy jobs on a test cluster: each sleeps, and writes a file."""

import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from campaign_on_slurm import BIN, ROOT
from cluster import Cluster

SNAKEFILE = f"""
include: "{ROOT}/rules/slurm.smk"

rule all:
    input: expand("{{name}}.txt", name=config["names"].split("+"))

rule write:
    output: "{{name}}.txt"
    log: "logs/{{name}}.log"
    resources:
        mem_mb=lambda wildcards, attempt: 600 * attempt,
        runtime=lambda wildcards, attempt: config["minutes"] * attempt,
    shell: "(echo begun; sleep {{config[seconds]}}; echo done > {{output}}) > {{log}} 2>&1"
"""


@dataclass
class Toy:
    """Where it runs, and for how long its jobs sleep [s] and ask [minutes]."""

    folder: Path
    cluster: Cluster
    seconds: int = 1
    minutes: int = 2
    arguments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        (self.folder / "Snakefile").write_text(SNAKEFILE, "utf-8")

    def start(self, names: str) -> subprocess.Popen[str]:
        """Start Snakemake for outputs of these names, joined by plus signs."""
        command = [*self.cluster.enter, str(BIN / "snakemake"), "--executor", "slurm"]
        command += ["--jobs", "9", "--keep-going", "--retries", "2", "--logger", "rich"]
        command += ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5"]
        command += ["--slurm-status-command", "squeue", "--slurm-no-requeue", *self.arguments]
        settings = (f"names={names}", f"seconds={self.seconds}", f"minutes={self.minutes}")
        with open(self.folder / "driver.log", "w", encoding="utf-8") as log:
            return subprocess.Popen(
                [*command, "--config", *settings],
                cwd=self.folder,
                env={**self.cluster.variables, "COLUMNS": "300"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def said(self) -> str:
        """What Snakemake has said."""
        return (self.folder / "driver.log").read_text("utf-8")

    def finish(self, driver: subprocess.Popen[str], patience_s: float = 240) -> int:
        """Exit code of a driver."""
        try:
            return driver.wait(patience_s)
        except subprocess.TimeoutExpired:
            os.kill(driver.pid, signal.SIGKILL)
            raise AssertionError(self.said()) from None

    def jobs(self) -> pd.DataFrame:
        """Its jobs that SLURM remembers, in order."""
        columns = ["id", "state", "memory", "limit", "node", "reason", "folder"]
        text = self.cluster.ask("squeue", "-h", "--states=all", "--format", "%i|%T|%m|%l|%N|%r|%Z")
        table = pd.DataFrame([line.split("|") for line in text.splitlines()], columns=columns)
        mine = table[table.folder == str(self.folder)]
        return mine.astype({"id": int}).sort_values("id", ignore_index=True)
