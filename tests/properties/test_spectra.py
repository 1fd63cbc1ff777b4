"""Properties that every Mössbauer spectrum has, whatever its parameters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import wasserstein_distance

from dft2spectra.spectra import lineshape, nuclear

reproducible = settings(derandomize=True, max_examples=60, deadline=None)


def numbers(limit: float, count: int):
    return st.lists(
        st.floats(-limit, limit, allow_subnormal=False), min_size=count, max_size=count
    ).map(np.array)


@st.composite
def efg_tensors(draw):
    """Symmetric traceless tensors in 1e21 V/m², zero included."""
    xx, yy, xy, xz, yz = draw(numbers(15.0, 5))
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, -xx - yy]])


fields = numbers(40.0, 3)
rotations = numbers(3.0, 3).map(lambda v: Rotation.from_rotvec(v).as_matrix())
directions = rotations.map(lambda r: r[2])


def same_sticks(one, other) -> float:
    """Mean displacement (mm/s) between two stick spectra; degenerate lines may mix freely."""
    return wasserstein_distance(one[0], other[0], np.abs(one[1]), np.abs(other[1]))


@reproducible
@given(efg_tensors(), fields, st.none() | directions)
def test_total_intensity_is_one(efg, field, gamma):
    _, intensity = nuclear.transitions(efg, field, gamma)
    assert intensity.sum() == pytest.approx(1.0, abs=1e-10)
    assert intensity.min() > -1e-12


@reproducible
@given(efg_tensors(), fields)
def test_powder_centroid_is_the_isomer_shift(efg, field):
    """Σ_i T_i T_i† and Σ_i T_i† T_i are multiples of 1 and both Hamiltonians are traceless."""
    position, intensity = nuclear.transitions(efg, field)
    assert position @ intensity == pytest.approx(0.0, abs=1e-10)


@reproducible
@given(efg_tensors(), fields, rotations)
def test_rotating_everything_changes_no_powder(efg, field, rotation):
    turned = nuclear.transitions(rotation @ efg @ rotation.T, rotation @ field)
    assert same_sticks(turned, nuclear.transitions(efg, field)) < 1e-8


@reproducible
@given(efg_tensors(), fields, rotations, directions)
def test_crystal_turns_with_its_parameters(efg, field, rotation, gamma):
    turned = nuclear.transitions(rotation @ efg @ rotation.T, rotation @ field, rotation @ gamma)
    assert same_sticks(turned, nuclear.transitions(efg, field, gamma)) < 1e-7


def test_crystal_spectrum_depends_on_the_direction():
    """Guards the test above against an intensity that ignores the γ ray."""
    field = np.array([0.0, 0.0, 33.0])
    along, across = (nuclear.transitions(np.zeros((3, 3)), field, g) for g in np.eye(3)[[2, 0]])
    assert same_sticks(along, across) > 0.1


@reproducible
@given(efg_tensors(), fields)
def test_average_over_directions_is_the_powder(efg, field):
    """Gauss–Legendre in cos θ times equal steps in φ, 12 × 24 directions."""
    cosine, weight = np.polynomial.legendre.leggauss(12)
    phi = np.arange(24) * np.pi / 12.0
    sine = np.sqrt(1.0 - cosine**2)
    k = np.stack(
        [
            np.outer(sine, np.cos(phi)),
            np.outer(sine, np.sin(phi)),
            np.outer(cosine, np.ones_like(phi)),
        ],
        axis=-1,
    )
    shape = k.shape[:2]
    _, crystal = nuclear.transitions(
        np.broadcast_to(efg, (*shape, 3, 3)), np.broadcast_to(field, (*shape, 3)), k
    )
    average = np.einsum("t,tpl->l", weight / 2.0, crystal) / len(phi)
    np.testing.assert_allclose(average, nuclear.transitions(efg, field)[1], atol=1e-10)


@reproducible
@given(efg_tensors(), fields)
def test_reversed_field_is_invisible(efg, field):
    assert same_sticks(nuclear.transitions(efg, field), nuclear.transitions(efg, -field)) < 1e-8


@reproducible
@given(
    efg_tensors(),
    fields,
    st.floats(0.05, 1.0),
    st.floats(0.0, 1.0),
    st.floats(-2.0, 2.0),
)
def test_area_depends_on_no_parameter(efg, field, width, gaussian, shift):
    """Within ±2000 mm/s the missing tail is below Γ/(π 2000)."""
    position, intensity = nuclear.merge_lines(*nuclear.transitions(efg, field))
    area = lineshape.area_within(-2e3, 2e3, position + shift, intensity, width, gaussian)
    assert area == pytest.approx(1.0 - width / (2e3 * np.pi), abs=2e-5)


@reproducible
@given(efg_tensors(), fields, st.none() | directions)
def test_merging_keeps_area_and_centroid(efg, field, gamma):
    position, intensity = nuclear.transitions(efg, field, gamma)
    merged_position, merged_intensity = nuclear.merge_lines(position, intensity)
    assert merged_intensity.sum() == pytest.approx(1.0, abs=1e-5)
    assert merged_position @ merged_intensity == pytest.approx(position @ intensity, abs=1e-4)
    assert np.all(np.diff(merged_position) > 0.0)
