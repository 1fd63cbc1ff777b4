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
from ase.geometry.minkowski_reduction import minkowski_reduce
from gpaw import GPAW, PW, ConvergenceError, setup_paths
from gpaw.mpi import world

from dft2spectra.columns import Status
from dft2spectra.crystals.sites import site_table
from dft2spectra.records import content_hash, read_json, write_json
from dft2spectra.units import HARTREE_EV

# Counts for paw_state and sites too.
METHOD_VERSION = 1
RECORD_VERSION = 1

STRUCTURE_KEYS = ("cell_ang", "symbols", "scaled_positions", "site_labels")

Log = Callable[[str], None]


def to_atoms(structure: dict[str, Any]) -> Atoms:
    """ASE atoms of a structure file, with its initial moments.

    Raises
    ------
    ValueError
        If a number is not finite or the cell has no volume: foreign code must not see those.
    """
    cell = np.array(structure["cell_ang"], dtype=float)
    positions = np.array(structure["scaled_positions"], dtype=float)
    moments = np.array(structure["initial_moments_mub"], dtype=float)
    if not all(np.isfinite(values).all() for values in (cell, positions, moments)):
        raise ValueError("cell, positions or moments are not finite")
    if abs(np.linalg.det(cell)) < 1.0:
        raise ValueError(f"cell of {abs(np.linalg.det(cell)):.3g} Å³ holds no crystal")
    atoms = Atoms(
        structure["symbols"], cell=cell, scaled_positions=positions, pbc=True, magmoms=moments
    )
    # Short vectors in the same axes: primitive cells of body-centred crystals are needles, where
    # k-meshes of equal density are uneven and GPAW warns of wrong results.
    atoms.set_cell(minkowski_reduce(atoms.cell)[0])
    atoms.wrap()
    return atoms


def start_moments(name: str, structure: dict[str, Any]) -> np.ndarray | None:
    """Initial moments (µB) of a magnetic start; ``None`` where it does not differ from another.

    ``ferromagnetic`` turns all guesses up, ``given`` keeps their signs, ``nonmagnetic`` sets them
    to zero, ``alternating`` turns every second magnetic atom of an orbit down (and every second
    orbit where orbits have one atom). An order larger than the cell is out of reach: structures are
    reduced to their primitive cell.
    """
    given = np.array(structure["initial_moments_mub"], dtype=float)
    guess = np.abs(given)
    if name == "given":
        return given if np.any(given < 0) else None
    if name == "ferromagnetic":
        return guess
    if name == "nonmagnetic":
        return np.zeros_like(guess)
    signs = np.ones_like(guess)
    count: dict[str, int] = {}
    magnetic = [a for a in range(len(guess)) if guess[a] > 0.5]
    labels = [structure["site_labels"][a] for a in magnetic]
    single = len(set(labels)) == len(labels)
    for a, label in zip(magnetic, labels, strict=True):
        key = "all" if single else label
        signs[a] = -1.0 if count.get(key, 0) % 2 else 1.0
        count[key] = count.get(key, 0) + 1
    return None if np.all(signs > 0) else guess * signs


# Iron with 3s and 3p in the valence and three partial waves for s and p, made with
#   gpaw dataset Fe -f PBE -P 3s,4s,1.0s,3p,4p,1.0p,3d,1.0d,F -r 1.9 -w -t 3s3p
# The frozen 3p shell of the standard dataset leaves out its polarisation by the crystal, 0.26e21
# V/m² of Vzz in FePt. Contact densities stay with the standard dataset and its re-solved core.
SEMICORE = {"Fe": "3s3p"}
# Total moments of the two runs agree within 0.01 µB per atom in the default campaign.
SAME_STATE_MUB_PER_ATOM = 0.05
setup_paths.insert(0, str(Path(__file__).parent / "datasets"))


def gpaw_parameters(settings: dict[str, Any], rung: dict[str, Any]) -> dict[str, Any]:
    """Keywords of GPAW for the campaign's settings with one rung of the ladder laid over them."""
    chosen = {**settings, **rung}
    parameters: dict[str, Any] = {
        "mode": PW(chosen["cutoff_ev"]),
        "xc": chosen["xc"],
        "kpts": {"density": chosen["kpoint_density_ang"], "gamma": True},
        "occupations": {"name": "fermi-dirac", "width": chosen["smearing_ev"]},
        "maxiter": chosen["max_iterations"],
        "convergence": {
            "energy": chosen["convergence"]["energy_ev_per_electron"],
            "density": chosen["convergence"]["density"],
            "eigenstates": chosen["convergence"]["eigenstates"],
        },
    }
    mixer = {
        key: rung[f"mixer_{key}"] for key in ("beta", "nmaxold", "weight") if f"mixer_{key}" in rung
    }
    if mixer:
        # A rung that speaks of mixing means Pulay's scheme; GPAW's own default is MSR1.
        parameters["mixer"] = {"name": "pulay", "beta": 0.05, "nmaxold": 5, "weight": 50, **mixer}
    return parameters


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
        semicore, part["semicore"] = climb_ladder(
            "semicore", atoms, settings, log, scratch, SEMICORE
        )
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
        "method_version": METHOD_VERSION,
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
    structure_path: Path, settings: dict[str, Any], output: Path, log_path: Path | None
) -> dict[str, Any]:
    """Compute the record of the structure in a file and write it, whole or not at all.

    GPAW's output goes to the folder ``<output>.scratch``, which stays when an attempt failed.
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
        write_json(output, record)
        log(f"{record['status']} in {record['wall_time_s']:.1f} s")
        if record["status"] == Status.CONVERGED:
            shutil.rmtree(scratch)
        if handle is not None:
            handle.close()
    world.barrier()
    return record
