"""What a record answers to: what changes it, what does not, and what may be mixed."""

import gzip
import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from dft2spectra.crystals import contact, efg, gpaw_runner, identity, orbital
from dft2spectra.crystals.identity import METHOD, datasets, fingerprint, record_is_current
from dft2spectra.structures.sources import collect
from dft2spectra.versions import method_versions

ROOT = Path(__file__).parents[2]
NAME = "AlFe-221-00000000"
SETTINGS = {"cutoff_ev": 400, "xc": "PBE", "semicore_efg": True}
STRUCTURE = {"structure_id": NAME, "content_hash": "1" * 16, "symbols": ["Fe", "Al"]}


@pytest.fixture
def record() -> dict[str, Any]:
    return {"structure_id": NAME, "status": "not_converged"} | identity.identity(
        STRUCTURE, SETTINGS
    )


def test_record_is_current(record: dict[str, Any]) -> None:
    assert record_is_current(record, STRUCTURE, SETTINGS)
    assert not record_is_current(record, STRUCTURE, SETTINGS | {"cutoff_ev": 401})
    assert not record_is_current(record, STRUCTURE | {"content_hash": "2" * 16}, SETTINGS)


@pytest.mark.parametrize(
    "changes",
    [
        {"structure_id": "B-1-00000000"},
        {"structure_hash": "2" * 16},
        {"settings_hash": "2" * 16},
        {"method_versions": dict.fromkeys(METHOD, 0)},
        {"method_versions": None},
        {"gpaw": "25.1.0"},
        {"datasets": {"Fe": "0" * 32}},
        *({key: ...} for key in ("status", "gpaw", "datasets", "method_hash", "record_key")),
    ],
)
def test_record_is_out_of_date(record: dict[str, Any], changes: dict[str, Any]) -> None:
    spoilt = {key: value for key, value in (record | changes).items() if value is not ...}
    assert not record_is_current(spoilt, STRUCTURE, SETTINGS)


def test_the_name_of_a_compound_is_no_part_of_it(tmp_path: Path) -> None:
    """Nor are its measured values: a calculation knows neither."""
    found = []
    for name in ("FeAl", "iron aluminide"):
        text = (ROOT / "data" / "structures" / "FeAl.yaml").read_text("utf-8")
        assert "name: FeAl\n" in text
        path = tmp_path / f"{len(found)}.yaml"
        path.write_text(text.replace("name: FeAl\n", f"name: {name}\n"), "utf-8")
        (structure,), _ = collect([{"kind": "files", "path": str(path)}], {"max_atoms": 4})
        assert structure["name"] == name
        found.append(identity.identity(structure, SETTINGS))
    assert found[0] == found[1]


@pytest.mark.parametrize("nothing", [None, [], "text", {}])
def test_no_record_at_all(nothing: Any) -> None:
    assert not record_is_current(nothing, STRUCTURE, SETTINGS)


def test_other_elements_change_the_record_and_not_the_method(record: dict[str, Any]) -> None:
    other = identity.identity(STRUCTURE | {"symbols": ["Fe", "Si"]}, SETTINGS)
    assert other["method_hash"] == record["method_hash"]
    assert other["record_key"] != record["record_key"]
    assert set(record["datasets"]) == {"Al", "Fe", "Fe.3s3p"}
    assert set(datasets({"Fe"}, SETTINGS | {"semicore_efg": False})) == {"Fe"}


def test_datasets_are_told_as_gpaw_tells_them() -> None:
    from gpaw.setup_data import SetupData

    from dft2spectra.crystals import gpaw_input  # noqa: F401, tells GPAW where 3s3p is

    for name in ("", "3s3p"):
        assert fingerprint("Fe", "PBE", name) == SetupData("Fe", "PBE", name or "paw").fingerprint


def test_another_dataset_or_gpaw_is_another_method(
    record: dict[str, Any], tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"<another dataset of iron>"
    for name in ("Fe.PBE.gz", "Fe.3s3p.PBE.gz", "Al.PBE.gz"):
        (tmp_path / name).write_bytes(gzip.compress(text))
    caches = (identity.fingerprint, identity._method)
    try:
        monkeypatch.setattr(identity, "DATASETS", tmp_path)
        [cache.cache_clear() for cache in caches]
        other = identity.identity(STRUCTURE, SETTINGS)
        assert other["datasets"]["Fe"] == hashlib.md5(text).hexdigest()
        assert other["method_hash"] != record["method_hash"]
        monkeypatch.undo()
        [cache.cache_clear() for cache in caches]
        monkeypatch.setattr(identity, "version", lambda package: "25.1.0")
        assert identity.identity(STRUCTURE, SETTINGS)["method_hash"] != record["method_hash"]
        assert not record_is_current(record, STRUCTURE, SETTINGS)
    finally:
        monkeypatch.undo()
        [cache.cache_clear() for cache in caches]
    assert record["gpaw"] == version("gpaw")


def test_no_dataset() -> None:
    with pytest.raises(FileNotFoundError, match=r"no PAW dataset Fe\.9s\.PBE"):
        identity.dataset_path("Fe", "PBE", "9s")


def test_method_versions() -> None:
    modules = (gpaw_runner, contact, efg, orbital)
    assert list(method_versions(*METHOD).values()) == [m.METHOD_VERSION for m in modules]
    with pytest.raises(ValueError, match="METHOD_VERSION"):
        method_versions("units")
