"""Structures on disk: one JSON file for each, and tables of what was taken and what was not."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dft2spectra.structures.design import PLACE_KEYS
from dft2spectra.structures.inputs import label

if TYPE_CHECKING:
    from ase import Atoms

Structure = dict[str, Any]

INDEX_COLUMNS = (
    *("structure_id", "formula", "spacegroup", "parent", "name", "n_atoms", "sources"),
    *PLACE_KEYS,
)
REJECTED_COLUMNS = ("source", "origin", "structure_id", "formula", "reason")
STRUCTURE_KEYS = frozenset(
    {"structure_id", "formula", "spacegroup", "parent", "cell_ang", "symbols", "content_hash"}
    | {"scaled_positions", "site_labels", "wyckoff", "initial_moments_mub"}
)


def write_structures(
    accepted: list[Structure],
    rejected: list[dict[str, Any]],
    out_dir: str | Path,
    *,
    fingerprint: str | None = None,
) -> None:
    """Write ``index.csv``, ``rejected.csv`` and ``accepted/<structure_id>.json`` in ``out_dir``.

    A file is touched only if its content changes; files of structures that are no longer accepted
    are removed.

    Parameters
    ----------
    accepted, rejected
        What :func:`dft2spectra.structures.sources.collect` returned.
    out_dir
        Folder ``structures`` of the run; created if missing.
    fingerprint
        :func:`dft2spectra.structures.sources.fingerprint` of the sources and limits, taken before
        they were collected. It is written last, so that it never vouches for half a folder. Without
        it, ``planned`` reads the sources again.
    """
    from dft2spectra.records import read_json, write_json

    out_dir = Path(out_dir)
    folder = out_dir / "accepted"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = out_dir / "fingerprint.json"
    stamp.unlink(missing_ok=True)

    for structure in accepted:
        path = folder / f"{structure['structure_id']}.json"
        if not path.exists() or _quietly(read_json, path) != structure:
            write_json(path, structure)
    current = {f"{structure['structure_id']}.json" for structure in accepted}
    for path in folder.glob("*.json"):
        if path.name not in current:
            path.unlink()
    index = [
        {
            **structure,
            "n_atoms": len(structure["symbols"]),
            "sources": _source_names(structure),
            # Else a table with a gap has the order 1.0.
            "order": "" if structure["order"] is None else structure["order"],
        }
        for structure in accepted
    ]
    _write_rows(out_dir / "index.csv", INDEX_COLUMNS, index)
    _write_rows(out_dir / "rejected.csv", REJECTED_COLUMNS, rejected)
    if fingerprint is not None:
        write_json(stamp, {"fingerprint": fingerprint})


def _source_names(structure: Structure) -> str:
    """Where the crystal was found, such as ``files;optimade:oqmd``."""
    return ";".join(
        sorted({label({**entry, "kind": entry["source"]}) for entry in structure["provenance"]})
    )


def _quietly(read: Any, path: Path) -> Any:
    """Content of a file, or ``None`` if it is damaged and must be written again."""
    try:
        return read(path)
    except (ValueError, OSError):
        return None


def _write_rows(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    import pandas as pd

    from dft2spectra.records import write_csv

    table = pd.DataFrame([[row[column] for column in columns] for row in rows], columns=columns)
    if not path.exists() or path.read_bytes() != table.to_csv(index=False).encode():
        write_csv(path, table)


def read_structure(path: str | Path) -> Structure:
    """Structure record of an accepted structure.

    Raises
    ------
    ValueError
        The file is not such a record.
    """
    from dft2spectra.records import read_json

    data = read_json(path)
    missing = STRUCTURE_KEYS - set(data) if isinstance(data, dict) else STRUCTURE_KEYS
    if missing:
        raise ValueError(f"{path}: not a structure record, it lacks {', '.join(sorted(missing))}")
    return dict(data)


def to_atoms(structure: Structure) -> "Atoms":
    """ASE object with the primitive cell (Å), the starting moments (µB) and the site labels.

    The labels are in ``atoms.arrays["site_label"]``.
    """
    import numpy as np
    from ase import Atoms

    atoms = Atoms(
        structure["symbols"],
        cell=structure["cell_ang"],
        scaled_positions=structure["scaled_positions"],
        pbc=True,
        magmoms=structure["initial_moments_mub"],
    )
    atoms.set_array("site_label", np.array(structure["site_labels"], dtype=str))
    return atoms
