"""Measured 57Fe Mössbauer spectra: phases of a sample, their fractions and the errors of both."""
