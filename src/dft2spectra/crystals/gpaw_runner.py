"""One structure through spin-polarised plane-wave DFT: starts, states, and their record."""

import platform
import shutil
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from gpaw import cgpaw
from gpaw.mpi import world

from dft2spectra.columns import Status
from dft2spectra.crystals.identity import identity
from dft2spectra.crystals.orbital import Orbital, spin_orbit
from dft2spectra.crystals.scf import Log, Work, climb_ladder
from dft2spectra.crystals.semicore import (
    NO_MOMENT_MUB,
    free_components,
    moment_difference,
    semicore_run,
    wants_semicore,
)
from dft2spectra.crystals.sites import site_table
from dft2spectra.crystals.starts import REDUCED, start_moments, to_atoms
from dft2spectra.locks import Lock
from dft2spectra.records import read_json, write_json

# Counts for gpaw_input, mesh, scf, semicore, starts, paw_state and sites too.
METHOD_VERSION = 2
RECORD_VERSION = 2

STRUCTURE_KEYS = ("cell_ang", "symbols", "scaled_positions", "site_labels")

# Starts whose moments differ by more at an atom ended in two states. Chosen: runs of one state
# agree within 0.01 µB, states that were seen lie 0.4 µB and more apart.
DISTINCT_MUB = 0.1
# Two states closer than this per iron atom are not told apart by a functional, nor at 300 K.
AMBIGUOUS_MEV = 25.0
# What oxides and halides of iron need and a plain functional lacks: localised d electrons.
IONIC_WITH = frozenset({"O", "F", "Cl", "Br", "I"})


@dataclass
class _State:
    """A start that converged."""

    calculator: Any
    record: dict[str, Any]


def run_starts(structure: dict[str, Any], work: Work) -> tuple[Any, dict[str, Any]]:
    """Converge every magnetic start; calculator of the lowest state (or ``None``) and the record.

    A start climbs the whole ladder while none before it has converged; later ones leave out what
    turns them into another start.

    Returns
    -------
    calculator
        The state of lowest energy.
    dict
        ``starts``, ``chosen_start``, ``energy_ev``, ``total_moment_mub``, ``states_within_mev`` and
        ``ambiguous_state``; ``status`` and ``reason`` if no start converged.
    """
    found: list[_State] = []
    starts: list[dict[str, Any]] = []
    for name in work.settings["starts"]:
        moments = start_moments(name, structure)
        full = [start for start in starts if start["name"] == "ferromagnetic"]
        if moments is None or (name == "reduced" and any(map(_went_down, full))):
            starts.append({"name": name, "status": "same_as_ferromagnetic", "attempts": []})
            continue
        atoms = to_atoms(structure)
        atoms.set_initial_magnetic_moments(moments)
        calculator, start = climb_ladder(name, atoms, _shortened(work) if found else work)
        starts.append(start)
        if calculator is not None:
            found.append(_State(calculator, start))
    if not found:
        errors = [a["error"] for s in starts for a in s["attempts"]]
        unconverged = any(s["status"] == Status.NOT_CONVERGED for s in starts)
        status = Status.NOT_CONVERGED if unconverged else Status.FAILED
        error = errors[-1] if errors else "no rung of the ladder applies to any start"
        reason = f"{error}; GPAW's output kept in {work.scratch}"
        return None, {"starts": starts, "status": str(status), "reason": reason}
    best = min(found, key=lambda state: state.record["energy_ev"])
    within = states_within_mev([s.record for s in found], structure["symbols"].count("Fe"))
    return best.calculator, {
        "starts": starts,
        "chosen_start": best.record["name"],
        "note": best.record.get("note"),
        "fixed_moment": best.record.get("fixed_moment", False),
        "energy_ev": best.record["energy_ev"],
        "total_moment_mub": best.record["total_moment_mub"],
        "states_within_mev": within,
        "ambiguous_state": within is not None and within < AMBIGUOUS_MEV,
    }


