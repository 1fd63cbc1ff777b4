"""Input functions: what the rules ask the campaign, and what only Snakemake can answer."""

import atexit
import gc
import json
import os
import re
import sys
from glob import glob
from inspect import signature
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

from dft2spectra.campaign import Campaign, CampaignError
from dft2spectra.campaign.sets import source_files
from dft2spectra.config import ConfigError, complete_config, over_file
from dft2spectra.crystals.reference import record_paths
from dft2spectra.disk import crowded, forbidden, from_future, refusal
from dft2spectra.finished import last_results, nothing_left
from dft2spectra.leftovers import remove_leftovers, results_with_leftovers
from dft2spectra.noted import NotedJobs
from dft2spectra.provenance import Stored
from dft2spectra.records import is_cut_off
from dft2spectra.structures.design import PLACE_KEYS
from dft2spectra.versions import method_versions

# Thousands of jobs are millions of objects that stay: looking through them for garbage less often
# saves a twentieth of the time of a dry-run.
gc.set_threshold(200_000, 50, 100)

# `python` in a shell command is the one that runs Snakemake, activated environment or not. A file
# in the working folder, such as random.py, takes the place of no module of its jobs.
os.environ.update(
    PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]),
    PYTHONSAFEPATH="1",
)

# The file beside the Snakefile comes first, then those of --configfile, as Snakemake merges them. For a
# module with a configuration of its own it reads none.
if f"{HOME}/config.yaml" in workflow.configfiles:
    over = [path for path in workflow.configfiles if path != f"{HOME}/config.yaml"]
else:
    config.update(over_file(workflow.source_path("../config.yaml"), config))
    over = []
CONFIG_FILES = [os.path.relpath(path) for path in [f"{HOME}/config.yaml", *over]]
try:
    config.update(complete_config(config, CONFIG_FILES, HOME))
except ConfigError as error:
    raise WorkflowError(str(error))

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

# A report shows what is there, and says what of it is outdated.
REPORTING = any(word.partition("=")[0] == "--report" for word in sys.argv)

try:
    campaign = Campaign(config, CONFIG_FILES, logger.info, workflow.is_main_process)
    if workflow.is_main_process:
        if reason := from_future(campaign.source_files):
            raise WorkflowError(reason)
        campaign.check()
except CampaignError as error:
    raise WorkflowError(str(error))
if REPORTING:
    config["outdated"] = campaign.outdated


def refuse_unwritable(folder):
    """Stop with what to do if nothing can be written in a folder."""
    if reason := refusal(folder):
        raise WorkflowError(reason)


def warn_if_unwritable(folder):
    """Say what to do if nothing can be written in a folder any more."""
    if reason := refusal(folder):
        print(f"\n{reason}", file=sys.stderr)


def renew(path):
    """Input function's answer without files: the job of this result runs, if it is needed at all.

    A forced file in the settings of Snakemake would become a target.
    """
    if path and workflow.is_main_process:
        workflow.dag.forcefiles.add(str(path))
    return []


def written(pattern, content):
    """Input function without files: a text that is not what the campaign says is written anew."""

    def check(wildcards):
        path = f"{campaign.results}/{pattern}".format(**dict(wildcards.items()))
        if not (workflow.is_main_process and os.path.exists(path)):
            return []
        if is_cut_off(path):
            logger.info(f"{path} is cut off and is written again.")
        elif Path(path).read_text("utf-8") == f"{content(wildcards)}\n":
            return []
        return renew(path)

    return check


def crystal_text(wildcards):
    """A crystal as its DFT job reads it."""
    return campaign.crystals.as_json(
        wildcards.structure, "measured", "provenance", *PLACE_KEYS
    )


def measured_text(wildcards):
    """A compound with its measured values, as the calibration reads it."""
    return campaign.crystals.as_json(wildcards.structure, "provenance", *PLACE_KEYS)


def molecule_text(wildcards):
    """A molecule as its relaxation reads it."""
    return campaign.molecules.as_json(wildcards.molecule)


def members_text(wildcards):
    """The structures of a bundle, one to a line."""
    return "\n".join(campaign.jobs.members(wildcards.bundle))


