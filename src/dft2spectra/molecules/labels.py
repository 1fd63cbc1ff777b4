"""Converged Kohn–Sham results of geometries: what a density model learns and is judged by.

Every geometry starts from the same guess, so a label does not depend on the batch it is in or on
the order of the batch.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dft2spectra.arrays import DamagedFileError, read_arrays
from dft2spectra.columns import Status
from dft2spectra.locks import Lock, output_lock
from dft2spectra.molecules.contacts import COLLISION, closest_contact
from dft2spectra.molecules.pyscf_input import (
    SettingsError,
    build_mean_field,
    build_molecule,
    settings_hash,
)
from dft2spectra.records import content_hash, whole_file
from dft2spectra.units import EBOHR_DEBYE, HARTREE_EV

METHOD_VERSION = 1

# Stored once per batch.
COMMON = ("name", "symbols", "charge", "settings_hash", "method_version")
# Stored per geometry: from the frame, and from the calculation.
FRAME = ("frame", "split", "temperature_k", "positions_ang")
LABEL = (
    "density_matrix",
    "energy_ha",
    "forces_ha_per_bohr",
    "dipole_debye",
    "homo_ha",
    "lumo_ha",
    "gap_ev",
    "cycles",
    "seconds",
    "status",
    "reason",
)


def label_geometry(
    molecule: Mapping[str, Any], positions_ang: ArrayLike, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Density matrix, energy, forces, dipole and frontier levels of one geometry.

    Parameters
    ----------
    molecule
        ``symbols`` and ``charge``.
    positions_ang
        Coordinates in Å, shape (atoms, 3).
    settings
        The ``pyscf`` section.

    Returns
    -------
    dict
        ``density_matrix`` (functions, functions), ``energy_ha``, ``forces_ha_per_bohr`` (atoms, 3),
        ``dipole_debye`` (3,) about the origin of the coordinates, ``homo_ha``, ``lumo_ha``,
        ``gap_ev``, ``cycles``, ``seconds``, ``status`` and ``reason``. A calculation that fails is
        a status, not an error; its numbers are NaN.

    Raises
    ------
    SettingsError
        No geometry could be computed with these settings.
    """
    start = time.perf_counter()
    symbols = molecule["symbols"]
    positions = np.asarray(positions_ang, dtype=float)
    try:
        built = build_molecule(symbols, positions, molecule["charge"], settings)
    except SettingsError:
        raise
    except ValueError as error:
        return _failure(Status.FAILED, str(error), len(symbols), 0, start)
    ratio, first, second = closest_contact(symbols, positions)
    if ratio < COLLISION:
        # Self-consistent to hundreds of hartree, or singular: no molecule in either case.
        reason = f"atoms {first} and {second} collide ({ratio:.2f} of their covalent radii)"
        return _failure(Status.FAILED, reason, len(symbols), built.nao, start)
    mean_field = build_mean_field(built, settings)
    n_basis = built.nao
    try:
        energy = mean_field.kernel()
    except (np.linalg.LinAlgError, FloatingPointError) as error:
        # Basis functions that depend on each other, as in crowded geometries.
        return _failure(Status.FAILED, f"{error}", len(symbols), n_basis, start)
    if not np.isfinite(energy):
        return _failure(Status.FAILED, "the energy is not finite", len(symbols), n_basis, start)
    if not mean_field.converged:
        reason = f"not converged in {mean_field.max_cycle} cycles"
        failure = _failure(Status.NOT_CONVERGED, reason, len(symbols), n_basis, start)
        return {**failure, "cycles": mean_field.cycles}
    gradients = mean_field.nuc_grad_method()
    # Forces are then the gradient of the energy on the moving grid.
    gradients.grid_response = True
    forces = -gradients.kernel()
    occupied = int((mean_field.mo_occ > 0).sum())
    levels = mean_field.mo_energy
    homo = float(levels[occupied - 1])
    lumo = float(levels[occupied]) if occupied < len(levels) else float("nan")
    return {
        "density_matrix": np.asarray(mean_field.make_rdm1(), dtype=float),
        "energy_ha": float(energy),
        "forces_ha_per_bohr": forces,
        "dipole_debye": mean_field.dip_moment(unit="AU", verbose=0) * EBOHR_DEBYE,
        "homo_ha": homo,
        "lumo_ha": lumo,
        "gap_ev": (lumo - homo) * HARTREE_EV,
        "cycles": mean_field.cycles,
        "seconds": time.perf_counter() - start,
        "status": str(Status.CONVERGED),
        "reason": "",
    }


