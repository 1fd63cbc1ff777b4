"""Molecular dynamics with any ASE calculator: restartable trajectories and their start states."""
