"""A SLURM of its own for the tests in this folder; skipped with the reason if none can be had."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign_on_slurm import ROOT, Campaign, install_profile, new_campaign
from cluster import Cluster
from packages import ACCOUNTING, MPI, SLURM, UnavailableError, installed


@pytest.fixture(scope="session")
def enter(request: pytest.FixtureRequest) -> list[str]:
    """Words before every command that needs SLURM, MariaDB or MPI."""
    if os.geteuid() != 0:
        pytest.skip("SLURM starts jobs only as root")
    if not shutil.which("make"):
        pytest.skip("make is missing")
    try:
        return installed((SLURM, ACCOUNTING, MPI), request.config.cache.mkdir("slurm"))
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def cluster(enter: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes without accounting."""
    with Cluster(tmp_path_factory.mktemp("cluster"), enter) as running:
        yield running


@pytest.fixture(scope="session")
def home(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of configurations of a user who has done what the documentation says."""
    folder = tmp_path_factory.mktemp("home")
    install_profile(cluster, folder)
    return folder


@pytest.fixture
def tiny(cluster: Cluster, home: Path, tmp_path: Path) -> Campaign:
    """A campaign of five cells of one or two atoms, one in a job, of which nothing has run."""
    config = ROOT / "tests" / "configs" / "tiny.yaml"
    return new_campaign(tmp_path / "work", cluster, home, [config], "tiny")


@pytest.fixture
def demo(cluster: Cluster, home: Path, tmp_path: Path) -> Campaign:
    """The default campaign's crystals at settings of seconds, of which nothing has run."""
    config = Path(__file__).with_name("demo.yaml")
    return new_campaign(tmp_path / "work", cluster, home, [config], "demo")


@pytest.fixture(scope="session")
def parallel_gpaw(enter: list[str], request: pytest.FixtureRequest) -> Path:
    """Folder with a GPAW that knows MPI, built as the environment builds it where MPI is."""
    lock = (ROOT / "envs" / "lock.txt").read_text("utf-8")
    pinned = re.search(r"^gpaw==.*?[^\\]\n", lock, re.MULTILINE | re.DOTALL)
    assert pinned is not None
    site = ROOT / "envs" / "gpaw_siteconfig.py"
    cache = request.config.cache.mkdir("slurm")
    key = hashlib.sha256(f"{sys.version}{pinned[0]}{site.read_text('utf-8')}".encode())
    folder = cache / f"gpaw-{key.hexdigest()[:12]}"
    if not folder.exists():
        (cache / "gpaw.txt").write_text(pinned[0], "utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-cache-dir"]
        command += ["--no-build-isolation", "--require-hashes", "--requirement"]
        command += [str(cache / "gpaw.txt"), "--target", f"{folder}.new"]
        shutil.rmtree(f"{folder}.new", ignore_errors=True)
        built = subprocess.run(
            [*enter, *command],
            env={**os.environ, "GPAW_CONFIG": str(site)},
            capture_output=True,
            text=True,
        )
        if built.returncode != 0:
            pytest.skip(f"no GPAW with MPI could be built: {built.stderr.strip()[-300:]}")
        Path(f"{folder}.new").rename(folder)
    return folder
