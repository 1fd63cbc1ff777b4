"""Bundles of crystals: who belongs together."""

from hypothesis import given
from hypothesis import strategies as st

from dft2spectra.crystals.bundles import (
    assign_bundles,
    bundle_name,
    read_bundles,
)

COSTS = {"A-1-00000000": 5.0, "B-1-00000000": 1.0, "C-1-00000000": 2.0, "D-1-00000000": 90.0}
A, B, C, D = COSTS


def members(found: dict[str, list[str]]) -> list[list[str]]:
    return sorted(found.values())


def test_alike_crystals_share_a_job() -> None:
    """From cheap to expensive; a crystal above the limit of a job has one of its own."""
    found = assign_bundles(COSTS, {}, COSTS.__getitem__, 3, 60)
    assert members(found) == [[B, C, A], [D]]
    assert members(assign_bundles(COSTS, {}, COSTS.__getitem__, 2, 60)) == [[A], [B, C], [D]]
    assert members(assign_bundles(COSTS, {}, COSTS.__getitem__, 4, 7)) == [[A], [B, C], [D]]
    assert members(assign_bundles(COSTS, {}, COSTS.__getitem__, 4, 1000)) == [[B, C, A, D]]
    assert found == {bundle_name(names): names for names in found.values()}


def test_what_is_written_down_stays() -> None:
    """Costs are asked for new crystals only; members that left are left out."""
    written = {"0123456789ab": [A, D, "gone"], "ba9876543210": ["gone, too"]}
    asked = []

    def cost(name: str) -> float:
        asked.append(name)
        return COSTS[name]

    found = assign_bundles(COSTS, written, cost, 3, 60)
    assert found == {"0123456789ab": [A, D], bundle_name([B, C]): [B, C]}
    assert sorted(asked) == [B, C]


@given(
    costs=st.lists(st.floats(0.1, 200), min_size=1, max_size=30),
    size=st.integers(1, 7),
    minutes=st.floats(1, 100),
    data=st.data(),
)
def test_a_bundle_that_is_written_down_changes_no_other(
    costs: list[float], size: int, minutes: float, data: st.DataObject
) -> None:
    """So the main process and a job, which see other files, agree; and every crystal is in one."""
    names = {f"S{number:02d}": cost for number, cost in enumerate(costs)}
    found = assign_bundles(names, {}, names.__getitem__, size, minutes)
    assert sorted(name for group in found.values() for name in group) == sorted(names)
    for group in found.values():
        assert len(group) <= size
        assert len(group) == 1 or sum(map(names.__getitem__, group)) <= minutes + 1e-9
    some = data.draw(st.lists(st.sampled_from(sorted(found)), unique=True))
    written = {name: found[name] for name in some}
    assert assign_bundles(names, written, names.__getitem__, size, minutes) == found


def test_members_on_disk(tmp_path) -> None:
    assert read_bundles(tmp_path / "nothing") == {}
    (tmp_path / "0123456789ab.members").write_text(f"{A}\n{B}\n", "utf-8")
    (tmp_path / "0123456789ab.json").write_text("{}", "utf-8")
    assert read_bundles(tmp_path) == {"0123456789ab": [A, B]}
