"""docs/map.md is true: every rule leads to the function that it names, and no import runs back."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "src" / "dft2spectra"
MAP = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
# Two modules that import each other, one of them inside a function; each pair should go.
KNOWN_CIRCLES = [
    {"structures.inputs", "structures.prototypes"},
    {"density.harris_foulkes", "density.one_shot"},
]


def table(title: str) -> list[list[str]]:
    """Cells of the rows of the table below a title."""
    rows = MAP.split(f"## {title}\n")[1].split("\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row[:1] == "|"]
    return cells[2:]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def modules() -> dict[str, Path]:
    """Files of the library by the name of the module in it, ``room`` or ``room.module``."""
    found = {}
    for path in LIBRARY.rglob("*.py"):
        parts = path.relative_to(LIBRARY).with_suffix("").parts
        if name := ".".join(part for part in parts if part != "__init__"):
            found[name] = path
    return found


def imported(path: Path) -> set[str]:
    """Names of the modules of the library that a file imports, at its top or in a function."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    inside = {
        name.removeprefix("dft2spectra.") for name in found if name.startswith("dft2spectra.")
    }
    return {name if name in known else name.rpartition(".")[0] for name in inside} - {""}


ROOMS = {names(room)[0]: names(members) for room, members, _ in table("Which room may use which")}
ALLOWED = {names(room)[0]: names(others) for room, _, others in table("Which room may use which")}
ROOM_OF = {module: room for room, members in ROOMS.items() for module in members}


def test_every_module_has_a_room() -> None:
    assert {name.split(".")[0] for name in modules()} == set(ROOM_OF)
    assert sorted(ROOM_OF) == sorted(name for members in ROOMS.values() for name in members)


def test_arrows_do_not_run_back() -> None:
    order = list(TopologicalSorter(ALLOWED).static_order())  # refuses circles
    assert set(order) == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_room_uses_what_it_may(room: str) -> None:
    used = set()
    for name, path in modules().items():
        if ROOM_OF[name.split(".")[0]] == room:
            for other in sorted(imported(path)):
                there = ROOM_OF[other.split(".")[0]]
                assert there in (room, *ALLOWED[room]), f"{room} may not use {there}: {path}"
                used.add(there)
    assert used - {room} == set(ALLOWED[room]), f"docs/map.md allows {room} what it does not use"


def test_no_circles_of_imports() -> None:
    """Whatever two modules need of each other belongs into a third."""
    uses = {name: imported(path) for name, path in modules().items()}
    reach = {name: set(others) for name, others in uses.items()}
    changed = True
    while changed:
        changed = False
        for others in reach.values():
            more = others.union(*(reach[other] for other in others))
            if more != others:
                others |= more
                changed = True
    circular = {name for name, others in reach.items() if name in others}
    assert circular <= set().union(*KNOWN_CIRCLES)


def rules() -> dict[str, str]:
    """Name of the file of every rule that makes something, by the rule."""
    found = {}
    for path in (ROOT / "rules").glob("*.smk"):
        if path.name != "targets.smk":
            text = path.read_text(encoding="utf-8")
            found |= dict.fromkeys(
                re.findall(r"(?m)^ *(?:rule|checkpoint) (\w+):", text), path.name
            )
    return found


def test_every_rule_is_on_the_map() -> None:
    shown = {names(rule)[0]: names(file)[0] for file, rule, _ in table("From rule to function")}
    assert shown == rules()


@pytest.mark.parametrize(("file", "rule", "work"), table("From rule to function"))
def test_rule_leads_to_its_function(file: str, rule: str, work: str) -> None:
    script = ROOT / "scripts" / f"{names(rule)[0]}.py"
    if not script.exists():
        command = names(work)
        text = (ROOT / "rules" / names(file)[0]).read_text(encoding="utf-8")
        assert command == [] or command[0] in text
        return
    called = {
        f"{node.module}.{alias.name}".removeprefix("dft2spectra.")
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert names(work)
    assert set(names(work)) <= called
