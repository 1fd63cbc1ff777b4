"""The shipped records: what their card says, whom they serve, and one of them computed again."""

import hashlib
import shutil
from pathlib import Path

import pytest

from dft2spectra.config import read_config, split_gpaw
from dft2spectra.crystals.identity import record_is_current
from dft2spectra.crystals.reference import checksum, make_card, record_paths, serves
from dft2spectra.crystals.reference import collect as collect_records
from dft2spectra.records import read_json, write_json
from dft2spectra.structures.sources import collect

ROOT = Path(__file__).parents[2]
SET = ROOT / "data" / "reference"
SETTINGS, _ = split_gpaw(read_config([ROOT / "config.yaml"]))


def test_card_is_that_of_the_records() -> None:
    card = read_json(SET / "card.json")
    assert card == make_card(SET)
    assert card["n_crystals"] == card["status"]["converged"] + len(card["not_converged"])


def test_checksum_is_that_of_names_and_contents(tmp_path: Path) -> None:
    for name, content in (("b.json", "2"), ("a.json", "1")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    wanted = hashlib.sha256(b"a.json\x001b.json\x002").hexdigest()
    assert checksum([tmp_path / "b.json", tmp_path / "a.json"]) == wanted


def test_a_set_of_two_methods_is_never_written(tmp_path: Path) -> None:
    """An old folder of results spoils nothing: it is refused before the first record is copied."""
    (shipped, *_) = record_paths(SET)
    old, place = tmp_path / "results" / "hyperfine", tmp_path / "set"
    for folder in (old, place / "records"):
        folder.mkdir(parents=True)
        shutil.copy(shipped, folder)
    shutil.copy(SET / "design.csv", place)
    assert collect_records(tmp_path / "results", place)["n_crystals"] == 1
    other = read_json(record_paths(SET)[1])
    write_json(old / f"{other['structure_id']}.json", other | {"method_hash": "of an older method"})
    with pytest.raises(ValueError, match="records of 2 different method_hash"):
        collect_records(tmp_path / "results", place)
    assert len(record_paths(place)) == 1


def test_default_campaign_is_served_and_others_are_not() -> None:
    assert serves(SET, SETTINGS)
    assert not serves(SET, SETTINGS | {"cutoff_ev": 401})
    assert not serves(None, SETTINGS)
    assert not serves(SET / "records", SETTINGS)


@pytest.mark.parametrize("name", ["FeTi"])
def test_a_crystal_computed_again_agrees(name: str, tmp_path: Path) -> None:
    """On this machine, with its libraries: to a thousandth of what the set spans."""
    from dft2spectra.crystals.gpaw_runner import compute_record

    source = {"kind": "files", "path": str(ROOT / "data" / "structures"), "names": [name]}
    ((structure,), _) = collect([source], {"max_atoms": 8})
    shipped = read_json(SET / "records" / f"{structure['structure_id']}.json")
    assert record_is_current(shipped, structure, SETTINGS)
    record = compute_record(structure, SETTINGS, lambda line: None, tmp_path, None)
    assert record["record_key"] == shipped["record_key"]
    assert record["energy_ev"] == pytest.approx(shipped["energy_ev"], abs=1e-4)
    (new,), (old,) = record["sites"], shipped["sites"]
    spans = {"contact_density_e_per_bohr3": 3.0, "moment_mub": 3.0, "bhf_t": 40.0}
    spans |= {"vzz_1e21_v_m2": 10.0, "bhf_core_t": 35.0, "bhf_valence_t": 20.0}
    for quantity, span in spans.items():
        assert new[quantity] == pytest.approx(old[quantity], abs=1e-3 * span), quantity