def current(name):
    """Input function without files: what the rule made with other settings or files is made anew.

    The results say themselves what they were made with; Snakemake's own notes may be lost.
    """

    def check(wildcards):
        outputs = filled(getattr(rules, name).output, wildcards)
        asking = workflow.is_main_process and not DELETING
        if not (asking and all(map(os.path.exists, outputs))):
            return []
        asked = {
            key: value(wildcards) if callable(value) else value
            for key, value in getattr(rules, name).params.items()
            if not (callable(value) and "output" in signature(value).parameters)
        }
        # The first input is this function.
        inputs = filled(getattr(rules, name).input[1:], wildcards)
        why = campaign.why_outdated(name, outputs, asked, inputs)
        return renew(outputs[0] if why and not REPORTING else None)

    return check


def filled(files, wildcards):
    """Paths of the files of a rule, its functions asked and its wildcards filled in."""
    found = []
    for file in files:
        answer = file(wildcards) if callable(file) else file
        for path in [answer] if isinstance(answer, str) else answer:
            path = str(path).replace("<results>", str(campaign.results))
            found += expand(path, **dict(wildcards.items())) if "{" in path else [path]
    return found


def stored(wildcards, output):
    """Param function for captions: what the result was made with, not what is asked for now."""
    return Stored(output[0])


def crystals_now():
    """The crystals of the campaign, when the sets that decide about them are there.

    Jobs themselves, wherever they run, take the sets as they are and never ask.
    """
    if workflow.is_main_process and not DELETING:
        for name in campaign.sets.deciding:
            if name in campaign.sets.relaxed:
                checkpoints.relax_volumes.get(source=name)
            else:
                checkpoints.retrieve_structures.get(source=name)
    return campaign.crystals


def asked():
    """Crystals that tables and models are made from, by id."""
    try:
        return crystals_now().asked
    except CampaignError as error:
        raise WorkflowError(str(error))


def calibration_ids():
    """Ids of the compounds with a measured value for the calibration, and of the reference."""
    try:
        return crystals_now().calibration
    except CampaignError as error:
        raise WorkflowError(str(error))


def records(wildcards):
    """The hyperfine records of all structures; whole paths, also in a rule of who imports these."""
    return [f"{campaign.results}/hyperfine/{name}.json" for name in asked()]


def reference_records():
    """Records of the reference set of crystals that the campaign does not hold."""
    return record_paths(campaign.reference, asked()) if campaign.reference else []


def crystals(wildcards):
    """The crystals of all structures."""
    return crystal_files(asked())


def crystal_files(names):
    """Files of crystals by their ids."""
    return [f"{campaign.results}/structures/crystals/{name}.json" for name in names]


def labels(*splits):
    """Pattern of the label files of these splits, with the molecule left open."""
    return expand(
        "<results>/molecules/{{molecule}}/labels/{batch}.npz",
        batch=campaign.molecules.batches_of(*splits),
    )


def job_of(wildcards):
    """Name of a DFT job: that of its bundle, or of its crystal."""
    return wildcards.bundle if campaign.bundled else wildcards.structure


def dft_minutes(wildcards, attempt):
    """Resource function: time for a DFT job."""
    return attempt * campaign.jobs.minutes(job_of(wildcards))


def dft_memory(wildcards, attempt):
    """Resource function: memory for a DFT job."""
    return attempt * campaign.jobs.memory_mb(job_of(wildcards))


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


def only(keys, section):
    """Some keys of a section of the configuration, in its order."""
    return {key: value for key, value in config[section].items() if key in keys}


wildcard_constraints:
    source="|".join(map(re.escape, campaign.sets.all)) or "(?!)",
    structure=r"[A-Za-z0-9.]+-\d+-[0-9a-f]{8}",
    bundle="[0-9a-f]{12}",
    target="|".join(config["learning"]["targets"]),
    mixture=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    molecule="|".join(map(re.escape, campaign.molecules.names)),
    batch=r"(test|validation|train)-\d{3}\d*",
    number=r"[1-9]\d*",