def label_batch(
    molecule: Mapping[str, Any],
    geometries: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    output_npz: str | Path,
    progress: Callable[[str], None] = print,
) -> None:
    """Label geometries in one job and write them as one file.

    Each finished geometry is a file in ``<output>.parts`` until the batch is whole. A job that
    starts again takes those whose geometry and settings are the same, so a kill at any moment loses
    the geometry in hand. While another process labels this batch, it is waited for; a finished
    batch of the same geometries and settings stays as it is.

    Parameters
    ----------
    molecule
        ``name``, ``symbols`` and ``charge``.
    geometries
        Frames of :func:`dft2spectra.molecules.sampling.sample_geometries`, at least one.
    settings
        The ``pyscf`` section.
    output_npz
        Where the batch goes; :func:`read_labels` reads it.
    progress
        Receives one line per geometry.

    Raises
    ------
    ValueError
        There is no geometry, or two have the same name.
    """
    names = [str(geometry["frame"]) for geometry in geometries]
    if not names:
        raise ValueError(f"{molecule['name']}: no geometry to label")
    if len(set(names)) < len(names):
        raise ValueError(f"{molecule['name']}: two geometries of a batch have the same name")
    output = Path(output_npz)
    identities = [label_hash(molecule, g["positions_ang"], settings) for g in geometries]
    with output_lock(output, progress) as lock:
        parts = output.with_name(f"{output.name}.parts")
        if not _is_whole(output, names, identities):
            labels = _label_all(molecule, geometries, settings, identities, parts, progress, lock)
            columns = _columns(molecule, geometries, labels, settings)
            lock.check()
            with whole_file(output) as temporary:
                np.savez(temporary, identity=identities, **columns)
        if parts.exists():
            shutil.rmtree(parts)


def _label_all(
    molecule: Mapping[str, Any],
    geometries: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    identities: Sequence[str],
    parts: Path,
    progress: Callable[[str], None],
    lock: Lock,
) -> list[dict[str, Any]]:
    """Labels of the geometries, each also in a part file as soon as it is there."""
    labels = []
    for number, (geometry, identity) in enumerate(zip(geometries, identities, strict=True), 1):
        path = parts / f"{geometry['frame']}.npz"
        label = _read_part(path, identity)
        if label is None:
            label = label_geometry(molecule, geometry["positions_ang"], settings)
            lock.check()
            with whole_file(path) as temporary:
                np.savez(temporary, identity=identity, **label)
            progress(
                f"{molecule['name']} {geometry['frame']} ({number}/{len(geometries)}):"
                f" {label['status']} {label['reason']} {label['seconds']:.1f} s"
            )
        labels.append(label)
    return labels


def _is_whole(path: Path, names: Sequence[str], identities: Sequence[str]) -> bool:
    """Whether a batch file is there and holds the labels of these geometries."""
    try:
        data = read_arrays(path, ["frame", "identity"])
    except (OSError, DamagedFileError):
        return False  # none, or none of ours
    return data["frame"].tolist() == list(names) and data["identity"].tolist() == list(identities)


def outcomes(
    molecule: Mapping[str, Any] | None,
    geometries: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    output_npz: str | Path,
) -> list[tuple[str, str, float]]:
    """Status, reason and seconds of the labels of a batch that need no new calculation.

    Those of a finished batch or, while there is none, of its finished geometries.

    Parameters
    ----------
    molecule, geometries, settings, output_npz
        As for :func:`label_batch`; the first two are only needed for a batch that is not finished.
    """
    output = Path(output_npz)
    try:
        data = read_arrays(output, ["settings_hash", "status", "reason", "seconds"])
        if str(data["settings_hash"]) == settings_hash(settings):
            columns = [data[key].tolist() for key in ("status", "reason", "seconds")]
            return list(zip(*columns, strict=True))
    except (OSError, ValueError):
        pass  # none, or none of ours
    found: list[tuple[str, str, float]] = []
    if molecule is None:
        return found
    for geometry in geometries:
        path = output.with_name(f"{output.name}.parts") / f"{geometry['frame']}.npz"
        label = _read_part(path, label_hash(molecule, geometry["positions_ang"], settings))
        if label:
            found.append((label["status"], label["reason"], label["seconds"]))
    return found


