"""Names of space groups and their operations, against spglib's own database."""

import numpy as np
import pytest
import spglib

from dft2spectra.structures import space_groups
from dft2spectra.structures.raw import Rejected
from dft2spectra.structures.space_groups import DENOMINATOR, Operations


def of_spglib(hall_number: int) -> Operations:
    found = spglib.get_symmetry_from_database(hall_number)
    translations = np.rint(np.array(found["translations"]) * DENOMINATOR).astype(int)
    return Operations(np.array(found["rotations"]), translations % DENOMINATOR)


def sorted_codes(operations: Operations) -> list[int]:
    return sorted(space_groups.codes(operations).tolist())


def test_operations_of_all_settings_are_those_of_spglib() -> None:
    for hall_number, setting in enumerate(space_groups.settings(), start=1):
        own = space_groups.operations_of(setting)
        assert sorted_codes(own) == sorted_codes(of_spglib(hall_number)), setting


def test_a_name_means_one_group() -> None:
    names = space_groups._by_name()
    assert len(names) > 700
    for name, settings in names.items():
        assert len({setting.number for setting in settings}) == 1, name


@pytest.mark.parametrize(
    ("name", "number", "choices", "says"),
    [
        ("F d -3 m :2", 227, ["2"], True),
        ("Fd-3mZ", 227, ["2"], True),
        ("F d -3 m S", 227, ["1"], True),
        ("F d -3 m O1", 227, ["1"], True),
        ("F d 3 m", 227, ["1", "2"], False),
        ("F 41/d -3 2/m", 227, ["1", "2"], False),
        ("PM-3M", 221, [""], False),
        ("P m 3 m", 221, [""], False),
        ("P a 3", 205, [""], False),
        ("P 63/m 2/m 2/c", 194, [""], False),
        ("P 21/n", 14, ["b2", "c2", "a2"], False),
        ("P 1 21/n 1", 14, ["b2"], False),
        ("P 21/c", 14, ["b1", "a3"], False),
        ("C 1 2/c 1:b1", 15, ["b1"], True),
        ("R -3 m :H", 166, ["H"], True),
        ("R -3 m H", 166, ["H"], True),
        ("R-3mR", 166, ["R"], True),
        ("R -3 m RS", 166, ["R"], True),
        ("C m c a", 64, [""], False),
        ("P b n m", 62, ["cab"], False),
        ("F m -3 m (225)", 225, [""], False),
        ("P 21/c (No. 14)", 14, ["b1", "a3"], False),
        ("P n n n:2", 48, ["2"], True),
        ("F q -9 m", None, [], False),
        ("P s", None, [], False),
    ],
)
def test_names(name: str, number: int | None, choices: list[str], says: bool) -> None:
    settings, said = space_groups.named(name)
    assert [setting.choice for setting in settings] == choices
    assert {setting.number for setting in settings} == ({number} if number else set())
    assert said is says


def test_shape_knows_settings_and_no_origin() -> None:
    """Another origin has the same shape; P 1 21/c 1 and P 1 21/n 1 have not."""
    rng = np.random.default_rng(7)
    by_shape: dict[frozenset, set] = {}
    for setting in space_groups.settings()[::5]:
        own = space_groups.operations_of(setting)
        shift = rng.integers(0, DENOMINATOR, 3)
        moved = own.translations + shift - np.einsum("aij,j->ai", own.rotations, shift)
        other = Operations(own.rotations, moved % DENOMINATOR)
        assert space_groups.without_origin(other) == space_groups.shape_of(setting), setting
        by_shape.setdefault(space_groups.shape_of(setting), set()).add(setting.number)
    assert max(map(len, by_shape.values())) <= 2  # I 2 2 2 and I 21 21 21, I 2 3 and I 21 3
    c, n = (space_groups.named(name)[0][0] for name in ("P 1 21/c 1", "P 1 21/n 1"))
    assert space_groups.shape_of(c) != space_groups.shape_of(n)


def test_number_of_a_list_in_an_unusual_cell() -> None:
    """P m in a C-centred cell is no setting of the tables, and still the group 6."""
    operations = space_groups.from_triplets(("x,y,z", "x+1/2,y+1/2,z", "x,y,-z", "x+1/2,y+1/2,-z"))
    cell = np.array([[5.0, 0, 0], [0, 6.0, 0], [0.0, 0, 4.0]])
    assert space_groups.number_of(operations, cell) == 6


@pytest.mark.parametrize(
    ("triplets", "says"),
    [
        (("x,y,z", "-x,-y,z+1/4"), "not a group: x,y,z\\+1/2 is missing"),
        (("x,y,z", "x,y"), "'x,y' is not understood"),
        (("x,y,z", "x,y,x"), "'x,y,x' is not a symmetry operation"),
        (("-x,-y,-z",), "not a group: x,y,z is missing"),
        (("x,y,z",) * 2000, "2000 symmetry operations"),
    ],
)
def test_lists_that_are_no_group(triplets: tuple[str, ...], says: str) -> None:
    with pytest.raises(Rejected, match=says):
        space_groups.from_triplets(triplets)


def test_cells_that_operations_leave_alone() -> None:
    cubic = space_groups.operations_of(space_groups.named("P m -3 m")[0][0])
    assert space_groups.fits(cubic, np.diag([4.0, 4.0, 4.01]))
    assert not space_groups.fits(cubic, np.diag([4.0, 4.0, 4.1]))
    hexagonal, rhombohedral = space_groups.named("R -3 m")[0]
    cell = np.array([[3.0, 0, 0], [-1.5, 1.5 * 3**0.5, 0], [0, 0, 9.0]])
    assert space_groups.fits(space_groups.operations_of(hexagonal), cell)
    assert not space_groups.fits(space_groups.operations_of(rhombohedral), cell)
