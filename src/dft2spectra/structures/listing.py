"""Which files a source names; standard library only, since the Snakefile asks at every start."""

import difflib
import glob
import os
from pathlib import Path
from typing import Any

SUFFIXES = {
    ".cif": "cif",
    ".mcif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".contcar": "poscar",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".json": "json",
    ".db": "ase_db",
    ".yaml": "compound",
    ".yml": "compound",
}
DOCUMENTATION = {".md", ".txt", ".rst", ".bib", ".csv", ".pdf", ".png"}


def file_format(path: str | Path) -> str | None:
    """Name of the reader of a file by its name, or ``None`` when there is none."""
    name = os.path.basename(path)
    if name.upper().startswith(("POSCAR", "CONTCAR")) and not name.lower().endswith(".json"):
        return "poscar"
    return SUFFIXES.get(os.path.splitext(name)[1].lower())


def list_files(source: dict[str, Any]) -> list[str]:
    """Paths of the files that a source of kind ``files`` names, sorted.

    A folder stands for the files directly in it, without hidden ones and without documentation
    (``DOCUMENTATION``); a pattern (``**`` descends) and a file stand for exactly what they match.
    ``names`` keeps the files with these stems.

    Raises
    ------
    ValueError
        The path does not exist, the folder is empty, the pattern matches nothing, or a name
        belongs to no file.
    """
    path = str(source["path"])
    if os.path.isdir(path):
        found = [
            entry.path
            for entry in os.scandir(path)
            if not entry.name.startswith(".")
            and (entry.is_file() or (entry.is_symlink() and not entry.is_dir()))
            and (file_format(entry.path) or os.path.splitext(entry.name)[1] not in DOCUMENTATION)
        ]
        if not found:
            raise ValueError(
                f"structures.sources: the folder '{path}' holds no file that could be a structure "
                f"(seen from {os.getcwd()}; folders in it are not searched, '{path}/**/*' does "
                "that); add files or remove the source"
            )
    elif os.path.lexists(path):
        found = [path]
    elif glob.has_magic(path):
        found = [match for match in glob.glob(path, recursive=True) if not os.path.isdir(match)]
        if not found:
            raise ValueError(
                f"structures.sources: no file matches the pattern '{path}' "
                f"(seen from {os.getcwd()}); correct the pattern or remove the source"
            )
    else:
        raise ValueError(
            f"structures.sources: '{path}' does not exist (seen from {os.getcwd()}); "
            "give an existing folder, file or pattern, or remove the source"
        )
    return sorted(_with_names(found, source.get("names"), path))


def _with_names(found: list[str], names: list[str] | None, path: str) -> list[str]:
    if names is None:
        return found
    stems = {os.path.splitext(os.path.basename(file))[0] for file in found}
    for name in names:
        if name not in stems:
            close = difflib.get_close_matches(str(name), sorted(stems), n=3)
            hint = f"; nearest: {', '.join(close)}" if close else ""
            raise ValueError(
                f"structures.sources: '{path}' holds no file named '{name}'{hint}; "
                "correct `names` or add the file"
            )
    return [file for file in found if os.path.splitext(os.path.basename(file))[0] in names]
