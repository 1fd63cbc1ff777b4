"""On SLURM: the plugin's executor with what it leaves undone on a cluster that misbehaves.

It takes the place of the executor of the plugin `slurm`, so that the plugin's settings, and the
profiles that users have already, stay as they are.
"""

from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from dft2spectra_slurm import unfit

if workflow.is_main_process and ExecutorPluginRegistry().is_installed("slurm"):
    if reason := unfit():
        logger.warning(reason)
    else:
        from dft2spectra_slurm.executor import Executor

        ExecutorPluginRegistry().get_plugin("slurm").executor = Executor
