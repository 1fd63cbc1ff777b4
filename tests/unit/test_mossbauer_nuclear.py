"""Nuclear Hamiltonian of 57Fe against hand-derived, published and independently built results."""

import itertools

import numpy as np
import pytest
from scipy import constants

from dft2spectra import units
from dft2spectra.spectra import nuclear

NO_EFG = np.zeros((3, 3))
NO_FIELD = np.zeros(3)
Z = np.array([0.0, 0.0, 1.0])


def efg(vzz: float, eta: float = 0.0) -> np.ndarray:
    """Tensor on its own axes: Vxx + Vyy = −Vzz, Vxx − Vyy = η Vzz."""
    return vzz * np.diag([-(1.0 - eta) / 2.0, -(1.0 + eta) / 2.0, 1.0])


def direction(theta_deg: float, phi_deg: float = 0.0) -> np.ndarray:
    theta, phi = np.radians([theta_deg, phi_deg])
    return np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])


def lines(tensor, field, gamma=None):
    return nuclear.merge_lines(*nuclear.transitions(tensor, field, gamma))


def splitting(vzz: float) -> float:
    """½ e Q Vzz in mm/s, from the definition."""
    return 0.5 * 0.16e-28 * vzz * 1e21 / units.GAMMA_ENERGY_EV * constants.c * 1e3


# --- pure cases ------------------------------------------------------------------------------


def test_alpha_iron_sextet_at_33_tesla():
    """The standard of the velocity scale: pairs of lines 10.657, 6.167 and 1.677 mm/s apart."""
    position, intensity = lines(NO_EFG, 33.0 * Z)
    expected = np.array([10.657, 6.167, 1.677]) / 2.0
    np.testing.assert_allclose(position[:3], -expected, atol=2e-4)
    np.testing.assert_allclose(position[3:], expected[::-1], atol=2e-4)
    np.testing.assert_allclose(12.0 * intensity, [3, 2, 1, 1, 2, 3], atol=1e-12)


def test_sextet_positions_from_the_moments():
    """Lines of m_e ↔ m_g: −µ_e B m_e/(3/2) + µ_g B m_g/(1/2)."""
    unit = units.NUCLEAR_MAGNETON / constants.e / units.GAMMA_ENERGY_EV * constants.c * 1e3
    ground, excited = units.MU_GROUND_NM, abs(units.MU_EXCITED_NM)
    expected = (
        20.0 * unit * np.array([excited + ground, excited / 3 + ground, ground - excited / 3])
    )
    position, _ = lines(NO_EFG, 20.0 * direction(37.0, 81.0))
    np.testing.assert_allclose(position[3:], expected[::-1], rtol=1e-10)


@pytest.mark.parametrize("vzz", [-3.0, 0.5, 4.67])
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_doublet_splitting_equals_the_formula(vzz, eta):
    position, intensity = lines(efg(vzz, eta), NO_FIELD)
    expected = abs(splitting(vzz)) * np.sqrt(1.0 + eta**2 / 3.0)
    np.testing.assert_allclose(position, [-expected / 2, expected / 2], rtol=1e-10)
    np.testing.assert_allclose(intensity, [0.5, 0.5], rtol=1e-10)


def test_splitting_per_unit_of_vzz():
    """1e21 V/m² is 0.1664 mm/s for Q = 0.16 b; η = 1 raises it by 2/√3."""
    (low, high), _ = lines(efg(1.0), NO_FIELD)
    assert high - low == pytest.approx(0.1664, abs=1e-4)
    (low, high), _ = lines(efg(1.0, 1.0), NO_FIELD)
    assert high - low == pytest.approx(0.1664 * 2.0 / np.sqrt(3.0), abs=1e-4)


def test_singlet_without_interactions():
    position, intensity = lines(NO_EFG, NO_FIELD)
    np.testing.assert_allclose(position, [0.0], atol=1e-14)
    np.testing.assert_allclose(intensity, [1.0])


# --- sign conventions ------------------------------------------------------------------------


