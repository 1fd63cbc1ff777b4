"""The configuration with its defaults; every mistake named with key, file, value and remedy.

``config_schema.yaml`` holds types, limits, defaults, units and descriptions; this module turns what
it says into sentences, ``config_checks`` adds what a schema cannot say.
"""

import glob
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

from dft2spectra.config_checks import semantic_errors
from dft2spectra.config_messages import (
    SECRET,
    UNKNOWN,
    Finding,
    Key,
    correct,
    message,
    nearest,
)
from dft2spectra.config_text import UnreadableError, as_meant, read_all, read_written
from dft2spectra.terminal import harmless

KINDS = {
    "object": "a section of keys",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null (nothing)",
}
# Larger whole numbers are typing errors, of which some would fill the memory; seeds fit in.
LARGEST_WHOLE = 2**32 - 1
# Names become folders and parts of file names.
LONGEST_NAME = 100
# How structures are put into jobs is no setting of a calculation: it changes without a rerun.
JOB_KEYS = ("structures_per_job", "job_minutes")


class ConfigError(ValueError):
    """One or more impossible entries of the configuration, one line each."""


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of the configuration, with ``unit`` and ``description`` for every key."""
    text = resources.files("dft2spectra").joinpath("config_schema.yaml").read_text("utf-8")
    content = yaml.safe_load(text)
    _bound(content)
    return content


def _bound(node: Any) -> None:
    """Give whole numbers and names without a limit of their own one that is beyond all sense."""
    if isinstance(node, list):
        for item in node:
            _bound(item)
    if not isinstance(node, dict):
        return
    if node.get("type") == "integer":
        node.setdefault("maximum", LARGEST_WHOLE)
    if node.get("type") == "string" and "pattern" in node:
        # In Python $ is before a newline at the end, too.
        node["pattern"] = re.sub(r"\$$", r"\\Z", node["pattern"])
        if node["pattern"].endswith("\\Z"):
            node.setdefault("maxLength", LONGEST_NAME)
    for item in node.values():
        _bound(item)


def complete_config(
    config: dict[str, Any], files: Sequence[str] = (), home: str | None = None
) -> dict[str, Any]:
    """The configuration with all defaults, checked.

    Parameters
    ----------
    config
        What the config files and the command line gave, merged.
    files
        The config files in the order in which they were merged; only for the messages.
    home
        Folder of the workflow. A path is seen from the working folder and, if there is nothing,
        from here: so the bundled data are found from anywhere.

    Raises
    ------
    ConfigError
        A file is no text in UTF-8, gives a key twice, or has a number that YAML reads otherwise
        than a person. Or it lists every unknown key, wrong type and impossible value with key,
        file, value, what is allowed and, for names, the nearest known one.
    """
    try:
        written, wrong = read_all(files)
    except UnreadableError as error:
        raise ConfigError(str(error)) from error
    if wrong:
        raise ConfigError(correct(wrong))
    plain = as_meant(_plain(config), schema(), written, _chosen)
    found = [*_schema_errors(plain), *_not_finite(plain)]
    if not found:
        plain = _with_defaults(plain, schema())
        complete = _with_bundled(plain, schema(), home) if home else plain
        found = list(semantic_errors(complete))
    if found:
        raise ConfigError(message(plain, found, files))
    return complete


def read_config(files: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
    """The configuration of files laid over each other as Snakemake does it, complete and checked.

    Raises
    ------
    ConfigError
        As :func:`complete_config`; or a file cannot be read, or holds something else.
    """
    merged: dict[str, Any] = {}
    for path in files:
        try:
            read_written(path)
            with open(path, encoding="utf-8-sig") as handle:
                content = yaml.safe_load(handle)
        except UnreadableError as error:
            raise ConfigError(str(error)) from error
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConfigError(
                f"{path} cannot be read as a configuration: {harmless(str(error))}"
            ) from error
        if not isinstance(content, dict | None):
            raise ConfigError(f"{path} is no configuration: it holds no keys")
        _lay_over(merged, content or {})
    home = os.path.dirname(os.path.abspath(files[0])) if files else None
    return complete_config(merged, [str(path) for path in files], home)


def read_campaign(configfiles: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
    """The configuration of a campaign by what Snakemake is given, laid over ``config.yaml`` here.

    Raises
    ------
    ConfigError
        As :func:`read_config`; or no file is named and there is no ``config.yaml``.
    """
    base = [path for path in ("config.yaml",) if os.path.exists(path)]
    missing = f"There is no config.yaml in {os.getcwd()}: go where you start Snakemake."
    if not base and not configfiles:
        raise ConfigError(missing)
    try:
        return read_config([*base, *configfiles])
    except ConfigError as error:
        raise error if base else ConfigError(f"{error}\n{missing}") from error


def over_file(path: str | os.PathLike[str], config: dict[str, Any]) -> dict[str, Any]:
    """What a config file holds, with a configuration laid over it."""
    with open(path, encoding="utf-8") as handle:
        merged: dict[str, Any] = yaml.safe_load(handle)
    _lay_over(merged, _plain(config))
    return merged


def _lay_over(config: dict[str, Any], over: dict[str, Any]) -> None:
    """Sections are merged key by key, anything else is replaced."""
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            _lay_over(config[key], value)
        else:
            config[key] = value


def split_gpaw(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ``gpaw`` section in two: what a record depends on, and how jobs are cut."""
    jobs = {key: config["gpaw"][key] for key in JOB_KEYS}
    return {key: value for key, value in config["gpaw"].items() if key not in jobs}, jobs


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


