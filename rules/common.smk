"""Helpers of the rules: checked configuration, structures, molecules, versions and resources."""

import atexit
import gc
import json
import math
import os
import re
import sys
import time
from functools import cache
from glob import glob
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

from dft2spectra.config import ConfigError, complete_config, split_gpaw
from dft2spectra.config_messages import message
from dft2spectra.crystals.bundles import assign_bundles, read_bundles
from dft2spectra.crystals.identity import METHOD
from dft2spectra.crystals.plan import find_record
from dft2spectra.disk import crowded, forbidden, from_future, refusal
from dft2spectra.molecules.batches import batches
from dft2spectra.molecules.campaign import measured_file, mistakes
from dft2spectra.molecules.sources import read_molecule
from dft2spectra.finished import last_results, nothing_left
from dft2spectra.leftovers import remove_leftovers, results_with_leftovers
from dft2spectra.records import drop_kept, is_cut_off
from dft2spectra.structures.design import PLACE_KEYS
from dft2spectra.structures.inputs import input_files
from dft2spectra.structures.retrieval import (
    answers_other_settings,
    check_current,
    is_relaxed,
    pinned_path,
    remote_sources,
)
from dft2spectra.structures.sources import planned
from dft2spectra.versions import method_versions

# Thousands of jobs are millions of objects that stay: looking through them for garbage less often
# saves a twentieth of the time of a dry-run.
gc.set_threshold(200_000, 50, 100)

# The file beside the Snakefile comes first, then those of --configfile, as Snakemake merges them.
CONFIG_FILES = [
    os.path.relpath(path)
    for path in [*workflow.configfiles[-1:], *workflow.configfiles[:-1]]
]
try:
    config.update(complete_config(config, CONFIG_FILES))
except ConfigError as error:
    raise WorkflowError(str(error))

# `python` in a shell command is the one that runs Snakemake, activated environment or not. A file
# in the working folder, such as random.py, takes the place of no module of its jobs.
os.environ.update(
    PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]),
    PYTHONSAFEPATH="1",
)

# Where Snakemake keeps its state, also for a dry-run.
STATE = os.path.abspath(".snakemake" if os.path.isdir(".snakemake") else ".")
if workflow.is_main_process:
    if reason := forbidden(STATE):
        if all(map(os.path.exists, last_results(config))):
            print(nothing_left(config, reason), file=sys.stderr)
            sys.exit(0)
        raise WorkflowError(reason)
    if reason := crowded(STATE):
        logger.warning(reason)  # a dry-run may still do

# --delete-all-output is not meant for pinned sets, which no database would give again: then no rule
# makes them. What lies beside the outputs goes with them.
DELETING = any(word.startswith("--delete-a") for word in sys.argv)
if DELETING and workflow.is_main_process:
    own = os.path.abspath(f"results/{config['run']}")
    atexit.register(remove_leftovers, own, results_with_leftovers(own))

# A report shows what is there.
REPORTING = any(word.partition("=")[0] == "--report" for word in sys.argv)

MOSSBAUER = "mossbauer" in config["branches"]
INFRARED = "infrared" in config["branches"]

BATCHES = batches(config["sampling"])

# Finished records that are taken instead of a calculation.
RECORD_STORE = Path(config["record_store"]) if config["record_store"] else None

# Priority of the DFT of the first crystal of a design.
MOST_PRIORITY = 100_000

# Calibration compounds are part of the campaign: one record serves both.
SOURCES = config["structures"]["sources"] + config["calibration"]["sources"]
LIMITS = {
    key: value
    for key, value in config["structures"].items()
    if key not in ("sources", "design")
}
LIMITS["xc"] = config["gpaw"]["xc"]  # elements without a dataset are rejected
PINNED = str(Path(config["structures"]["pinned"]))
CANDIDATE_LIMITS = LIMITS | {"max_atoms": config["candidates"]["max_atoms"]}


def refuse(key, sentence):
    """Stop with the key, its value, the file that it stands in and what is allowed."""
    raise WorkflowError(message(config, [(key, sentence)], CONFIG_FILES))