def _went_down(start: dict[str, Any]) -> bool:
    """Whether a start from full moments lost them, or converged only from reduced or fixed ones.

    What reduced moments can find, it has found.
    """
    if "moments_mub" in start and np.abs(start["moments_mub"]).max() < NO_MOMENT_MUB:
        return True
    changes = start["attempts"][-1]["changes"] if start["attempts"] else {}
    scanned = any("fixed_total_moment_mub" in attempt for attempt in start["attempts"])
    return scanned or changes.get("start_moment_scale", 1.0) <= REDUCED


def _shortened(work: Work) -> Work:
    """Work with a ladder without rungs that change the moments."""
    ladder = [
        rung
        for rung in work.settings["ladder"]
        if not {"start_moment_scale", "fixed_moments"} & set(rung)
    ]
    settings = work.settings | {"ladder": ladder or [{}]}
    return Work(settings, work.log, work.scratch, work.datasets)


def states_within_mev(states: list[dict[str, Any]], n_iron: int) -> float | None:
    """Energy (meV per iron atom) from the lowest state to the next one with other moments.

    Parameters
    ----------
    states
        Records of converged starts with ``energy_ev`` and ``moments_mub``.
    n_iron
        Iron atoms in the cell.

    Returns
    -------
    float or None
        ``None`` if all starts ended in one state.
    """
    lowest, *others = sorted(states, key=lambda state: state["energy_ev"])
    for other in others:
        if moment_difference(lowest["moments_mub"], other["moments_mub"]) > DISTINCT_MUB:
            return round(1000.0 * (other["energy_ev"] - lowest["energy_ev"]) / n_iron, 2)
    return None


def versions() -> dict[str, Any]:
    """Versions of what produced a number, and which libraries GPAW was built with."""
    names = ("dft2spectra", "gpaw", "gpaw-data", "ase", "numpy", "scipy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}} | {
        "gpaw_build": {
            "fftw": hasattr(cgpaw, "FFTWPlan"),
            "blas": hasattr(cgpaw, "mmm"),
            "libxc": hasattr(cgpaw, "lxcXCFunctional"),
            "mpi": hasattr(cgpaw, "Communicator"),
        }
    }


