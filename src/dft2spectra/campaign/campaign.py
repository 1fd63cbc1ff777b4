"""One configuration: its crystals, DFT jobs and molecules, as they are now."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from dft2spectra.campaign.crystals import Crystals
from dft2spectra.campaign.jobs import DftJobs, is_bundled
from dft2spectra.campaign.molecules import Molecules
from dft2spectra.campaign.sets import CampaignError, PinnedSets, source_files
from dft2spectra.config import split_gpaw
from dft2spectra.config_messages import message
from dft2spectra.crystals.reference import serves
from dft2spectra.molecules.campaign import mistakes
from dft2spectra.provenance import Provenance
from dft2spectra.structures.design import external_ids


class Campaign:
    """What a complete configuration asks for, seen from the working folder.

    Parameters
    ----------
    config
        As :func:`dft2spectra.config.complete_config` gives it.
    files
        Config files in the order in which they were merged, for messages.
    say
        Called with what the user should know.
    main
        Whether this is the process that plans, not a job of it: jobs say nothing, and read only
        what belongs to them.

    Attributes
    ----------
    results
        Folder of the campaign.
    mossbauer, infrared
        Whether these branches run.
    sources, limits
        What the crystals are collected from and with. Calibration compounds are part of the
        campaign: one record serves both.
    candidate_limits
        As ``limits``, for the candidates.
    gpaw, job_sizes
        The ``gpaw`` section in two: what a record depends on, and how jobs are cut.
    sets
        Databases by their pinned sets.
    molecules
        The infrared branch.
    outdated
        Sentences on results that are there and were made with other settings or files; filled while
        :meth:`why_outdated` is asked.
    """

    def __init__(
        self,
        config: dict[str, Any],
        files: Sequence[str] = (),
        say: Callable[[str], None] = print,
        main: bool = True,
    ) -> None:
        self._config, self._files, self._main = config, files, main
        self._say: Callable[[str], None] = say if main else lambda line: None
        self._said: set[str] = set()
        self.results = Path("results", config["run"])
        self.mossbauer = "mossbauer" in config["branches"]
        self.infrared = "infrared" in config["branches"]
        self.sources = config["structures"]["sources"] + config["calibration"]["sources"]
        own = ("sources", "design")
        self.limits = {key: v for key, v in config["structures"].items() if key not in own}
        self.limits["xc"] = config["gpaw"]["xc"]  # elements without a dataset are rejected
        self.candidate_limits = self.limits | {"max_atoms": config["candidates"]["max_atoms"]}
        self.gpaw, self.job_sizes = split_gpaw(config)
        self.bundled = is_bundled(self.results, self.job_sizes)
        candidates = config["candidates"]["sources"]
        asked = (self.sources, candidates) if self.mossbauer else ([], [])
        self.sets = PinnedSets(asked[0], asked[1], self.limits)
        self.molecules = Molecules(config)
        self._provenance = Provenance(self.results)
        self.outdated: list[str] = []
        self._times: tuple[int, ...] | None = None
        self._crystals: Crystals | None = None
        self._jobs: DftJobs | None = None

    @property
    def crystals(self) -> Crystals:
        """Crystals of the pinned sets as they are now: a set that is retrieved anew is read anew.

        Known before any job runs, so that a dry-run shows every job; only where a database has to
        be asked first, they are known when its pinned set is there.
        """
        times = self.sets.times()
        if self._crystals is None or times != self._times:
            self._times, self._jobs = times, None
            like = self._config, self._files, self.sources, self.limits
            self._crystals = Crystals(*like, self._say, self._main)
        return self._crystals

    @property
    def jobs(self) -> DftJobs:
        """DFT jobs of the crystals as they are now."""
        crystals = self.crystals
        if self._jobs is None:
            like = self.results, self.gpaw, self.job_sizes, self.bundled
            only = self._config["computed_only"]
            self._jobs = DftJobs(crystals, *like, only, self.say_once, self._main)
        return self._jobs

    def say_once(self, line: str) -> None:
        """Tell the user, the first time."""
        if line not in self._said:
            self._said.add(line)
            self._say(line)

    def check(self) -> None:
        """Return if what is asked for can be computed as far as is known now.

        Where sets are to be retrieved first, what is to come is said: an unchanged campaign needs
        none of it, and ``--forcerun`` mends what is damaged.

        Raises
        ------
        CampaignError
            Names every mistake with its key, value and file.
        """
        if missing := self.sets.missing:
            self._say(
                "To be retrieved before the crystals and their jobs are known:\n  "
                + "\n  ".join(missing.values())
            )
            self._say_sizes([self.sets.all[name] for name in self.unrelaxed])
        elif self.mossbauer:
            _ = self.crystals.compounds
        if self.infrared and (found := list(mistakes(self._config))):
            raise CampaignError(message(self._config, found, self._files))

    def why_outdated(
        self, rule: str, outputs: list[str], params: dict[str, Any], inputs: list[str]
    ) -> str | None:
        """Why a job would make something else of what is there, which the user is told, too.

        Parameters
        ----------
        rule
            Name of the rule.
        outputs, params, inputs
            As for :meth:`dft2spectra.provenance.Provenance.why_outdated`.
        """
        if not self._provenance.is_known(outputs):
            self.say_once(
                f"Some results in {self.results} are of a version that did not note what they were "
                "made with; they are taken as Snakemake remembers them, in the folder .snakemake."
            )
        why = self._provenance.why_outdated(outputs, params, inputs)
        if why:
            sentence = f"{rule}: {why}"
            self.say_once(sentence)
            if sentence not in self.outdated:
                self.outdated.append(sentence)
        return why

    @property
    def source_files(self) -> list[str]:
        """Files that jobs read and nobody but the user writes.

        Raises
        ------
        CampaignError
            A source cannot be read.
        """
        paths = [entry["file"] for entry in self._config["measurements"]]
        velocities = [entry.get("velocity", {}) for entry in self._config["measurements"]]
        paths += [velocity.get("calibration") for velocity in velocities]
        paths += [self._config["structures"]["design"]]
        if self.mossbauer:
            sources = self.sources + self._config["candidates"]["sources"]
            try:
                paths += source_files(sources, self.limits)
            except ValueError as error:
                raise CampaignError(str(error)) from error
        return [path for path in paths if path]

    @property
    def unrelaxed(self) -> list[str]:
        """Prototypes whose volumes are still to be computed."""
        relaxed = self.sets.relaxed
        return [name for name in self.sets.missing if name in relaxed] if relaxed else []

    @cached_property
    def predicted_sources(self) -> list[dict[str, Any]]:
        """The sources, with predicted volumes where computed ones are missing, for a plan."""
        return [
            source | {"relax_volume": False} if source.get("name") in self.unrelaxed else source
            for source in self.sources
        ]

    def enumeration_sizes(self, sources: list[dict[str, Any]]) -> list[str]:
        """A line on how many crystals the prototypes give, for every source of them."""
        from dft2spectra.structures.prototypes import sizes_in_words  # slow to import

        return sizes_in_words(sources, self.limits)

    def _say_sizes(self, sources: list[dict[str, Any]]) -> None:
        try:
            for line in self.enumeration_sizes(sources) if sources else []:
                self._say(line)
        except ValueError as error:  # its parents are in a set that is still missing
            self._say(f"The size of an enumeration is not known yet: {error}")

    @cached_property
    def reference(self) -> str | None:
        """Set of finished records that the models learn from too, if it is of the same method."""
        folder = self._config["learning"]["reference"] if self.mossbauer else None
        if folder and not serves(folder, self.gpaw):
            self._say(
                f"The sites of {folder} were computed with other settings or methods: models learn "
                "from the sites of this campaign alone."
            )
            return None
        return folder

    @cached_property
    def external(self) -> list[str]:
        """Sorted ids of crystals that nothing is trained on, for the evaluation at the end."""
        if not self.mossbauer:
            return []
        designs = [self._config["structures"]["design"]]
        designs += [f"{self.reference}/design.csv"] if self.reference else []
        return sorted({name for path in designs for name in external_ids(path)})