def refuse_unwritable(folder):
    """Stop with what to do if nothing can be written in a folder."""
    if reason := refusal(folder):
        raise WorkflowError(reason)


def warn_if_unwritable(folder):
    """Say what to do if nothing can be written in a folder any more."""
    if reason := refusal(folder):
        print(f"\n{reason}", file=sys.stderr)


def drop_noted():
    """Remove the second names of results that Snakemake knows to be finished, or to have failed.

    It keeps a mark for every output from the start of its job until it has seen the end. What a
    driver that was killed did not see is kept for the next job; what is deleted or forced now is
    computed anew. Snakemake 9.27 has no public way to ask for the marks of outputs that are gone.
    """
    state = workflow.persistence
    outputs = {
        state._get_key(path): path for job in workflow.dag.jobs for path in job.output
    }
    unseen = state._filter_incomplete_keys(outputs)
    drop_kept(path for key, path in outputs.items() if key not in unseen)


# Databases by the name of their pinned set.
REMOTE = remote_sources(SOURCES + config["candidates"]["sources"]) if MOSSBAUER else {}
# Prototypes among them, whose volumes are computed.
RELAXED = [name for name, source in REMOTE.items() if is_relaxed(source)]


def source_files(sources):
    """Input function: the files that the sources name, pinned sets among them.

    Without links that lead nowhere, which Snakemake would wait for; the screening rejects them.
    """
    return lambda wildcards: [
        path
        for source in sources
        for path in input_files(source, LIMITS)
        if os.path.exists(path) or not (DELETING or os.path.islink(path))
    ]


def refuse_names(paths):
    """Stop at a file whose name Snakemake would not take as it is."""
    for path in paths:
        if re.search(r"\{[^{}]*\}|[\ud800-\udfff]", path):
            raise WorkflowError(
                f"structures.sources: {path!a}: rename this file; a name with characters in "
                "braces, or that is no text in UTF-8, cannot be an input of a job."
            )


# Those whose sets decide about the jobs of the campaign.
NAMED = source_files(SOURCES)(None) if REMOTE else []
CAMPAIGN_REMOTE = {
    name: source
    for name, source in REMOTE.items()
    if pinned_path(source, PINNED) in NAMED
}


def not_pinned():
    """Databases of the campaign without a pinned set that can be used, with the reason."""
    found = {}
    for name, source in CAMPAIGN_REMOTE.items():
        try:
            check_current(source, PINNED, LIMITS["xc"])
        except ValueError as error:
            found[name] = str(error)
    return found


# Prototypes whose volumes are still to be computed: planned with predicted ones, which takes no DFT.
UNRELAXED = [name for name in not_pinned() if name in RELAXED] if RELAXED else []
PREDICTED = [
    source | {"relax_volume": False} if source.get("name") in UNRELAXED else source
    for source in SOURCES
]


def enumeration_sizes(sources):
    """A line on how many crystals the prototypes give, for every source of them."""
    from dft2spectra.structures.prototypes import sizes_in_words  # slow to import

    return sizes_in_words(sources, LIMITS)


def show_sizes(sources):
    """Say how many crystals the prototypes give, before any of them is computed."""
    try:
        for line in enumeration_sizes(sources) if sources else []:
            logger.info(line)
    except ValueError as error:  # its parents are in a set that is still missing
        logger.info(f"The size of an enumeration is not known yet: {error}")


def renewed(wildcards):
    """Input function without files: a set that answers other settings is retrieved anew.

    The set itself decides, not the parameters that Snakemake records: they are the new ones also
    after a retrieval that failed, and a clone has none. Only a job that is needed is forced; a
    forced file in the settings of Snakemake would become a target.
    """
    source = REMOTE[wildcards.source]
    if workflow.is_main_process and answers_other_settings(
        source, PINNED, LIMITS["xc"]
    ):
        workflow.dag.forcefiles.add(pinned_path(source, PINNED))
    return []


