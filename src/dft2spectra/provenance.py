"""What a result was made with: its settings, methods and files, written down in the campaign.

Snakemake remembers this in the folder ``.snakemake``, which is lost with its disk and does not come
along when results are copied. A job that ends well therefore leaves a file of its own, named after
its first output: ``results/<run>/provenance/molecules/water/model.npz.json`` holds the parameters
of the rule, the SHA-256 of every file that was read and written and, where a caption prints them,
the configuration. The plan compares it with what is asked for now (:class:`Provenance`), captions
print it (:class:`Stored`), and ``python -m dft2spectra.verify`` looks at every byte.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dft2spectra.records import read_json, write_json

FOLDER = "provenance"
# Parameters that say nothing of a result.
NOT_STORED = ("stored",)


def write_provenance(job: Any) -> None:
    """Note what the outputs of a job were made with; after the last of them is written.

    Parameters
    ----------
    job
        What Snakemake gives a script.
    """
    params = dict(job.params.items())
    made: dict[str, Any] = {
        "params": {key: value for key, value in params.items() if key not in NOT_STORED},
        "inputs": {place(path): digest(path)[0] for path in job.input},
        "outputs": {
            place(path): dict(zip(("sha256", "bytes"), digest(path), strict=True))
            for path in job.output
        },
    }
    if "stored" in params:
        made["config"] = job.config
    write_json(provenance_path(job.output[0]), plain(made))


def provenance_path(output: str | Path) -> Path:
    """File with what a job was made with, by the first of its outputs."""
    return campaign_folder(output) / FOLDER / f"{place(output)}.json"


def campaign_folder(path: str | Path) -> Path:
    """``results/<run>`` of a path in it.

    Raises
    ------
    ValueError
        The path is in no campaign.
    """
    parts = Path(path).parts
    if "results" not in parts[:-2]:
        raise ValueError(f"{path} is not in the results of a campaign")
    return Path(*parts[: parts.index("results") + 2])


def place(path: str | Path) -> str:
    """Path in the folder of the campaign, whatever its name; of a file elsewhere, as it is."""
    try:
        return str(Path(path).relative_to(campaign_folder(path)))
    except ValueError:
        return str(path)


def plain(data: Any) -> Any:
    """Data as they come back from JSON; what JSON does not know is its text."""
    return json.loads(json.dumps(data, default=str))


def digest(path: str | Path) -> tuple[str, int]:
    """SHA-256 and size of a file; of a folder, of what it holds by name, hidden files left out."""
    path = Path(path)
    if not path.is_dir():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    content = hashlib.sha256()
    size = 0
    for file_path in _files(path):
        sha256, own = digest(file_path)
        content.update(f"{file_path.relative_to(path)}\0{sha256}\n".encode())
        size += own
    return content.hexdigest(), size


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield path


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in _files(path)) if path.is_dir() else path.stat().st_size


class Provenance:
    """What the results of a campaign were made with, against what is asked for now.

    Parameters
    ----------
    results
        Folder of the campaign.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self._cache: dict[Path, tuple[int, Any]] = {}

    @cached_property
    def _makers(self) -> dict[str, Path]:
        """File of provenance behind every output."""
        found = {}
        for path in sorted((self.results / FOLDER).rglob("*.json")):
            try:
                found.update(dict.fromkeys(self._read(path)["outputs"], path))
            except (ValueError, KeyError, TypeError):
                continue  # damaged: its own job is told
        return found

    def _read(self, path: Path) -> Any:
        time_ns = path.stat().st_mtime_ns
        if self._cache.get(path, (None,))[0] != time_ns:
            self._cache[path] = (time_ns, read_json(path))
        return self._cache[path][1]

    def why_outdated(
        self, outputs: Iterable[str], params: Mapping[str, Any], inputs: Iterable[str]
    ) -> str | None:
        """Why a job would make something else of what is there; ``None`` if not, or not known.

        Every file is looked at by its size, and by its content where it is younger than what is
        said of it. Nothing is said of results of a version before this one: see :meth:`is_known`.

        Parameters
        ----------
        outputs
            Files of the job. Where one is missing it runs without a reason.
        params
            Parameters of the rule that its result depends on.
        inputs
            Files that it would read.
        """
        outputs = list(outputs)
        about = provenance_path(outputs[0])
        if not (about.exists() and all(map(os.path.exists, outputs))):
            return None
        try:
            made = self._read(about)
            return (
                _changed_value(dict(made["params"]), plain(dict(params)))
                or _changed_output(made["outputs"], outputs, about.stat().st_mtime_ns)
                or self._changed_input(made["inputs"], inputs)
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"{about} is damaged"

    @staticmethod
    def is_known(outputs: Iterable[str]) -> bool:
        """Whether outputs that are there say what they were made with."""
        outputs = list(outputs)
        there = all(map(os.path.exists, outputs))
        return not there or provenance_path(outputs[0]).exists()

    def _changed_input(self, made: Mapping[str, str], inputs: Iterable[str]) -> str | None:
        wanted = {place(path): path for path in inputs}
        for name in wanted.keys() & made.keys():
            maker = self._makers.get(name)
            if maker and self._read(maker)["outputs"].get(name, {}).get("sha256") != made[name]:
                return f"{name} is another one"
        # A source file at another place is the same file.
        gone = sorted(made[name] for name in made.keys() - wanted.keys())
        new = [wanted[name] for name in sorted(wanted.keys() - made.keys())]
        if len(new) != len(gone):
            return f"made of {len(made)} files, now {len(wanted)}"
        if not all(map(os.path.exists, new)):
            return "made of other files"
        return None if sorted(digest(path)[0] for path in new) == gone else "made of other files"


def _changed_value(made: Any, wanted: Any, name: str = "") -> str | None:
    """The first value that is another one; keys that nobody asks for any more do not count."""
    if isinstance(made, dict) and isinstance(wanted, dict):
        inner = f"{name}." if name else ""
        # A key that has gone from a section of the settings is a change, too.
        keys = wanted if not name else {**wanted, **made}
        found = (_changed_value(made.get(k), wanted.get(k), f"{inner}{k}") for k in keys)
        return next((one for one in found if one), None)
    return None if made == wanted else f"{name} was {_short(made)}, is {_short(wanted)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _changed_output(
    made: Mapping[str, Mapping[str, Any]], outputs: Iterable[str], when_ns: int
) -> str | None:
    for output in outputs:
        path, said = Path(output), made.get(place(output))
        if said is None:
            return f"{output} is new"
        if _size(path) != said["bytes"]:
            return f"{output} has another size than its job left it with"
        younger = path.is_file() and path.stat().st_mtime_ns > when_ns
        if younger and digest(path)[0] != said["sha256"]:
            return f"{output} is not what its job left"
    return None


@dataclass(frozen=True)
class Stored:
    """What a result was made with, read when a caption asks: ``stored.settings["xc"]``.

    ``stored.config`` is the configuration of that time, everything else a parameter of the rule.
    """

    output: str

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            made = read_json(provenance_path(self.output))
        except (OSError, ValueError):
            return Unknown()
        return made.get("config", Unknown()) if name == "config" else made["params"][name]


class Unknown:
    """Stands in a caption for what a result of an older version does not say."""

    def __getitem__(self, key: Any) -> "Unknown":
        return self

    def __rmul__(self, factor: float) -> "Unknown":
        return self

    def __round__(self, digits: int = 0) -> "Unknown":
        return self

    def __iter__(self) -> Iterator["Unknown"]:
        return iter([self])

    def __len__(self) -> int:
        return 0

    def __str__(self) -> str:
        return "(not recorded)"
