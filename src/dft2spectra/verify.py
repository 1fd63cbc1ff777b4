"""``python -m dft2spectra.verify``: whether every file of a campaign is as its job left it.

Reads every byte of the results and writes nothing. The plan of Snakemake looks at sizes and dates
alone, so a file that a crash or a bad disk has changed, at the same size and with an old date, is
only found here. Files that say nothing of what they should hold, as those of older versions, are
read to their end.
"""

import argparse
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dft2spectra.arrays import read_arrays
from dft2spectra.config import ConfigError, read_campaign
from dft2spectra.provenance import FOLDER, digest
from dft2spectra.records import is_cut_off, read_json


class Damaged(NamedTuple):
    """A file that cannot be trusted, and why."""

    path: Path
    why: str


class Verdict(NamedTuple):
    """What was looked at, and what of it cannot be trusted."""

    compared: int
    read: int
    damaged: list[Damaged]


def verify(results: Path) -> Verdict:
    """Look at every file of a campaign that a later step reads.

    Parameters
    ----------
    results
        Folder of the campaign.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    """
    if not results.is_dir():
        raise FileNotFoundError(f"{results} is not there (seen from {Path.cwd()})")
    damaged: dict[Path, str] = {}
    known: set[Path] = set()
    for about in sorted((results / FOLDER).rglob("*.json")):
        try:
            outputs = read_json(about)["outputs"]
            said = {results / name: entry["sha256"] for name, entry in outputs.items()}
        except (ValueError, KeyError, TypeError):
            damaged[about] = "it does not say what its job has left"
            continue
        for path, sha256 in said.items():
            if path.exists():  # else Snakemake makes it anew
                known.add(path)
                if digest(path)[0] != sha256:
                    damaged[path] = "it is not what its job has left"
    others = [path for path in _data(results) if not known & {path, *path.parents}]
    for path in others:
        if why := _unreadable(path):
            damaged[path] = why
    return Verdict(len(known), len(others), [Damaged(*one) for one in damaged.items()])


def _data(results: Path) -> Iterator[Path]:
    """Records, labels, models and trajectories."""
    left_out = {results / name for name in (FOLDER, "logs", "benchmarks")}
    for path in sorted(results.rglob("*")):
        if path.suffix in (".json", ".npz") and path.is_file() and not left_out & {*path.parents}:
            yield path


def _unreadable(path: Path) -> str | None:
    """Why a file cannot be read to its end."""
    try:
        if path.suffix == ".npz":
            read_arrays(path)
        elif is_cut_off(path):
            return "it is cut off"
        else:
            read_json(path)
    except (OSError, ValueError) as error:
        return str(error).removeprefix(f"{path} ").removeprefix(f"{path}: ")
    return None


def in_words(verdict: Verdict, configfiles: Iterable[str] = ()) -> str:
    """What was found and what to do, for the terminal."""
    seen = f"{verdict.compared} results are compared with what their jobs have left"
    seen += f", {verdict.read} others read to their end" if verdict.read else ""
    if not verdict.damaged:
        return f"{seen}: all are whole."
    files = list(configfiles)
    lines = [f"{seen}; {len(verdict.damaged)} cannot be trusted:"]
    lines += [f"  {path}: {why}" for path, why in verdict.damaged]
    snakemake = ["snakemake", *(["--configfile", *files] if files else [])]
    return "\n".join(
        [
            *lines,
            "Remove them and start again; they are computed anew, and what was made from them:",
            f"  rm -r {shlex.join(str(path) for path, _ in verdict.damaged)}",
            f"  {shlex.join(snakemake)}",
        ]
    )


def main() -> None:
    """Say which results of a campaign are damaged; exit code 1 if any is."""
    parser = argparse.ArgumentParser(prog="python -m dft2spectra.verify", description=__doc__)
    parser.add_argument(
        "--configfile",
        nargs="+",
        default=[],
        help="as for Snakemake; laid over config.yaml of the working folder",
    )
    configfiles: list[str] = parser.parse_args().configfile
    try:
        config: dict[str, Any] = read_campaign(configfiles)
        verdict = verify(Path("results", config["run"]))
    except (ConfigError, FileNotFoundError) as error:
        sys.exit(str(error))
    print(in_words(verdict, configfiles))
    sys.exit(1 if verdict.damaged else 0)


if __name__ == "__main__":
    main()
