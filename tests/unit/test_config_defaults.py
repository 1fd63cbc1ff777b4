"""A default stands once, in the schema; what a function takes without a configuration agrees."""

from typing import Any

import pytest

from dft2spectra.config import schema
from dft2spectra.density.guards import Guards
from dft2spectra.structures.retrieval import DEFAULT_FOLDER, DEFAULT_XC
from dft2spectra.structures.screening import DEFAULT_LIMITS

SECOND = {
    "structures.pinned": DEFAULT_FOLDER,
    "structures.max_atoms": DEFAULT_LIMITS["max_atoms"],
    "structures.min_distance_ang": DEFAULT_LIMITS["min_distance_ang"],
    "structures.max_volume_ang3_per_atom": DEFAULT_LIMITS["max_volume_ang3_per_atom"],
    "gpaw.xc": DEFAULT_LIMITS["xc"],
    # Without a section nothing is limited: the limits themselves have no second default.
    "guards.action": Guards().action,
    "guards.scf_cycles": Guards().scf_cycles,
}


def default(key: str) -> Any:
    """Default of a key in the schema."""
    node = schema()
    for part in key.split("."):
        node = node["properties"][part]
    return node["default"]


@pytest.mark.parametrize("key", SECOND)
def test_second_homes_of_defaults_agree(key: str) -> None:
    assert SECOND[key] == default(key)


def test_one_functional_without_a_campaign() -> None:
    assert DEFAULT_LIMITS["xc"] == DEFAULT_XC
