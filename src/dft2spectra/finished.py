"""Whether a campaign is finished, by the files that its branches end in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def last_results(config: Mapping[str, Any]) -> list[Path]:
    """The files and folders that `snakemake all` ends in, of the branches that run.

    Parameters
    ----------
    config
        Complete configuration.
    """
    results = Path("results", config["run"])
    found: list[str] = []
    if "mossbauer" in config["branches"]:
        found += ["structures/index.csv", "hyperfine/summary.csv", "sites/sites.parquet"]
        found += ["validation/validation.csv", "mossbauer/structures"]
        found += [f"models/{name}/metrics.json" for name in config["learning"]["targets"]]
        found += ["candidates/ranked.csv"] if config["candidates"]["sources"] else []
        found += [
            f"mossbauer/mixtures/{one['name']}.png" for one in config["mossbauer"]["mixtures"]
        ]
        found += [f"measured/{one['name']}/fit.json" for one in config["measurements"]]
    if "infrared" in config["branches"]:
        for molecule in config["molecules"]:
            name = molecule["name"]
            found += [f"molecules/{name}/evaluation.json", f"infrared/{name}/spectrum.png"]
    return [results / name for name in found]


def nothing_left(config: Mapping[str, Any], why: str) -> str:
    """A sentence for a finished campaign in a folder that cannot be written, which ``why`` says."""
    return (
        f"Nothing to be done: results/{config['run']} has all that this configuration ends in. "
        "Whether a source has changed since was not looked up, because for that Snakemake has to "
        f"write here. {why}"
    )
