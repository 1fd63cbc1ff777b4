"""How far the DFT of the crystals is, what it cost and what is still to come."""

import csv
import math
import os
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dft2spectra.columns import Status
from dft2spectra.crystals.cost import ENOUGH_RECORDS, estimate
from dft2spectra.crystals.plan import Found, find_record, speed
from dft2spectra.locks import Owner, running_owner
from dft2spectra.structures.storage import read_structure

# So many of the newest records tell the speed of the machine.
NEWEST = 200
# A log that was written to a moment ago belongs to a job that is starting or ending.
STARTING_S = 60.0

Structure = dict[str, Any]


def crystals_status(results: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """State of the crystals of a campaign; see ``docs/status.md`` for the keys.

    Parameters
    ----------
    results
        Folder of the campaign.
    settings
        The ``gpaw`` section of the configuration without the keys about jobs.

    Raises
    ------
    FileNotFoundError
        Nothing says yet which crystals the campaign has.
    """
    structures, complete = campaign_structures(results)
    found = [find_record(results, structure, settings) for structure in structures]
    running = running_jobs(results)
    records = [each.record for each in found if each.record]
    open_ = {
        structure["structure_id"]: structure
        for structure, each in zip(structures, found, strict=True)
        if not each.record
    }
    running = {name: owner for name, owner in running.items() if name in open_}
    statuses = Counter(str(record["status"]) for record in records)
    state: dict[str, Any] = {
        "structures": len(structures),
        "screening_complete": complete,
        **{str(status): statuses[str(status)] for status in Status},
        "running": len(running),
        "waiting": len(open_) - len(running),
        "reasons": reasons(
            (record["status"], record["reason"], record["structure_id"])
            for record in records
            if record["status"] != Status.CONVERGED
        ),
        "without_record": _without_record(results, structures, found, running),
        "left_out": _left_out(results),
    }
    factor, used = _newest_speed(structures, found, settings)
    state |= {"machine_factor": round(factor, 3), "machine_records": used}
    predicted_s = {
        name: estimate(structure, settings, factor).core_seconds
        for name, structure in open_.items()
    }
    return state | _costs(records, predicted_s, running, used)


def campaign_structures(results: Path) -> tuple[list[Structure], bool]:
    """The crystals of a campaign, and whether these are all.

    Those that the screening wrote down or, while it has not, those written for jobs so far.

    Raises
    ------
    FileNotFoundError
        There is neither.
    """
    for folder, complete in (("accepted", True), ("crystals", False)):
        structures = []
        for path in sorted((results / "structures" / folder).glob("[!.]*.json")):
            try:
                structures.append(read_structure(path))
            except (OSError, ValueError):  # being written by a shell, or damaged
                complete = False
        if structures:
            return structures, complete
    raise FileNotFoundError(
        f"{results / 'structures'} says nothing about the crystals of this campaign yet. Start it, "
        "or run `snakemake all_structures` to screen them; `snakemake plan` shows what comes."
    )


def running_jobs(results: Path) -> dict[str, Owner]:
    """Living owners of the locks of records, by structure."""
    owners = {}
    for folder in (results / "hyperfine" / "bundles" / "records", results / "hyperfine"):
        for path in folder.glob(".*.json.lock"):
            owner = running_owner(path)
            if owner:
                owners[path.name[1 : -len(".json.lock")]] = owner
    return owners


def reasons(outcomes: Iterable[tuple[str, str | None, str]]) -> list[dict[str, Any]]:
    """How often each reason was given, the most frequent first, with an example of each.

    Parameters
    ----------
    outcomes
        Status, reason and name. Reasons that differ in numbers, or in where output is kept, are
        one.
    """
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for status, reason, name in outcomes:
        short = (reason or "no reason given").split("; GPAW's output kept in")[0]
        # Not the digits in names such as 3s.
        kind = re.sub(r"(?<![\w.])[-+]?\d+(\.\d+)?(e[-+]?\d+)?", "…", short)
        groups.setdefault((status, kind), []).append((short, name))
    return [
        {"status": status, "reason": cases[0][0], "count": len(cases), "example": cases[0][1]}
        for (status, _), cases in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _without_record(
    results: Path, structures: list[Structure], found: list[Found], running: dict[str, Owner]
) -> dict[str, dict[str, Any]]:
    """Why crystals wait that have been computed, or begun, before."""
    groups: dict[str, list[str]] = {"outdated": [], "unreadable": [], "interrupted": []}
    logs = results / "logs" / "compute_hyperfine"
    for structure, each in zip(structures, found, strict=True):
        name = structure["structure_id"]
        if each.record or name in running:
            continue
        if each.path:
            groups[each.state].append(str(each.path))
        elif (silent_s := _silent_s(logs / f"{name}.log")) and silent_s > STARTING_S:
            groups["interrupted"].append(str(logs / f"{name}.log"))
    return {
        name: {"count": len(paths), "example": paths[0] if paths else None}
        for name, paths in groups.items()
    }


def _silent_s(path: Path) -> float | None:
    """Seconds since a file was written to; ``None`` if there is none."""
    try:
        return time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return None


def _left_out(results: Path) -> dict[str, int]:
    """Inputs that the screening did not take, by reason; empty while that is not written."""
    try:
        with open(results / "structures" / "rejected.csv", encoding="utf-8", newline="") as file:
            causes = [str(row["reason"]).split(":")[0] for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError):
        return {}
    return dict(Counter(causes).most_common())


def _newest_speed(
    structures: list[Structure], found: list[Found], settings: dict[str, Any]
) -> tuple[float, int]:
    """Speed of the machine by the newest records of the campaign, and by how many."""
    done = [
        (_written(each.path), each.record, structure)
        for structure, each in zip(structures, found, strict=True)
        if each.record and each.path
    ]
    newest = sorted(done, key=lambda item: item[0], reverse=True)[:NEWEST]
    return speed([item[2] for item in newest], [item[1] for item in newest], settings)


def _written(path: Path) -> int:
    """When a file was written, ns; 0 if it was removed meanwhile."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0


def _costs(
    records: list[dict[str, Any]],
    predicted_s: dict[str, float],
    running: dict[str, Owner],
    used: int,
) -> dict[str, Any]:
    """Core hours used and to come, the jobs that run, and when all may be done."""
    ranks = statistics.median_low([record.get("mpi_ranks", 1) for record in records] or [1])
    jobs = []
    for name, owner in running.items():
        elapsed_s = elapsed(owner)
        jobs.append(
            {
                "structure_id": name,
                "host": owner.host,
                "pid": owner.pid,
                "elapsed_min": None if elapsed_s is None else round(elapsed_s / 60, 2),
                "predicted_min": round(predicted_s[name] / ranks / 60, 2),
            }
        )
    jobs.sort(key=lambda job: (-(job["elapsed_min"] or 0.0), job["structure_id"]))
    left_s = dict(predicted_s)
    for job in jobs:
        spent_s = 60 * ranks * (job["elapsed_min"] or 0.0)
        left_s[job["structure_id"]] = max(0.0, left_s[job["structure_id"]] - spent_s)
    hours = {
        "used": sum(r["wall_time_s"] * r.get("mpi_ranks", 1) for r in records) / 3600,
        "running": sum(job["elapsed_min"] or 0.0 for job in jobs) * ranks / 60,
        "to_come": sum(left_s.values()) / 3600,
    }
    hours["in_all"] = sum(hours.values())
    return {
        "core_hours": {name: round(value, 4) for name, value in hours.items()},
        "longest_running": jobs,
        "end": _end([seconds / ranks for seconds in left_s.values()], len(jobs), used),
    }


def _end(left_s: list[float], running: int, used: int) -> dict[str, Any]:
    """When all records may be there if as many crystals at a time go on, or why nobody can say."""
    if not left_s:
        return {"hours": 0.0, "at": None, "why_not": None}
    if not running:
        return {"hours": None, "at": None, "why_not": "no crystal is being computed now"}
    if used < ENOUGH_RECORDS:
        why = f"fewer than {ENOUGH_RECORDS} records tell how fast this machine is"
        return {"hours": None, "at": None, "why_not": why}
    seconds = max(math.fsum(left_s) / running, max(left_s))
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return {
        "hours": round(seconds / 3600, 3),
        "at": at.isoformat(timespec="seconds"),
        "why_not": None,
    }


def elapsed(owner: Owner) -> float | None:
    """Seconds since a lock was taken; ``None`` if it does not say when."""
    try:
        since = datetime.fromisoformat(owner.locked_at)
        return max(0.0, (datetime.now(UTC) - since).total_seconds())
    except (ValueError, TypeError):
        return None