def campaign():
    """Screened structures by id: read back while their sources are unchanged, else screened now.

    Known before any job runs, so that a dry-run shows every job; only where a database has to be
    asked first, the jobs are known when its pinned set is there. Jobs themselves, wherever they
    run, take the sets as they are and never ask.
    """
    if workflow.is_main_process and not DELETING:
        for name in CAMPAIGN_REMOTE:
            if name in RELAXED:
                checkpoints.relax_volumes.get(source=name)
            else:
                checkpoints.retrieve_structures.get(source=name)
    times = set_times()
    return computed(times) if config["computed_only"] else screened(times)


@cache
def computed(times):
    """Screened structures that have a record by now; tables and models do not wait for the rest."""
    folder = Path("results", config["run"])
    found = {
        name: structure
        for name, structure in screened(times).items()
        if find_record(folder, structure, GPAW, RECORD_STORE).state == "current"
    }
    if workflow.is_main_process:
        logger.info(
            f"computed_only: {len(found)} of {len(screened(times))} crystals have a record."
        )
    if not found:
        raise WorkflowError(
            "computed_only: no crystal of the campaign has a record yet; `snakemake all_hyperfine` "
            "computes them."
        )
    return found


def set_times():
    """Modification times of the pinned sets: a set that was retrieved anew is read anew."""
    paths = [pinned_path(source, PINNED) for source in CAMPAIGN_REMOTE.values()]
    return tuple(os.stat(path).st_mtime_ns for path in paths if os.path.exists(path))


@cache
def screened(times):
    """Screened structures by id, of the pinned sets as they are now."""
    started = time.monotonic()
    try:
        refuse_names(source_files(SOURCES)(None))
        accepted, rejected = planned(
            SOURCES,
            LIMITS,
            Path("results", config["run"], "structures"),
            logger.info if workflow.is_main_process else lambda line: None,
            config["structures"]["design"],
        )
    except ValueError as error:
        raise WorkflowError(str(error))
    if not accepted:
        reasons = "\n  ".join(
            f"{row['origin']}: {row['reason']}" for row in rejected[:10]
        )
        raise WorkflowError(
            f"No structure of structures.sources passes the screening, so there is nothing to "
            f"compute. {len(rejected)} rejected, the first:\n  {reasons}"
        )
    check_mixtures(accepted)
    seconds = time.monotonic() - started
    if workflow.is_main_process and seconds > 10:
        logger.info(
            f"Screening {len(accepted) + len(rejected)} structures took {seconds:.0f} s; "
            "`snakemake all_structures` does it once, until a source changes."
        )
    return {structure["structure_id"]: structure for structure in accepted}


def healed(pattern):
    """Input function without files: an output that a crash has emptied or cut off is made anew."""

    def check(wildcards):
        path = f"results/{config['run']}/{pattern}".format(**dict(wildcards.items()))
        if workflow.is_main_process and is_cut_off(path):
            logger.info(f"{path} is cut off and is written again.")
            workflow.dag.forcefiles.add(path)
        return []

    return check


def crystal(name):
    """A screened structure; a job, wherever it runs, reads its own file instead of everyone's.

    Ten thousand jobs that read ten thousand files each would bring a file server down.
    """
    path = Path("results", config["run"], "structures", "crystals", f"{name}.json")
    if not workflow.is_main_process and path.exists():
        return json.loads(path.read_text("utf-8"))
    return screened(set_times())[name]


def check_mixtures(structures):
    """Refuse a phase that is no crystal of the campaign, or any of several, before DFT begins."""
    for number, mixture in enumerate(config["mossbauer"]["mixtures"]):
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
                refuse(
                    ("mossbauer", "mixtures", number, "phases", place, "structure"),
                    f"allowed: one crystal of the campaign, {', '.join(names)}; in a config file "
                    "of your own, `mixtures: []` leaves out those of config.yaml",
                )


def calibration_ids():
    """Ids of the compounds with a measured value for the calibration, and of the reference."""
    campaign()
    return calibration_of(set_times())


