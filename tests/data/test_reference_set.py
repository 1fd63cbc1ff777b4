"""The shipped records: what their card says, whom they serve, and one of them computed again."""

from pathlib import Path

import pytest

from dft2spectra.config import read_config, split_gpaw
from dft2spectra.crystals.identity import record_is_current
from dft2spectra.crystals.reference import checksum, make_card, record_paths, serves
from dft2spectra.records import read_json
from dft2spectra.structures.sources import collect

ROOT = Path(__file__).parents[2]
SET = ROOT / "data" / "reference"
SETTINGS, _ = split_gpaw(read_config([ROOT / "config.yaml"]))


def test_card_is_that_of_the_records() -> None:
    card = read_json(SET / "card.json")
    assert card == make_card(SET)
    assert card["sha256"] == checksum(record_paths(SET))
    assert card["n_sites"] >= card["n_crystals"] >= 50


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
