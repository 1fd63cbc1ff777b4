"""The tight-binding model: closed forms, symmetry, and the iron that everybody knows."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation

from dft2spectra.learning import band_states
from dft2spectra.learning.band_model import (
    ETA,
    FITTED,
    HBAR2_OVER_M,
    hopping,
    make_bands,
    species,
)
from dft2spectra.learning.band_states import (
    D_QUADRUPOLES,
    TOLERANCE,
    band_features,
    shell_quadrupoles,
    solve,
    start_moments,
)


def b2(partner: str, a: float) -> Atoms:
    return Atoms(
        ["Fe", partner], scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[a] * 3, pbc=True
    )


def moments(atoms: Atoms, exchange: float = 1.0) -> np.ndarray:
    return solve(make_bands(atoms), start_moments(atoms), exchange).moments


def test_a_bond_along_z_has_harrisons_integrals():
    """By hand from the table: V_ddσ, V_pdπ and V_sdσ of an Fe–Al bond of 2.5 Å."""
    iron, aluminium = species("Fe"), species("Al")
    d = 2.5
    (matrix,) = hopping([iron], [iron], np.array([[0.0, 0.0, d]]))
    assert matrix[4, 4] == pytest.approx(
        FITTED.dd * -45 / np.pi * HBAR2_OVER_M * 0.80**3 / d**5, rel=1e-4
    )
    (mixed,) = hopping([aluminium], [iron], np.array([[0.0, 0.0, d]]))
    strength = FITTED.spd * (1.21 / 1.2) ** FITTED.size_power * HBAR2_OVER_M * 0.80**1.5 / d**3.5
    assert mixed[0, 4] == pytest.approx(-3.16 * strength, rel=1e-4)
    assert mixed[3, 4] == pytest.approx(-2.95 * strength, rel=1e-4)
    assert mixed[1, 5] == mixed[2, 6] == pytest.approx(1.36 * strength, rel=1e-4)
    # Aluminium has no d states to hop from.
    assert np.abs(mixed[4:]).max() == 0.0


def test_the_bond_back_is_the_transpose_and_a_turned_bond_has_the_same_spectrum():
    iron, platinum = species("Fe"), species("Pt")
    vectors = np.random.default_rng(0).normal(size=(20, 3))
    vectors *= 2.7 / np.linalg.norm(vectors, axis=1)[:, None]
    there = hopping([iron] * 20, [platinum] * 20, vectors)
    back = hopping([platinum] * 20, [iron] * 20, -vectors)
    assert back.transpose(0, 2, 1) == pytest.approx(there, abs=1e-12)
    sizes = np.linalg.svd(there, compute_uv=False)
    assert sizes == pytest.approx(np.tile(sizes[0], (20, 1)), abs=1e-10)
    # Second moment of the d band: Σ_m V_ddm² over the bond, twice for m > 0.
    v = np.array(ETA["dd"]) * FITTED.dd * HBAR2_OVER_M * (0.80 * 1.04) ** 1.5 / 2.7**5
    expected = v[0] ** 2 + 2 * v[1] ** 2 + 2 * v[2] ** 2
    assert np.sum(there[:, 4:, 4:] ** 2, axis=(1, 2)) == pytest.approx([expected] * 20, rel=1e-3)


def test_s_band_of_a_simple_cubic_metal_at_its_bottom():
    """At Γ s and p do not mix in a cubic crystal: E = E_s + Σ_R V_ssσ(R)."""
    atoms = Atoms("Al", cell=[3.0] * 3, pbc=True)
    bands = make_bands(atoms)
    vectors = np.array(np.meshgrid(*[range(-3, 4)] * 3)).reshape(3, -1).T * 3.0
    vectors = vectors[
        (np.linalg.norm(vectors, axis=1) > 0) & (np.linalg.norm(vectors, axis=1) < 6.5)
    ]
    aluminium = [species("Al")] * len(vectors)
    total = hopping(aluminium, aluminium, vectors)[:, 0, 0].sum()
    (gamma,) = np.flatnonzero(np.abs(bands.matrices[:, 0, 1:]).max(axis=1) < 1e-9)[:1]
    assert bands.matrices[gamma, 0, 0].real == pytest.approx(total, abs=1e-9)


def test_every_atom_keeps_its_electrons_and_matrices_are_hermitian():
    bands = make_bands(b2("Co", 2.85))
    assert bands.matrices == pytest.approx(bands.matrices.conj().transpose(0, 2, 1), abs=1e-12)
    assert bands.weights.sum() == pytest.approx(1.0)
    state = solve(bands, np.array([2.5, 1.5]))
    assert state.error < TOLERANCE
    for atom, kind in enumerate(bands.species):
        assert state.electrons[:2, atom].sum() == pytest.approx(kind.sp_electrons, abs=1e-4)
        assert state.electrons[2, atom] == pytest.approx(kind.d_electrons, abs=1e-4)


@pytest.mark.parametrize(("a", "exchange"), [(2.99, 1.12), (3.01, 1.04)])
def test_near_the_stoner_limit_gentler_steps_get_there(monkeypatch, a, exchange):
    atoms = b2("Ti", a)
    bands, start = make_bands(atoms), start_moments(atoms)
    assert solve(bands, start, exchange).error < TOLERANCE
    monkeypatch.setattr(band_states, "GENTLER", ())
    assert solve(bands, start, exchange).error > 1e-3


def test_moments_that_everybody_knows():
    """α-Fe 2.2 µB, FeCo more of it on iron, FeTi and FeSi nonmagnetic, the Stoner limit between."""
    iron = bulk("Fe", "bcc", a=2.87)
    assert 1.9 < moments(iron)[0] < 2.6
    assert moments(iron, exchange=0.4)[0] == pytest.approx(0.0, abs=1e-3)
    assert moments(bulk("Fe", "bcc", a=3.3))[0] > moments(iron)[0]
    assert moments(b2("Ti", 2.95)) == pytest.approx([0.0, 0.0], abs=0.02)
    found = moments(b2("Co", 2.85))
    assert found[0] > 2.0
    assert 0.8 < found[1] < 2.0


def test_symmetry_changes_nothing():
    """A crystal pushed out of its symmetry by next to nothing needs all k-points."""
    atoms = b2("Ni", 2.9)
    pushed = atoms.copy()
    pushed.positions[1] += (3e-4, 5e-4, 7e-4)
    assert len(make_bands(pushed).matrices) > 3 * len(make_bands(atoms).matrices)
    assert band_features(pushed, [0, 1]) == pytest.approx(band_features(atoms, [0, 1]), abs=5e-3)


def test_turned_crystal_and_supercell():
    atoms = b2("Pd", 3.0)
    atoms.set_cell(atoms.cell[:] * [1, 1, 1.1], scale_atoms=True)
    expected = band_features(atoms, [0, 1])
    large = atoms * (2, 1, 2)
    large.rotate(35, (1, 2, 3), rotate_cell=True)
    assert band_features(large, [0, 1, 6, 7]) == pytest.approx(np.tile(expected, (2, 1)), abs=2e-4)
    turn = Rotation.from_euler("xyz", [0.3, 1.0, -0.7]).as_matrix()
    turned = Atoms(atoms.numbers, atoms.positions @ turn.T, cell=atoms.cell[:] @ turn.T, pbc=True)
    assert band_features(turned, [0, 1]) == pytest.approx(expected, abs=2e-4)


def test_quadrupoles_of_single_states():
    """⟨3z² − 1⟩ of d(3z² − r²) is 4/7, of d(xy) −4/7, of d(xz) 2/7 (Gaunt's integrals)."""
    along_z = D_QUADRUPOLES[range(5), range(5), 2, 2]
    assert along_z == pytest.approx([4 / 7, 2 / 7, 2 / 7, -4 / 7, -4 / 7])
    # A filled shell is a sphere.
    assert np.einsum("mmij->ij", D_QUADRUPOLES) == pytest.approx(np.zeros((3, 3)), abs=1e-12)


def test_quadrupoles_have_the_symmetry_of_the_site_and_turn_with_the_crystal():
    assert np.abs(shell_quadrupoles(b2("Al", 2.9), [0])).max() < 1e-9
    atoms = b2("Pt", 3.0)
    atoms.set_cell(atoms.cell[:] * [1, 1, 1.2], scale_atoms=True)
    found = shell_quadrupoles(atoms, [0])[0]
    assert np.abs(found[:, 2, 2]).min() > 1e-4
    assert found[:, 0, 0] == pytest.approx(-0.5 * found[:, 2, 2], abs=1e-9)
    turn = Rotation.from_euler("xyz", [0.3, 1.0, -0.7]).as_matrix()
    turned = Atoms(atoms.numbers, atoms.positions @ turn.T, cell=atoms.cell[:] @ turn.T, pbc=True)
    assert shell_quadrupoles(turned, [0])[0] == pytest.approx(turn @ found @ turn.T, abs=1e-4)
    paired = shell_quadrupoles(b2("Ti", 2.95) * (1, 1, 2), [0, 2])
    assert paired == pytest.approx(np.zeros_like(paired), abs=1e-9)


def test_unknown_element_is_named():
    with pytest.raises(ValueError, match="does not know Bk"):
        species("Bk")