def _chosen(node: dict[str, Any], value: Any) -> dict[str, Any]:
    """A schema node with its reference put in place; of alternatives, the one for a value."""
    node = _resolved(node)
    kinds = _kinds(node)
    kind = value.get("kind") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in kinds:
        return _resolved(node["oneOf"][kinds[kind]])
    if not kinds and isinstance(value, list) and "oneOf" in node:
        lists = [one for one in map(_resolved, node["oneOf"]) if one.get("type") == "array"]
        return lists[0] if lists else node
    return node


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
    if "properties" not in node:  # names are the user's, such as those of sublattices or elements
        own = node["additionalProperties"]
        return {key: _with_defaults(value[key], own) for key in sorted(value)}
    return {
        key: _with_defaults(value.get(key, deepcopy(child.get("default"))), child)
        for key, child in node["properties"].items()
        if key in value or "default" in child
    }


def _with_bundled(value: Any, node: dict[str, Any], home: str) -> Any:
    """``value`` with the paths that lead nowhere from here, but from the folder ``home``."""
    node = _resolved(node)
    if isinstance(value, list):
        return [_with_bundled(item, node.get("items", {}), home) for item in value]
    if isinstance(value, dict):
        if (kinds := _kinds(node)) and value.get("kind") in kinds:
            node = _resolved(node["oneOf"][kinds[value["kind"]]])
        known = node.get("properties", {})
        return {key: _with_bundled(item, known.get(key, {}), home) for key, item in value.items()}
    if node.get("format") == "path" and isinstance(value, str) and not _leads_somewhere(value):
        bundled = os.path.join(home, value)
        return bundled if _leads_somewhere(bundled) else value
    return value


def _leads_somewhere(path: str) -> bool:
    return os.path.lexists(path) or bool(glob.has_magic(path) and glob.glob(path))


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
                f"{UNKNOWN}{nearest(name, known)}; known here: {', '.join(known)}"
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
        yield key, f"allowed: {', '.join(map(str, limit))}{nearest(str(error.instance), limit)}"
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
            f"allowed: {', '.join(kinds)}{nearest(str(kind), list(kinds))}",
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
            hint = "; this is text: write the number in plain decimals and without quotes"
        return " or ".join(KINDS[kind] for kind in kinds) + unit + hint
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "greater than",
        "maximum": "at most",
        "minItems": "a list no shorter than",
        "maxItems": "a list no longer than",
        "minLength": "text no shorter than",
        "maxLength": "text no longer than",
        "pattern": "text of the form",
    }
    if rule == "uniqueItems":
        return "every entry once"
    if rule == "pattern":
        joined = re.sub(r"\s+", "-", str(value).strip())
        hint = f"; write {joined}" if joined != value and re.search(limit, joined) else ""
        form = re.sub(r"\\Z$", "$", limit)
        return f"text of the form {form}{hint}"
    return f"{words.get(rule, rule)} {limit}{unit}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _not_finite(value: Any, key: Key = ()) -> Iterator[Finding]:
    if isinstance(value, float) and not math.isfinite(value):
        yield key, "allowed: finite numbers"
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _not_finite(item, (*key, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _not_finite(item, (*key, number))
