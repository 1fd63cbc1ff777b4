"""SLURM and MPI for the tests, without installing them: Debian's packages laid over ``/usr``.

What apt would install is unpacked into a folder. A command that is started with the prefix from
:func:`installed` sees that folder over ``/usr``, in a mount namespace of its own; no other process
does, and nothing is left on the machine. A program finds its plugins and libraries where Debian
puts them, which paths in the environment alone would not give (SLURM opens PMIx by its full path).
"""

import os
import shutil
import subprocess
from pathlib import Path

SLURM = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge")
ACCOUNTING = ("slurmdbd", "slurm-wlm-mysql-plugin", "mariadb-server-core", "mariadb-client-core")
MPI = ("openmpi-bin", "libopenmpi-dev")
# Programs that tell whether the packages are there.
PROGRAMS = {
    SLURM: ("munged", "slurmctld", "slurmd", "sbatch"),
    ACCOUNTING: ("slurmdbd", "mariadbd"),
    MPI: ("mpicc", "mpiexec"),
}
# Names that Debian's alternatives give: slurmd is slurmd-wlm, mpicc is mpicc.openmpi.
ALTERNATIVES = ("-wlm", ".openmpi")
# The words after it run with the folder $0 over /usr.
OVERLAID = 'mount -t overlay overlay -o "lowerdir=$0:/usr" /usr && exec "$@"'


class UnavailableError(Exception):
    """Why the packages cannot be had on this machine."""


def installed(groups: tuple[tuple[str, ...], ...], cache: Path) -> list[str]:
    """Words to put before a command so that it finds these packages; none if they are installed.

    Parameters
    ----------
    groups
        Keys of ``PROGRAMS``.
    cache
        Folder to unpack into; used again while it holds the same packages.

    Raises
    ------
    UnavailableError
        Neither installed nor to be had without Debian, network or mount namespaces.
    """
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    programs = [name for group in groups for name in PROGRAMS[group]]
    missing = [name for name in programs if not shutil.which(name, path=path)]
    if not missing:
        return []
    names = [name for group in groups for name in group]
    install = f"apt-get install --no-install-recommends {' '.join(names)}"
    hint = f"{missing[0]} is missing; on Debian, `{install}` brings it"
    if not shutil.which("apt-get"):
        raise UnavailableError(hint)
    prefix = ["unshare", "--mount", "sh", "-c", OVERLAID, str(cache / "root" / "usr")]
    (cache / "root" / "usr").mkdir(parents=True, exist_ok=True)
    _checked([*prefix, "true"], hint)
    wanted = _to_install(names, hint)
    stamp = cache / "packages"
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        _unpack(wanted.split(), cache, hint)
        stamp.write_text(wanted, "utf-8")
    return prefix


def _checked(command: list[str], hint: str, folder: Path | None = None) -> str:
    """Output of a command that has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise UnavailableError(f"{hint}; `{command[0]}` said: {' '.join(lines[-2:])}")
    return done.stdout


def _to_install(names: list[str], hint: str) -> str:
    """Packages with versions that apt would install anew, as ``name=version``, one per line."""
    command = ["apt-get", "install", "--simulate", "--no-install-recommends", *names]
    try:
        answer = _checked(command, hint)
    except UnavailableError:  # a machine on which the lists were never fetched
        _checked(["apt-get", "update"], hint)
        answer = _checked(command, hint)
    # "Inst name (version …" is new; "Inst name [old] (new …" replaces what is there and stays out.
    found = [line.split() for line in answer.splitlines() if line.startswith("Inst ")]
    return "\n".join(f"{words[1]}={words[2][1:]}" for words in found if words[2].startswith("("))


def _unpack(packages: list[str], cache: Path, hint: str) -> None:
    """Fetch packages and unpack them, with the names that their installation would link."""
    root, fetched = cache / "root", cache / "fetched"
    for folder in (root, fetched):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    _checked(["apt-get", "download", *packages], hint, fetched)
    for package in sorted(fetched.glob("*.deb")):
        _checked(["dpkg-deb", "--extract", str(package), str(root)], hint)
    for name in ("bin", "sbin", "lib"):  # links into /usr on Debian
        if (root / name).is_dir():
            shutil.copytree(root / name, root / "usr" / name, symlinks=True, dirs_exist_ok=True)
    for folder in (root / "usr" / "bin", root / "usr" / "sbin"):
        for path in folder.iterdir():
            for suffix in ALTERNATIVES:
                link = folder / path.name.removesuffix(suffix)
                if path.name.endswith(suffix) and not link.exists():
                    link.symlink_to(path.name)
    shutil.rmtree(fetched)
