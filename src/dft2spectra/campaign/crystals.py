"""The crystals of a campaign: what passes the screening, and what is measured of it."""

import json
import os
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from dft2spectra.campaign.sets import CampaignError, refuse_names, source_files
from dft2spectra.config import split_gpaw
from dft2spectra.config_messages import Key, message
from dft2spectra.crystals.plan import find_record
from dft2spectra.structures.sources import planned

Structure = dict[str, Any]

# A screening that takes longer is worth a word. [s]
LONG_S = 10.0


class Crystals:
    """Crystals of the pinned sets as they are at one time; each question is answered once.

    Parameters
    ----------
    config
        The complete configuration.
    files
        Config files, for messages.
    sources, limits
        As for :func:`dft2spectra.structures.sources.collect`.
    say
        Called with what the user should know.
    main
        Whether this is the process that plans; a job reads the file of its own crystal instead of
        everyone's. Ten thousand jobs that read ten thousand files each would bring a file server
        down.
    """

    def __init__(
        self,
        config: dict[str, Any],
        files: Sequence[str],
        sources: list[dict[str, Any]],
        limits: dict[str, Any],
        say: Callable[[str], None],
        main: bool,
    ) -> None:
        self._config, self._files = config, files
        self._sources, self._limits = sources, limits
        self._say, self._main = say, main
        self._results = Path("results", config["run"])

    @cached_property
    def screened(self) -> dict[str, Structure]:
        """Screened structures by id: read back while their sources are unchanged, else made now.

        Raises
        ------
        CampaignError
            A source cannot be read, nothing passes, or a mixture is of other crystals.
        """
        started = time.monotonic()
        try:
            refuse_names(source_files(self._sources, self._limits))
            accepted, rejected = planned(
                self._sources,
                self._limits,
                self._results / "structures",
                self._say,
                self._config["structures"]["design"],
            )
        except ValueError as error:
            raise CampaignError(str(error)) from error
        if not accepted:
            reasons = "\n  ".join(f"{row['origin']}: {row['reason']}" for row in rejected[:10])
            raise CampaignError(
                "No structure of structures.sources passes the screening, so there is nothing to "
                f"compute. {len(rejected)} rejected, the first:\n  {reasons}"
            )
        self._check_mixtures(accepted)
        seconds = time.monotonic() - started
        if seconds > LONG_S:
            self._say(
                f"Screening {len(accepted) + len(rejected)} structures took {seconds:.0f} s; "
                "`snakemake all_structures` does it once, until a source changes."
            )
        return {structure["structure_id"]: structure for structure in accepted}

    @cached_property
    def asked(self) -> dict[str, Structure]:
        """Those that tables and models are made from: all, or with ``computed_only`` some.

        Raises
        ------
        CampaignError
            As :attr:`screened`; or none has a record that could be taken.
        """
        if not self._config["computed_only"]:
            return self.screened
        found = {name: one for name, one in self.screened.items() if self.has_record(one)}
        self._say(f"computed_only: {len(found)} of {len(self.screened)} crystals have a record.")
        if not found:
            raise CampaignError(
                "computed_only: no crystal of the campaign has a record yet; `snakemake "
                "all_hyperfine` computes them."
            )
        return found

    def has_record(self, structure: Structure) -> bool:
        """Whether there is a record of a crystal that is taken instead of a calculation."""
        settings, _ = split_gpaw(self._config)
        store = self._config["record_store"]
        found = find_record(self._results, structure, settings, Path(store) if store else None)
        return found.state == "current"

    @cached_property
    def compounds(self) -> list[str]:
        """Sorted ids of the compounds with a value for the calibration, and of the reference.

        Raises
        ------
        CampaignError
            As :attr:`screened`; or the reference is none of them.
        """
        files = {
            os.path.realpath(path)
            for path in source_files(self._config["calibration"]["sources"], self._limits)
        }
        reference = self._config["calibration"]["reference"]
        chosen = {
            name: structure
            for name, structure in self.screened.items()
            if any(
                os.path.realpath(entry["path"]) in files
                for entry in structure["provenance"]
                if "path" in entry
            )
            and (
                structure["name"] == reference
                or any(entry.get("calibration") for entry in structure["measured"])
            )
        }
        names = sorted(str(structure["name"]) for structure in chosen.values())
        if reference not in names:
            raise self._mistake(
                ("calibration", "reference"),
                "allowed: the name of a crystal of calibration.sources that passes the screening, "
                f"{', '.join(names)}",
            )
        return sorted(chosen)

    @cached_property
    def calibration(self) -> list[str]:
        """Those :attr:`compounds` that the calibration is fitted to.

        Raises
        ------
        CampaignError
            As :attr:`compounds` and :attr:`asked`; or the reference is left out.
        """
        found = [name for name in self.compounds if name in self.asked]
        reference = self._config["calibration"]["reference"]
        if reference not in [self.screened[name]["name"] for name in found]:
            raise CampaignError(
                f"computed_only: {reference}, the reference of the calibration, has no record yet; "
                "`snakemake all_hyperfine` computes it."
            )
        return found

    def one(self, name: str) -> Structure:
        """A screened structure; of a job, as its file says, without places and measured values."""
        path = self._results / "structures" / "crystals" / f"{name}.json"
        if not self._main and path.exists():
            return json.loads(path.read_text("utf-8"))
        return self.screened[name]

    def as_json(self, name: str, *left_out: str) -> str:
        """A structure as JSON, without the keys left out."""
        own_file_holds_it = {"measured", "provenance"} <= set(left_out)
        structure = self.one(name) if own_file_holds_it else self.screened[name]
        kept = {key: value for key, value in structure.items() if key not in left_out}
        return json.dumps(kept, indent=1, ensure_ascii=False)

    def _check_mixtures(self, structures: Sequence[Structure]) -> None:
        """Refuse a phase that is no crystal of the campaign, or any of several, before DFT."""
        for number, mixture in enumerate(self._config["mossbauer"]["mixtures"]):
            for place, phase in enumerate(mixture["phases"]):
                for key in ("structure_id", "name", "formula"):
                    found = [s for s in structures if s[key] == phase["structure"]]
                    if found:
                        break
                if len(found) != 1:
                    names = sorted(
                        s["structure_id"] if found else str(s["name"] or s["structure_id"])
                        for s in found or structures
                    )
                    raise self._mistake(
                        ("mossbauer", "mixtures", number, "phases", place, "structure"),
                        f"allowed: one crystal of the campaign, {', '.join(names)}; in a config "
                        "file of your own, `mixtures: []` leaves out those of config.yaml",
                    )

    def _mistake(self, key: Key, sentence: str) -> CampaignError:
        """What is wrong with a key: with its value, its file and what is allowed."""
        return CampaignError(message(self._config, [(key, sentence)], self._files))
