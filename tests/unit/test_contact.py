"""Densities at the nucleus: the free atom's core, linearity, and constants."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from gpaw.atom.aeatom import AllElectronAtom
from gpaw.setup import create_setup
from gpaw.xc import XC

from dft2spectra.crystals import contact
from dft2spectra.crystals.contact import (
    contact_density,
    local_moment,
    nuclear_average,
    spherical_average,
)
from dft2spectra.crystals.paw_state import PawState, PlaneWaves
from dft2spectra.units import CONTACT_FIELD_T_BOHR3, DIPOLAR_FIELD_T_BOHR3


@pytest.fixture(scope="module")
def iron():
    return create_setup("Fe", XC("PBE"), lmax=2)


def free_atom(setup, spin_3d=0.0, n_3d=6.0, n_4s=2.0):
    """State of one atom whose partial waves are occupied as given, alone in space."""
    matrices = []
    for sign in (1.0, -1.0):
        diagonal = np.zeros(setup.ni)
        diagonal[0] = n_4s / 2
        diagonal[4:9] = (n_3d + sign * spin_3d) / 10
        matrices.append(np.diag(diagonal))
    empty = PlaneWaves(np.zeros((1, 3)), np.zeros(1, dtype=complex))
    return PawState(
        symbols=["Fe"],
        positions=np.zeros((1, 3)),
        potential=empty,
        density=empty,
        spin_density=empty,
        atomic_density_matrices=[np.array(matrices)],
        multipoles=[np.zeros(9)],
        setups=[setup],
        xc=XC("PBE"),
    )


@pytest.fixture
def atomic_tail(monkeypatch):
    """Keep the partial waves' own tail: a free atom has no crystal round it."""
    monkeypatch.setattr(contact, "_with_crystal_tail", lambda state, atom, inside, core: inside)


def test_conversion_constants():
    # 2/3 µ0 µB per cubic bohr and µ0/4π µB per cubic bohr, worked out by hand from CODATA 2018.
    assert pytest.approx(52.430, abs=1e-3) == CONTACT_FIELD_T_BOHR3
    assert pytest.approx(6.2584, abs=1e-4) == DIPOLAR_FIELD_T_BOHR3


@pytest.mark.usefixtures("atomic_tail")
def test_core_of_the_free_atom_is_that_of_an_all_electron_atom(iron):
    # GPAW's all-electron atom on its own, finer grid: a different solver start, grid and route.
    atom = AllElectronAtom("Fe", xc="PBE", log=None)
    atom.run()
    atom.scalar_relativistic = True
    atom.refine()
    density = sum(2 * atom.channels[0].calculate_density(n) for n in range(3))
    expected = nuclear_average(density, SimpleNamespace(Z=26, rgd=atom.rgd))
    result = contact_density(free_atom(iron), 0)
    assert result.core[0] == pytest.approx(result.core[1], rel=1e-12)
    assert result.core.sum() == pytest.approx(expected, rel=2e-3)


@pytest.mark.usefixtures("atomic_tail")
def test_fewer_3d_electrons_raise_the_density(iron):
    # 3d electrons screen the s electrons: Fe3+ has more density at the nucleus than Fe2+
    # (Walker, Wertheim, Jaccarino, Phys. Rev. Lett. 6, 98 (1961)).
    # The neutral atom's 3d wave, not relaxed here, makes the difference larger than in the ions.
    ferric, ferrous = (
        contact_density(free_atom(iron, n_3d=n, n_4s=0.0), 0).total for n in (5.0, 6.0)
    )
    assert 0.5 < ferric - ferrous < 6.0


@pytest.mark.usefixtures("atomic_tail")
def test_core_field_opposes_the_3d_moment_and_is_odd_in_it(iron):
    up = contact_density(free_atom(iron, spin_3d=4.0), 0)
    down = contact_density(free_atom(iron, spin_3d=-4.0), 0)
    none = contact_density(free_atom(iron), 0)
    assert up.core_field_t == pytest.approx(-down.core_field_t, rel=1e-6)
    assert abs(none.field_t) < 1e-5
    # Core polarisation of a GGA is about −11 to −12 T per Bohr magneton of 3d moment
    # (Novák et al., Phys. Rev. B 67, 140403 (2003)).
    assert -13.5 < up.core_field_t / 4.0 < -9.5


def test_unconverged_core_is_an_error(iron):
    with pytest.raises(ArithmeticError, match="not self-consistent"):
        contact_density(free_atom(iron), 0, max_iterations=1, tolerance=1e-14)


def test_moment_counts_the_spins_in_the_sphere(iron):
    state = free_atom(iron, spin_3d=3.0)
    wave, smooth = iron.data.phi_jg[2], iron.data.phit_jg[2]
    inside = iron.rgd.r_g <= 2.0
    weight = iron.rgd.r_g**2 * iron.rgd.dr_g
    expected = 3.0 * ((wave**2 - smooth**2) * weight)[inside].sum()
    assert local_moment(state, 0) == pytest.approx(expected, rel=2e-3)
    uniform = replace(state, spin_density=PlaneWaves(np.zeros((1, 3)), np.array([0.01 + 0j])))
    ball = 0.01 * 4 / 3 * np.pi * 2.0**3
    assert local_moment(uniform, 0) - local_moment(state, 0) == pytest.approx(ball)


def test_spherical_average_of_a_plane_wave():
    k, r = 1.3, np.array([0.5, 2.0])
    waves = PlaneWaves(np.array([[k, 0.0, 0.0]]), np.array([1.0 + 0j]))
    np.testing.assert_allclose(
        spherical_average(waves, np.zeros(3), r), np.sin(k * r) / (k * r), rtol=1e-12
    )
