"""How the structures of a campaign ended and what they cost."""

from pathlib import Path

import pandas as pd

from dft2spectra.columns import Status
from dft2spectra.figures import new_figure, save_figure
from dft2spectra.records import read_json, write_csv

METHOD_VERSION = 1
COLOURS = {
    Status.CONVERGED: "C0",
    Status.NOT_CONVERGED: "C1",
    Status.FAILED: "C3",
    Status.REJECTED: "0.6",
}


def summary_row(record: dict) -> dict:
    """One line about a record: status, cost, chosen start."""
    attempts = [a for start in record.get("starts", []) for a in start["attempts"]]
    keys = ("structure_id", "formula", "status", "reason", "chosen_start", "energy_ev")
    return {
        **{key: record.get(key) for key in keys},
        "total_moment_mub": record.get("total_moment_mub"),
        "n_atoms": record.get("n_atoms"),
        "n_kpoints": record.get("n_kpoints"),
        "iterations": sum(a["iterations"] for a in attempts),
        "attempts": len(attempts),
        "mpi_ranks": record.get("mpi_ranks"),
        "wall_time_s": record.get("wall_time_s"),
    }


def summarize(record_paths: list[str], summary_csv: str | Path, figure_png: str | Path) -> None:
    """Write the table of all structures and the bar chart of the time each took."""
    table = pd.DataFrame([summary_row(read_json(path)) for path in record_paths])
    table = table.sort_values("wall_time_s", ascending=False, ignore_index=True)
    write_csv(summary_csv, table)
    # The hundred most expensive are what one looks at; the CSV has them all.
    shown = table.head(100).iloc[::-1]
    figure, axes = new_figure(6.0, max(2.0, 0.6 + 0.2 * len(shown)))
    axes.barh(
        shown.structure_id, shown.wall_time_s, color=[COLOURS[Status(s)] for s in shown.status]
    )
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("wall time (s)")
    counts = ", ".join(f"{n} {status}" for status, n in table.status.value_counts().items())
    axes.set_title(f"{counts}; {table.wall_time_s.sum() / 3600:.2f} h in all", fontsize=8)
    save_figure(figure, figure_png)
