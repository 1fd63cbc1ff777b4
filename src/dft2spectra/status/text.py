"""The state of a campaign as one screen of text."""

from datetime import datetime
from typing import Any

from dft2spectra.columns import Status
from dft2spectra.crystals.cost import ENOUGH_RECORDS

WIDTH, HEIGHT = 100, 24
# Lines for reasons, running jobs and molecules before the rest is only counted.
REASONS, JOBS, MOLECULES = 4, 3, 3


def as_text(state: dict[str, Any]) -> str:
    """At most ``HEIGHT`` lines of at most ``WIDTH`` columns."""
    lines = [f"{state['results']}, {_clock(state['time'])}"]
    crystals, molecules = state.get("crystals"), state.get("molecules")
    if crystals:
        lines += _message(crystals) if "message" in crystals else _crystal_lines(crystals)
    if molecules is not None:
        lines += _molecule_lines(molecules)
    if state.get("queue"):
        lines += _queue_lines(state["queue"])
    if len(lines) > HEIGHT:
        lines = [*lines[: HEIGHT - 1], f"  … {len(lines) - HEIGHT + 1} lines more with --json"]
    return "\n".join(_short(line) for line in lines)


def _message(crystals: dict[str, Any]) -> list[str]:
    words, lines = crystals["message"].split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > WIDTH - 3:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else f"  {word}"
    return ["Crystals", *lines]


def _crystal_lines(crystals: dict[str, Any]) -> list[str]:
    known = "" if crystals["screening_complete"] else " known so far; screening not written down"
    lines = [f"Crystals   {crystals['structures']:,d}{known}"]
    counts = [str(status) for status in Status] + ["running", "waiting"]
    lines.append("  " + "   ".join(f"{name} {crystals[name]:,d}" for name in counts))
    lines += _reason_lines(crystals["reasons"])
    if crystals["left_out"]:
        causes = sorted(crystals["left_out"].items(), key=lambda item: (-item[1], item[0]))
        words = ", ".join(f"{code} {count:,d}" for code, count in causes)
        lines.append(f"  left out by the screening: {words}")
    for name, words in (
        ("outdated", "to be computed again, as settings, crystal or method changed"),
        ("interrupted", "no record; see"),
        ("unreadable", "damaged, to be computed again, such as"),
    ):
        group = crystals["without_record"][name]
        example = "" if name == "outdated" else f" {group['example']}"
        if group["count"]:
            lines.append(f"  {name} {group['count']:,d}: {words}{example}")
    hours = crystals["core_hours"]
    by = f"machine factor {crystals['machine_factor']:.2f} by {crystals['machine_records']} records"
    if crystals["machine_records"] < ENOUGH_RECORDS:
        by = "for the reference machine"
    lines.append(
        f"  core hours: used {_hours(hours['used'] + hours['running'])}, to come "
        f"{_hours(hours['to_come'])}, in all {_hours(hours['in_all'])} ({by})"
    )
    return lines + _job_lines(crystals["longest_running"]) + _end_lines(crystals["end"])


def _reason_lines(reasons: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"  {each['status']} {each['count']:,d}, such as {each['example']}: {each['reason']}"
        for each in reasons[:REASONS]
    ]
    rest = sum(reason["count"] for reason in reasons[REASONS:])
    return lines + ([f"  {rest:,d} for {len(reasons) - REASONS} other reasons"] if rest else [])


def _job_lines(jobs: list[dict[str, Any]]) -> list[str]:
    if not jobs:
        return []
    lines = [f"  {'running longest':32}{'minutes':>10}{'predicted':>11}   where"]
    for job in jobs[:JOBS]:
        minutes = "?" if job["elapsed_min"] is None else f"{job['elapsed_min']:.1f}"
        lines.append(
            f"    {job['structure_id']:30}{minutes:>10}{job['predicted_min']:11.1f}"
            f"   {job['host'] or '?'}, process {job['pid'] or '?'}"
        )
    return lines


