"""Second-order Doppler shift of 57Fe in the Debye model.

A vibrating nucleus runs slow: its line moves by −⟨v²⟩/2c. With the Debye energy of a lattice of
iron-57 masses, zero-point motion included,

    δ_SOD = −(9 k / 2 M c) [θ/8 + T (T/θ)³ ∫₀^{θ/T} x³/(eˣ − 1) dx],

which tends to −3kT/2Mc, that is −7.31e-4 mm/s per kelvin, at high temperature and to −9kθ/16Mc at
zero temperature. Isomer shifts are given relative to α-Fe at room temperature, so what a spectrum
needs is the difference to the shift that α-Fe has there.

Source: B. D. Josephson, Phys. Rev. Lett. 4, 341 (1960); Greenwood and Gibb, Mössbauer Spectroscopy
(Chapman and Hall, 1971), ch. 3.
"""

import math

from scipy import constants
from scipy.integrate import quad

from dft2spectra.units import GAMMA_ENERGY_EV

MASS_57FE_KG = 56.93539 * constants.atomic_mass  # atomic mass evaluation 2020

# α-Fe, zero of the velocity scale. The Debye temperature is the one that describes its thermal
# shift: 400(30) K, Preston, Hanna and Heberle, Phys. Rev. 128, 2207 (1962). The uncertainty of 30 K
# is 0.003 mm/s at room temperature.
REFERENCE_TEMPERATURE_K = 295.0
REFERENCE_DEBYE_K = 400.0


def second_order_doppler_mm_s(temperature_k: float, debye_k: float) -> float:
    """Second-order Doppler shift in mm/s, negative, relative to a nucleus at rest.

    Raises
    ------
    ValueError
        If the temperature is negative or the Debye temperature is not positive.
    """
    integral = _debye_integral(3, temperature_k, debye_k)
    thermal = temperature_k * (temperature_k / debye_k) ** 3 * integral
    slope = 9.0 * constants.k / (2.0 * MASS_57FE_KG * constants.c) * 1e3
    return -slope * (debye_k / 8.0 + thermal)


def thermal_shift_mm_s(temperature_k: float, debye_k: float) -> float:
    """Shift in mm/s to add to an isomer shift relative to α-Fe: 0 for α-Fe at room temperature."""
    reference = second_order_doppler_mm_s(REFERENCE_TEMPERATURE_K, REFERENCE_DEBYE_K)
    return second_order_doppler_mm_s(temperature_k, debye_k) - reference


def recoil_free_fraction(temperature_k: float, debye_k: float) -> float:
    """Recoil-free fraction f of the 14.4 keV line in the Debye model, between 0 and 1.

    f = exp{−(6 E_R/kθ) [1/4 + (T/θ)² ∫₀^{θ/T} x/(eˣ − 1) dx]} with the recoil energy
    E_R = E_γ²/2Mc² = 1.957 meV (Greenwood and Gibb, Mössbauer Spectroscopy, ch. 1).

    Raises
    ------
    ValueError
        If the temperature is negative or the Debye temperature is not positive.
    """
    integral = _debye_integral(1, temperature_k, debye_k)
    thermal = (temperature_k / debye_k) ** 2 * integral
    gamma = GAMMA_ENERGY_EV * constants.eV
    recoil = gamma**2 / (2.0 * MASS_57FE_KG * constants.c**2)
    return math.exp(-6.0 * recoil / (constants.k * debye_k) * (0.25 + thermal))


def _debye_integral(power: int, temperature_k: float, debye_k: float) -> float:
    """∫₀^{θ/T} xⁿ/(eˣ − 1) dx of the Debye model; 0 at zero temperature, where its factor is 0.

    Raises
    ------
    ValueError
        If the temperature is negative or the Debye temperature is not positive.
    """
    if not (math.isfinite(temperature_k) and temperature_k >= 0.0):
        raise ValueError(f"temperature_k must be zero or positive, not {temperature_k}")
    if not (math.isfinite(debye_k) and debye_k > 0.0):
        raise ValueError(f"debye_k must be positive, not {debye_k}")
    if temperature_k == 0.0:
        return 0.0
    limit = 1.0 if power == 1 else 0.0  # of the integrand at x = 0
    # Beyond x = 60 the integrand is below 1e-20.
    end = min(debye_k / temperature_k, 60.0)
    return float(quad(lambda x: x**power / math.expm1(x) if x > 0 else limit, 0, end)[0])