def test_positive_vzz_raises_three_halves():
    energies = np.diag(nuclear.excited_hamiltonian(efg(2.0), NO_FIELD)).real
    np.testing.assert_allclose(
        energies, splitting(2.0) / 2.0 * np.array([1, -1, -1, 1]), rtol=1e-12
    )


def test_zeeman_order_of_the_levels():
    ground = np.diag(nuclear.ground_hamiltonian(10.0 * Z)).real
    excited = np.diag(nuclear.excited_hamiltonian(NO_EFG, 10.0 * Z)).real
    assert ground[0] < ground[1]
    assert np.all(np.diff(excited) < 0.0)


def test_positive_vzz_along_the_field_moves_outer_lines_up():
    shift = lines(efg(1.0), 33.0 * Z)[0] - lines(NO_EFG, 33.0 * Z)[0]
    np.testing.assert_allclose(shift, 0.0832 * np.array([1, -1, -1, -1, -1, 1]), atol=2e-4)


def test_field_sign_is_invisible():
    tensor = efg(3.0, 0.4)
    field = 18.0 * direction(50.0, 20.0)
    for gamma in (None, direction(70.0, 130.0)):
        forward, backward = (nuclear.transitions(tensor, s * field, gamma) for s in (1, -1))
        np.testing.assert_allclose(forward[0], backward[0], atol=1e-12)
        np.testing.assert_allclose(forward[1], backward[1], atol=1e-12)


# --- both interactions -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vzz", "eta", "field"), [(5.0, 0.6, 4.0), (-3.0, 1.0, 12.0), (2.0, 0.2, 30)]
)
def test_excited_levels_for_a_field_along_vzz(vzz, eta, field):
    """η mixes 3/2 with −1/2 and −3/2 with 1/2: two quadratic equations."""
    q = splitting(vzz) / 2.0
    unit = units.NUCLEAR_MAGNETON / constants.e / units.GAMMA_ENERGY_EV * constants.c * 1e3
    zeeman = -units.MU_EXCITED_NM / 1.5 * unit * field
    expected = [
        sign * zeeman / 2 + root * np.hypot(zeeman + sign * q, q * eta / np.sqrt(3.0))
        for sign, root in itertools.product((1, -1), (1, -1))
    ]
    levels = np.linalg.eigvalsh(nuclear.excited_hamiltonian(efg(vzz, eta), field * Z))
    np.testing.assert_allclose(levels, np.sort(expected), rtol=1e-10)


@pytest.mark.parametrize("vzz", [0.05, -0.05])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("theta", "phi"), [(0, 0), (30, 45), (54.7356, 0), (70, 10), (90, 90)])
def test_small_quadrupole_limit_is_the_first_order_shift(vzz, eta, theta, phi):
    """ε = (eQVzz/4)(3cos²θ − 1 + η sin²θ cos2φ)/2; outer lines +ε, the four inner ones −ε."""
    theta_rad, phi_rad = np.radians([theta, phi])
    angular = 3 * np.cos(theta_rad) ** 2 - 1 + eta * np.sin(theta_rad) ** 2 * np.cos(2 * phi_rad)
    epsilon = splitting(vzz) / 2.0 * angular / 2.0
    field = 33.0 * direction(theta, phi)
    levels = np.linalg.eigvalsh(nuclear.excited_hamiltonian(efg(vzz, eta), field))
    unperturbed = np.linalg.eigvalsh(nuclear.excited_hamiltonian(NO_EFG, field))
    np.testing.assert_allclose(levels - unperturbed, epsilon * np.array([1, -1, -1, 1]), atol=3e-5)


def test_first_order_error_is_of_second_order():
    field = 33.0 * direction(60.0, 25.0)
    unperturbed = np.linalg.eigvalsh(nuclear.excited_hamiltonian(NO_EFG, field))
    slope = np.array(
        [
            (np.linalg.eigvalsh(nuclear.excited_hamiltonian(efg(v, 0.5), field)) - unperturbed) / v
            for v in (0.4, 0.2, 0.1)
        ]
    )
    deviation = np.abs(np.diff(slope, axis=0)).max(axis=1)
    assert deviation[0] / deviation[1] == pytest.approx(2.0, rel=0.05)


