"""A result says what it was made with, and the plan hears it."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.iocontainers import InputFiles, OutputFiles, Params

from dft2spectra.provenance import (
    Provenance,
    Stored,
    campaign_folder,
    digest,
    place,
    provenance_path,
    write_provenance,
)

RESULTS = Path("results/toy")
LABELS, MODEL, CARD = (str(RESULTS / name) for name in ("labels.npz", "m/model.npz", "m/card.json"))
PARAMS = {"settings": {"ridge": [1e-3, 1e-2], "committee": 5}, "method": {"density.model": 2}}


def ran(outputs: list[str], inputs: list[str], params: dict[str, Any]) -> None:
    """A job that has ended well."""
    write_provenance(
        SimpleNamespace(
            input=InputFiles(inputs),
            output=OutputFiles(outputs),
            params=Params(fromdict=params),
            config={"pyscf": {"xc": "PBE"}},
        )
    )


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Provenance:
    """Labels, and the model that was fitted to them and to a file of the user."""
    monkeypatch.chdir(tmp_path)
    for name in (LABELS, MODEL, CARD, "source.yaml"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(f"content of {name}")
    ran([LABELS], [], {"seed": 1})
    ran([MODEL, CARD], [LABELS, "source.yaml"], PARAMS)
    return Provenance(RESULTS)


def why(toy: Provenance, **changed: Any) -> str | None:
    asked = {"outputs": [MODEL, CARD], "params": PARAMS, "inputs": [LABELS, "source.yaml"]}
    return toy.why_outdated(**(asked | changed))


def test_what_is_asked_for_is_there(toy: Provenance) -> None:
    assert why(toy) is None
    assert toy.is_known([MODEL, CARD])
    # A parameter that nobody asks for any more; one in other words.
    assert why(toy, params={"settings": PARAMS["settings"]}) is None
    assert why(toy, params={**PARAMS, "method": dict(PARAMS["method"])}) is None


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        (
            {"settings": {"ridge": [1e-3], "committee": 5}},
            "settings.ridge was [0.001, 0.01], is [0.001]",
        ),
        ({"settings": {"ridge": [1e-3, 1e-2]}}, "settings.committee was 5, is null"),
        ({"method": {"density.model": 3}}, "method.density.model was 2, is 3"),
        ({"target": "moment"}, 'target was null, is "moment"'),
    ],
)
def test_another_setting(toy: Provenance, params: dict[str, Any], sentence: str) -> None:
    assert why(toy, params={**PARAMS, **params}) == sentence


def test_file_that_is_cut_off_or_taken_from_elsewhere(toy: Provenance) -> None:
    whole, when = Path(CARD).read_text(), os.stat(CARD)
    Path(CARD).write_text(whole[:-1])
    os.utime(CARD, ns=(when.st_atime_ns, 0))
    assert why(toy) == f"{CARD} has another size than its job left it with"
    Path(CARD).write_text("x" * len(whole))
    assert why(toy) == f"{CARD} is not what its job left"
    Path(CARD).write_text(whole)  # touched, or copied
    assert why(toy) is None
    assert why(toy, outputs=[MODEL, CARD, LABELS]) == f"{LABELS} is new"


def test_other_inputs(toy: Provenance) -> None:
    assert why(toy, inputs=[LABELS]) == "made of 2 files, now 1"
    # The same file at another place, then another file.
    os.rename("source.yaml", "moved.yaml")
    assert why(toy, inputs=[LABELS, "moved.yaml"]) is None
    Path("moved.yaml").write_text("edited")
    assert why(toy, inputs=[LABELS, "moved.yaml"]) == "made of other files"
    assert why(toy, inputs=[LABELS, "nowhere.yaml"]) == "made of other files"
    # Labels that were made anew, and have another content.
    os.rename("moved.yaml", "source.yaml")
    Path(LABELS).write_text("new labels")
    ran([LABELS], [], {"seed": 2})
    os.utime(provenance_path(LABELS), ns=(1, 1))
    assert why(toy) == "labels.npz is another one"


def test_nothing_is_said_of_what_is_missing_or_older(toy: Provenance) -> None:
    provenance_path(MODEL).unlink()
    assert why(toy, params={}) is None
    assert not toy.is_known([MODEL, CARD])
    Path(CARD).unlink()
    assert toy.is_known([MODEL, CARD])  # the job runs anyway


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"params": 1, "outputs": 2}'])
def test_damaged_provenance(toy: Provenance, content: str) -> None:
    provenance_path(MODEL).write_text(content)
    assert why(toy) == f"{provenance_path(MODEL)} is damaged"


def test_a_campaign_may_get_another_name(toy: Provenance) -> None:
    RESULTS.rename("results/renamed")
    moved = [path.replace("/toy/", "/renamed/") for path in (MODEL, CARD, LABELS)]
    toy = Provenance(Path("results/renamed"))
    assert toy.why_outdated(moved[:2], PARAMS, [moved[2], "source.yaml"]) is None
    assert toy.why_outdated(moved[:2], {"settings": {}}, []) is not None


def test_folder_as_output(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_text("22")
    before = digest(tmp_path)
    assert before[1] == 3
    (tmp_path / ".snakemake_timestamp").touch()
    assert digest(tmp_path) == before
    (tmp_path / "b" / "c").rename(tmp_path / "b" / "d")
    assert digest(tmp_path)[0] != before[0]


def test_equal_jobs_leave_equal_files(toy: Provenance) -> None:
    before = provenance_path(MODEL).read_bytes()
    ran([MODEL, CARD], [LABELS, "source.yaml"], PARAMS)
    assert provenance_path(MODEL).read_bytes() == before
    assert "stored" not in json.loads(before)["params"]


def test_caption_prints_what_was_stored(toy: Provenance) -> None:
    ran([MODEL, CARD], [], {**PARAMS, "stored": Stored(MODEL)})
    stored = Stored(MODEL)
    assert stored.settings["committee"] == 5
    assert stored.config["pyscf"]["xc"] == "PBE"
    unknown = Stored(str(RESULTS / "old.png"))
    assert f"{unknown.config['dynamics']['temperature_k']} K" == "(not recorded) K"
    assert str(round(100 * unknown.settings["prominence"], 2)) == "(not recorded)"
    assert ", ".join(map(str, unknown.config["gpaw"]["starts"])) == "(not recorded)"
    assert "config" not in json.loads(provenance_path(LABELS).read_text())


def test_places() -> None:
    assert campaign_folder("up/results/run/a/b") == Path("up/results/run")
    assert place("up/results/run/a/b") == "a/b"
    assert place("/data/fe.cif") == "/data/fe.cif"
    assert str(provenance_path("results/run/a/b.npz")) == "results/run/provenance/a/b.npz.json"
    with pytest.raises(ValueError, match="not in the results of a campaign"):
        campaign_folder("data/fe.cif")
