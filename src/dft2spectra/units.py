"""Conversions between the units of the codes and of the tables; the only home of constants.

Everything derives from the CODATA set in :mod:`scipy.constants`, except the nuclear data of 57Fe,
each of which carries its source.
"""

import math

from scipy import constants

BOHR_M = constants.physical_constants["Bohr radius"][0]
HARTREE_J = constants.physical_constants["Hartree energy"][0]
HARTREE_EV = HARTREE_J / constants.eV
BOHR_ANG = BOHR_M * 1e10

# One atomic unit of dipole moment, e bohr, in debye (1 D = 1e-21/c C m): 2.5417.
EBOHR_DEBYE = constants.e * BOHR_M * constants.c * 1e21
DEBYE_C_M = 1e-21 / constants.c

# Mass of one atomic mass unit in electron masses, and wavenumber of one hartree.
AMU_ME = constants.atomic_mass / constants.m_e
HARTREE_CM1 = HARTREE_J / (constants.h * constants.c) / 100.0
BOLTZMANN_HA_K = constants.k / HARTREE_J
BOLTZMANN_EV_K = constants.k / constants.eV

# One e Å, the unit of dipole moments in ASE, in debye: 4.8032.
EANG_DEBYE = EBOHR_DEBYE / BOHR_ANG

# Integrated absorption of a harmonic fundamental, Napierian: A = N_A |dµ/dQ|² / (12 ε0 c²), in
# km/mol for dµ/dQ in e/√amu: 974.88 (Wilson, Decius and Cross, Molecular Vibrations, ch. 7).
KM_MOL_PER_E2_AMU = (
    constants.N_A
    * constants.e**2
    / (12.0 * constants.epsilon_0 * constants.c**2 * constants.atomic_mass)
    / 1000.0
)

# One atomic unit of electric field gradient, Hartree/(e bohr²), in V/m²: 9.7174e21.
EFG_AU_V_M2 = HARTREE_J / (constants.e * BOHR_M**2)
EFG_AU_1E21_V_M2 = EFG_AU_V_M2 / 1e21

# Fermi contact field of one electron spin (one Bohr magneton) per cubic bohr at the nucleus:
# B = (2/3) µ0 µB ρ_spin, 52.43 T (Abragam & Bleaney, Electron Paramagnetic Resonance, ch. 17).
MU_B = constants.physical_constants["Bohr magneton"][0]
CONTACT_FIELD_T_BOHR3 = 2.0 / 3.0 * constants.mu_0 * MU_B / BOHR_M**3

# Dipolar field of one Bohr magneton per cubic bohr: (µ0/4π) µB a0^-3, 6.26 T.
DIPOLAR_FIELD_T_BOHR3 = constants.mu_0 / (4.0 * math.pi) * MU_B / BOHR_M**3

# The 14.4 keV transition of 57Fe: Eγ = 14.41300 keV (Röhlsberger, Nuclear Condensed Matter Physics,
# Springer 2004, table A.1).
GAMMA_ENERGY_EV = 14413.00

# Quadrupole moment of the I=3/2 state, in barn: Dufek, Blaha, Schwarz, PRL 75, 3545 (1995).
QUADRUPOLE_MOMENT_BARN = 0.16

# Nuclear moments in nuclear magnetons. Ground state +0.090623, from nuclear magnetic resonance (N.
# J. Stone, Table of nuclear magnetic dipole moments, INDC(NDS)-0658, 2014). Excited state from the
# standard of the velocity scale: the outer lines of α-Fe at room temperature, 33.0 T, lie 10.657
# mm/s apart, which with the moment above takes µ_e/µ_g = -1.7173. The same two numbers give 6.167
# and 1.677 mm/s for the other pairs, as the standard has them (J. G. Stevens and V. E. Stevens,
# Mössbauer Effect Data Index; Preston, Hanna, Heberle, Phys. Rev. 128, 2207 (1962), measured
# -1.715(4)). Published fields go back to this scale; tables of moments alone miss it by 0.1 %.
NUCLEAR_MAGNETON = constants.physical_constants["nuclear magneton"][0]
MU_GROUND_NM = 0.090623
MU_EXCITED_NM = -1.7173 * MU_GROUND_NM


def energy_to_mm_s(energy_ev: float) -> float:
    """Doppler velocity (mm/s) of the source that shifts the 14.4 keV line by ``energy_ev`` (eV)."""
    return energy_ev / GAMMA_ENERGY_EV * constants.c * 1e3


def splitting_per_vzz() -> float:
    """Quadrupole splitting in mm/s of Vzz = 1e21 V/m² at η = 0: ½ e Q Vzz, 0.1664."""
    return energy_to_mm_s(0.5 * QUADRUPOLE_MOMENT_BARN * 1e-28 * 1e21)


def quadrupole_splitting_mm_s(vzz_1e21_v_m2: float, eta: float) -> float:
    """Signed quadrupole splitting ½ e Q Vzz √(1+η²/3) in mm/s; its sign is that of Vzz."""
    return splitting_per_vzz() * vzz_1e21_v_m2 * math.sqrt(1.0 + eta**2 / 3.0)


def wavenumber_to_period_fs(wavenumber_cm1: float) -> float:
    """Period in fs of a vibration at ``wavenumber_cm1``: 1000 cm⁻¹ takes 33.4 fs."""
    return 1e15 / (100.0 * constants.c * wavenumber_cm1)
