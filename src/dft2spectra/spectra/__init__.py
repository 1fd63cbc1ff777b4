"""Spectra from computed parameters: 57Fe Mössbauer absorption of structures and phase mixtures."""
