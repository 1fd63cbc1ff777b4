"""One set of versions: the lock, what it was made from, the conda files and the package agree."""

import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVS = ROOT / "envs"
# The same program under the name of each registry.
CONDA_TO_PYPI = {"matplotlib-base": "matplotlib", "py-xgboost-cpu": "xgboost-cpu"}
NOT_LOCKED = {"python", "pip"}


def locked() -> dict[str, str]:
    """Version of every package in the lock; of two, that of the older Python, which is tested."""
    text = (ENVS / "lock.txt").read_text(encoding="utf-8")
    return dict(reversed(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, re.MULTILINE)))


def requirement_names(lines: list[str]) -> set[str]:
    """Names of packages, without versions."""
    return {re.split(r"[<>=~!\[; ]", line.strip())[0] for line in lines if line.strip()}


def test_lock_has_hashes_and_no_addresses() -> None:
    text = (ENVS / "lock.txt").read_text(encoding="utf-8")
    assert len(locked()) > 80
    for entry in re.split(r"\n(?=[a-z0-9])", text):
        assert "--hash=sha256:" in entry, entry.splitlines()[0]
    for forbidden in ("://", "/", "--index", "--find-links", "--extra"):
        assert forbidden not in text


def test_lock_holds_all_requirements() -> None:
    asked = requirement_names((ENVS / "requirements.in").read_text(encoding="utf-8").splitlines())
    assert asked <= set(locked())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert requirement_names(project["dependencies"]) <= asked


def test_what_gpaw_is_built_with_is_locked() -> None:
    """The packages that the Makefile installs before the rest."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"\^\(([a-z0-9|]+)\)==/", makefile)
    assert found
    assert set(found[1].split("|")) == {
        "setuptools",
        "wheel",
        "numpy",
        "scipy",
        "pyfftw",
        "pybind11",
    }
    assert set(found[1].split("|")) <= set(locked())


@pytest.mark.parametrize("path", sorted(ENVS.glob("*.yaml")), ids=lambda path: path.stem)
def test_conda_pins_agree_with_the_lock(path: Path) -> None:
    dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    pins = dict(re.split(r" *=+ *", line) for line in dependencies if "=" in line)
    assert len(pins) >= 8
    for name, version in pins.items():
        if name not in NOT_LOCKED:
            assert version == locked()[CONDA_TO_PYPI.get(name, name)], name


def test_conda_files_are_those_of_the_rules() -> None:
    used = set()
    for rules in (ROOT / "rules").glob("*.smk"):
        used |= set(re.findall(r'"\.\./envs/(\w+)\.yaml"', rules.read_text(encoding="utf-8")))
    assert used == {path.stem for path in ENVS.glob("*.yaml")}
    assert used == {path.name.split(".")[0] for path in ENVS.glob("*.post-deploy.sh")}


@pytest.mark.parametrize(
    ("version", "fits"), [((3, 10, 9), False), ((3, 11, 0), True), ((3, 14, 0), False)]
)
def test_wrong_python_is_named(
    version: tuple[int, ...], fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = runpy.run_path(str(ENVS / "check_machine.py"))
    monkeypatch.setattr(sys, "version_info", version)
    sentences = [sentence for sentence in check["missing"]() if sentence.startswith("Python ")]
    assert bool(sentences) != fits
    if sentences:
        assert ".".join(map(str, version)) in sentences[0]
        assert "make PYTHON=" in sentences[0]


def test_what_gpaw_was_built_with_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, with what a missing piece costs; what a record notes agrees."""
    from dft2spectra.crystals.gpaw_runner import versions

    said = runpy.run_path(str(ENVS / "say_gpaw_build.py"))
    build = versions()["gpaw_build"]
    names = {name.lower(): symbol for name, symbol, _ in said["PIECES"]}
    assert set(names) == set(build)
    assert {name: hasattr(said["cgpaw"], symbol) for name, symbol in names.items()} == build
    there, _, lacking = said["sentence"]().partition(", without ")
    for name, _, cost in said["PIECES"]:
        assert (name in there) == build[name.lower()]
        assert (f"{name} ({cost})" in lacking) != build[name.lower()]

    monkeypatch.setitem(said["sentence"].__globals__, "cgpaw", object())
    bare = said["sentence"]()
    assert bare.startswith("GPAW was built with plain C alone, without FFTW (about 1.6 times")
    assert "\n" not in bare
