"""Molecules: sources, PySCF calculations, harmonic reference, sampled geometries, their labels."""