def ionic_without_u(structure: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Whether the compound is an oxide or halide and iron has no Hubbard term."""
    return bool(IONIC_WITH & set(structure["symbols"])) and "Fe" not in settings["hubbard_u_ev"]


def compute_record(
    structure: dict[str, Any], settings: dict[str, Any], log: Log, scratch: Path, gpw: Path | None
) -> dict[str, Any]:
    """Hyperfine record of one structure: every start is run, the lowest in energy is kept.

    Parameters
    ----------
    structure : dict
        A structure file (cell in Å, scaled positions, labels, initial moments in µB).
    settings : dict
        The ``gpaw`` section of the configuration.
    log : callable
        Takes a line of progress.
    scratch : Path
        Folder for GPAW's own output; removed unless an attempt failed.
    gpw : Path or None
        Where to keep the wave functions of the chosen start.

    Returns
    -------
    dict
        Record with ``status`` converged, not_converged or failed; sites only when converged. A
        quantity of a site that is missing, as the field gradient after a semicore run that failed,
        has a status and a reason of its own.
    """
    started, processor = time.monotonic(), time.process_time()
    record: dict[str, Any] = {
        "record_version": RECORD_VERSION,
        **identity(structure, settings),
        **{
            key: structure.get(key)
            for key in ("structure_id", "formula", "spacegroup", "prototype", "parent")
        },
        "settings": settings,
        **{key: structure[key] for key in STRUCTURE_KEYS},
        "n_atoms": len(structure["symbols"]),
        "ionic_without_u": ionic_without_u(structure, settings),
        "sites": [],
        "versions": versions(),
        "mpi_ranks": world.size,
    }
    try:
        to_atoms(structure)
    except ValueError as error:
        record |= {"status": str(Status.REJECTED), "reason": str(error), "starts": []}
        return record | {"wall_time_s": 0.0}
    work = Work(settings, log, scratch, {})
    calculator, part = run_starts(structure, work)
    record |= part
    if calculator is not None:
        record["n_kpoints"] = len(calculator.get_ibz_k_points())
        record["n_electrons"] = float(calculator.get_number_of_electrons())
        if gpw is not None:
            calculator.write(str(gpw), mode="all")
        record |= _site_part(calculator, structure, work)
    record["wall_time_s"] = round(time.monotonic() - started, 2)
    record["processor_time_s"] = round(time.process_time() - processor, 2)
    return record


def _site_part(calculator: Any, structure: dict[str, Any], work: Work) -> dict[str, Any]:
    """The record's sites and status."""
    part: dict[str, Any] = {"status": str(Status.CONVERGED), "reason": None}
    moments = np.array(calculator.get_magnetic_moments())
    semicore, problem = None, None
    if work.settings["semicore_efg"] and wants_semicore(structure, moments):
        semicore, part["semicore"] = semicore_run(calculator, structure, work)
        problem = part["semicore"]["reason"]
    orbital: list[Orbital] | None = None
    if np.abs(moments).max() <= NO_MOMENT_MUB:
        orbital = [Orbital(0.0, 0.0)] * len(moments)
    elif calculator.dft.ibzwfs.domain_comm.size == 1:  # else no process has whole wave functions
        try:
            coupled = spin_orbit(calculator)
            orbital = coupled.atoms
            part["spin_orbit"] = {
                "axes": coupled.axes,
                "band_energies_ev": coupled.band_energies_ev,
            }
        except (ArithmeticError, np.linalg.LinAlgError, AssertionError, ValueError) as error:
            # The orbital parts alone are missing; what was paid for stays.
            part["spin_orbit"] = {"error": f"{type(error).__name__}: {error}"}
            work.log(f"  no orbital parts: {part['spin_orbit']['error']}")
    try:
        part["sites"] = site_table(
            calculator,
            structure,
            work.settings["efg_elements"],
            free_components(structure, moments),
            semicore,
            problem,
            orbital,
        )
    except ArithmeticError as error:  # site_table turns all faults of numbers into this one
        part["status"] = str(Status.FAILED)
        part["reason"] = f"{error}; GPAW's output kept in {work.scratch}"
    return part


def compute_hyperfine(
    structure_path: Path,
    settings: dict[str, Any],
    output: Path,
    log_path: Path | None,
    lock: Lock | None = None,
) -> dict[str, Any]:
    """Compute the record of the structure in a file and write it, whole or not at all.

    GPAW's output goes to the folder ``<output>.scratch``, which stays when an attempt failed.

    Raises
    ------
    LockLostError
        Another process has taken the lock of the output over meanwhile; nothing is written.
    """
    structure = read_json(structure_path)
    scratch = output.with_suffix(".scratch")
    if world.rank == 0:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
    world.barrier()
    handle = None
    if log_path is not None and world.rank == 0:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(log_path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115

    def log(line: str) -> None:
        if world.rank == 0:
            print(line, file=handle, flush=True)

    log(f"{structure['structure_id']}: {len(structure['symbols'])} atoms, {world.size} process(es)")
    gpw = output.with_suffix(".gpw") if settings["keep_gpw"] else None
    record = compute_record(structure, settings, log, scratch, gpw)
    if world.rank == 0:
        if lock is not None:
            lock.check()
        write_json(output, record)
        log(f"{record['status']} in {record['wall_time_s']:.1f} s")
        if record["status"] == Status.CONVERGED and not _problems(record):
            shutil.rmtree(scratch)
        if handle is not None:
            handle.close()
    world.barrier()
    return record


def _problems(record: dict[str, Any]) -> bool:
    """Whether a site of a converged record lacks a quantity: GPAW's output may tell why."""
    return any(site["reasons"] for site in record["sites"])
