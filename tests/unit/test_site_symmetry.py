"""What site symmetry leaves of a field gradient."""

import numpy as np
import pytest

from dft2spectra.structures.site_symmetry import free_gradient_components

CSCL = [[0, 0, 0], [0.5, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        # m-3m: no component; 4/mmm: one (axial); mmm: two (Vzz, η); -1: all five.
        ([[2.8, 0, 0], [0, 2.8, 0], [0, 0, 2.8]], 0),
        ([[2.8, 0, 0], [0, 2.8, 0], [0, 0, 3.3]], 1),
        ([[2.8, 0, 0], [0, 3.0, 0], [0, 0, 3.3]], 2),
        ([[2.8, 0, 0], [0.3, 3.0, 0], [0.2, 0.4, 3.3]], 5),
    ],
)
def test_number_of_components_that_symmetry_allows(cell, expected):
    crystal = {"cell_ang": cell, "scaled_positions": CSCL, "symbols": ["Fe", "Co"]}
    assert free_gradient_components(crystal) == [expected, expected]


def test_magnetic_order_has_less_symmetry_than_the_crystal():
    """Face-centred iron with its layers up and down is tetragonal: one component."""
    faces = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    crystal = {"cell_ang": np.eye(3) * 3.6, "scaled_positions": faces, "symbols": ["Fe"] * 4}
    assert free_gradient_components(crystal) == [0] * 4
    assert free_gradient_components(crystal, np.array([0, 0, 1, 1])) == [1] * 4


def test_crystal_without_symmetry_forbids_nothing():
    """Atoms on top of one another are refused by spglib."""
    collapsed = {"cell_ang": np.eye(3) * 3, "scaled_positions": [[0, 0, 0]] * 2}
    assert free_gradient_components(collapsed | {"symbols": ["Fe", "Fe"]}) == [5, 5]
