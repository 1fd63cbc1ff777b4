"""A campaign in a folder of its own, driven as a user drives it: by the command `snakemake`."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "tests" / "configs"


@dataclass
class Campaign:
    """Working folder with its own data, results and Snakemake state.

    ``library`` is put before the installed package on ``PYTHONPATH``; see :func:`stub_library`.
    """

    folder: Path
    config: str = "stub.yaml"
    library: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        """Command line of Snakemake with the default profile and this campaign's config."""
        start = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        if "--configfile" not in arguments:
            arguments = (*arguments, "--configfile", str(CONFIGS / self.config))
        return [*start, *arguments]

    def variables(self) -> dict[str, str]:
        """Environment of Snakemake: wide lines, so that no message is broken."""
        library = {"PYTHONPATH": str(self.library)} if self.library else {}
        return {**os.environ, "COLUMNS": "400", **library, **self.environment}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end; output and errors together in ``stdout``."""
        return self.execute(self.command("--cores", "1", *arguments))

    def execute(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder of the campaign, as :meth:`run` does Snakemake."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Snakemake on two cores, with its jobs in a session and process group of its own."""
        return subprocess.Popen(
            self.command("--cores", "2", *arguments),
            cwd=self.folder,
            env=self.variables(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def finish(self, *arguments: str) -> str:
        """Run Snakemake, which must succeed; what it wrote."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs that a dry-run announces, by rule, without the targets."""
        counts = job_counts(self.finish("--dry-run", *arguments))
        return {rule: count for rule, count in counts.items() if not rule.startswith("all")}


def job_counts(output: str) -> dict[str, int]:
    """The job table of Snakemake's rich logger: rule → jobs; empty if nothing is to do."""
    table = output.split("Job stats", 1)[1].split("total", 1)[0] if "Job stats" in output else ""
    rows = re.findall(r"^ ([a-z_ ]+?) +(\d+) *$", table, re.MULTILINE)
    return {rule.replace(" ", "_"): int(count) for rule, count in rows}


def new_folder(folder: Path) -> Path:
    """A working folder with a copy of the bundled data, free to be edited."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "data", folder / "data")
    return folder


# What stands for density-functional theory of molecules, by the module that holds the real thing.
STUBS = {
    "molecules/equilibrium.py": "relax",
    "molecules/harmonic.py": "harmonic_reference",
    "molecules/labels.py": "label_geometry",
    "density/training.py": "fit_from_files",
    "density/evaluation.py": "evaluate_density_model",
    "density/calculator.py": "DensityCalculator",
}


def stub_library(folder: Path) -> Path:
    """A copy of the library without DFT: the outermost calls that run it are replaced.

    Snakemake finds the copy through ``PYTHONPATH``. Everything else is the real code, and the
    library itself holds no switch for tests.
    """
    copy = folder / "library"
    shutil.copytree(
        ROOT / "src" / "dft2spectra",
        copy / "dft2spectra",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    here = Path(__file__).parent
    shutil.copy(here / "stub_crystals_main.py", copy / "dft2spectra" / "crystals" / "__main__.py")
    for path in (here / "stub_molecules.py", here.parent / "spring_molecules.py"):
        shutil.copy(path, copy)
    for module, name in STUBS.items():
        with open(copy / "dft2spectra" / module, "a", encoding="utf-8") as file:
            file.write(f"\n\nfrom stub_molecules import {name}\n")
    return copy
