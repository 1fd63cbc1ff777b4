"""A crystal that does not converge is a record with a reason, never a good row, never an error."""

import pandas as pd
from campaign import Campaign


def test_unconverged_crystal(fresh: Campaign) -> None:
    fresh.environment["STUB_UNCONVERGED"] = "FeCo"
    fresh.finish()
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
    assert fresh.planned() == {}
