"""Rules and scripts agree: what a script reads is declared, what is named is read, names match."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.api import SnakemakeApi
from snakemake.settings.types import OutputSettings, Quietness, ResourceSettings

from dft2spectra.config import read_config
from dft2spectra.finished import last_results

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
LONGEST_SCRIPT = 15
# Parameters that a result depends on, or a caption prints, beside what its script reads.
NOT_READ = {"method", "stored", "thermostat", "constant_energy"}
# Rules with results of their own that say what they answer, or that run whenever they are asked.
WITHOUT_PROVENANCE = {"retrieve_structures", "relax_volumes", "screen_predicted", "plan"}
RULES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]
# What rules may ask the object `workflow`.
PUBLIC = {"basedir", "current_basedir", "source_path", "configfiles", "is_main_process", "rules"}
# And what there is no public way for: file, name and reason.
EXCEPTIONS = {
    ("common.smk", "dag.forcefiles.add"): (
        "A job whose result is there, but no longer good by what the file itself says, has to run, "
        "in a dry-run too. Parameters and inputs that say so are recorded and would make it run "
        "once more the next time, and are forgotten with the folder .snakemake; to remove the file "
        "first would lose a set that stays in use until its successor is there."
    ),
}
# DFT jobs are sized by what they compute.
OF_IRON = SimpleNamespace(structure="Fe-229-b24716a3")
KINDS = ("input", "output", "params", "wildcards", "log")


@pytest.fixture(scope="module")
def everything() -> Iterator[dict[str, Any]]:
    """All rules of the workflow as Snakemake parsed them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        # The rules change it for their jobs; tests that come after are not meant.
        patch.setattr(os, "environ", os.environ.copy())
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
            loaded = api.workflow(
                resource_settings=ResourceSettings(cores=1), snakefile=ROOT / "Snakefile"
            )
            yield {rule.name: rule for rule in loaded._workflow.rules}


@pytest.fixture(scope="module")
def rules(everything: dict[str, Any]) -> dict[str, Any]:
    """The rules without the named stops."""
    return {name: rule for name, rule in everything.items() if not name.startswith("all")}


def read_by(script: Path) -> dict[str, set[str]]:
    """Names that a script reads of each kind: ``snakemake.input.sites`` → input: sites."""
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute)):
            continue
        kind = node.value
        if isinstance(kind.value, ast.Name) and kind.value.id == "snakemake":
            found[kind.attr].add(node.attr)
    return found


def names(items: Any) -> set[str]:
    """Names of the named items of a rule's input, output or params."""
    return set(dict(items._get_names() if hasattr(items, "_get_names") else items._names))


def test_one_script_per_rule(rules: dict[str, Any]) -> None:
    with_script = {name for name, rule in rules.items() if rule.script}
    assert {path.stem for path in SCRIPTS} == with_script
    shell = set(rules) - with_script
    assert shell == {"write_crystal", "write_measured", "write_molecule", "compute_hyperfine"}


def test_names_agree(rules: dict[str, Any]) -> None:
    for name, rule in rules.items():
        assert not rule.script or Path(rule.script).name == f"{name}.py"
        folder = re.compile(rf"results/\w+/(logs|benchmarks)/{name}(/|\.)")
        assert folder.match(str(rule.log[0])), f"log of {name}"
        assert folder.match(str(rule.benchmark)), f"benchmark of {name}"


def test_every_rule_is_described_and_sized(rules: dict[str, Any]) -> None:
    for name, rule in rules.items():
        assert (rule.docstring or "").strip(), f"{name} has no docstring"
        for resource in ("mem_mb", "runtime"):
            amount = rule.resources[resource]._value  # the function in the rule
            few, more = (amount(OF_IRON, attempt=attempt) for attempt in (1, 2))
            assert more > few > 0, f"{resource} of {name}"


