"""Molecules of a campaign, checked with their settings before anything is computed."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dft2spectra.molecules.measured import matching_file
from dft2spectra.molecules.sources import MoleculeError, read_molecule


def mistakes(config: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What cannot be computed: pairs of a key of the configuration and a sentence.

    Parameters
    ----------
    config
        Complete configuration; read are ``molecules``, ``pyscf`` and ``infrared.measured``.
    """
    # Imported here: only the first process of a campaign checks, and PySCF takes a second.
    from dft2spectra.molecules.pyscf_input import SettingsError, build_molecule, check_functional

    settings = config["pyscf"]
    problems: dict[tuple[tuple[str | int, ...], str], None] = {}
    try:
        check_functional(settings["xc"])
    except SettingsError as error:
        problems[_located(error)] = None
    for number, entry in enumerate(config["molecules"]):
        what = next(key for key in ("file", "smiles", "name") if key in entry)
        try:
            molecule = read_molecule(entry)
            symbols, positions = molecule["symbols"], molecule["positions_ang"]
            build_molecule(symbols, positions, molecule["charge"], settings)
        except MoleculeError as error:
            sentence = str(error).removeprefix("molecules: ").removeprefix(f"{entry['name']}: ")
            problems[("molecules", number, what), sentence] = None
        except SettingsError as error:
            problems[_located(error)] = None
    yield from problems
    folder = config["infrared"]["measured"]
    if folder is not None and not Path(folder).is_dir():
        yield ("infrared", "measured"), "allowed: a folder that is there, or null"


def measured_file(entry: Mapping[str, Any], folder: str | None) -> Path | None:
    """File with the measured bands of an entry of ``molecules``; ``None`` if there is none."""
    return None if folder is None else matching_file(read_molecule(entry), folder)


def _located(error: ValueError) -> tuple[tuple[str | int, ...], str]:
    """Key and sentence of a message such as ``pyscf.xc: unknown functional``."""
    found = re.fullmatch(r"pyscf\.(\w+):? (.*)", str(error), re.DOTALL)
    return (("pyscf", found[1]), found[2]) if found else (("pyscf",), str(error))
