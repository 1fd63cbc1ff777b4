"""Figure of an infrared spectrum over the sticks of harmonic and measured bands.

Wavenumbers run from high to low, as chemists print measured spectra.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from dft2spectra.columns import Band
from dft2spectra.figures import new_figure, save_figure
from dft2spectra.spectra.dipole import Spectrum
from dft2spectra.spectra.figures import COLOURS, SPECTRUM_STYLE
from dft2spectra.spectra.lineshape import absorption

SIMULATED, HARMONIC, MEASURED, RELATIVE = "black", COLOURS[0], COLOURS[1], COLOURS[4]
EQUAL = COLOURS[2]
# Labels stand at least this part of the axis apart; of two nearer ones, the stronger band has its.
LABEL_DISTANCE = 0.017


def draw_infrared(
    png: str | Path,
    spectrum: Spectrum,
    bands: Sequence[Mapping[Band, Any]],
    harmonic: Sequence[Mapping[str, Any]],
    measured: Sequence[Mapping[str, Any]],
    title: str,
) -> None:
    """Write the figure to ``png`` and, beside it, as SVG.

    Above: the mean spectrum with a band of one standard error, each trajectory faint, and the
    harmonic modes with the same resolution, in the same unit. Below: harmonic sticks upwards and
    measured ones downwards in km/mol. Measured relative intensities are drawn with their strongest
    as long as the strongest harmonic stick; bands of unknown intensity are marked at the axis.

    Parameters
    ----------
    png
        Path of the figure.
    spectrum, bands
        Spectrum and its bands, which are labelled with their positions.
    harmonic
        Rows with ``frequency_cm1`` and ``intensity_km_mol``.
    measured
        Rows with ``position_cm1`` and, where known, ``intensity_km_mol`` or
        ``relative_intensity``.
    title
        Name of the molecule.
    """
    with mpl.rc_context(SPECTRUM_STYLE):
        figure, (main, sticks) = new_figure(
            7.0, 4.8, nrows=2, sharex=True, height_ratios=(3.0, 1.4)
        )
        curve = _broadened(spectrum, harmonic)
        _draw_spectrum(main, spectrum, curve)
        _label_bands(main, bands, spectrum, np.maximum(spectrum.absorption, curve))
        _draw_sticks(sticks, harmonic, measured)
        for axes in (main, sticks):
            axes.minorticks_on()
            axes.tick_params(which="both", top=True, right=True)
        main.set_ylabel("Molar absorption (km mol⁻¹ / cm⁻¹)")
        sticks.set_ylabel("Intensity\n(km mol⁻¹)")
        sticks.set_xlabel("Wavenumber (cm⁻¹)")
        # High to low.
        sticks.set_xlim(spectrum.transform.maximum_cm1, 0.0)
        count, durations = len(spectrum.durations_ps), spectrum.durations_ps
        length = f"{min(durations):.3g}"
        if max(durations) - min(durations) > 0.005 * max(durations):
            length += f"–{max(durations):.3g}"
        number = "1 trajectory" if count == 1 else f"{count} trajectories"
        subtitle = f"{number} of {length} ps at {spectrum.temperature_k:g} K"
        figure.suptitle(title, fontsize=11.0)
        main.set_title(f"{subtitle} · {spectrum.transform.description}", fontsize=7.0)
        main.legend(fontsize=7.0, loc="best")
        sticks.legend(fontsize=7.0, loc="upper center", ncols=3)
    save_figure(figure, png)


def _broadened(spectrum: Spectrum, harmonic: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Harmonic modes as Gaussians of the spectrum's resolution, km/mol per cm⁻¹."""
    width = spectrum.transform.resolution_cm1
    return absorption(
        spectrum.wavenumber_cm1,
        [row["frequency_cm1"] for row in harmonic],
        [row["intensity_km_mol"] for row in harmonic],
        1e-3 * width,  # a Voigt profile needs some Lorentzian width
        width,
    )