def test_hematite_shift_halves_and_turns_at_the_morin_transition():
    """2ε = +0.41 with the field along the axis, −0.197 mm/s across it (Cornell and Schwertmann)."""
    vzz = 0.41 / splitting(1.0)

    def two_epsilon(field):
        v, strength = lines(efg(vzz), field)
        v = v[strength > 0.02]
        return ((v[5] - v[4]) - (v[1] - v[0])) / 2.0

    assert two_epsilon(54.17 * Z) == pytest.approx(0.41, abs=1e-3)
    assert two_epsilon(51.75 * direction(90.0)) == pytest.approx(-0.197, abs=0.015)


# --- intensities -----------------------------------------------------------------------------


@pytest.mark.parametrize(("theta", "middle"), [(0.0, 0.0), (90.0, 4.0), (54.7356103, 2.0)])
def test_sextet_of_a_magnetised_crystal(theta, middle):
    """3 : 4 sin²θ/(1+cos²θ) : 1 for the angle θ between γ ray and field."""
    position, strength = nuclear.transitions(NO_EFG, 30.0 * Z, direction(theta, 33.0))
    allowed, _ = lines(NO_EFG, 30.0 * Z)
    found = [strength[np.abs(position - line) < 1e-6].sum() for line in allowed]
    pattern = np.array([3.0, middle, 1.0, 1.0, middle, 3.0])
    np.testing.assert_allclose(found, pattern / pattern.sum(), atol=1e-7)


@pytest.mark.parametrize("theta", [0.0, 20.0, 54.7356103, 90.0])
@pytest.mark.parametrize("vzz", [2.0, -2.0])
def test_doublet_of_a_crystal(theta, vzz):
    """π : σ = 3(1+cos²θ) : (5−3cos²θ); the π line (m = ±3/2) is the upper one for Vzz > 0."""
    _, (low, high) = lines(efg(vzz), NO_FIELD, direction(theta, 70.0))
    pi, sigma = (high, low) if vzz > 0 else (low, high)
    cos2 = np.cos(np.radians(theta)) ** 2
    assert pi / sigma == pytest.approx(3.0 * (1.0 + cos2) / (5.0 - 3.0 * cos2), rel=1e-7)


def test_clebsch_gordan_weights():
    """|T|² between m_e and m_g: 1, 2/3, 1/3 of the levels' total (3 : 2 : 1)."""
    weight = np.sum(np.abs(nuclear._TRANSITION) ** 2, axis=0)
    np.testing.assert_allclose(weight, np.array([[3, 0], [2, 1], [1, 2], [0, 3]]) / 3.0, atol=1e-15)


# --- independent construction ----------------------------------------------------------------


