"""How far the molecules are: labels, density model, trajectories, spectrum."""

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dft2spectra.arrays import read_arrays
from dft2spectra.columns import Status
from dft2spectra.dynamics.chunks import chunk_folder, steps_on_disk
from dft2spectra.dynamics.output import FINISHED, STOPPED
from dft2spectra.dynamics.progress import read_progress
from dft2spectra.dynamics.settings import DynamicsSettings, read_settings
from dft2spectra.locks import lock_path, running_owner
from dft2spectra.molecules.batches import batches
from dft2spectra.records import read_json
from dft2spectra.status.crystals import elapsed, reasons

# Rules of seconds (sampling, figures) are left out of the core hours.
RULES = (
    *("relax_molecule", "harmonic_reference", "label_densities", "fit_density_model"),
    *("evaluate_density_model", "equilibrate", "run_trajectory"),
)
# States of a run that is not at its end.
OPEN = ("running", "waiting")


def molecules_status(results: Path, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """State of every molecule by its name; see ``docs/status.md`` for the keys."""
    return {
        entry["name"]: molecule_status(results, entry["name"], config)
        for entry in config["molecules"]
    }


def molecule_status(results: Path, name: str, config: dict[str, Any]) -> dict[str, Any]:
    """State of one molecule."""
    folder, infrared = results / "molecules" / name, results / "infrared" / name
    settings = read_settings(config["dynamics"])
    labels, label_s = _labels(folder, config)
    runs = _runs(results, name, settings)
    trajectories = [run for run in runs if run["name"] != "thermostat"]
    states = [run["state"] for run in trajectories]
    left = labels["wanted"] - sum(labels[str(status)] for status in Status)
    pace = [run["seconds_per_step"] for run in runs if run["seconds_per_step"]]
    parts = [
        (left, statistics.mean(label_s) if label_s else None),
        (
            sum(run["steps"] - run["step"] for run in runs),
            statistics.median(pace) if pace else None,
        ),
    ]
    unknown = any(number and seconds is None for number, seconds in parts)
    used_h = _used_s(results, name) / 3600
    to_come_h = None if unknown else sum(n * s for n, s in parts if s is not None) / 3600
    return {
        "minimum": (folder / "equilibrium.json").exists(),
        "harmonic": (infrared / "harmonic.json").exists(),
        "labels": labels,
        "model": (folder / "model.npz").exists(),
        "evaluation": (folder / "evaluation.json").exists(),
        "thermostat": runs[0],
        "trajectories": {
            "wanted": len(trajectories),
            **{state: states.count(state) for state in (FINISHED, STOPPED, *OPEN)},
            "reasons": reasons(
                (STOPPED, run["reason"], run["name"])
                for run in trajectories
                if run["state"] == STOPPED
            ),
            "runs": trajectories,
        },
        "spectrum": (infrared / "spectrum.csv").exists(),
        "core_hours": {
            "used": round(used_h, 4),
            "to_come": None if to_come_h is None else round(to_come_h, 4),
        },
    }


def _labels(folder: Path, config: dict[str, Any]) -> tuple[dict[str, Any], list[float]]:
    """Geometries labelled so far by status, and the seconds that each took."""
    wanted = batches(config["sampling"])
    found, running = [], 0
    if (folder / "labels").is_dir():
        from dft2spectra.molecules.labels import outcomes  # brings PySCF

        molecule = _quietly_read(folder / "molecule.json", None)
        for batch in wanted:
            output = folder / "labels" / f"{batch}.npz"
            running += running_owner(lock_path(output)) is not None
            geometries = _quietly_read(folder / "geometries" / f"{batch}.json", [])
            for outcome in outcomes(molecule, geometries, config["pyscf"], output):
                found.append((*outcome, batch))
    statuses = [status for status, *_ in found]
    return {
        "wanted": sum(frames["count"] for frames in wanted.values()),
        **{str(status): statuses.count(str(status)) for status in Status},
        "batches_running": running,
        "reasons": reasons(
            (status, reason, batch)
            for status, reason, _, batch in found
            if status != Status.CONVERGED
        ),
    }, [seconds for _, _, seconds, _ in found]


def _quietly_read(path: Path, default: Any) -> Any:
    """Content of a file, or the default where there is none to read yet."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return default


def _runs(results: Path, name: str, settings: DynamicsSettings) -> list[dict[str, Any]]:
    """The thermostatted run and the trajectories: state, steps, speed."""
    folder, logs = results / "molecules" / name, results / "logs"
    thermostat = settings.equilibration_steps + settings.spacing_steps * settings.trajectories
    first = (folder / "thermostat.npz", logs / "equilibrate" / f"{name}.log")
    runs = [_run("thermostat", *first, thermostat, settings.timestep_fs)]
    for number in range(1, settings.trajectories + 1):
        output = folder / "trajectories" / f"{number}.npz"
        log = logs / "run_trajectory" / name / f"{number}.log"
        steps = settings.trajectory_steps
        runs.append(_run(str(number), output, log, steps, settings.timestep_fs))
    return runs


def _run(name: str, output: Path, log: Path, steps: int, timestep_fs: float) -> dict[str, Any]:
    """State of one run: finished, stopped (by the physics, with a reason), running or waiting."""
    line = read_progress(log)
    run: dict[str, Any] = {"name": name, "steps": steps, "reason": None}
    run["seconds_per_step"] = line.seconds_per_step if line else None
    run |= {"host": None, "pid": None, "elapsed_min": None, "minutes_left": None}
    ended = _ended(output, steps, timestep_fs)
    if ended:
        return run | ended
    step = steps_on_disk(chunk_folder(output))
    owner = running_owner(lock_path(output))
    if owner is None:
        return run | {"state": "waiting", "step": min(step, steps)}
    if line and line.steps == steps:
        step = max(step, line.step)
    seconds = elapsed(owner)
    run |= {"state": "running", "step": min(step, steps), "host": owner.host, "pid": owner.pid}
    if seconds is not None:
        run["elapsed_min"] = round(seconds / 60, 2)
    if run["seconds_per_step"]:
        run["minutes_left"] = round((steps - run["step"]) * run["seconds_per_step"] / 60, 2)
    return run


def _ended(output: Path, steps: int, timestep_fs: float) -> dict[str, Any] | None:
    """How a run ended; ``None`` if it has not, or had another length or time step."""
    try:
        file = read_arrays(output, ["status", "reason", "timestep_fs", "step"])
        status, reason = str(file["status"]), str(file["reason"])
        same, done = float(file["timestep_fs"]) == timestep_fs, len(file["step"]) - 1
    except (OSError, ValueError, TypeError):
        return None
    if not same or (status == FINISHED and done != steps):
        return None
    return {"state": status, "step": max(done, 0), "reason": reason or None}


def _used_s(results: Path, name: str) -> float:
    """Seconds of the finished jobs of a molecule, each on one core."""
    return sum(
        seconds
        for rule in RULES
        for path in _benchmarks(results / "benchmarks" / rule, name)
        for seconds in _seconds(path)
    )


def _benchmarks(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}.jsonl", *(folder / name).glob("*.jsonl")]


def _seconds(path: Path) -> Iterator[float]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield float(json.loads(line)["s"])
        except (ValueError, TypeError, KeyError):  # half a line
            continue
