"""What tests of infrared spectra share."""

# The infrared section of a configuration, as far as a spectrum depends on it.
SETTINGS = {
    "window": "gaussian",
    "resolution_cm1": 20.0,
    "padding": 4,
    "quantum_correction": "harmonic",
    "maximum_cm1": 4500.0,
}
# Intensity (km/mol) of a dipole derivative of 1 D Å⁻¹ u⁻½, N_A D²/(12 ε0 c² Å² u): as printed with
# the harmonic intensities of Gaussian-type programs.
KM_MOL = 42.2561
