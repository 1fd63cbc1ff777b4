"""The configuration with its defaults; every mistake named with key, file, value and remedy.

``config_schema.yaml`` holds types, limits, defaults, units and descriptions; this module adds what
a schema cannot say and turns what it says into sentences.
"""

import difflib
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import cache
from importlib import resources
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from dft2spectra.structures import retrieval
from dft2spectra.structures.listing import list_files

KINDS = {
    "object": "a section of keys",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null (nothing)",
}
COMMAND_LINE = "on the command line (--config)"
FRACTION_TOLERANCE = 1e-3
# The value of an unknown key is not shown, it may be a secret.
UNKNOWN = "unknown key"
SECRET = re.compile("key|token|passw|secret", re.IGNORECASE)

Key = tuple[str | int, ...]
Finding = tuple[Key, str]


class ConfigError(ValueError):
    """One or more impossible entries of the configuration, one line each."""


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of the configuration, with ``unit`` and ``description`` for every key."""
    text = resources.files("dft2spectra").joinpath("config_schema.yaml").read_text("utf-8")
    return yaml.safe_load(text)


def complete_config(config: dict[str, Any], files: Sequence[str] = ()) -> dict[str, Any]:
    """The configuration with all defaults, checked.

    Parameters
    ----------
    config
        What the config files and the command line gave, merged.
    files
        The config files in the order in which they were merged; only for the messages.

    Raises
    ------
    ConfigError
        Lists every unknown key, wrong type and impossible value with key, file, value, what is
        allowed and, for names, the nearest known one.
    """
    plain = _plain(config)
    found = [*_schema_errors(plain), *_not_finite(plain)]
    if not found:
        plain = _with_defaults(plain, schema())
        found = list(_semantic_errors(plain))
    if found:
        raise ConfigError(message(plain, found, files))
    return plain


def dotted(key: Key) -> str:
    """Path of a key as a person writes it: ``structures.sources[0].path``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".") or "the configuration"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    """A schema node with its reference (``#/$defs/…``) put in place."""
    if "$ref" not in node:
        return node
    target = schema()["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return {**target, **{key: value for key, value in node.items() if key != "$ref"}}


def _kinds(node: dict[str, Any]) -> dict[str, int]:
    """Place of each alternative of a node by its ``kind``; empty if they have none."""
    alternatives = [_resolved(alternative) for alternative in node.get("oneOf", [])]
    kinds = [alternative.get("properties", {}).get("kind") for alternative in alternatives]
    return {kind["const"]: place for place, kind in enumerate(kinds) if kind}


def _with_defaults(value: Any, node: dict[str, Any]) -> Any:
    """``value`` with the defaults of the keys that it leaves out, keys in the order of the schema.

    The order is fixed because Snakemake compares parameters as they print.
    """
    node = _resolved(node)
    if isinstance(value, list):
        return [_with_defaults(item, node.get("items", {})) for item in value]
    if not isinstance(value, dict):
        return value
    if kinds := _kinds(node):
        node = _resolved(node["oneOf"][kinds[value["kind"]]])
    return {
        key: _with_defaults(value.get(key, deepcopy(child.get("default"))), child)
        for key, child in node["properties"].items()
        if key in value or "default" in child
    }


# --- what is wrong: pairs of a key and a sentence ------------------------------------------------


def _schema_errors(config: dict[str, Any]) -> Iterator[Finding]:
    errors = Draft202012Validator(schema()).iter_errors(config)
    yield from dict.fromkeys(finding for error in errors for finding in _sentence(error))


def _sentence(error: ValidationError) -> Iterator[Finding]:
    """A schema violation in words; one finding per unknown or missing key."""
    key, rule, limit = tuple(error.absolute_path), error.validator, error.validator_value
    if rule == "additionalProperties":
        known = list(error.schema["properties"])
        for name in sorted(set(error.instance) - set(known)):
            secret = (
                "; keys of databases belong into the environment (MP_API_KEY), never into a config "
                "file"
            )
            yield (
                (*key, name),
                f"{UNKNOWN}{_nearest(name, known)}; known here: {', '.join(known)}"
                f"{secret if SECRET.search(name) else ''}",
            )
    elif rule == "required":
        for name in sorted(set(limit) - set(error.instance)):
            yield (*key, name), "missing key; it has no default"
    elif rule == "oneOf" and (kinds := _kinds(error.schema)):
        yield from _of_kind(error, kinds)
    elif rule == "oneOf":
        yield key, "allowed: powder, or a direction as three numbers [x, y, z]"
    elif rule == "enum":
        yield key, f"allowed: {', '.join(map(str, limit))}{_nearest(str(error.instance), limit)}"
    else:
        yield key, f"allowed: {_allowed(error.schema, rule, limit, error.instance)}"


def _of_kind(error: ValidationError, kinds: dict[str, int]) -> Iterator[Finding]:
    """What is wrong with a mapping of the kind that it says it is."""
    if not isinstance(error.instance, dict) or "kind" not in error.instance:
        return  # said by the type or by the missing key
    kind = error.instance["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        yield (
            (*error.absolute_path, "kind"),
            f"allowed: {', '.join(kinds)}{_nearest(str(kind), list(kinds))}",
        )
        return
    for cause in error.context or []:
        if cause.schema_path[0] == kinds[kind]:
            yield from _sentence(cause)


def _allowed(node: dict[str, Any], rule: str, limit: Any, value: Any) -> str:
    unit = f" ({node['unit']})" if "unit" in node else ""
    if rule == "type":
        kinds = [limit] if isinstance(limit, str) else limit
        hint = ""
        if isinstance(value, str) and {"number", "integer"} & set(kinds) and _is_number(value):
            hint = (
                "; this is text: in YAML write small numbers as 1.0e-5; numbers of a section given "
                "on the command line arrive as text, so put them into a file for --configfile"
            )
        return " or ".join(KINDS[kind] for kind in kinds) + unit + hint
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "greater than",
        "maximum": "at most",
        "minItems": "a list no shorter than",
        "maxItems": "a list no longer than",
        "minLength": "text no shorter than",
        "pattern": "text of the form",
    }
    if rule == "uniqueItems":
        return "every entry once"
    return f"{words.get(rule, rule)} {limit}{unit}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _nearest(name: str, known: Sequence[str]) -> str:
    names = [str(item) for item in known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    close += [item for item in names if name and name in item]
    return f"; did you mean '{close[0]}'?" if close else ""


def _not_finite(value: Any, key: Key = ()) -> Iterator[Finding]:
    if isinstance(value, float) and not math.isfinite(value):
        yield key, "allowed: finite numbers"
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _not_finite(item, (*key, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _not_finite(item, (*key, number))


def _semantic_errors(config: dict[str, Any]) -> Iterator[Finding]:
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
    yield from _element_errors(config["gpaw"]["efg_elements"])
    if config["gpaw"]["semicore_efg"] and config["gpaw"]["xc"] != "PBE":
        yield ("gpaw", "semicore_efg"), "allowed: false unless gpaw.xc is PBE"
    mossbauer = config["mossbauer"]
    for name in ("moment_direction", "gamma"):
        if isinstance(mossbauer[name], list) and not any(mossbauer[name]):
            yield ("mossbauer", name), "allowed: a direction, so not all three numbers zero"
    yield from _mixture_errors(mossbauer["mixtures"])
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
                f"set that is there ({path} is not){_nearest(name, names)}",
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


# --- where it is, and the whole message -----------------------------------------------------------


def _look_up(config: Any, key: Key) -> Any:
    for part in key:
        config = config[part]
    return config


def _origin(key: Key, config: dict[str, Any], files: Sequence[str]) -> str:
    """The last file whose value at ``key`` is the one in force; else the command line."""
    while key:
        try:
            value = _look_up(config, key)
            break
        except (KeyError, IndexError, TypeError):
            key = key[:-1]  # a missing key belongs where its section is
    else:
        return f"in {files[-1]}" if files else COMMAND_LINE
    for path in reversed(files):
        with open(path, encoding="utf-8") as handle:
            content = yaml.safe_load(handle)
        try:
            found = _look_up(content, key)
        except (KeyError, IndexError, TypeError):
            continue
        # A section is merged from several files; a value comes from one.
        if isinstance(found, dict) or found == value or _both_nan(found, value):
            return f"in {path}"
    return COMMAND_LINE


def _both_nan(first: Any, second: Any) -> bool:
    return first != first and second != second


def _public(value: Any, key: Key) -> Any:
    """The value as it may be shown: addresses without what could be a password or a key."""
    if isinstance(value, dict):
        return {name: _public(item, (name,)) for name, item in value.items()}
    if isinstance(value, list):
        return [_public(item, ()) for item in value]
    if isinstance(value, str) and ("://" in value or key == ("base_url",)):
        return re.sub(
            r"[?#].*", "?...", re.sub(r"(^|//)[^/?#]*@", r"\1...@", value), flags=re.DOTALL
        )
    return value


def message(config: dict[str, Any], found: Sequence[Finding], files: Sequence[str] = ()) -> str:
    """One line for each finding: key, value, the file that it stands in, and what is allowed.

    Parameters
    ----------
    config
        The merged configuration.
    found
        Pairs of a key, as a tuple of its parts, and a sentence.
    files
        As in :func:`complete_config`.
    """
    lines = []
    for key, sentence in found:
        try:
            value = json.dumps(_public(_look_up(config, key), key[-1:]), ensure_ascii=False)
            shown = f" = {value if len(value) <= 120 else value[:117] + '...'}"
        except (KeyError, IndexError, TypeError):
            shown = ""
        if sentence.startswith(UNKNOWN):
            shown = ""
        lines.append(f"{dotted(key)}{shown} {_origin(key, config, files)}: {sentence}")
    count = "one entry" if len(lines) == 1 else f"{len(lines)} entries"
    return f"The configuration has {count} to correct:\n  " + "\n  ".join(lines)
