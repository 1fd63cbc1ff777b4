"""The script of a rule, from its first line to the note of what it made.

Nothing is imported before the log is open, so that a failing import is in it.
"""

import sys
from typing import Any


class Job:
    """What all scripts begin and end with.

    Parameters
    ----------
    snakemake
        What Snakemake gives a script. What is printed from now on goes to the log of its rule.
    """

    def __init__(self, snakemake: Any) -> None:
        self._snakemake = snakemake
        self.log = open(snakemake.log[0], "w", buffering=1)  # noqa: SIM115 -- until the end
        sys.stdout = sys.stderr = self.log

    def write_provenance(self) -> None:
        """Note what the outputs were made with, see :mod:`dft2spectra.provenance`."""
        from dft2spectra.provenance import write_provenance

        write_provenance(self._snakemake)