def test_every_rule_that_computes_has_a_method_version(rules: dict[str, Any]) -> None:
    for name, rule in rules.items():
        if not name.startswith("write_"):
            versions = rule.params["method"] if "method" in names(rule.params) else {}
            assert versions, f"{name} has no method version among its params"
            assert all(isinstance(version, int) for version in versions.values())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_is_read_is_declared_and_what_is_named_is_read(
    rules: dict[str, Any], script: Path
) -> None:
    rule, read = rules[script.stem], read_by(script)
    assert read["input"] == names(rule.input)
    assert read["output"] == names(rule.output)  # outputs without a name are by-products
    assert read["params"] == names(rule.params) - NOT_READ
    assert read["wildcards"] <= set(rule.wildcard_names)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_is_glue(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) <= LONGEST_SCRIPT
    assert "\njob = Job(snakemake)\n" in text, "output does not go to the rule's log"
    says_so = text.endswith("\njob.write_provenance()\n")
    assert says_so == (script.stem not in WITHOUT_PROVENANCE)
    logic = (ast.If, ast.For, ast.While, ast.FunctionDef, ast.Try, ast.ClassDef)
    assert not any(isinstance(node, logic) for node in ast.walk(ast.parse(text)))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_results_are_asked_what_they_were_made_with(rules: dict[str, Any], script: Path) -> None:
    rule = rules[script.stem]
    first = rule.input[0] if len(rule.input) else None
    name = getattr(first, "callable", first)
    asked = getattr(name, "__qualname__", "") == "current.<locals>.check"
    assert asked == (script.stem not in WITHOUT_PROVENANCE)
    if asked:
        assert name.__closure__[0].cell_contents == script.stem
        assert names(rule.params) == {key for key, _ in rule.params.items()}
        assert len(names(rule.params)) == len(rule.params), "a parameter without a name"
    printed = any(output.flags.get("report") for output in rule.output)
    assert ("stored" in names(rule.params)) == printed


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_reads_nothing_behind_the_back_of_its_rule(script: Path) -> None:
    """What a rule does not name as a parameter makes nothing run again."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "snakemake"
    }
    assert read <= {*KINDS, "threads"}


def code(rules_file: Path) -> str:
    """A file of rules without comments and texts of several lines."""
    text = re.sub(r'"""(.|\n)*?"""', "", rules_file.read_text(encoding="utf-8"))
    return re.sub(r"(?m)(^|  )#.*$", "", text)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_rules_use_no_private_name_of_snakemake(path: Path) -> None:
    text = code(path)
    for name in re.findall(r"(?<![/\w])workflow\.([\w.]+)", text):
        assert name in PUBLIC or (path.name, name) in EXCEPTIONS, f"workflow.{name}"
    for (file, name), _ in EXCEPTIONS.items():
        assert text.count(name) == (file == path.name), "once, in one place"
    assert not re.search(r"[\w)\]]\._\w", text), "an attribute that begins with an underscore"
    assert not re.search(r"\b(persistence|_settings|snakemake\.config)\b", text)


def test_library_knows_nothing_of_snakemake() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            assert not any(name.split(".")[0] == "snakemake" for name in imported), path


def test_every_figure_and_every_caption_meet(rules: dict[str, Any]) -> None:
    captions = {path.stem for path in (ROOT / "report").glob("*.rst")} - {"workflow"}
    used = set()
    for name, rule in rules.items():
        for output in rule.output:
            report = output.flags.get("report")
            if str(output).endswith(".png"):
                assert report, f"{output} of {name} is not in the report"
            if report:
                used.add(Path(str(report.caption)).stem)
    assert used == captions
    for caption in captions:
        text = (ROOT / "report" / f"{caption}.rst").read_text(encoding="utf-8")
        assert "snakemake.params.stored." in text, f"{caption}.rst prints no setting"
        now = re.findall(r"snakemake\.(?!params\.stored\.|wildcards\.)\w+", text)
        assert not now, f"{caption}.rst prints what is asked for now, not what was"


def test_programs_are_not_looked_for_in_the_working_folder(rules: dict[str, Any]) -> None:
    commands = [rule.shellcmd for rule in rules.values() if rule.shellcmd]
    started = [command for command in commands if "python" in command]
    assert started
    for command in started:
        assert command.count("python -P -m ") == command.count("python"), command


def test_last_results_are_those_of_the_default_target(everything: dict[str, Any]) -> None:
    asked = {str(path) for path in everything["all"].input if not callable(path)}
    config = read_config([ROOT / "config.yaml"])
    ends = {str(path) for path in last_results(config)}
    assert ends <= asked
    for name in ("sites", "validation", "models", "mossbauer", "measured", "infrared"):
        stop = {str(path) for path in everything[f"all_{name}"].input if not callable(path)}
        assert stop & ends or not stop, f"all_{name} is not waited for"
