"""A SLURM cluster of two virtual nodes on this machine, in a folder and on ports of its own."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from supervisor import members

HERE = Path(__file__).parent
NODES = ("n1", "n2")
# Longest wait for a daemon or a state of SLURM. [s]
PATIENCE_S = 120
# Variable that all processes of a cluster carry, its jobs too; see supervisor.py.
MARK = "DFT2SPECTRA_TEST_CLUSTER"

ACCOUNTING = """AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge.socket
AccountingStoreFlags=job_comment"""

SLURMDBD = """AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=accounting
PidFile={folder}/slurmdbd.pid
LogFile={folder}/log/slurmdbd.log
"""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Return when the condition holds; ``TimeoutError`` with words if it never does."""
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {patience_s:.0f} s in vain: {what}")
        time.sleep(0.3)


@dataclass
class Cluster:
    """munged, slurmctld and two slurmd; with ``accounting`` also MariaDB and slurmdbd.

    ``enter`` are the words of :func:`packages.installed`. ``changes`` are lines of slurm.conf that
    stand in the place of the lines that begin alike, or are added. To be used in a ``with``
    statement: on the way out, also out of a start that failed, every process of the cluster ends.
    """

    folder: Path
    enter: list[str]
    accounting: bool = False
    changes: tuple[str, ...] = ()
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    supervisor: subprocess.Popen[bytes] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """Environment of every command that talks to this cluster."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        # OpenMPI refuses root otherwise.
        root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        root["USER"] = "root"
        own = {MARK: str(self.folder), "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}
        return {**kept, **root, **own}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command that sees the cluster, run to its end; output and errors together."""
        return subprocess.run(
            [*self.enter, *command],
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
        )

    def ask(self, *command: str) -> str:
        """Output of a command that has to succeed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
        return done.stdout

    def daemon(self, name: str, *command: str, ready: Callable[[], object]) -> None:
        """Start a daemon in the foreground and wait until it answers."""
        with open(self.folder / "log" / f"{name}.out", "ab") as output:
            process = subprocess.Popen(
                [*self.enter, *command],
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes[name] = process

        def answers() -> object:
            if process.poll() is not None:
                text = (self.folder / "log" / f"{name}.out").read_text("utf-8", "replace")
                raise RuntimeError(f"{name} ended with code {process.returncode}: {text[-2000:]}")
            return ready()

        wait_until(answers, f"{name} to answer; see {self.folder / 'log'}")

    def mount_disk(self, options: str) -> Path:
        """A small disk in memory that every process of the cluster sees; again: other options."""
        disk = self.folder / "disk"
        again = "remount," if disk.is_mount() else ""
        disk.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"{again}{options}", "tmpfs", str(disk)]
        subprocess.run(command, check=True)
        return disk

    def start_node(self, name: str) -> None:
        """Start the daemon of a node."""
        self.daemon(
            name,
            *("slurmd", "-D", "-N", name),
            # A node that is back shows what it had for a while: "mix"; "*": it does not answer.
            ready=lambda: (
                self.ask("sinfo", "-h", "-n", name, "-o", "%t").strip() in ("idle", "mix")
            ),
        )

    def lose_node(self, name: str) -> None:
        """End the daemon of a node and all its jobs at once, as a loss of power does."""
        here = self.ask("squeue", "--noheader", "--nodelist", name, "--format", "%i").split()
        node = self.processes.pop(name)
        node.kill()
        node.wait()
        for pid in members(f"{MARK}={self.folder}".encode()):
            process = Path("/proc", str(pid))
            with suppress(OSError):  # ended meanwhile
                title = process.joinpath("cmdline").read_text("utf-8", "replace")
                variables = process.joinpath("environ").read_text("utf-8", "replace").split("\0")
                steps = any(title.startswith(f"slurmstepd: [{job}.") for job in here)
                if steps or any(f"SLURM_JOB_ID={job}" in variables for job in here):
                    os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> "Cluster":
        for name in (
            "bin",
            "log",
            "state",
            *(f"{kind}.{n}" for kind in ("spool", "tmp") for n in NODES),
        ):
            (self.folder / name).mkdir()
        self.supervisor = subprocess.Popen(
            [sys.executable, str(HERE / "supervisor.py"), f"{MARK}={self.folder}"],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self.mount_disk("size=16m")  # before the daemons: each has a mount namespace of its own
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        accounting = ""
        if self.accounting:
            port = free_port()
            accounting = ACCOUNTING.format(port=port, folder=self.folder)
        text = (HERE / "slurm.conf").read_text("utf-8")
        text = text.format(
            host=socket.gethostname().split(".")[0],
            folder=self.folder,
            accounting=accounting,
            controller_port=free_port(),
            n1_port=free_port(),
            n2_port=free_port(),
        )
        for line in self.changes:
            # Up to the name of a partition, or to the first equals sign.
            key = line.split()[0] if line.startswith("PartitionName") else line.split("=")[0] + "="
            kept = [old for old in text.splitlines() if not old.startswith(key)]
            text = "\n".join([*kept, line, ""])
        (self.folder / "slurm.conf").write_text(text, "utf-8")
        # The plugin for job steps takes SLURM_CONF away from the srun that it starts.
        srun = self.folder / "bin" / "srun"
        real = self.ask("which", "srun").strip()
        srun.write_text(
            f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {real} "$@"\n', "utf-8"
        )
        srun.chmod(0o755)
        self._start_munge()
        if self.accounting:
            self._start_accounting(port)
        self.daemon(
            "slurmctld",
            *("slurmctld", "-D"),
            ready=lambda: " UP" in self.run("scontrol", "ping").stdout,
        )
        for name in NODES:
            self.start_node(name)

    def _start_munge(self) -> None:
        key, place = self.folder / "munge.key", f"--socket={self.folder}/munge.socket"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        files = [f"--{kind}-file={self.folder}/munge.{kind}" for kind in ("key", "pid", "seed")]
        files.append(f"--log-file={self.folder}/log/munged.log")
        # --force: the folder may be writable for a group, and the user is not `munge`.
        self.daemon(
            "munged",
            *("munged", "--foreground", "--force", place, *files),
            ready=lambda: self.run("munge", place, "--no-input").returncode == 0,
        )

    def _start_accounting(self, port: int) -> None:
        password, database_port = secrets.token_hex(8), free_port()
        data = self.folder / "database"
        self.ask(
            *("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root"),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
        )
        (self.folder / "users.sql").write_text(
            f"CREATE USER slurm@'127.0.0.1' IDENTIFIED BY '{password}';\n"
            "GRANT ALL ON accounting.* TO slurm@'127.0.0.1';\n",
            "utf-8",
        )
        self.daemon(
            "mariadbd",
            *("mariadbd", "--no-defaults", f"--datadir={data}", "--user=root"),
            *("--bind-address=127.0.0.1", f"--port={database_port}"),
            *(f"--socket={self.folder}/mariadb.socket", f"--init-file={self.folder}/users.sql"),
            *("--skip-name-resolve", "--innodb-flush-log-at-trx-commit=2"),
            ready=lambda: _listens(database_port),
        )
        configuration = self.folder / "slurmdbd.conf"
        configuration.touch(0o600)
        configuration.write_text(
            SLURMDBD.format(
                folder=self.folder, port=port, database_port=database_port, password=password
            ),
            "utf-8",
        )
        self.daemon("slurmdbd", "slurmdbd", "-D", ready=lambda: _listens(port))
        wait_until(
            lambda: self.run("sacctmgr", "-i", "add", "cluster", "lab").returncode == 0,
            "sacctmgr to reach slurmdbd",
        )

    def __exit__(self, *_: object) -> None:
        assert self.supervisor is not None
        self.supervisor.communicate(b"", timeout=PATIENCE_S)
        for process in self.processes.values():
            process.wait(timeout=PATIENCE_S)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
