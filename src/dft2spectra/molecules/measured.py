"""Measured infrared bands of the molecules for which a file is bundled."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ase.formula import Formula

from dft2spectra.molecules.sources import COMMON_NAMES

FILE_KEYS = ("name", "formula", "phase", "source", "trust", "bands")
OPTIONAL_FILE_KEYS = ("inchikey", "notes", "matrix")
BAND_KEYS = (
    *("position_cm1", "label", "components_cm1", "intensity_km_mol", "relative_intensity"),
    *("strength", "infrared", "note"),
)


def measured_bands(name: str, folder: str | Path) -> list[dict[str, Any]]:
    """Measured gas-phase bands of a molecule, lowest first; an empty list where no file is bundled.

    Parameters
    ----------
    name
        Name of the molecule in the configuration; ``H2O`` finds the file of ``water``.
    folder
        Folder of the YAML files, ``data/molecules`` in the repository.

    Returns
    -------
    list of dict
        ``position_cm1``, ``label``, ``components_cm1`` (members of a split band, else empty),
        ``intensity_km_mol`` (middle of the range where sources differ, ``None`` where unknown),
        ``intensity_range_km_mol`` (or ``None``), ``relative_intensity`` (strongest 100, or
        ``None``), ``strength`` in words, ``infrared`` (false for bands that only Raman spectra
        show), ``note``, and ``phase``, ``source``, ``trust`` of the file.

    Raises
    ------
    ValueError
        The folder is missing, or the file has an unknown or missing key or an impossible number.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"no folder {folder} with measured bands")
    path = Path(folder) / f"{file_name(name)}.yaml"
    if not path.exists():
        return []
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    _check_keys(path, data, FILE_KEYS, OPTIONAL_FILE_KEYS)
    bands = [_band(path, data, entry) for entry in data["bands"]]
    return sorted(bands, key=lambda band: band["position_cm1"])


def file_name(name: str) -> str:
    """Name of the file with the bands of a molecule, without its ending."""
    common = name.lower().replace(" ", "-").replace("_", "-")
    by_g2_name = {g2_name: common_name for common_name, g2_name in COMMON_NAMES.items()}
    return by_g2_name.get(name, common)


def matching_file(molecule: Mapping[str, Any], folder: str | Path) -> Path | None:
    """File with the measured bands of a molecule; ``None`` if there is none.

    Where molecule and file have an InChIKey they have to be equal, whatever the names. Else name
    and formula have to agree, and no atom may be a stated isotope: a name alone says nothing.

    Parameters
    ----------
    molecule
        As :func:`dft2spectra.molecules.sources.read_molecule` returns it.
    """
    # Imported here: every process of a workflow reads this module, and few ask for a file.
    from dft2spectra.molecules.isomers import inchikey

    key = inchikey(molecule)
    for path in sorted(Path(folder).glob("*.yaml")):
        head = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(head, dict):
            continue  # said when its bands are read
        if key and head.get("inchikey"):
            if key == head["inchikey"]:
                return path
            continue
        alike = path.stem == file_name(molecule["name"]) and "masses_amu" not in molecule
        if alike and _hill(str(head.get("formula", ""))) == molecule["formula"]:
            return path
    return None


def _hill(formula: str) -> str:
    try:
        return Formula(formula).format("hill")
    except ValueError:
        return ""


def _band(path: Path, data: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    _check_keys(path, entry, ("position_cm1",), BAND_KEYS)
    intensity = entry.get("intensity_km_mol")
    limits = [float(value) for value in intensity] if isinstance(intensity, list) else None
    if limits is not None and (len(limits) != 2 or limits[0] > limits[1]):
        raise ValueError(f"{path}: the intensity {intensity} is no range")
    middle = sum(limits) / 2.0 if limits else intensity
    numbers = [entry["position_cm1"], *entry.get("components_cm1", [])]
    if not all(math.isfinite(value) and 0.0 < value < 5000.0 for value in numbers):
        raise ValueError(f"{path}: a position of {numbers} is no wavenumber in cm⁻¹")
    if middle is not None and not (math.isfinite(middle) and middle >= 0.0):
        raise ValueError(f"{path}: an intensity of {intensity} km/mol is impossible")
    return {
        "position_cm1": float(entry["position_cm1"]),
        "label": entry.get("label", ""),
        "components_cm1": [float(value) for value in entry.get("components_cm1", [])],
        "intensity_km_mol": None if middle is None else float(middle),
        "intensity_range_km_mol": limits,
        "relative_intensity": entry.get("relative_intensity"),
        "strength": entry.get("strength", ""),
        "infrared": entry.get("infrared", True),
        "note": entry.get("note", ""),
        "phase": data["phase"],
        "source": data["source"],
        "trust": data["trust"],
    }


def _check_keys(
    path: Path, data: Any, required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    if not isinstance(data, dict):
        raise ValueError(f"{path}: {data!r} is no mapping of keys to values")
    unknown = sorted(set(data) - {*required, *optional})
    missing = [key for key in required if key not in data]
    if unknown or missing:
        problem = f"unknown key {unknown[0]!r}" if unknown else f"the key {missing[0]!r} is missing"
        raise ValueError(f"{path}: {problem}; known are {', '.join((*required, *optional))}")
