"""What a hyperfine record answers to: crystal, settings, methods, PAW datasets, version of GPAW.

The name of a compound is no part of it. What may be mixed in one table shares the *method*: all
this without the crystal and without the datasets of its other elements.
"""

import gzip
import hashlib
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dft2spectra.crystals.starts import DATASETS, SEMICORE
from dft2spectra.records import content_hash
from dft2spectra.structures.screening import paw_folders
from dft2spectra.versions import method_versions

# Modules whose METHOD_VERSION counts for a hyperfine record.
METHOD = (
    "crystals.gpaw_runner",
    "crystals.contact",
    "crystals.efg",
    "crystals.orbital",
)
COMMON_ELEMENT = "Fe"


def dataset_path(element: str, xc: str, name: str = "") -> Path:
    """File of the PAW dataset of an element that GPAW would read.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    file = ".".join(part for part in (element, name, xc) if part)
    for folder in (DATASETS, *map(Path, paw_folders())):
        for path in (folder / file, folder / f"{file}.gz"):
            if path.exists():
                return path
    raise FileNotFoundError(f"no PAW dataset {file} in {', '.join(paw_folders()) or 'no folder'}")


@cache
def fingerprint(element: str, xc: str, name: str = "") -> str:
    """MD5 sum of the dataset's text, as GPAW notes it."""
    path = dataset_path(element, xc, name)
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def datasets(elements: set[str], settings: dict[str, Any]) -> dict[str, str]:
    """Fingerprints of the PAW datasets of some elements; ``Fe.3s3p`` is the one with semicore."""
    found = {element: fingerprint(element, settings["xc"]) for element in sorted(elements)}
    if settings["semicore_efg"]:
        for element in sorted(elements & set(SEMICORE)):
            name = SEMICORE[element]
            found[f"{element}.{name}"] = fingerprint(element, settings["xc"], name)
    return found


def method(settings: dict[str, Any]) -> dict[str, Any]:
    """What all records of one campaign share.

    Parameters
    ----------
    settings
        The ``gpaw`` section of the configuration without the keys about jobs.
    """
    return dict(_method(json.dumps(settings, sort_keys=True)))


@cache  # asked for every crystal at every start
def _method(settings_json: str) -> dict[str, Any]:
    settings = json.loads(settings_json)
    return {
        "settings_hash": content_hash(settings),
        "method_versions": method_versions(*METHOD),
        "datasets": datasets({COMMON_ELEMENT}, settings),
        "gpaw": version("gpaw"),
    }


def identity(structure: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Keys of a record that say what it answers to.

    Returns
    -------
    dict
        ``structure_hash``, ``settings_hash``, ``method_versions``, ``datasets`` of all elements,
        ``gpaw``; ``method_hash`` of what campaigns share and ``record_key`` of all.
    """
    common = method(settings)
    own = common | {
        "structure_hash": structure["content_hash"],
        "datasets": datasets(set(structure["symbols"]), settings),
    }
    return own | {"method_hash": content_hash(common), "record_key": content_hash(own)}


def record_is_current(record: Any, structure: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Whether a record is what a calculation now would give again, converged or not.

    Parameters
    ----------
    record
        Content of a record, or anything else.
    structure
        Structure record; what counts is its ``content_hash``.
    settings
        The ``gpaw`` section of the configuration without the keys about jobs.
    """
    if not isinstance(record, dict) or "status" not in record:
        return False
    if record.get("structure_id") != structure["structure_id"]:
        return False
    expected = identity(structure, settings)
    return all(record.get(key) == value for key, value in expected.items())
