"""One structure through spin-polarised plane-wave DFT: starts, attempts, and their record."""

import platform
import shutil
import time
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from gpaw import GPAW, ConvergenceError
from gpaw.mpi import world

from dft2spectra.columns import Status
from dft2spectra.crystals.bundles import METHOD
from dft2spectra.crystals.gpaw_input import gpaw_parameters
from dft2spectra.crystals.sites import site_table
from dft2spectra.crystals.starts import SEMICORE, SEMICORE_CUTOFF_EV, start_moments, to_atoms
from dft2spectra.locks import Lock
from dft2spectra.records import content_hash, read_json, write_json
from dft2spectra.units import HARTREE_EV
from dft2spectra.versions import method_versions

# Counts for gpaw_input, starts, paw_state and sites too.
METHOD_VERSION = 1
RECORD_VERSION = 1

STRUCTURE_KEYS = ("cell_ang", "symbols", "scaled_positions", "site_labels")

# The semicore run must end in the magnetic state of the standard one; in the default campaign their
# total moments agree within 0.01 µB per atom.
SAME_STATE_MUB_PER_ATOM = 0.05

Log = Callable[[str], None]


def _iteration_line(log: Log, started: float) -> Callable[[Any], None]:
    def write(context) -> None:
        energy = context.energies.total_extrapolated * HARTREE_EV
        log(
            f"  iteration {context.niter:3d}  energy {energy:14.6f} eV  "
            f"density change {context.dens.error:9.2e} e  {time.monotonic() - started:7.1f} s"
        )

    return write


