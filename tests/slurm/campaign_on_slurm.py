"""A campaign in a folder of its own on a test cluster, started as the documentation says."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import Cluster, wait_until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# Longest campaign of these tests. [s]
CAMPAIGN_S = 900


def install_profile(cluster: Cluster, home: Path) -> None:
    """The documented steps: ``make slurm-profile``, then the partitions file and its line."""
    done = subprocess.run(
        ["make", "--no-print-directory", "slurm-profile", f"XDG_CONFIG_HOME={home}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    profile = home / "snakemake" / "slurm" / "profile.yaml"
    partitions = str(profile.parent / "partitions.yaml")
    cluster.ask(str(BIN / "generate-slurm-partition-config"), "-o", partitions)
    text = profile.read_text("utf-8")
    line = "slurm-partition-config: partitions.yaml"
    assert f"# {line}" in text
    profile.write_text(text.replace(f"# {line}", line), "utf-8")


@dataclass
class Campaign:
    """Working folder of a campaign, its config files and the cluster that it runs on."""

    folder: Path
    cluster: Cluster
    home: Path
    configs: list[Path]
    run_name: str
    # Put before the installed packages.
    library: Path | None = None

    @property
    def results(self) -> Path:
        """Folder of the results."""
        return self.folder / "results" / self.run_name

    @property
    def variables(self) -> dict[str, str]:
        """Environment of Snakemake."""
        variables = {**self.cluster.variables, "XDG_CONFIG_HOME": str(self.home)}
        variables |= {"COLUMNS": "400", "OMP_NUM_THREADS": "1"}
        if self.library:
            paths = [str(self.library), *filter(None, [os.environ.get("PYTHONPATH")])]
            variables["PYTHONPATH"] = os.pathsep.join(paths)
        return variables

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``snakemake --profile slurm``; its output goes to ``driver.log``."""
        command = [*self.cluster.enter, str(BIN / "snakemake")]
        command += ["--snakefile", str(ROOT / "Snakefile"), "--profile", "slurm"]
        command += ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5"]
        command += arguments
        command += ["--configfile", *map(str, self.configs)] if self.configs else []
        with open(self.folder / "driver.log", "a", encoding="utf-8") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def output(self) -> str:
        """What all drivers so far have said."""
        return (self.folder / "driver.log").read_text("utf-8")

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run Snakemake to its end; exit code and what this run said."""
        log = self.folder / "driver.log"
        before = len(self.output()) if log.exists() else 0
        code = self.start(*arguments).wait(timeout=CAMPAIGN_S)
        return code, self.output()[before:]

    def finish(self, *arguments: str) -> str:
        """Run Snakemake, which must succeed; what it said."""
        code, said = self.run(*arguments)
        assert code == 0, said[-6000:]
        return said

    def records(self) -> dict[str, bytes]:
        """Content of the DFT records by structure id, those in bundles that go on among them."""
        found = [*self.results.glob("hyperfine/bundles/records/[!.]*.json")]
        found += self.results.glob("hyperfine/[!.]*.json")
        return {path.stem: path.read_bytes() for path in found}

    def statuses(self) -> dict[str, Any]:
        """Status of every record by structure id."""
        return {name: json.loads(text)["status"] for name, text in self.records().items()}

    def record_of(self, formula: str, *arguments: str) -> dict[str, Any]:
        """Compute one crystal; its record."""
        self.finish("all_structures")
        (crystal,) = self.results.glob(f"structures/crystals/{formula}-*.json")
        self.finish(f"results/{self.run_name}/hyperfine/{crystal.name}", *arguments)
        return json.loads(self.records()[crystal.stem])

    def status(self) -> dict[str, Any]:
        """What the status command says."""
        command = [sys.executable, "-m", "dft2spectra.status", "--json", "--configfile"]
        done = subprocess.run(
            [*self.cluster.enter, *command, str(ROOT / "config.yaml"), *map(str, self.configs)],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def calculations(self) -> dict[int, str]:
        """Running DFT processes of this campaign: process id → structure id."""
        found = {}
        for process in Path("/proc").iterdir():
            try:
                words = (process / "cmdline").read_text("utf-8").split("\0")
                here = (process / "cwd").resolve() == self.folder.resolve()
            except (OSError, ValueError):  # ended meanwhile, or no process
                continue
            if here and "dft2spectra.crystals" in words and "--structure" in words:
                found[int(process.name)] = Path(words[words.index("--structure") + 1]).stem
        return found

    def wait_for_calculation(self, driver: subprocess.Popen[str], name: str = "") -> int:
        """Process id of a calculation whose structure begins with ``name`` and has no record."""
        found: list[int] = []

        def running() -> bool:
            assert driver.poll() is None, self.output()[-6000:]
            done, now = self.records(), self.calculations()
            found[:] = [p for p, s in now.items() if s.startswith(name) and s not in done]
            return bool(found)

        wait_until(running, f"a calculation of {name or 'anything'}", CAMPAIGN_S)
        return found[0]


def new_campaign(
    folder: Path, cluster: Cluster, home: Path, configs: list[Path], run_name: str
) -> Campaign:
    """A campaign of which nothing has run, with the bundled data."""
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "data", folder / "data")
    return Campaign(folder, cluster, home, configs, run_name)


def stop(process: subprocess.Popen[str], how: signal.Signals) -> int:
    """Send a signal to a driver alone, not to its jobs, and wait for its end; the exit code."""
    os.kill(process.pid, how)
    return process.wait(timeout=CAMPAIGN_S)
