"""What lies in the working folder takes the place of nothing that jobs use."""

import sys
from pathlib import Path

from campaign import Campaign

# Modules that jobs, Snakemake's own and the programs that rules start import.
NAMES = ("random", "json", "numpy", "ase", "dft2spectra")


def test_a_file_with_the_name_of_a_module(fresh: Campaign) -> None:
    loud = "raise SystemExit('taken from the working folder')\n"
    for name in NAMES:
        (fresh.folder / f"{name}.py").write_text(loud, encoding="utf-8")
    # As a user starts it; `python -m snakemake` would look here first.
    program = str(Path(sys.executable).with_name("snakemake"))
    command = [program, *fresh.command("--cores", "1", "all_structures", "all_hyperfine")[3:]]
    done = fresh.execute(command)
    assert done.returncode == 0, done.stdout[-5000:]
    assert len(list(fresh.folder.glob("results/stub/hyperfine/[!.]*.json"))) == 6
