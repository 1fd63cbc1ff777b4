"""Measured 57Fe Mössbauer spectra: phases of a sample, their fractions and the errors of both.

In reading order: readers and spectrum (files of spectrometers), drive and calibration (velocity),
patterns and phases (lines and priors of a phase), library and computed (where they come from),
absorber and model (the transmission integral), fit, scan and identify (which phases), setup,
measure, tables and figure (one file), campaign (in a campaign).
"""
