"""Self-consistent calculations: one attempt, and attempt after attempt until one converges.

An attempt that does not converge usually started from moments that the crystal cannot keep, not
from bad mixing. So the ladder of the configuration changes the moments first, then the mixing; its
last rung fixes the total moment, from zero upwards, and lets the lowest state go. The smearing
stays: it decides which state is found.
"""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from gpaw import GPAW, ConvergenceError

from dft2spectra.columns import Status
from dft2spectra.crystals.gpaw_input import gpaw_parameters
from dft2spectra.crystals.starts import with_total
from dft2spectra.units import HARTREE_EV

Log = Callable[[str], None]

# Total moments of the scan, as shares of what the start would have.
FIXED_SHARES = (0.25, 0.5, 0.75)
# Atoms whose moments differ by less are given one start moment: noise must not break the symmetry.
EQUAL_MOMENTS_MUB = 0.02
# How a fixed or scanned state is let go: long waves damped more than by default.
SOFT = {"mixer": "msr1", "mixer_weight": 50}


@dataclass(frozen=True)
class Work:
    """What every calculation of a crystal shares: settings, where to tell and to write."""

    settings: dict[str, Any]
    log: Log
    scratch: Path
    """Folder for GPAW's own output."""
    datasets: dict[str, str]
    """Names of the PAW datasets of elements that do not take the standard one."""


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
    work: Work,
    rung: dict[str, Any],
    name: str,
    *,
    fixed_moment: bool = False,
) -> tuple[Any, dict[str, Any]]:
    """Run one self-consistent calculation; its calculator (or ``None``) and what happened.

    Non-convergence and numerical breakdown are results; errors of the machine (memory, disk) and
    interrupts pass through.

    Parameters
    ----------
    atoms
        The crystal in a reduced cell with the moments (µB) to start from.
    work
        Settings, log and folder.
    rung
        What is changed in this attempt.
    name
        Of GPAW's output in the scratch folder.
    fixed_moment
        Whether the total moment stays what the initial moments sum to.
    """
    outcome: dict[str, Any] = {"changes": rung, "status": str(Status.FAILED), "error": None}
    if fixed_moment:
        outcome["fixed_total_moment_mub"] = float(atoms.get_initial_magnetic_moments().sum())
    started, processor = time.monotonic(), time.process_time()
    text = work.scratch / f"{name}.gpaw.txt"
    calculator = None
    try:
        parameters = gpaw_parameters(
            atoms, work.settings, rung, fixed_moment=fixed_moment, datasets=work.datasets
        )
        calculator = GPAW(**parameters, txt=str(text))
        calculator.hooks["scf_step"] = _iteration_line(work.log, started)
        outcome["energy_ev"] = float(calculator.get_potential_energy(atoms.copy()))
        outcome["status"] = str(Status.CONVERGED)
    except ConvergenceError:
        limit = rung.get("max_iterations", work.settings["max_iterations"])
        outcome["error"] = f"no self-consistency in {limit} iterations"
        outcome["status"] = str(Status.NOT_CONVERGED)
    except (ArithmeticError, np.linalg.LinAlgError, AssertionError, ValueError) as error:
        # GPAW reports broken numerics and unusable input this way.
        outcome["error"] = f"{type(error).__name__}: {error}"
        text.with_suffix(".traceback").write_text(traceback.format_exc(), encoding="utf-8")
    outcome["iterations"] = (
        int(calculator.dft.scf_loop.niter) if calculator is not None and calculator._dft else 0
    )
    outcome["wall_time_s"] = round(time.monotonic() - started, 2)
    outcome["processor_time_s"] = round(time.process_time() - processor, 2)
    return (calculator if outcome["status"] == Status.CONVERGED else None), outcome


def climb_ladder(name: str, atoms: Atoms, work: Work) -> tuple[Any, dict[str, Any]]:
    """Attempt after attempt until one converges; calculator (or ``None``) and their record."""
    record: dict[str, Any] = {"name": name, "status": None, "attempts": []}
    ladder = work.settings["ladder"]
    moments = atoms.get_initial_magnetic_moments()
    for number, rung in enumerate(ladder):
        work.log(f"start {name}, attempt {number + 1} of {len(ladder)}, changes {rung}")
        if rung.get("fixed_moments"):
            if not np.any(moments):
                continue  # nothing to fix
            calculator = _scan(name, number, atoms, work, record)
        else:
            started = atoms.copy()
            started.set_initial_magnetic_moments(moments * rung.get("start_moment_scale", 1.0))
            calculator, outcome = attempt(started, work, rung, f"{name}.{number}")
            record["attempts"].append({"rung": number, **outcome})
        if calculator is not None:
            return calculator, record | converged_state(calculator)
        work.log(f"  {record['attempts'][-1]['error']}")
    broken = all(a["status"] == Status.FAILED for a in record["attempts"])
    record["status"] = str(Status.FAILED if broken else Status.NOT_CONVERGED)
    return None, record


def converged_state(calculator: Any) -> dict[str, Any]:
    """What is noted of a state that converged, for comparison with others."""
    return {
        "status": str(Status.CONVERGED),
        "energy_ev": float(calculator.get_potential_energy()),
        "total_moment_mub": float(calculator.get_magnetic_moment()),
        "moments_mub": calculator.get_magnetic_moments().tolist(),
    }


def _scan(name: str, rung: int, atoms: Atoms, work: Work, record: dict[str, Any]) -> Any:
    """State that is lowest among the spin-paired one and those with a fixed total moment.

    The spin-paired state is kept if it is lowest. A magnetic one is let go from its moments; if it
    does not converge then, it is kept as it is, and ``note`` of the record says so.
    """
    full = atoms.get_initial_magnetic_moments()
    found: list[tuple[Any, dict[str, Any], np.ndarray]] = []
    for share in (0.0, *FIXED_SHARES):
        point = atoms.copy()
        point.set_initial_magnetic_moments(share * full)
        work.log(f"  total moment fixed at {share * full.sum():.2f} µB")
        calculator, outcome = attempt(
            point, work, {}, f"{name}.{rung}.{share:g}", fixed_moment=share > 0
        )
        record["attempts"].append({"rung": rung, **outcome})
        if calculator is not None:
            found.append((calculator, outcome, share * full))
    if not found:
        return None
    best, outcome, moments = min(found, key=lambda state: state[1]["energy_ev"])
    if not np.any(moments):
        record["note"] = (
            "no free run converged; the spin-paired state is below those of fixed moments"
        )
        return best
    released = atoms.copy()
    released.set_initial_magnetic_moments(even_moments(best.get_magnetic_moments()))
    calculator, outcome = attempt(released, work, SOFT, f"{name}.{rung}.released")
    record["attempts"].append({"rung": rung, **outcome})
    if calculator is not None:
        return calculator
    record["note"] = (
        f"no free run converged; the total moment is fixed at {moments.sum():.2f} µB, "
        f"the lowest of {len(found)} points"
    )
    record["fixed_moment"] = True
    return best


def even_moments(moments: np.ndarray, total: float | None = None) -> np.ndarray:
    """Moments (µB) with those that are equal but for noise made equal, and with a given sum."""
    result = np.array(moments, dtype=float)
    left = list(range(len(result)))
    while left:
        near = [a for a in left if abs(moments[a] - moments[left[0]]) < EQUAL_MOMENTS_MUB]
        result[near] = np.mean(result[near])
        left = [a for a in left if a not in near]
    result = np.round(result, 4)
    return result if total is None else with_total(result, total)
