"""What a campaign will compute, what that costs, and what it leaves out and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dft2spectra.crystals.bundles import assign_bundles, read_bundles
from dft2spectra.crystals.cost import ENOUGH_RECORDS, STARTUP_S, Cost, estimate, machine_factor
from dft2spectra.crystals.equation_of_state import SETTINGS as RELAXATION
from dft2spectra.crystals.identity import record_is_current
from dft2spectra.records import read_json, write_csv, write_json

METHOD_VERSION = 3

# 90 % of the measured records of docs/cost.csv took so many times their estimate.
RANGE = (0.73, 1.63)
# The same of the molecules of docs/molecule-cost.csv, each predicted from the others: the least and
# the most of benchmarks/molecule_cost.py.
MOLECULE_RANGE = (0.7, 1.5)
# The fewest energies from which a volume follows.
ENERGIES_PER_VOLUME = 5

Structure = dict[str, Any]


def make_plan(
    results: Path,
    settings: dict[str, Any],
    jobs: dict[str, Any],
    molecules: dict[str, dict[str, float | None]],
    screened: str | Path | None,
    made_at: str | None = None,
    *,
    sizes: Sequence[str] = (),
    unrelaxed: Sequence[str] = (),
    store: Path | None = None,
) -> str:
    """Write ``plan/plan.csv`` and ``plan/plan.json``; the plan as one screen of text.

    Parameters
    ----------
    results
        Folder of the campaign.
    settings
        The ``gpaw`` section of the configuration without the keys about jobs.
    jobs
        ``structures_per_job`` and ``job_minutes``.
    molecules
        Jobs and costs of the infrared branch by rule, as
        :meth:`dft2spectra.campaign.molecules.Molecules.costs` gives them; empty without the branch.
    screened
        Folder with the screened structures; nothing without the Mössbauer branch.
    made_at
        Time, written down.
    sizes
        Lines on the enumerations, shown as they are.
    unrelaxed
        Names of the prototypes that were screened with predicted volumes and get relaxed ones.
    store
        Folder of finished records that are taken instead of calculations.
    """
    plan: dict[str, Any] = {"campaign": str(results), "made_at": made_at}
    if screened:
        folder = Path(screened)
        structures = [read_json(path) for path in sorted(folder.glob("accepted/*.json"))]
        index = pd.read_csv(folder / "index.csv", keep_default_na=False)
        rejected = pd.read_csv(folder / "rejected.csv", keep_default_na=False)
        found = [find_record(results, each, settings, store) for each in structures]
        records = [each.record for each in found]
        # Those of the store were computed elsewhere.
        own = [None if each.path and each.path.parent == store else each.record for each in found]
        factor, used = speed(structures, own, settings)
        costs = {s["structure_id"]: estimate(s, settings, factor) for s in structures}
        table = _table(structures, records, costs, _bundles(results, costs, jobs))
        write_csv(results / "plan" / "plan.csv", table)
        plan |= _screening(index, rejected)
        plan |= {"dft": _dft(table), "machine_factor": factor, "machine_records": used}
        plan |= {"prototypes": list(sizes)}
        plan |= {"relaxation": _relaxation(structures, unrelaxed, settings["xc"], factor)}
    plan["molecules"] = molecules
    write_json(results / "plan" / "plan.json", plan)
    return as_text(plan)


@dataclass(frozen=True)
class Found:
    """What there is of the record of a structure."""

    state: str
    """``current``, ``outdated`` (of another crystal, other settings or an older method),
    ``unreadable`` or ``none``."""
    record: dict[str, Any] | None = None
    """The record, if it is current."""
    path: Path | None = None
    """Its file, unless there is none."""


def find_record(
    results: Path, structure: Structure, settings: dict[str, Any], store: Path | None = None
) -> Found:
    """The record of a structure: of its own job, of a bundle, or in the store of finished ones.

    Each file is read once.
    """
    name = f"{structure['structure_id']}.json"
    found = Found("none")
    folders = [results / "hyperfine", results / "hyperfine" / "bundles/records"]
    for path in [folder / name for folder in folders + ([store] if store else [])]:
        try:
            record = read_json(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            found = Found("unreadable", path=path)
            continue
        if record_is_current(record, structure, settings):
            return Found("current", dict(record), path)
        if path.parent != store:  # a store holds records of many settings
            found = Found("outdated", path=path)
    return found


def speed(
    structures: Sequence[Structure],
    records: Sequence[dict[str, Any] | None],
    settings: dict[str, Any],
) -> tuple[float, int]:
    """Time on this machine over that on the reference machine, and from how many records."""
    measured, predicted = [], []
    for structure, record in zip(structures, records, strict=True):
        if record and record["wall_time_s"] > 0:
            measured.append(record["wall_time_s"] * record.get("mpi_ranks", 1))
            predicted.append(estimate(structure, settings).core_seconds)
    return machine_factor(measured, predicted), len(measured)


def _bundles(
    results: Path, costs: dict[str, Cost], jobs: dict[str, Any]
) -> dict[str, list[str]] | None:
    """Members of each bundle; ``None`` if every structure has a job of its own."""
    written = read_bundles(results / "hyperfine" / "bundles")
    if jobs["structures_per_job"] == 1 and not written:
        return None
    return assign_bundles(costs, written, lambda name: costs[name].core_seconds / 60, **jobs)


def _table(
    structures: list[Structure],
    records: list[dict[str, Any] | None],
    costs: dict[str, Cost],
    bundles: dict[str, list[str]] | None,
) -> pd.DataFrame:
    """One row per structure, the most expensive first."""
    bundle = {member: name for name, members in (bundles or {}).items() for member in members}
    rows = []
    for structure, record in zip(structures, records, strict=True):
        name = structure["structure_id"]
        rows.append(
            {
                "structure_id": name,
                "formula": structure["formula"],
                "n_atoms": len(structure["symbols"]),
                "n_electrons": costs[name].electrons,
                "n_kpoints": costs[name].kpoints,
                "predicted_core_min": round(costs[name].core_seconds / 60, 2),
                "predicted_memory_mb": round(costs[name].memory_mb),
                "status": "done" if record else "to do",
                "bundle": bundle.get(name),
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values(
        ["predicted_core_min", "structure_id"], ascending=[False, True], ignore_index=True
    )


def _screening(index: pd.DataFrame, rejected: pd.DataFrame) -> dict[str, Any]:
    """Accepted and rejected inputs, by source and by reason, with an example of each reason."""
    code = rejected.reason.str.split(":").str[0]
    reasons = {
        name: {
            "count": len(rows),
            "example": f"{rows.iloc[0].origin}: {rows.iloc[0].reason.split(': ', 1)[-1]}",
        }
        for name, rows in sorted(
            rejected.groupby(code), key=lambda group: (-len(group[1]), group[0])
        )
    }
    duplicates = reasons.pop("duplicate_of", None)
    accepted = Counter(label for cell in index.sources for label in cell.split(";"))
    refused = Counter(rejected.source[code != "duplicate_of"])
    return {
        "accepted": len(index),
        "rejected": {"count": int((code != "duplicate_of").sum()), "reasons": reasons},
        "duplicates": duplicates or {"count": 0, "example": None},
        "sources": {
            name: {"accepted": accepted[name], "rejected": refused[name]}
            for name in sorted(accepted | refused)
        },
    }


def _dft(table: pd.DataFrame) -> dict[str, Any]:
    """Jobs of ``compute_hyperfine``: how many, how long, the longest."""
    job = table.bundle.fillna(table.structure_id)
    left = table[table.status == "to do"]
    minutes = left.groupby(job[left.index]).predicted_core_min.sum()
    return {
        "structures": len(table),
        "structures_to_do": len(left),
        "jobs": int(job.nunique()),
        "jobs_to_do": len(minutes),
        "core_hours": round(float(table.predicted_core_min.sum()) / 60, 3),
        "core_hours_to_do": round(float(left.predicted_core_min.sum()) / 60, 3),
        "longest_job": None if left.empty else str(minutes.idxmax()),
        "longest_job_core_min": None if left.empty else round(float(minutes.max()), 2),
        "largest_memory_mb": None if left.empty else int(left.predicted_memory_mb.max()),
    }


def _relaxation(
    structures: list[Structure], unrelaxed: Sequence[str], xc: str, factor: float
) -> dict[str, Any]:
    """Crystals whose volumes ``relax_volumes`` will compute, and the core hours of that."""
    settings = {**RELAXATION, "xc": xc, "starts": ["ferromagnetic"], "semicore_efg": False}
    crystals, seconds = 0, 0.0
    for structure in structures:
        made = sum(
            entry["source"] == "prototypes"
            and entry.get("name") in unrelaxed
            and "strain" not in entry
            for entry in structure["provenance"]
        )
        if made:
            once = estimate(structure, settings, factor).core_seconds - STARTUP_S
            crystals += made
            seconds += made * (STARTUP_S + ENERGIES_PER_VOLUME * once)
    return {"sources": list(unrelaxed), "crystals": crystals, "core_hours": seconds / 3600}


def as_text(plan: dict[str, Any]) -> str:
    """The plan as aligned lines."""
    lines = [f"Plan of {plan['campaign']}"]
    if "dft" in plan:
        lines += _structure_lines(plan) + _dft_lines(plan)
    if plan["molecules"]:
        lines += _molecule_lines(plan["molecules"])
    folder = Path(plan["campaign"], "plan")
    every = "one row per structure: " + str(folder / "plan.csv")
    return "\n".join([*lines, "", every if "dft" in plan else str(folder / "plan.json")])


def _molecule_lines(molecules: dict[str, dict[str, float | None]]) -> list[str]:
    titles = ("jobs", "core hours", "longest job, h", "memory, MB")
    lines = ["", f"{'Molecules':24}" + "".join(f"{title:>16}" for title in titles)]
    for rule, row in molecules.items():
        hours = [_number(row[key], ",.2f") for key in ("core_hours", "longest_job_h")]
        cells = (_number(row["jobs"], ",d"), *hours, _number(row["memory_mb"], ",.0f"))
        lines.append(f"  {rule:22}" + "".join(f"{cell:>16}" for cell in cells))
    low, high = MOLECULE_RANGE
    lines.append(
        f"  Measured molecules took {low:g} to {high:g} times their estimate (docs/molecule-cost"
        ".csv); – was not measured."
    )
    return lines


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _structure_lines(plan: dict[str, Any]) -> list[str]:
    rejected = plan["rejected"]
    rows = [("accepted", plan["accepted"], ""), ("rejected", rejected["count"], "")]
    for code, reason in rejected["reasons"].items():
        rows.append((f"  {code}", reason["count"], f"such as {reason['example']}"))
    duplicates = plan["duplicates"]
    example = f"such as {duplicates['example']}" if duplicates["count"] else ""
    rows.append(("duplicates", duplicates["count"], example))
    lines = ["", f"{'Structures':24}{'number':>10}"]
    lines += [f"  {name:22}{count:10,d}  {_short(note)}".rstrip() for name, count, note in rows]
    lines += ["", f"{'Sources':24}{'accepted':>10}{'rejected':>10}"]
    for name, counts in plan["sources"].items():
        lines.append(f"  {name:22}{counts['accepted']:10,d}{counts['rejected']:10,d}")
    return lines + [f"  {line}" for line in plan["prototypes"]] + _relaxation_lines(plan)


def _relaxation_lines(plan: dict[str, Any]) -> list[str]:
    relaxation = plan["relaxation"]
    if not relaxation["sources"]:
        return []
    return [
        f"  Volumes of {', '.join(relaxation['sources'])} are predicted: relax_volumes computes "
        f"{relaxation['crystals']:,d} first, about {relaxation['core_hours']:.2f} core hours more.",
        "  Ids and costs of these crystals follow the volumes and will change a little.",
    ]


def _dft_lines(plan: dict[str, Any]) -> list[str]:
    dft = plan["dft"]
    done = [dft[key] - dft[f"{key}_to_do"] for key in ("structures", "jobs", "core_hours")]
    left = [dft[f"{key}_to_do"] for key in ("structures", "jobs", "core_hours")]
    lines = ["", f"{'DFT':24}{'structures':>10}{'jobs':>10}{'core hours':>12}"]
    for name, (structures, jobs, hours) in (("done", done), ("to do", left)):
        lines.append(f"  {name:22}{structures:10,d}{jobs:10,d}{hours:12,.2f}")
    if dft["longest_job"]:
        lines.append(
            f"  longest job to do: {dft['longest_job']}, {dft['longest_job_core_min']:.1f} core "
            f"minutes; largest memory {dft['largest_memory_mb']:,d} MB"
        )
    low, high = RANGE
    lines.append(
        f"  90 % of the measured crystals took {low:g} to {high:g} times their estimate, if each "
        "start converges at once."
    )
    lines.append(
        f"  This machine takes {plan['machine_factor']:.2f} times as long as the reference, by "
        f"{plan['machine_records']} records of this campaign."
        if plan["machine_records"] >= ENOUGH_RECORDS
        else f"  After {ENOUGH_RECORDS} records the estimate is for this machine; now it is for "
        "the reference (docs/cost.csv)."
    )
    return lines


def _short(text: str, width: int = 100) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