def product_space_lines(tensor, field, gamma):
    """The same lines from spin 1 (a vector, Cartesian basis) coupled with spin 1/2.

    The M1 operator turns the ground state |g⟩ into vector ⊗ |g⟩, of which I = 3/2 is the part with
    I² = 15/4: no Clebsch–Gordan coefficient and no spin-3/2 matrix is used.
    """
    levi_civita = np.zeros((3, 3, 3))
    for i, j, k in itertools.permutations(range(3)):
        levi_civita[i, j, k] = np.linalg.det(np.eye(3)[[i, j, k]])
    pauli = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    spin = np.array(
        [
            np.kron(-1j * levi_civita[i], np.eye(2)) + np.kron(np.eye(3), pauli[i] / 2)
            for i in range(3)
        ]
    )
    square, vectors = np.linalg.eigh(sum(s @ s for s in spin))
    basis = vectors[:, np.isclose(square, 3.75)]
    spin = basis.conj().T @ spin @ basis

    to_mm_s = constants.c * 1e3 / units.GAMMA_ENERGY_EV
    magneton = units.NUCLEAR_MAGNETON / constants.e * to_mm_s
    quadrupole = sum(
        tensor[i, j] * 0.16e-7 / 6.0 * to_mm_s * (spin[i] @ spin[j])
        for i, j in itertools.product(range(3), repeat=2)
    )
    excited = quadrupole - units.MU_EXCITED_NM / 1.5 * magneton * np.tensordot(field, spin, 1)
    ground = -units.MU_GROUND_NM * magneton * np.tensordot(field, pauli, 1)
    e_level, e_state = np.linalg.eigh(excited)
    g_level, g_state = np.linalg.eigh(ground)
    position, strength = [], []
    for e, g in itertools.product(range(4), range(2)):
        vector = (basis @ e_state[:, e]).conj().reshape(3, 2) @ g_state[:, g]
        if gamma is None:
            strength.append(np.vdot(vector, vector).real * 2.0 / 3.0)
        else:
            across = np.cross(gamma, vector)
            strength.append(np.vdot(across, across).real)
        position.append(e_level[e] - g_level[g])
    return np.array(position), np.array(strength) / np.sum(strength)


@pytest.mark.parametrize("seed", range(12))
def test_against_the_product_space(seed):
    rng = np.random.default_rng(seed)
    tensor = rng.normal(size=(3, 3), scale=3.0)
    tensor = tensor + tensor.T
    tensor -= np.trace(tensor) / 3.0 * np.eye(3)
    field = rng.normal(size=3, scale=10.0)
    gamma = None if seed % 2 else direction(*rng.uniform(0.0, 180.0, size=2))
    expected = product_space_lines(tensor, field, gamma)
    found = nuclear.transitions(tensor, field, gamma)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-9)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-9)


@pytest.mark.parametrize("spin", [0.5, 1.5])
def test_spin_matrices_obey_the_commutation_rule(spin):
    x, y, z = nuclear.spin_matrices(spin)
    np.testing.assert_allclose(x @ y - y @ x, 1j * z, atol=1e-14)
    square = x @ x + y @ y + z @ z
    np.testing.assert_allclose(square, spin * (spin + 1) * np.eye(int(2 * spin + 1)), atol=1e-14)


# --- shapes and refusals ---------------------------------------------------------------------


def test_many_nuclei_at_once_equal_one_by_one():
    rng = np.random.default_rng(3)
    tensors = rng.normal(size=(2, 5, 3, 3))
    fields = rng.normal(size=(2, 5, 3)) * 20.0
    position, strength = nuclear.transitions(tensors, fields, [1.0, 1.0, 0.0])
    assert position.shape == strength.shape == (2, 5, 8)
    alone = nuclear.transitions(tensors[1, 3], fields[1, 3], [1.0, 1.0, 0.0])
    np.testing.assert_allclose(position[1, 3], alone[0], atol=1e-12)
    np.testing.assert_allclose(strength[1, 3], alone[1], atol=1e-12)


def test_trace_and_antisymmetric_part_have_no_effect():
    tensor, field = efg(2.0, 0.3), 12.0 * direction(40.0)
    disturbed = tensor + 5.0 * np.eye(3) + np.array([[0, 1, -2], [-1, 0, 3], [2, -3, 0]])
    np.testing.assert_allclose(
        nuclear.excited_hamiltonian(disturbed, field),
        nuclear.excited_hamiltonian(tensor, field),
        atol=1e-12,
    )


def test_gamma_without_length_is_refused():
    with pytest.raises(ValueError, match="zero vector"):
        nuclear.transitions(NO_EFG, Z, [0.0, 0.0, 0.0])


def test_merge_lines_keeps_area_and_centre():
    position, strength = nuclear.merge_lines([1.0, 1.0 + 1e-7, -2.0, 5.0], [0.2, 0.6, 0.2, 0.0])
    np.testing.assert_allclose(position, [-2.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(strength, [0.2, 0.8])
