"""``python -m dft2spectra.measured``: the phases of one measured spectrum, without a campaign."""

import argparse
import logging
import os
import sys
from pathlib import Path

# Small arrays: threads below NumPy only get into each other's way. To be set before it is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd

from dft2spectra.measured.library import ROOM_TEMPERATURE_K, bundled_phases, choose
from dft2spectra.measured.measure import measure, write_measured
from dft2spectra.measured.spectrum import SpectrumError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dft2spectra.measured", description=__doc__)
    parser.add_argument("file", type=Path, help="spectrum: counts in channels, or with velocities")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--calibration", type=Path, help="spectrum of an α-Fe foil")
    scale.add_argument("--velocity-max", type=float, help="largest velocity (mm/s)")
    parser.add_argument("--folding-channel", type=float, help="from 0; found and fitted anyway")
    parser.add_argument("--waveform", choices=("triangle", "sine"), help="of the drive")
    parser.add_argument(
        "--sign", type=int, choices=(1, -1), help="1: most negative velocity in the folding channel"
    )
    parser.add_argument(
        "--source-shift", type=float, help="velocity at which α-Fe lies (mm/s), -0.109 for Rh"
    )
    parser.add_argument("--source-width", type=float, help="full width of its line (mm/s)")
    parser.add_argument(
        "--temperature", type=float, default=ROOM_TEMPERATURE_K, help="of the absorber (K)"
    )
    parser.add_argument(
        "--candidates", nargs="+", metavar="PHASE", help="names or formulas; all bundled phases"
    )
    return parser.parse_args()


def main() -> int:
    """Measure one spectrum; what cannot be used ends with the reason and status 1."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    velocity = {
        "calibration": arguments.calibration,
        "maximum_mm_s": arguments.velocity_max,
        "folding_channel": arguments.folding_channel,
        "waveform": arguments.waveform,
        "sign": arguments.sign,
    }
    source = {}
    if arguments.source_shift is not None:
        source["isomer_shift_mm_s"] = arguments.source_shift
    if arguments.source_width is not None:
        source["width_mm_s"] = arguments.source_width
    try:
        phases, left_out = bundled_phases(arguments.temperature)
        if arguments.candidates:
            phases = choose(phases, arguments.candidates)
        found = measure(arguments.file, phases, velocity, source)
        for name, reason in left_out.items():
            found.warnings.append(f"candidate {name} left out: {reason}")
        write_measured(
            found, arguments.output, arguments.file.stem, arguments.temperature, arguments.file
        )
    except (SpectrumError, ValueError) as error:
        print(f"{arguments.file}: {error}", file=sys.stderr)
        return 1
    table = pd.read_csv(arguments.output / "phases.csv")
    shown = [
        c for c in ("phase", "area_fraction", "area_fraction_error", "probability") if c in table
    ]
    print(table[[*shown, *(c for c in ("confusable_with",) if c in table)]].to_string(index=False))
    print(f"reduced χ² {found.result.found.chi2_reduced:.3f}; written to {arguments.output}")
    for warning in found.warnings:
        print(f"note: {warning}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