@cache
def calibration_of(times):
    """As `calibration_ids`, of the pinned sets as they are now."""
    files = {
        os.path.realpath(path)
        for path in source_files(config["calibration"]["sources"])(None)
    }
    reference = config["calibration"]["reference"]
    chosen = {
        name: structure
        for name, structure in screened(times).items()
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
        refuse(
            ("calibration", "reference"),
            "allowed: the name of a crystal of calibration.sources that passes the screening, "
            f"{', '.join(names)}",
        )
    return sorted(chosen)


def records(wildcards):
    """Input function: the hyperfine records of all structures."""
    return expand("<results>/hyperfine/{structure}.json", structure=campaign())


def crystals(wildcards):
    """Input function: the crystals of all structures."""
    return expand(
        "<results>/structures/crystals/{structure}.json", structure=campaign()
    )


def as_json(*left_out):
    """Parameter function: the structure of a job as JSON, without the keys left out."""
    own_file_holds_it = {"measured", "provenance"} <= set(left_out)

    def content(wildcards):
        name = wildcards.structure
        structure = crystal(name) if own_file_holds_it else screened(set_times())[name]
        kept = {key: value for key, value in structure.items() if key not in left_out}
        return json.dumps(kept, indent=1, ensure_ascii=False)

    return content


@cache
def molecule_json(name):
    """A molecule of the campaign as JSON, as its jobs read it."""
    (entry,) = (entry for entry in config["molecules"] if entry["name"] == name)
    return json.dumps(read_molecule(entry), indent=1, ensure_ascii=False)


def labels(*splits):
    """Pattern of the label files of these splits, with the molecule left open."""
    return expand(
        "<results>/molecules/{{molecule}}/labels/{batch}.npz",
        batch=[name for name, frames in BATCHES.items() if frames["split"] in splits],
    )


def measured_bands(wildcards):
    """Input function: the file with measured bands of a molecule, if there is one."""
    path = measured_file(wildcards.molecule, config["infrared"]["measured"])
    return [] if path is None else str(path)


def growing(amount):
    """Resource function: the amount, more of it on every attempt."""
    return lambda wildcards, attempt: amount * attempt


def finished_report():
    """What is there of the report, so that a campaign that is not finished has one, too."""
    patterns = [
        re.sub(r"\{(?:[^{}]|\{[^{}]*\})*\}", "*", str(output))
        for rule in workflow.rules
        for output in rule.output
        if output.flags.get("report")
    ]
    return sorted({path for pattern in patterns for path in glob(pattern)})


def source_paths():
    """Files that jobs read and nobody but the user writes."""
    paths = [entry["file"] for entry in config["measurements"]]
    paths += [
        entry.get("velocity", {}).get("calibration") for entry in config["measurements"]
    ]
    paths += [config["structures"]["design"]]
    if MOSSBAUER:
        sources = SOURCES + config["candidates"]["sources"]
        paths += source_files(sources)(None)
    return [path for path in paths if path]


def only(keys, section):
    """Some keys of a section of the configuration, in its order."""
    return {key: value for key, value in config[section].items() if key in keys}


# Wrong names stop here; a job on a cluster node looks up only what it needs.
if workflow.is_main_process:
    if reason := from_future(source_paths()):
        raise WorkflowError(reason)
    if missing := not_pinned():
        # An unchanged campaign needs none of this; --forcerun mends what is damaged.
        logger.info(
            "To be retrieved before the crystals and their jobs are known:\n  "
            + "\n  ".join(missing.values())
        )
        show_sizes([REMOTE[name] for name in UNRELAXED])
    elif MOSSBAUER:
        calibration_of(set_times())
    if INFRARED:
        found = list(mistakes(config))
        if found:
            raise WorkflowError(message(config, found, CONFIG_FILES))


wildcard_constraints:
    source="|".join(map(re.escape, REMOTE)) or "(?!)",
    structure=r"[A-Za-z0-9.]+-\d+-[0-9a-f]{8}",
    target="|".join(config["learning"]["targets"]),
    mixture=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    molecule="|".join(re.escape(entry["name"]) for entry in config["molecules"]),
    batch=r"(test|validation|train)-\d{3}\d*",
    number=r"[1-9]\d*",
