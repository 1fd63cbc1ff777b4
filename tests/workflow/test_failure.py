"""What does not converge or falls apart is a record with a reason, never a good row or an error."""

import json
from typing import Any

import pandas as pd
from campaign import Campaign


def test_unconverged_crystal(fresh: Campaign) -> None:
    fresh.environment["STUB_UNCONVERGED"] = "FeCo"
    targets = ["all_hyperfine", "all_sites", "all_mossbauer"]
    fresh.finish(*targets)
    results = fresh.folder / "results" / "stub"
    summary = pd.read_csv(results / "hyperfine" / "summary.csv").set_index("formula")
    assert summary.loc["FeCo", "status"] == "not_converged"
    assert "self-consistency" in summary.loc["FeCo", "reason"]
    assert (summary.drop("FeCo").status == "converged").all()
    assert "FeCo" not in set(pd.read_csv(results / "sites" / "sites.csv").formula)
    dropped = pd.read_csv(results / "sites" / "dropped.csv")
    assert dropped.structure_id.str.startswith("FeCo").any()
    assert set(dropped.rule) == {"not_converged"}
    spectra = {path.name.split("-")[0] for path in (results / "mossbauer/structures").glob("*.csv")}
    assert "FeCo" not in spectra
    # A record is a result: it is not tried again by itself.
    assert fresh.planned(*targets) == {}


def test_stopped_trajectories(fresh: Campaign) -> None:
    """The spectrum comes from the finished trajectories; without any, it says so."""
    folder = fresh.folder / "results" / "stub" / "infrared" / "water"

    def spectrum(stopped: str, *arguments: str) -> tuple[dict[str, Any], pd.DataFrame]:
        fresh.environment["STUB_STOPPED"] = stopped
        fresh.finish("all_infrared", *arguments)
        evaluation = json.loads((folder / "evaluation.json").read_text("utf-8"))
        left_out = {f"trajectories/{number}.npz" for number in stopped.split()}
        assert set(evaluation["left_out"]) == left_out
        assert set(evaluation["left_out"].values()) == {"the stub was told to stop"}
        return evaluation, pd.read_csv(folder / "spectrum.csv", comment="#")

    evaluation, table = spectrum("2")
    assert evaluation["status"] == "computed"
    assert [run["name"] for run in evaluation["trajectories"]] == ["trajectories/1.npz"]
    assert "# trajectories_left_out: 1" in (folder / "spectrum.csv").read_text("utf-8")
    assert len(table) > 10
    evaluation, table = spectrum("1 2", "--forcerun", "run_trajectory")
    assert evaluation["status"] == "no trajectory without an early stop"
    assert len(table) == 0
    # A stopped trajectory is a result: it is not tried again by itself.
    assert fresh.planned("all_infrared") == {}
