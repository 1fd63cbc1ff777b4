"""Snakemake's executor for SLURM, with what it leaves undone on a cluster that misbehaves.

Of snakemake-executor-plugin-slurm 2.8.0, whose settings, partitions and accounts stay. What SLURM
says is understood in :mod:`dft2spectra.slurm`; ``docs/slurm.md`` tells what is done about it, and
``tests/slurm/test_plugin_faults.py`` shows what of it the plugin still needs.
"""

from importlib.metadata import PackageNotFoundError, version

# The series of the plugin whose inside the executor was written for and tested with.
PLUGIN, SERIES = "snakemake-executor-plugin-slurm", "2.8."


def unfit() -> str | None:
    """Why the plugin's own executor stays, as a sentence; ``None`` if ours takes its place."""
    try:
        found = version(PLUGIN)
    except PackageNotFoundError:
        return f"{PLUGIN} is not installed."
    if found.startswith(SERIES):
        return None
    return (
        f"{PLUGIN} is {found}; what is done about clusters that misbehave (docs/slurm.md) was made "
        f"for {SERIES}x, so the plugin's own executor is used."
    )
