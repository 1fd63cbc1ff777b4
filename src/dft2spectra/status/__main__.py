"""``python -m dft2spectra.status``: how far a campaign is, also while Snakemake runs.

Reads the results and writes nothing. What counts is what lies there: whether an edited value makes
a stage run again is what ``snakemake -n`` says; records of crystals and labels of molecules with
other settings are counted as waiting.
"""

import argparse
import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dft2spectra.config import ConfigError, read_campaign, split_gpaw
from dft2spectra.status.crystals import crystals_status
from dft2spectra.status.molecules import molecules_status
from dft2spectra.status.slurm import queue_status
from dft2spectra.status.text import as_text


def campaign_status(config: dict[str, Any]) -> dict[str, Any]:
    """State of a campaign; see ``docs/status.md`` for the keys.

    Parameters
    ----------
    config
        The complete configuration. Its results are looked for in the working folder.

    Raises
    ------
    FileNotFoundError
        There are no results.
    """
    results = Path("results", config["run"])
    if not results.is_dir():
        raise FileNotFoundError(
            f"{results} is not there (seen from {Path.cwd()}): start the campaign, or name its "
            "configuration with --configfile"
        )
    state: dict[str, Any] = {
        "run": config["run"],
        "results": str(results),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if "mossbauer" in config["branches"]:
        try:
            state["crystals"] = crystals_status(results, split_gpaw(config)[0])
        except FileNotFoundError as error:
            state["crystals"] = {"message": str(error)}
    if "infrared" in config["branches"]:
        state["molecules"] = molecules_status(results, config)
    return state | {"queue": queue_status()}


def main() -> None:
    """Show the state of a campaign; exit code 1 with a message if there is nothing to show."""
    parser = argparse.ArgumentParser(prog="python -m dft2spectra.status", description=__doc__)
    parser.add_argument(
        "--configfile",
        nargs="+",
        type=Path,
        default=[],
        help="as for Snakemake; laid over config.yaml of the working folder",
    )
    parser.add_argument("--json", action="store_true", help="all of it, for programs")
    arguments = parser.parse_args()
    # A reader such as head that has seen enough ends this program without a word.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        state = campaign_status(read_campaign(arguments.configfile))
    except (ConfigError, FileNotFoundError) as error:
        sys.exit(str(error))
    print(json.dumps(state, indent=1, ensure_ascii=False) if arguments.json else as_text(state))


if __name__ == "__main__":
    main()
