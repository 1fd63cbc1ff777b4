"""What a schema cannot say about the configuration: entries that do not go together."""

import math
import os
from collections.abc import Iterator
from typing import Any

from dft2spectra.columns import FRACTION_TOLERANCE
from dft2spectra.config_messages import Finding, Key, nearest
from dft2spectra.structures import retrieval
from dft2spectra.structures.design import read_design
from dft2spectra.structures.listing import list_files


def semantic_errors(config: dict[str, Any]) -> Iterator[Finding]:
    """Mistakes in the sections of the branches that run; the others may hold anything."""
    if "mossbauer" in config["branches"]:
        yield from _mossbauer_errors(config)
    if "infrared" in config["branches"]:
        yield from _infrared_errors(config)


def _mossbauer_errors(config: dict[str, Any]) -> Iterator[Finding]:
    named: dict[str, dict[str, Any]] = {}
    for section in ("structures", "calibration", "candidates"):
        for number, source in enumerate(config[section]["sources"]):
            yield from _source_errors((section, "sources", number), source, named)
            yield from _parent_errors((section, "sources", number), source, config)
    yield from _folder_errors(config["structures"]["pinned"], named)
    if config["structures"]["design"] is not None:
        try:
            read_design(config["structures"]["design"])
        except ValueError as error:
            yield ("structures", "design"), str(error)
    yield from _element_errors(config["gpaw"]["efg_elements"])
    if config["gpaw"]["semicore_efg"] and config["gpaw"]["xc"] != "PBE":
        yield ("gpaw", "semicore_efg"), "allowed: false unless gpaw.xc is PBE"
    mossbauer = config["mossbauer"]
    for name in ("moment_direction", "gamma"):
        if isinstance(mossbauer[name], list) and not any(mossbauer[name]):
            yield ("mossbauer", name), "allowed: a direction, so not all three numbers zero"
    yield from _mixture_errors(mossbauer["mixtures"])
    yield from _measurement_errors(config["measurements"])
    rank_by, targets = config["candidates"]["rank_by"], config["learning"]["targets"]
    if config["candidates"]["sources"] and rank_by not in targets:
        yield (
            ("candidates", "rank_by"),
            f"allowed: the quantities in learning.targets, {', '.join(targets)}",
        )


def _infrared_errors(config: dict[str, Any]) -> Iterator[Finding]:
    # On file systems that do not tell Water from water, one would overwrite the other.
    names = [entry["name"].lower() for entry in config["molecules"]]
    for number, entry in enumerate(config["molecules"]):
        key: Key = ("molecules", number)
        if names[number] in names[:number]:
            yield (*key, "name"), "allowed: a name that no other molecule has"
        if "smiles" in entry and "file" in entry:
            yield key, "allowed: smiles or file, not both"
    model, sampling = config["density_model"], config["sampling"]
    if sampling["train"] < model["committee"]:
        yield (
            ("sampling", "train"),
            f"allowed: at least density_model.committee, {model['committee']}",
        )
    hottest = max(sampling["temperatures_k"])
    if config["dynamics"]["temperature_k"] > hottest:
        yield (
            ("dynamics", "temperature_k"),
            f"allowed: at most the highest of sampling.temperatures_k, {hottest:g} K; hotter"
            " geometries are none that the density model has learnt from",
        )
    for name in ("n_max", "l_max"):
        most = model["two_body"][name]
        if model["three_body"] and model["three_body"][name] > most:
            yield (
                ("density_model", "three_body", name),
                f"allowed: at most density_model.two_body.{name}, {most}",
            )
    yield from _time_errors(config["dynamics"], config["infrared"])


def _time_errors(dynamics: dict[str, Any], infrared: dict[str, Any]) -> Iterator[Finding]:
    """Lengths of time and frequencies that do not go together."""
    from dft2spectra.spectra.transform import CM1_FS, read_transform

    step_ps = dynamics["timestep_fs"] / 1e3
    if dynamics["spacing_ps"] < step_ps:
        yield ("dynamics", "spacing_ps"), "allowed: no shorter than dynamics.timestep_fs"
    transform = read_transform(infrared)
    window_ps = transform.correlation_fs / 1e3
    # The spectrum would be refused after days of dynamics.
    if dynamics["trajectory_ps"] <= window_ps + step_ps:
        yield (
            ("dynamics", "trajectory_ps"),
            f"allowed: longer than the {transform.window} window of {window_ps:.3g} ps that"
            f" infrared.resolution_cm1 = {transform.resolution_cm1:g} needs",
        )
    # The Nyquist frequency 1/2τ, which the correction of the Verlet shift maps to 1/πτ.
    radians = math.pi if infrared["undo_verlet_shift"] else 2.0
    highest = 1.0 / (radians * dynamics["timestep_fs"] * CM1_FS)
    if infrared["maximum_cm1"] >= highest:
        yield (
            ("infrared", "maximum_cm1"),
            f"allowed: below {highest:.0f} cm⁻¹, the end of a spectrum of steps of"
            f" {dynamics['timestep_fs']:g} fs",
        )


