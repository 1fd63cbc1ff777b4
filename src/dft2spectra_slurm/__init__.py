"""Snakemake's executor for SLURM, with what it leaves undone on a cluster that misbehaves.

Of snakemake-executor-plugin-slurm 2.8.0, whose settings, partitions and accounts stay. What SLURM
says is understood in :mod:`dft2spectra.slurm`; ``docs/slurm.md`` tells what is done about it, and
``tests/slurm/test_plugin_faults.py`` shows what of it the plugin still needs.
"""