def _draw_spectrum(axes: Axes, spectrum: Spectrum, harmonic: np.ndarray) -> None:
    x, mean, error = spectrum.wavenumber_cm1, spectrum.absorption, spectrum.standard_error
    top = np.maximum(mean, harmonic)
    name = "dynamics"
    if len(spectrum.trajectories) > 1:
        for number, own in enumerate(spectrum.trajectories):
            label = "each trajectory" if number == 0 else None
            axes.plot(x, own, color="0.6", linewidth=0.4, alpha=0.5, label=label)
        axes.fill_between(
            x, mean - error, mean + error, color=COLOURS[5], alpha=0.45, lw=0, label="± 1 s.e."
        )
        top = np.maximum(top, mean + error)
        name = "dynamics, mean"
    axes.plot(x, mean, color=SIMULATED, linewidth=1.0, label=name)
    if spectrum.equipartition is not None:
        equal = spectrum.equipartition.mean(axis=0)
        top = np.maximum(top, equal)
        axes.plot(x, equal, color=EQUAL, linewidth=1.0, label="dynamics, every mode at kT")
    axes.plot(x, harmonic, color=HARMONIC, linewidth=0.8, linestyle="--", label="harmonic")
    axes.set_ylim(-0.03 * top.max(), (1.2 * top.max()) or 1.0)


def _label_bands(
    axes: Axes, bands: Sequence[Mapping[Band, Any]], spectrum: Spectrum, top: np.ndarray
) -> None:
    """Positions above the curves, as far as there is room."""
    x, transform = spectrum.wavenumber_cm1, spectrum.transform
    labelled: list[float] = []
    for band in sorted(bands, key=lambda band: -band[Band.INTENSITY]):
        position = band[Band.POSITION]
        if any(abs(position - p) < LABEL_DISTANCE * transform.maximum_cm1 for p in labelled):
            continue
        labelled.append(position)
        near = np.abs(x - position) < LABEL_DISTANCE * transform.maximum_cm1
        axes.annotate(
            f"{position:.0f}",
            (position, float(top[near].max())),
            xytext=(0.0, 3.0),
            textcoords="offset points",
            ha="center",
            va="bottom",
            rotation=90,
            fontsize=6.0,
            color=SIMULATED,
        )


def _draw_sticks(
    axes: Axes, harmonic: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]]
) -> None:
    positions = [row["frequency_cm1"] for row in harmonic]
    heights = [row["intensity_km_mol"] for row in harmonic]
    tallest = max(heights, default=0.0) or 1.0
    axes.vlines(positions, 0.0, heights, color=HARMONIC, linewidth=1.4, label="harmonic")
    relative = max((row.get("relative_intensity") or 0.0 for row in measured), default=0.0)
    known, scaled, unknown = [], [], []
    for row in measured:
        position = float(row["position_cm1"])
        if row.get("intensity_km_mol") is not None:
            known.append((position, -float(row["intensity_km_mol"])))
        elif row.get("relative_intensity") is not None and relative > 0.0:
            scaled.append((position, -float(row["relative_intensity"]) / relative * tallest))
        else:
            unknown.append(position)
    for sticks, colour, label in (
        (known, MEASURED, "measured"),
        (scaled, RELATIVE, "measured, relative"),
    ):
        if sticks:
            x, depth = zip(*sticks, strict=True)
            axes.vlines(x, 0.0, depth, color=colour, linewidth=1.4, label=label)
    if unknown:
        axes.plot(
            unknown,
            [-0.06 * tallest] * len(unknown),
            "|",
            color=MEASURED,
            markersize=7.0,
            label="measured, intensity unknown",
        )
    axes.axhline(0.0, color="black", linewidth=0.6)
    deepest = min((depth for _, depth in known + scaled), default=-0.15 * tallest)
    axes.set_ylim(1.2 * min(deepest, -0.15 * tallest), 1.5 * tallest)
    # The direction tells harmonic from measured; intensities have no sign.
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