def _source_errors(
    key: Key, source: dict[str, Any], named: dict[str, dict[str, Any]]
) -> Iterator[Finding]:
    """Mistakes of a source that show without reading it; ``named`` grows with the databases."""
    for name in ("elements", "exclude_elements"):
        for number, symbol in enumerate(source.get(name, [])):
            if not _is_element(symbol):
                yield (*key, name, number), "allowed: a chemical symbol"
    if source["kind"] == "files":
        try:
            list_files(source)
        except ValueError as error:
            yield (*key, "path"), str(error).removeprefix("structures.sources: ")
    elif source["kind"] == "prototypes":
        from dft2spectra.structures import prototypes

        try:
            prototypes.check(source)
            prototypes.input_files(source | {"relax_volume": False}, {})
        except ValueError as error:
            yield key, str(error).removeprefix("structures.sources: ")
        if retrieval.is_relaxed(source) and "name" not in source:
            yield (*key, "name"), "missing key; the relaxed volumes are kept under this name"
            return
    if retrieval.is_remote(source):
        # On file systems that do not tell MP from mp, one set would overwrite the other.
        first = named.setdefault(source["name"].lower(), source)
        if retrieval.query(first) != retrieval.query(source):
            yield (
                (*key, "name"),
                "allowed: a name that no other database has, or the same settings as there",
            )
    if source["kind"] in retrieval.PROVIDERS:
        try:
            retrieval.check(source)
        except ValueError as error:
            yield key, str(error)


def _parent_errors(key: Key, source: dict[str, Any], config: dict[str, Any]) -> Iterator[Finding]:
    """Parents from a pinned set that neither a database of the configuration nor a file is."""
    sections = ("structures", "calibration", "candidates")
    everywhere = [one for section in sections for one in config[section]["sources"]]
    names = [one["name"] for one in everywhere if retrieval.is_remote(one) and "name" in one]
    for number, parent in enumerate(source.get("parents", [])):
        name = str(parent).removeprefix("pinned:")
        path = retrieval.pinned_path({"name": name}, config["structures"]["pinned"])
        if str(parent).startswith("pinned:") and name not in names and not os.path.exists(path):
            known = ", ".join(sorted(set(names))) or "none"
            yield (
                (*key, "parents", number),
                f"allowed: pinned: and the name of a database of the sources ({known}), or of a "
                f"set that is there ({path} is not){nearest(name, names)}",
            )


def _folder_errors(folder: str, named: dict[str, Any]) -> Iterator[Finding]:
    """A folder of pinned sets that cannot be one, if any set is asked for."""
    if not named:
        return
    place = os.path.abspath(folder)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        yield ("structures", "pinned"), f"allowed: a folder; {place} is none"
    elif not os.access(place, os.R_OK | os.X_OK):
        yield ("structures", "pinned"), f"allowed: a folder that can be read; {place} cannot"
    elif place != os.path.abspath(folder) and not os.access(place, os.W_OK):
        yield (
            ("structures", "pinned"),
            f"allowed: a folder that is there, or can be made; nothing can be written in {place}",
        )


def _is_element(symbol: str) -> bool:
    from ase.data import chemical_symbols

    return symbol in chemical_symbols[1:]


def _element_errors(elements: list[str]) -> Iterator[Finding]:
    for number, symbol in enumerate(elements):
        if symbol != "all" and not _is_element(symbol):
            yield ("gpaw", "efg_elements", number), "allowed: chemical symbols, or [all]"
    if "all" in elements and len(elements) > 1:
        yield ("gpaw", "efg_elements"), "allowed: [all] alone, or a list of symbols"


def _mixture_errors(mixtures: list[dict[str, Any]]) -> Iterator[Finding]:
    names = [mixture["name"] for mixture in mixtures]
    for number, mixture in enumerate(mixtures):
        key: Key = ("mossbauer", "mixtures", number)
        if mixture["name"] in names[:number]:
            yield (*key, "name"), "allowed: a name that no other mixture has"
        total = sum(phase["fraction"] for phase in mixture["phases"])
        if abs(total - 1.0) > FRACTION_TOLERANCE:
            yield (*key, "phases"), f"allowed: fractions that add up to 1; these give {total:g}"


def _measurement_errors(measurements: list[dict[str, Any]]) -> Iterator[Finding]:
    names = [measurement["name"] for measurement in measurements]
    for number, measurement in enumerate(measurements):
        key: Key = ("measurements", number)
        if measurement["name"] in names[:number]:
            yield (*key, "name"), "allowed: a name that no other measurement has"
        velocity = measurement.get("velocity", {})
        if "calibration" in velocity and "maximum_mm_s" in velocity:
            yield (*key, "velocity"), "allowed: calibration or maximum_mm_s, not both"
        for where, path in (
            ("file", measurement["file"]),
            ("velocity", velocity.get("calibration")),
        ):
            if path is not None and not os.path.isfile(path):
                yield (*key, where), f"allowed: a file that exists, seen from {os.getcwd()}"