def _end_lines(end: dict[str, Any]) -> list[str]:
    if end["why_not"]:
        return [f"  end: not to be said, {end['why_not']}"]
    if end["at"] is None:
        return []
    return [
        f"  end of the DFT: in {_duration(60 * end['hours'])}, {_clock(end['at'])}, if as many at "
        "a time go on"
    ]


def _molecule_lines(molecules: dict[str, dict[str, Any]]) -> list[str]:
    finished = sum(molecule["spectrum"] for molecule in molecules.values())
    lines = [f"Molecules   {len(molecules):,d}, {finished:,d} with a spectrum"]
    # Those with a spectrum last.
    order = sorted(molecules, key=lambda name: bool(molecules[name]["spectrum"]))
    for name in order[:MOLECULES]:
        lines += _one_molecule(name, molecules[name])
    rest = len(molecules) - MOLECULES
    return lines + ([f"  {rest:,d} more with --json"] if rest > 0 else [])


def _one_molecule(name: str, molecule: dict[str, Any]) -> list[str]:
    labels, runs, hours = molecule["labels"], molecule["trajectories"], molecule["core_hours"]
    done = sum(labels[str(status)] for status in Status)
    words = [f"labels {done:,d} of {labels['wanted']:,d}"]
    words += [f"{labels[bad]:,d} {bad}" for bad in ("not_converged", "failed") if labels[bad]]
    words += (
        [f"batches running {labels['batches_running']:,d}"] if labels["batches_running"] else []
    )
    words += [stage for stage in ("model", "evaluation") if molecule[stage]]
    ended = f"trajectories {runs['finished'] + runs['stopped']} of {runs['wanted']}"
    words.append(ended + (f", {runs['stopped']} stopped" if runs["stopped"] else ""))
    words += ["spectrum"] if molecule["spectrum"] else []
    to_come = "not known yet" if hours["to_come"] is None else _hours(hours["to_come"])
    lines = [
        f"  {name}: {'; '.join(words)}",
        f"    core hours: used {_hours(hours['used'])}, to come {to_come}",
    ]
    every = [molecule["thermostat"], *runs["runs"]]
    at_work = [_progress(run) for run in every if run["state"] == "running"]
    if at_work:
        lines.append(f"    running: {'; '.join(at_work)}")
    return lines + [f"  {line}" for line in _reason_lines(runs["reasons"])[:1]]


def _queue_lines(queue: dict[str, Any]) -> list[str]:
    if "message" in queue:
        return [f"SLURM   {queue['message']}"]
    words = [
        f"{rule} {', '.join(f'{count:,d} {state.lower()}' for state, count in states.items())}"
        for rule, states in queue["jobs"].items()
    ]
    lines = [f"SLURM   {'; '.join(words) or 'no job of this folder in the queue'}"]
    reasons = list(queue["pending"].items())[:REASONS]
    return lines + [f"  pending {count:,d}: {reason}" for reason, count in reasons]


def _progress(run: dict[str, Any]) -> str:
    share = 100 * run["step"] / run["steps"]
    left = "" if run["minutes_left"] is None else f", {_duration(run['minutes_left'])} left"
    name = run["name"] if run["name"] == "thermostat" else f"trajectory {run['name']}"
    return f"{name} {share:.0f} %{left}"


def _hours(hours: float) -> str:
    return f"{hours:.3g}" if hours < 100 else f"{hours:,.0f}"


def _duration(minutes: float) -> str:
    if minutes < 60:
        return f"{minutes:.0f} min"
    if minutes < 48 * 60:
        return f"{minutes // 60:.0f} h {minutes % 60:.0f} min"
    return f"{minutes / 1440:.1f} days"


def _clock(iso: str) -> str:
    return datetime.fromisoformat(iso).astimezone().strftime("%d %b %H:%M")


def _short(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
