"""Batches of geometries, and what is said about molecules before anything runs."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dft2spectra.config import complete_config
from dft2spectra.molecules.batches import batches, write_batch
from dft2spectra.molecules.campaign import measured_file, mistakes
from dft2spectra.records import read_json, write_json

ROOT = Path(__file__).parents[2]
SAMPLING = {"train": 7, "validation": 3, "test": 4, "geometries_per_job": 3}


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return complete_config(
        yaml.safe_load((ROOT / "config.yaml").read_text("utf-8")) | {"branches": ["infrared"]}
    )


def names(sampling: dict[str, Any]) -> dict[str, list[int]]:
    """Indices of the frames in every batch."""
    return {
        name: list(range(frames["first"], frames["first"] + frames["count"]))
        for name, frames in batches(sampling).items()
    }


def test_every_frame_is_in_one_batch() -> None:
    assert names(SAMPLING) == {
        **{"test-000": [0, 1, 2], "test-001": [3]},
        **{"validation-000": [0, 1, 2]},
        **{"train-000": [0, 1, 2], "train-001": [3, 4, 5], "train-002": [6]},
    }


def test_more_frames_leave_full_batches_alone() -> None:
    before = batches(SAMPLING)
    after = batches(SAMPLING | {"train": 12, "test": 5})
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"train-002", "train-003", "test-001"}
    assert before.keys() <= after.keys()


def test_batches_hold_the_frames_of_one_long_list(tmp_path: Path) -> None:
    """One vibration along x: positions of a batch are those of the same frames drawn at once."""
    mode = np.zeros((1, 2, 3))
    mode[0, :, 0] = [1 / np.sqrt(2), -1 / np.sqrt(2)]
    harmonic = {
        "name": "hydrogen",
        "symbols": ["H", "H"],
        "positions_ang": [[0, 0, 0], [0.74, 0, 0]],
        "masses_amu": [1.008, 1.008],
        "frequencies_cm1": [4400.0],
        "modes": mode.tolist(),
    }
    write_json(tmp_path / "harmonic.json", harmonic)
    draw = {"temperatures_k": [300, 600], "seed": 4}
    whole = {"split": "train", "first": 0, "count": 7}
    write_batch(tmp_path / "harmonic.json", whole, draw, tmp_path / "whole.json")
    frames = read_json(tmp_path / "whole.json")
    parts = []
    for name, batch in batches(SAMPLING).items():
        if batch["split"] == "train":
            write_batch(tmp_path / "harmonic.json", batch, draw, tmp_path / f"{name}.json")
            parts += read_json(tmp_path / f"{name}.json")
    assert parts == frames
    assert [frame["frame"] for frame in frames] == [f"train-{i:04d}" for i in range(7)]
    assert {frame["temperature_k"] for frame in frames[1::2]} == {600.0}


def test_nothing_to_say_about_the_default(config: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.chdir(ROOT)
    assert list(mistakes(config)) == []


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"molecules": [{"name": "watr"}]}, ("molecules", 0, "name"), "did you mean water?"),
        (
            {"molecules": [{"name": "water"}, {"name": "x", "smiles": "[OH]"}]},
            ("molecules", 1, "smiles"),
            "1 unpaired",
        ),
        ({"molecules": [{"name": "x", "file": "x.xyz"}]}, ("molecules", 0, "file"), "no file"),
        ({"molecules": [{"name": "x", "smiles": "[I-]"}]}, ("molecules", 0, "smiles"), "needs two"),
        (
            {"molecules": [{"name": "hydroxide", "smiles": "[OH-]", "charge": 1}]},
            ("molecules", 0, "smiles"),
            "has charge -1",
        ),
        ({"molecules": [{"name": "x", "smiles": "II"}]}, ("pyscf", "basis"), "core of I"),
        ({"pyscf": {"xc": "PBE0"}}, ("pyscf", "xc"), "exact exchange"),
        ({"pyscf": {"xc": "SCANL"}}, ("pyscf", "xc"), "Laplacian"),
        ({"pyscf": {"xc": "PBEE"}}, ("pyscf", "xc"), "unknown functional"),
        ({"pyscf": {"basis": "def2"}}, ("pyscf", "basis"), "unknown basis"),
        ({"pyscf": {"auxiliary_basis": "jfit"}}, ("pyscf", "auxiliary_basis"), "unknown basis"),
        ({"infrared": {"measured": "nowhere"}}, ("infrared", "measured"), "a folder"),
    ],
)
def test_mistake(
    config: dict[str, Any],
    monkeypatch: Any,
    changes: dict[str, Any],
    key: tuple[str | int, ...],
    words: str,
) -> None:
    monkeypatch.chdir(ROOT)
    changed = deepcopy(config)
    for section, values in changes.items():
        changed[section] = changed[section] | values if isinstance(values, dict) else values
    ((found, sentence),) = mistakes(changed)
    assert found == key
    assert words in sentence


def test_a_wrong_setting_is_said_once(config: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.chdir(ROOT)
    many = config | {
        "pyscf": config["pyscf"] | {"basis": "def2-svpp"},
        "molecules": [{"name": "water"}, {"name": "ammonia"}],
    }
    assert [key for key, _ in mistakes(many)] == [("pyscf", "basis")]


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"name": "water"}, "water.yaml"),
        ({"name": "H2O"}, "water.yaml"),
        ({"name": "Water"}, "water.yaml"),
        # Another name, the same molecule; the same name, another one.
        ({"name": "ice", "smiles": "O"}, "water.yaml"),
        ({"name": "water", "smiles": "CCO"}, None),
        ({"name": "water", "smiles": "[2H]O[2H]"}, None),
        ({"name": "methane", "smiles": "[C-]#[O+]"}, None),
        ({"name": "dioxopyrimidine", "smiles": "O=c1cc[nH]c(=O)[nH]1"}, "uracil.yaml"),
        ({"name": "ethanol"}, None),
    ],
)
def test_measured_file_is_that_of_the_molecule_not_of_its_name(
    entry: dict[str, str], found: str | None
) -> None:
    path = measured_file(entry, str(ROOT / "data" / "molecules"))
    assert (path.name if path else None) == found
    assert measured_file(entry, None) is None


def test_measured_file_without_inchikey_needs_name_and_formula(tmp_path: Path) -> None:
    own = tmp_path / "water.yaml"
    own.write_text("name: water\nformula: OH2\n")
    assert measured_file({"name": "water"}, str(tmp_path)) == own
    assert measured_file({"name": "H2O"}, str(tmp_path)) == own
    assert measured_file({"name": "ice", "smiles": "O"}, str(tmp_path)) is None
    assert measured_file({"name": "water", "smiles": "CCO"}, str(tmp_path)) is None
    assert measured_file({"name": "water", "smiles": "[2H]O"}, str(tmp_path)) is None


def test_measured_file_of_a_geometry(tmp_path: Path) -> None:
    """Heavy water by a file has the formula of water and the bands of neither file."""
    folder = str(ROOT / "data" / "molecules")
    for symbol, found in (("H", "water.yaml"), ("D", None)):
        path = tmp_path / f"{symbol}.xyz"
        path.write_text(f"3\n\nO 0 0 0\n{symbol} 0.76 0.59 0\n{symbol} -0.76 0.59 0\n")
        file = measured_file({"name": "water", "file": str(path)}, folder)
        assert (file.name if file else None) == found
