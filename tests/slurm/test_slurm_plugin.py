"""What the executor plugin does, where the profile depends on it."""

import subprocess
from pathlib import Path

import pandas as pd
import pytest
from campaign_on_slurm import BIN, ROOT, install_profile, new_campaign
from cluster import Cluster
from toy import Toy

pytestmark = pytest.mark.slurm

ARRAYS = """
rule all:
    input: expand("{n}.txt", n=range(1, 7))

rule write:
    output: "{n}.txt"
    resources: mem_mb=600, runtime=2
    shell: "echo {wildcards.n} > {output}; test {wildcards.n} != 4"
"""


def test_job_arrays_lose_good_output(cluster: Cluster, tmp_path: Path) -> None:
    """With plugin 2.8 a failing task takes others with it; when this fails, arrays may be safe."""
    (tmp_path / "Snakefile").write_text(ARRAYS, "utf-8")
    command = [str(BIN / "snakemake"), "--executor", "slurm", "--jobs", "10", "--keep-going"]
    command += ["--slurm-array-jobs", "all", "--slurm-init-seconds-before-status-checks", "2"]
    command += ["--slurm-status-command", "squeue", "--latency-wait", "2"]
    done = subprocess.run(
        [*cluster.enter, *command],
        cwd=tmp_path,
        env=cluster.variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "Submitted array job" in done.stderr, done.stderr[-3000:]
    assert done.returncode != 0
    good = {f"{n}.txt" for n in (1, 2, 3, 5, 6)}
    assert {path.name for path in tmp_path.glob("*.txt")} < good, "job arrays keep what is good"


def test_accounting_and_two_ranks(enter: list[str], parallel_gpaw: Path, tmp_path: Path) -> None:
    """With slurmdbd and the lines of the profile that wait for a user: account, QOS, sacct, MPI."""
    (tmp_path / "cluster").mkdir()
    limits = ("AccountingStorageEnforce=limits",)
    with Cluster(tmp_path / "cluster", enter, accounting=True, changes=limits) as cluster:
        cluster.ask("sacctmgr", "-i", "add", "account", "iron")
        cluster.ask("sacctmgr", "-i", "add", "user", "root", "account=iron")
        install_profile(cluster, tmp_path / "home")
        profile = tmp_path / "home" / "snakemake" / "slurm" / "profile.yaml"
        text = profile.read_text("utf-8")
        for before, after in (
            ("  # - slurm_account=my_account", "  - slurm_account=iron"),
            ("  # - tmpdir='/scratch/$USER'", f"  - tmpdir='{tmp_path}/scratch/$USER'"),
            ("slurm-status-command: squeue", "slurm-status-command: sacct"),
            ("# slurm-efficiency-report: true", "slurm-efficiency-report: true"),
            ("# slurm-qos: normal", "slurm-qos: normal"),
            ("# set-resources:", "set-resources:"),
            ("#   compute_hyperfine:", "  compute_hyperfine:"),
            ("#     mpi:", "    mpi:"),
            ("#     tasks: 16", "    tasks: 2"),
        ):
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        profile.write_text(text, "utf-8")
        config = ROOT / "tests" / "configs" / "tiny.yaml"
        campaign = new_campaign(tmp_path / "work", cluster, tmp_path / "home", [config], "tiny")
        campaign.library = parallel_gpaw

        parallel = campaign.record_of("AlFe")
        assert (parallel["status"], parallel["mpi_ranks"]) == ("converged", 2)
        assert (tmp_path / "scratch" / "root").is_dir()
        (report,) = campaign.folder.glob("efficiency_report_*.csv")
        (row,) = pd.read_csv(report).to_dict("records")
        assert row["RuleName"].startswith("rule_compute_hyperfine")
        assert row["NCPUS"] == 2
        assert row["CPU Efficiency (%)"] > 0
        # SLURM cuts the time passed to whole seconds, not that of the processors.
        assert row["TotalCPU_sec"] <= row["NCPUS"] * (row["Elapsed_sec"] + 1)
        assert 0 < row["Memory Usage (%)"] <= 100
        report.unlink()

        # One process gives the same; plugin 2.8 reports only jobs that start a step by srun.
        one = ("compute_hyperfine:mpi=''", "compute_hyperfine:tasks=1")
        alone = campaign.record_of("AlFe", "--forceall", "--set-resources", *one)
        assert (alone["status"], alone["mpi_ranks"]) == ("converged", 1)
        assert parallel["energy_ev"] == pytest.approx(alone["energy_ev"], abs=1e-3)
        moments = [record["sites"][0]["moment_mub"] for record in (parallel, alone)]
        assert moments[0] == pytest.approx(moments[1], abs=1e-2)
        (report,) = campaign.folder.glob("efficiency_report_*.csv")
        assert pd.read_csv(report).empty

        columns = "State,Account,QOS,NCPUS"
        rows = cluster.ask("sacct", "-X", "--noheader", "--parsable2", f"--format={columns}")
        assert rows.splitlines() == [f"COMPLETED|iron|normal|{n}" for n in (2, 1)]

        # Two jobs at most may be submitted: the others wait, and no attempt is lost.
        limit = ("user", "where", "name=root", "account=iron", "set", "MaxSubmitJobs=2")
        cluster.ask("sacctmgr", "-i", "modify", *limit)
        arguments = ["--slurm-status-command", "sacct"]
        toy = Toy(tmp_path / "toy", cluster, arguments=arguments)
        toy.arguments += ["--default-resources", "slurm_account=iron"]
        assert toy.finish(toy.start("a+b+c+d")) == 0, toy.said()
        assert "AssocMaxSubmitJobLimit" in toy.said()
        assert "Trying to restart" not in toy.said()
        assert list(toy.jobs().memory) == ["600M"] * 4
