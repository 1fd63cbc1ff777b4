"""The molecules of a campaign: what their jobs read, and how many jobs there are."""

import json
from functools import cache
from typing import Any

from dft2spectra.molecules.batches import batches
from dft2spectra.molecules.campaign import measured_file
from dft2spectra.molecules.sources import read_molecule


class Molecules:
    """Molecules, batches of geometries and jobs of the infrared branch.

    Parameters
    ----------
    config
        The complete configuration.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self.names = [entry["name"] for entry in config["molecules"]]
        self.batches = batches(config["sampling"])
        self.as_json = cache(self._as_json)

    def _as_json(self, name: str) -> str:
        """A molecule as JSON, as its jobs read it."""
        return json.dumps(read_molecule(self._entry(name)), indent=1, ensure_ascii=False)

    def _entry(self, name: str) -> dict[str, Any]:
        (entry,) = (entry for entry in self._config["molecules"] if entry["name"] == name)
        return dict(entry)

    def batches_of(self, *splits: str) -> list[str]:
        """Names of the batches of these splits."""
        return [name for name, frames in self.batches.items() if frames["split"] in splits]

    def measured_bands(self, name: str) -> str | list[str]:
        """The one file with measured bands of a molecule, or no file."""
        path = measured_file(self._entry(name), self._config["infrared"]["measured"])
        return [] if path is None else str(path)

    def costs(self) -> dict[str, dict[str, float | None]]:
        """Jobs, core hours and memory by rule; see :func:`dft2spectra.molecules.cost.estimate`."""
        # Imported here: only a plan asks, and PySCF takes a second.
        from dft2spectra.molecules.cost import estimate

        return estimate(map(read_molecule, self._config["molecules"]), self._config)

    @property
    def jobs(self) -> dict[str, int]:
        """Jobs by rule, whether they are done or not."""
        molecules = len(self.names)
        return {
            "harmonic_reference": molecules,
            "label_densities": molecules * len(self.batches),
            "fit_density_model": molecules,
            "run_trajectory": molecules * self._config["dynamics"]["trajectories"],
        }