def attempt(
    atoms: Atoms,
    settings: dict[str, Any],
    rung: dict[str, Any],
    log: Log,
    text: Path,
    setups: dict[str, str] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Run one self-consistent calculation; its calculator (or ``None``) and what happened.

    Non-convergence and numerical breakdown are results; errors of the machine (memory, disk) and
    interrupts pass through.
    """
    started = time.monotonic()
    outcome: dict[str, Any] = {"changes": rung, "status": str(Status.FAILED), "error": None}
    atoms = atoms.copy()
    moments = atoms.get_initial_magnetic_moments() * rung.get("start_moment_scale", 1.0)
    atoms.set_initial_magnetic_moments(moments)
    calculator = GPAW(
        **gpaw_parameters(settings, rung),
        spinpol=bool(np.any(moments != 0)),
        setups=setups or {},
        txt=str(text),
    )
    calculator.hooks["scf_step"] = _iteration_line(log, started)
    try:
        calculator.get_potential_energy(atoms)
        outcome["status"] = str(Status.CONVERGED)
    except ConvergenceError:
        limit = rung.get("max_iterations", settings["max_iterations"])
        outcome["error"] = f"no self-consistency in {limit} iterations"
        outcome["status"] = str(Status.NOT_CONVERGED)
    except (ArithmeticError, np.linalg.LinAlgError, AssertionError, ValueError) as error:
        # GPAW reports broken numerics and unusable input this way.
        outcome["error"] = f"{type(error).__name__}: {error}"
        text.with_suffix(".traceback").write_text(traceback.format_exc(), encoding="utf-8")
    outcome["iterations"] = int(calculator.dft.scf_loop.niter) if calculator._dft else 0
    outcome["wall_time_s"] = round(time.monotonic() - started, 2)
    return (calculator if outcome["status"] == Status.CONVERGED else None), outcome


def run_start(
    name: str, structure: dict[str, Any], settings: dict[str, Any], log: Log, scratch: Path
) -> tuple[Any, dict[str, Any]]:
    """Converge one magnetic start; calculator (or ``None``) and the start's record."""
    moments = start_moments(name, structure)
    if moments is None:
        return None, {"name": name, "status": "same_as_ferromagnetic", "attempts": []}
    atoms = to_atoms(structure)
    atoms.set_initial_magnetic_moments(moments)
    return climb_ladder(name, atoms, settings, log, scratch)


def climb_ladder(
    name: str,
    atoms: Atoms,
    settings: dict[str, Any],
    log: Log,
    scratch: Path,
    setups: dict[str, str] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Attempt after attempt until one converges; calculator (or ``None``) and their record."""
    record: dict[str, Any] = {"name": name, "status": None, "attempts": []}
    for number, rung in enumerate(settings["ladder"]):
        log(f"start {name}, attempt {number + 1} of {len(settings['ladder'])}, changes {rung}")
        calculator, outcome = attempt(
            atoms, settings, rung, log, scratch / f"{name}.{number}.gpaw.txt", setups
        )
        record["attempts"].append({"rung": number, **outcome})
        if calculator is not None:
            record["status"] = str(Status.CONVERGED)
            record["energy_ev"] = float(calculator.get_potential_energy())
            record["total_moment_mub"] = float(calculator.get_magnetic_moment())
            return calculator, record
        log(f"  {outcome['error']}")
    broken = all(a["status"] == Status.FAILED for a in record["attempts"])
    record["status"] = str(Status.FAILED if broken else Status.NOT_CONVERGED)
    return None, record


def _site_part(
    calculator, structure: dict[str, Any], settings: dict[str, Any], log: Log, scratch: Path
) -> dict[str, Any]:
    """The record's sites and status, with the field gradient from the semicore run if asked for."""
    part: dict[str, Any] = {}
    efg_dft = None
    if settings["semicore_efg"]:
        atoms = to_atoms(structure)
        atoms.set_initial_magnetic_moments(calculator.get_magnetic_moments())
        finer = settings | {"cutoff_ev": max(settings["cutoff_ev"], SEMICORE_CUTOFF_EV)}
        semicore, part["semicore"] = climb_ladder("semicore", atoms, finer, log, scratch, SEMICORE)
        part["semicore"]["cutoff_ev"] = finer["cutoff_ev"]
        if semicore is None:
            error = part["semicore"]["attempts"][-1]["error"]
            part["status"] = part["semicore"]["status"]
            part["reason"] = f"semicore run: {error}; GPAW's output kept in {scratch}"
            return part
        efg_dft = semicore.dft
        part["semicore"]["datasets"] = fingerprints(efg_dft)
        change = semicore.get_magnetic_moment() - calculator.get_magnetic_moment()
        if abs(change) > SAME_STATE_MUB_PER_ATOM * len(atoms):
            part["status"] = str(Status.NOT_CONVERGED)
            part["reason"] = (
                f"semicore run went to another magnetic state, {change:+.2f} µB per cell away;"
                f" GPAW's output kept in {scratch}"
            )
            return part
    try:
        part["sites"] = site_table(calculator.dft, structure, settings["efg_elements"], efg_dft)
    except ArithmeticError as error:  # site_table turns all faults of numbers into this one
        part["status"] = str(Status.FAILED)
        part["reason"] = f"{error}; GPAW's output kept in {scratch}"
        return part
    return part | {"status": str(Status.CONVERGED), "reason": None}


def fingerprints(dft) -> dict[str, str]:
    """MD5 sum of the PAW dataset file of each element."""
    return {setup.symbol: setup.data.fingerprint for setup in dft.setups}


def versions() -> dict[str, str]:
    """Versions of what produced a number."""
    names = ("dft2spectra", "gpaw", "gpaw-data", "ase", "numpy", "scipy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


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
        Record with ``status`` converged, not_converged or failed; sites only when converged.
    """
    started = time.monotonic()
    record: dict[str, Any] = {
        "record_version": RECORD_VERSION,
        "method_versions": method_versions(*METHOD),
        **{
            key: structure.get(key)
            for key in ("structure_id", "formula", "spacegroup", "prototype", "parent")
        },
        "structure_hash": structure["content_hash"],
        "settings": settings,
        "settings_hash": content_hash(settings),
        **{key: structure[key] for key in STRUCTURE_KEYS},
        "n_atoms": len(structure["symbols"]),
        "sites": [],
        "versions": versions(),
        "mpi_ranks": world.size,
    }
    try:
        to_atoms(structure)
    except ValueError as error:
        record |= {"status": str(Status.REJECTED), "reason": str(error), "starts": []}
        return record | {"wall_time_s": 0.0}
    best, starts = None, []
    for name in settings["starts"]:
        calculator, start = run_start(name, structure, settings, log, scratch)
        starts.append(start)
        if calculator is not None and (best is None or start["energy_ev"] < best[1]["energy_ev"]):
            best = calculator, start
    record["starts"] = starts
    if best is None:
        last = [a["error"] for s in starts for a in s["attempts"]]
        unconverged = any(s["status"] == Status.NOT_CONVERGED for s in starts)
        record["status"] = str(Status.NOT_CONVERGED if unconverged else Status.FAILED)
        record["reason"] = f"{last[-1]}; GPAW's output kept in {scratch}"
    else:
        calculator, start = best
        record["chosen_start"] = start["name"]
        record["energy_ev"] = start["energy_ev"]
        record["total_moment_mub"] = start["total_moment_mub"]
        record["n_kpoints"] = len(calculator.get_ibz_k_points())
        record["n_electrons"] = float(calculator.get_number_of_electrons())
        record["datasets"] = fingerprints(calculator.dft)
        if gpw is not None:
            calculator.write(str(gpw), mode="all")
        record |= _site_part(calculator, structure, settings, log, scratch)
    record["wall_time_s"] = round(time.monotonic() - started, 2)
    return record


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
        if record["status"] == Status.CONVERGED:
            shutil.rmtree(scratch)
        if handle is not None:
            handle.close()
    world.barrier()
    return record