def read_labels(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Labels of batch files in their order, one dict per geometry.

    Each holds the keys of :func:`label_geometry` and ``frame``, ``split``, ``temperature_k``,
    ``positions_ang`` (atoms, 3), ``name``, ``symbols``, ``charge``, ``settings_hash``.

    Raises
    ------
    ValueError
        The files come from different molecules or settings, or a frame is there twice.
    """
    labels: list[dict[str, Any]] = []
    for path in paths:
        data = read_arrays(path, [*COMMON, *FRAME, *LABEL])
        common = {key: _plain(data[key]) for key in COMMON}
        columns = {key: data[key] for key in (*FRAME, *LABEL)}
        if labels and any(common[key] != labels[0][key] for key in COMMON):
            raise ValueError(f"{path}: of another molecule or other settings than the files before")
        for row in range(len(columns["frame"])):
            label = {key: _plain(column[row]) for key, column in columns.items()}
            label["density_matrix"] = _unpack(columns["density_matrix"][row])
            labels.append({**common, **label})
    frames = [label["frame"] for label in labels]
    if len(set(frames)) < len(frames):
        raise ValueError("a frame stands in two label files")
    return labels


def label_hash(
    molecule: Mapping[str, Any], positions_ang: ArrayLike, settings: Mapping[str, Any]
) -> str:
    """Hash of all that a label depends on."""
    positions = np.asarray(positions_ang, dtype=float).tolist()
    # NaN has no place in JSON; the text of the numbers is exact as well.
    what = [list(molecule["symbols"]), molecule["charge"], repr(positions)]
    return content_hash([*what, settings_hash(settings), METHOD_VERSION])


def _failure(
    status: Status, reason: str, n_atoms: int, n_basis: int, start: float
) -> dict[str, Any]:
    nan = float("nan")
    return {
        "density_matrix": np.full((n_basis, n_basis), nan),
        "energy_ha": nan,
        "forces_ha_per_bohr": np.full((n_atoms, 3), nan),
        "dipole_debye": np.full(3, nan),
        "homo_ha": nan,
        "lumo_ha": nan,
        "gap_ev": nan,
        "cycles": 0,
        "seconds": time.perf_counter() - start,
        "status": str(status),
        "reason": reason,
    }


def _read_part(path: Path, identity: str) -> dict[str, Any] | None:
    """Label of a part file; ``None`` where there is none of this identity."""
    try:
        data = read_arrays(path, ["identity", *LABEL])
        if str(data["identity"]) == identity:
            return {key: _plain(data[key]) for key in LABEL}
    except (OSError, DamagedFileError):
        pass  # none, or none of ours
    return None


def _columns(
    molecule: Mapping[str, Any],
    geometries: Sequence[Mapping[str, Any]],
    labels: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Arrays of a batch file, one row per geometry; density matrices as lower triangles."""
    columns: dict[str, Any] = {
        "name": molecule["name"],
        "symbols": list(molecule["symbols"]),
        "charge": molecule["charge"],
        "settings_hash": settings_hash(settings),
        "method_version": METHOD_VERSION,
    }
    for key in FRAME:
        columns[key] = np.array([geometry[key] for geometry in geometries])
    for key in LABEL[1:]:
        columns[key] = np.array([label[key] for label in labels])
    # Where the molecule could not even be built there is no number of functions: NaN as wide as
    # the others.
    n_basis = max(len(label["density_matrix"]) for label in labels)
    triangles = np.full((len(labels), n_basis * (n_basis + 1) // 2), np.nan)
    lower = np.tril_indices(n_basis)
    for row, label in zip(triangles, labels, strict=True):
        if len(label["density_matrix"]):
            row[:] = label["density_matrix"][lower]
    columns["density_matrix"] = triangles
    return columns


def _unpack(triangle: NDArray) -> NDArray:
    """Symmetric matrix of its lower triangle."""
    size = round((np.sqrt(8 * len(triangle) + 1) - 1) / 2)
    matrix = np.zeros((size, size))
    rows, columns = np.tril_indices(size)
    matrix[rows, columns] = triangle
    matrix[columns, rows] = triangle
    return matrix


def _plain(value: NDArray) -> Any:
    """Scalars and lists of names as Python's own, numbers with axes as arrays."""
    if value.ndim == 0 or value.dtype.kind == "U":
        return value.tolist()
    return value
