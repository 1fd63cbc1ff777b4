"""Electric field gradient: closed forms for each part of the reconstruction."""

from types import SimpleNamespace

import numpy as np
import pytest
from gpaw.hyperfine import expand
from gpaw.setup import create_setup
from gpaw.xc import XC
from scipy.special import erfc

from dft2spectra.crystals.efg import (
    cartesian_l2,
    multipole_occupations,
    onsite_gradient,
    onsite_l2,
    principal_values,
    traceless,
)
from dft2spectra.crystals.paw_state import PlaneWaves
from dft2spectra.units import EFG_AU_V_M2


@pytest.fixture(scope="module")
def iron():
    return create_setup("Fe", XC("PBE"), lmax=2)


def ewald_gradient(cell, charges, positions, origin, kappa):
    """EFG of a lattice of point charges, by Ewald's sum (independent of any Fourier grid)."""
    inverse = 2 * np.pi * np.linalg.inv(cell).T
    volume = abs(np.linalg.det(cell))
    tensor = np.zeros((3, 3))
    indices = np.stack(np.meshgrid(*[np.arange(-8, 9)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for charge, position in zip(charges, positions, strict=True):
        d = origin - position + indices @ cell
        r = np.linalg.norm(d, axis=1)
        d, r = d[r > 1e-9], r[r > 1e-9]
        gauss = 2 * kappa / np.sqrt(np.pi) * np.exp(-((kappa * r) ** 2))
        first = -(erfc(kappa * r) / r**2 + gauss / r)
        second = 2 * erfc(kappa * r) / r**3 + 2 * gauss / r**2 + 2 * kappa**2 * gauss
        unit = d / r[:, None]
        tensor += charge * (
            np.einsum("n,ni,nj->ij", second - first / r, unit, unit) + np.eye(3) * (first / r).sum()
        )
        g = indices @ inverse
        g = g[np.any(indices != 0, axis=1)]
        g2 = (g**2).sum(axis=1)
        wave = 4 * np.pi / volume * np.exp(-g2 / (4 * kappa**2)) / g2
        wave = wave * np.cos(g @ (origin - position))
        tensor -= charge * np.einsum("n,ni,nj->ij", wave, g, g)
    return traceless(tensor)


def test_atomic_unit_of_gradient():
    # CODATA 2018 value of the atomic unit of electric field gradient.
    assert pytest.approx(9.717_362_4e21, rel=1e-8) == EFG_AU_V_M2


def test_plane_waves_give_the_gradient_of_gaussian_charges():
    # Gaussian charges of width 0.6 bohr, 4 bohr or more apart, act on each other like points.
    cell = np.array([[7.0, 0.0, 0.0], [0.5, 8.0, 0.0], [0.0, -0.7, 9.0]])
    charges, width = np.array([1.0, -2.0, 1.0]), 0.6
    positions = np.array([[0.0, 0.0, 0.0], [3.2, 4.1, 0.4], [0.3, 3.5, 4.9]])
    inverse = 2 * np.pi * np.linalg.inv(cell).T
    n = np.arange(-14, 15)
    indices = np.stack(np.meshgrid(n, n, n, indexing="ij"), -1).reshape(-1, 3)
    # Half of reciprocal space, as a code for real functions stores it.
    half = (
        (indices[:, 0] > 0)
        | ((indices[:, 0] == 0) & (indices[:, 1] > 0))
        | ((indices[:, 0] == 0) & (indices[:, 1] == 0) & (indices[:, 2] >= 0))
    )
    g = indices[half] @ inverse
    g2 = np.where((g2 := (g**2).sum(axis=1)) > 0, g2, np.inf)
    structure_factor = np.exp(-1j * g @ positions.T) @ charges
    coefficients = (
        4 * np.pi / abs(np.linalg.det(cell)) * np.exp(-g2 * width**2 / 2) / g2 * structure_factor
    )
    smooth = PlaneWaves.from_half_space(g, np.nan_to_num(coefficients))
    for a in range(3):
        expected = ewald_gradient(cell, charges, positions, positions[a], kappa=0.55)
        other = ewald_gradient(cell, charges, positions, positions[a], kappa=0.75)
        np.testing.assert_allclose(other, expected, atol=1e-7)
        # The charge's own Gaussian is spherical and drops out with the trace.
        np.testing.assert_allclose(
            traceless(smooth.hessian(positions[a])), expected, atol=2e-6, rtol=1e-4
        )


def test_grid_and_half_space_series_agree():
    rng = np.random.default_rng(3)
    cell = np.array([[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.0, 0.5, 6.0]])
    values = rng.normal(size=(5, 7, 9))  # odd: no Nyquist plane
    waves = PlaneWaves.from_grid(values, cell)
    point = np.array([2, 3, 4]) / np.array(values.shape) @ cell
    assert waves.value(point) == pytest.approx(values[2, 3, 4], abs=1e-12)
    step = 1e-4
    numeric = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            e, f = np.eye(3)[i] * step, np.eye(3)[j] * step
            numeric[i, j] = (
                waves.value(point + e + f)
                - waves.value(point + e - f)
                - waves.value(point - e + f)
                + waves.value(point - e - f)
            ) / (4 * step**2)
    np.testing.assert_allclose(waves.hessian(point), numeric, rtol=1e-4, atol=1e-4)


def test_sphere_integral_of_a_plane_wave():
    # ∫ cos(kz) over a sphere of radius R round the origin is 4π (sin kR − kR cos kR)/k³.
    k, radius = 1.7, 2.0
    waves = PlaneWaves(np.array([[0.0, 0.0, k]]), np.array([1.0 + 0j]))
    expected = 4 * np.pi * (np.sin(k * radius) - k * radius * np.cos(k * radius)) / k**3
    assert waves.sphere_integral(np.zeros(3), radius) == pytest.approx(expected)
    constant = PlaneWaves(np.zeros((1, 3)), np.array([2.0 + 0j]))
    assert constant.sphere_integral(np.zeros(3), 1.5) == pytest.approx(2 * 4 / 3 * np.pi * 1.5**3)


def test_one_electron_in_dz2_gives_four_sevenths_of_r_minus_three(iron):
    # <3cos²θ − 1> of d_z² is 4/7 (Abragam & Bleaney, table 17): V_zz = −(4/7) <r⁻³> per electron.
    occupied = np.zeros((iron.ni, iron.ni))
    d_z2 = 4 + 2  # after 4s (1) and 4p (3), third of the 3d functions
    occupied[d_z2, d_z2] = 1.0
    wave = iron.data.phi_jg[2]
    r, dr = iron.rgd.r_g, iron.rgd.dr_g
    inverse_cube = (wave[1:] ** 2 / r[1:] * dr[1:]).sum()
    # Without pseudo waves and compensation charge the sphere holds the true density alone.
    bare = SimpleNamespace(
        rgd=iron.rgd,
        l_j=iron.l_j,
        data=SimpleNamespace(
            phi_jg=iron.data.phi_jg,
            phit_jg=np.zeros_like(iron.data.phi_jg),
            shape_function=iron.data.shape_function,
        ),
    )
    tensor = onsite_gradient(occupied, np.zeros(9), bare)
    expected = -4.0 / 7.0 * inverse_cube
    np.testing.assert_allclose(
        tensor, np.diag([-expected / 2, -expected / 2, expected]), rtol=1e-6, atol=1e-9
    )


def test_closed_d_shell_makes_no_gradient(iron):
    closed = np.diag([0.3] + [0.2] * 3 + [1.0] * 5 + [0.1] + [0.05] * 3 + [0.4] * 5)
    np.testing.assert_allclose(onsite_l2(closed, iron), 0.0, atol=1e-12)


def test_cartesian_l2_is_the_hessian_of_the_solid_harmonics():
    from gpaw.sphere.spherical_harmonics import Y

    rng = np.random.default_rng(1)
    a = rng.normal(size=5)

    def f(v):
        return sum(a[m] * Y(4 + m, *v) for m in range(5))

    step, numeric = 1e-3, np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            e, g = np.eye(3)[i] * step, np.eye(3)[j] * step
            numeric[i, j] = (f(e + g) - f(e - g) - f(-e + g) + f(-e - g)) / (4 * step**2)
    np.testing.assert_allclose(cartesian_l2(a), numeric, atol=1e-9)


def test_principal_values_follow_the_convention():
    vzz, eta = principal_values(np.diag([1.0, 2.0, -3.0]))
    assert (vzz, eta) == pytest.approx((-3.0, 1.0 / 3.0))
    vzz, eta = principal_values(np.diag([3.0, -1.5, -1.5]))
    assert (vzz, eta) == pytest.approx((3.0, 0.0))
    assert principal_values(np.diag([2.0, -2.0, 0.0]))[1] == pytest.approx(1.0)


def test_impossible_tensors_are_refused():
    with pytest.raises(ArithmeticError, match="trace"):
        principal_values(np.eye(3))
    with pytest.raises(ArithmeticError, match="not finite"):
        principal_values(np.full((3, 3), np.nan))


def test_occupations_are_those_of_gpaw_and_go_on_to_f_waves(iron):
    random = np.random.default_rng(0)
    matrix = random.normal(size=(iron.ni, iron.ni))
    for l in (0, 2):
        assert multipole_occupations(matrix, iron.l_j, l) == pytest.approx(
            expand(matrix, iron.l_j, l), abs=1e-14
        )
    # Lutetium: a filled f shell is a sphere of 14 electrons, so is each of its waves alone.
    lutetium = create_setup("Lu", XC("PBE"), lmax=2)
    filled = np.zeros(lutetium.ni)
    start = sum(2 * degree + 1 for degree in lutetium.l_j[:5])
    assert lutetium.l_j[5] == 3
    filled[start : start + 7] = 2.0
    monopole = multipole_occupations(np.diag(filled), lutetium.l_j, 0)[0]
    assert monopole[5, 5] == pytest.approx(14 / np.sqrt(4 * np.pi))
    assert np.abs(monopole).sum() == pytest.approx(monopole[5, 5])
    quadrupole = multipole_occupations(np.diag(filled), lutetium.l_j, 2)
    assert np.abs(quadrupole).max() < 1e-12
    # One electron of z(5z² − 3r²): Σ_m of the three-j integral gives 4/15 · √(5/4π) along z.
    filled[:] = 0.0
    filled[start + 3] = 1.0
    along_z = multipole_occupations(np.diag(filled), lutetium.l_j, 2)[:, 5, 5]
    assert along_z == pytest.approx([0, 0, 4 / 15 * np.sqrt(5 / (4 * np.pi)), 0, 0], abs=1e-12)
