"""The schema, config.yaml and the messages about mistakes."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dft2spectra.config import ConfigError, complete_config, schema

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "config.yaml").read_text(encoding="utf-8")
# Choices of the demo campaign rather than defaults for everybody.
DEMO_ONLY = {
    "structures.sources",
    "candidates.sources",
    "mossbauer.phases",
    "mossbauer.mixtures",
    "measurements",
}


@pytest.fixture(autouse=True)
def in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of sources are seen from the root of the repository."""
    monkeypatch.chdir(ROOT)


def minimal(**sections: Any) -> dict[str, Any]:
    """The smallest configuration, with some sections."""
    return {"structures": {"sources": [{"kind": "files", "path": "data/structures"}]}, **sections}


def refused(config: dict[str, Any], files: tuple[str, ...] = ()) -> str:
    """The message about a configuration that must be refused."""
    with pytest.raises(ConfigError) as caught:
        complete_config(config, files)
    return str(caught.value)


def keys(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of the schema that has a place of its own in config.yaml, with its node."""
    for name, child in node.get("properties", {}).items():
        yield f"{path}{name}", child
        if child.get("type") == "object":
            yield from keys(child, f"{path}{name}.")


def look_up(config: dict[str, Any], path: str) -> Any:
    for part in path.split("."):
        config = config[part]
    return config


# --- schema and config.yaml say the same ---------------------------------------------------------


@pytest.mark.parametrize("path", [path for path, _ in keys(schema())])
def test_config_yaml_explains_every_key(path: str) -> None:
    node = dict(keys(schema()))[path]
    value = look_up(yaml.safe_load(TEXT), path)
    assert node["description"], "no description in the schema"
    if path not in DEMO_ONLY and not isinstance(value, dict):
        assert value == node["default"], "config.yaml does not show the default"
    # The comment block above the key, in one line.
    name = path.rsplit(".", 1)[-1]
    indent = "  " * path.count(".")
    comments = re.findall(rf"((?:^{indent}# .*\n)+)^{indent}{name}:", TEXT, re.MULTILINE)
    blocks = [" ".join(line.strip("# ") for line in block.splitlines()) for block in comments]
    wanted = " ".join(node["description"].split())
    if "unit" in node:
        wanted += f" [{node['unit']}]"
    assert any(block.startswith(wanted) for block in blocks), f"expected: # {wanted}"


def test_config_yaml_is_complete_and_valid() -> None:
    assert complete_config(yaml.safe_load(TEXT)) == yaml.safe_load(TEXT)


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from nodes(child)


def test_no_section_of_the_schema_is_open() -> None:
    for node in nodes(schema()):
        if "properties" in node and isinstance(node["properties"], dict) and "type" in node:
            assert node["additionalProperties"] is False


def test_numbers_in_names_have_their_unit() -> None:
    suffixes = {"_ev": "eV", "_ang": "Å", "_mm_s": "mm/s", "_t": "T", "_k": "K", "_mub": "µB"}
    suffixes |= {"_fs": "fs", "_cm1": "cm⁻¹", "_bohr": "bohr", "_debye": "D", "_percent": "%"}
    suffixes |= {"_per_ps": "1/ps", "_mev_per_atom": "meV per atom", "_steps": "steps"}
    found = 0
    for path, node in keys(schema()):
        for suffix, unit in suffixes.items():
            if path.endswith(suffix):
                assert node["unit"] == unit, path
                found += 1
        if path.endswith("_ps") and not path.endswith("_per_ps"):
            assert node["unit"] == "ps", path
    assert found >= 24


# --- defaults -------------------------------------------------------------------------------------


def test_defaults_fill_every_section() -> None:
    config = complete_config(minimal(gpaw={"cutoff_ev": 500}))
    assert config["gpaw"]["cutoff_ev"] == 500
    assert config["gpaw"]["convergence"]["density"] == 1e-4
    assert config["learning"]["targets"] == ["moment", "isomer_shift", "vzz", "bhf"]


def test_defaults_are_not_shared() -> None:
    complete_config(minimal())["gpaw"]["ladder"].append("spoiled")
    assert "spoiled" not in complete_config(minimal())["gpaw"]["ladder"]


def test_hubbard_terms_of_several_elements() -> None:
    given = {"Mn": {"d": 3.0}, "Fe": {"p": 1.0, "d": 4.0}}
    found = complete_config(minimal(gpaw={"hubbard_u_ev": given}))["gpaw"]["hubbard_u_ev"]
    assert list(found) == ["Fe", "Mn"]
    assert found["Mn"]["d"] == 3.0


def test_order_of_keys_does_not_matter() -> None:
    """Snakemake compares parameters as they print, so their order must be one."""
    source = {"kind": "files", "path": "data/structures", "names": ["Fe"]}
    turned = dict(reversed(source.items()))
    one = complete_config(minimal(candidates={"sources": [source], "max_atoms": 4}))
    other = complete_config(minimal(candidates={"max_atoms": 4, "sources": [turned]}))
    assert str(one) == str(other)


# --- mistakes -------------------------------------------------------------------------------------

MP = {"kind": "materials_project", "name": "mp"}
OPTIMADE = {
    **{"kind": "optimade", "name": "db", "base_url": "https://db.org"},
    "filter": 'elements HAS "Fe"',
}


KINDS = schema()["$defs"]["sources"]["items"]["oneOf"]


def sources(*given: Any) -> dict[str, Any]:
    """A section with these sources."""
    return {"structures": {"sources": list(given)}}


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"gpw": {}}, ["gpw ", "unknown key", "did you mean 'gpaw'?", "known here: run,"]),
        (
            {"gpaw": {"convergence": {"energy": 1.0}}},
            ["gpaw.convergence.energy ", "did you mean 'energy_ev_per_electron'?"],
        ),
        ({"gpaw": {"smearing_ev": 0}}, ["gpaw.smearing_ev = 0", "allowed: greater than 0 (eV)"]),
        ({"gpaw": {"smearing_ev": -0.1}}, ["allowed: greater than 0 (eV)"]),
        ({"gpaw": {"cutoff_ev": True}}, ["gpaw.cutoff_ev = true", "allowed: a number (eV)"]),
        ({"gpaw": {"cutoff_ev": math.nan}}, ["gpaw.cutoff_ev = NaN", "allowed: finite numbers"]),
        ({"gpaw": {"cutoff_ev": math.inf}}, ["gpaw.cutoff_ev = Infinity"]),
        ({"gpaw": {"xc": "PBESol"}}, ['gpaw.xc = "PBESol"', "LDA, PBE, RPBE, revPBE"]),
        ({"gpaw": {"starts": []}}, ["gpaw.starts = []", "a list no shorter than 1"]),
        (
            {"gpaw": {"starts": ["up"]}},
            ["gpaw.starts[0]", "ferromagnetic, given, nonmagnetic, alternating, mn_antiparallel"],
        ),
        (
            {"gpaw": {"ladder": [{}, {"mixer_bta": 0.1}]}},
            ["gpaw.ladder[1].mixer_bta ", "did you mean 'mixer_beta'?"],
        ),
        ({"gpaw": {"ladder": []}}, ["gpaw.ladder = []"]),
        ({"gpaw": {"ladder": [{"smearing_ev": 0.2}]}}, ["gpaw.ladder[0].smearing_ev "]),
        ({"gpaw": {"ladder": [{"mixer": "broyden"}]}}, ["gpaw.ladder[0].mixer", "msr1, pulay"]),
        ({"gpaw": {"eigensolver": "cg"}}, ["gpaw.eigensolver", "davidson, ppcg, rmm-diis"]),
        ({"gpaw": {"hubbard_u_ev": {"Fe": 4.0}}}, ["gpaw.hubbard_u_ev.Fe"]),
        ({"gpaw": {"hubbard_u_ev": {"Fe": {"s": 4.0}}}}, ["gpaw.hubbard_u_ev.Fe.s "]),
        ({"gpaw": {"hubbard_u_ev": {"Fe": {"d": -1}}}}, ["gpaw.hubbard_u_ev.Fe.d = -1"]),
        ({"gpaw": {"efg_elements": ["Xx"]}}, ["gpaw.efg_elements[0]", "chemical symbols"]),
        ({"gpaw": {"efg_elements": ["all", "Fe"]}}, ["gpaw.efg_elements", "[all] alone"]),
        ({"learning": {"targets": ["vz"]}}, ["learning.targets[0]", "did you mean 'vzz'?"]),
        ({"learning": {"folds": 1}}, ["learning.folds = 1", "at least 2"]),
        ({"learning": {"folds": 2.5}}, ["learning.folds = 2.5", "a whole number"]),
        (
            {"mossbauer": {"moment_direction": [0, 0, 0]}},
            ["mossbauer.moment_direction = [0, 0, 0]", "not all three numbers zero"],
        ),
        ({"mossbauer": {"moment_direction": [1, 0]}}, ["mossbauer.moment_direction = [1, 0]"]),
        ({"mossbauer": {"gamma": "powdr"}}, ["mossbauer.gamma", "powder, or a direction"]),
        ({"mossbauer": {"gamma": [0, 0, 0]}}, ["mossbauer.gamma", "not all three numbers zero"]),
        (
            {"mossbauer": {"second_order_doppler": {"temperature_k": 300}}},
            ["mossbauer.second_order_doppler.debye_k", "missing key"],
        ),
        (
            {
                "mossbauer": {
                    "mixtures": [{"name": "a", "phases": [{"structure": "Fe", "fraction": 0.4}]}]
                }
            },
            ["mossbauer.mixtures[0].phases", "add up to 1; these give 0.4"],
        ),
        (
            {
                "mossbauer": {
                    "mixtures": [{"name": "a", "phases": [{"structure": "Fe", "fraction": 1}]}] * 2
                }
            },
            ["mossbauer.mixtures[1].name", "no other mixture"],
        ),
        (
            {"candidates": {"sources": [{"kind": "files", "path": "nowhere"}]}},
            ["candidates.sources[0].path", "'nowhere' does not exist"],
        ),
        (
            {
                "calibration": {
                    "sources": [{"kind": "files", "path": "data/structures", "names": ["FeAll"]}]
                }
            },
            ["calibration.sources[0].path", "'FeAll'", "FeAl"],
        ),
        (
            {
                "learning": {"targets": ["moment"]},
                "candidates": {"sources": [{"kind": "files", "path": "data/structures"}]},
            },
            ['candidates.rank_by = "bhf"', "learning.targets, moment"],
        ),
        ({"branches": ["raman"]}, ["branches[0]", "mossbauer, infrared"]),
        ({"branches": []}, ["branches = []", "a list no shorter than 1"]),
        ({"molecules": []}, ["molecules = []", "a list no shorter than 1"]),
        (
            {"molecules": [{"name": "a/b"}]},
            ['molecules[0].name = "a/b"', "text of the form"],
        ),
        (
            {"molecules": [{"name": "water", "smile": "O"}]},
            ["molecules[0].smile", "did you mean 'smiles'?"],
        ),
        (
            {"molecules": [{"name": "water", "smiles": "O", "file": "water.xyz"}]},
            ["molecules[0] = ", "smiles or file, not both"],
        ),
        (
            {"molecules": [{"name": "water"}, {"name": "WATER"}]},
            ['molecules[1].name = "WATER"', "a name that no other molecule has"],
        ),
        (
            {"sampling": {"train": 3}},
            ["sampling.train = 3", "at least density_model.committee, 4"],
        ),
        (
            {
                "density_model": {
                    "three_body": {"n_max": 7, "l_max": 2, "l_total": 6, "channels": 6}
                }
            },
            ["density_model.three_body.n_max = 7", "density_model.two_body.n_max, 6"],
        ),
        ({"density_model": {"ridge": [0]}}, ["density_model.ridge[0] = 0", "greater than 0"]),
        ({"guards": {"action": "sfc"}}, ["guards.action", "did you mean 'scf'?"]),
        ({"guards": {"min_overlap": 2}}, ["guards.min_overlap = 2", "at most 1"]),
        (
            {"dynamics": {"spacing_ps": 1.0e-4}},
            ["dynamics.spacing_ps = 0.0001", "no shorter than dynamics.timestep_fs"],
        ),
        (
            {"infrared": {"resolution_cm1": 10}},
            ["dynamics.trajectory_ps", "longer than the gaussian window of 4.65 ps"],
        ),
        (
            {"dynamics": {"timestep_fs": 4.0}},
            ["infrared.maximum_cm1 = 4500", "below 2654 cm⁻¹", "steps of 4 fs"],
        ),
        (sources({"kind": "files", "pth": "x"}), ["sources[0].pth", "did you mean 'path'?"]),
        (sources({"kind": "files", "pth": "x"}), ["sources[0].path", "missing key"]),
        (
            sources({"kind": "optimad", "path": "x"}),
            ["sources[0].kind", "files, prototypes, materials_project", "did you mean 'optimade'?"],
        ),
        (sources({"path": "x"}), ["sources[0].kind", "missing key"]),
        (sources("data/structures"), ["sources[0] = ", "a section of keys"]),
        (sources({"kind": ["files"]}), ["sources[0].kind", "allowed: files, prototypes"]),
        (
            sources({**MP, "max_energy_above_hull": 0.1}),
            ["max_energy_above_hull ", "did you mean 'max_energy_above_hull_ev_per_atom'?"],
        ),
        (sources({**MP, "n_elements": [3, 2]}), ["sources[0] = ", "fewest first, [2, 3]"]),
        (sources({**MP, "chemical_systems": ["Fe-Xx"]}), ["'Fe-Xx' has 'Xx'", "Fe-*-*"]),
        (sources({**MP, "name": "a/b"}), ['sources[0].name = "a/b"', "text of the form"]),
        (sources({**MP, "elements": ["Xx"]}), ["sources[0].elements[0]", "a chemical symbol"]),
        (sources({**MP, "at_most": 0}), ["sources[0].at_most = 0", "at least 1 (crystals)"]),
        (
            sources(MP, {**MP, "name": "MP", "n_elements": [1, 2]}),
            ['sources[1].name = "MP"', "a name that no other database has"],
        ),
        (
            sources({**OPTIMADE, "filter": "elements HAS ("}),
            ["sources[0] = ", "filter"],
        ),
        (
            sources({**OPTIMADE, "base_url": "ftp://x"}),
            ['sources[0].base_url = "ftp://x"', "text of the form ^https?://"],
        ),
        (sources({**OPTIMADE, "api_key": "x"}), ["sources[0].api_key", "unknown key"]),
        ({"run": "../results"}, ['run = "../results"', "text of the form"]),
        ({"structures": None}, ["structures = null", "a section of keys"]),
    ],
)
def test_mistake_is_named(sections: dict[str, Any], expected: list[str]) -> None:
    text = refused(minimal(**sections))
    for words in expected:
        assert words in text


HIDDEN = "sesame"


@pytest.mark.parametrize(
    "section",
    [
        sources({**MP, "api_key": HIDDEN}),
        sources({**MP, "Token": {"value": HIDDEN}}),
        {"mp_api_key": HIDDEN},
        {"structures": {"password": HIDDEN}},
        {"gpaw": {"secret": [HIDDEN]}},
    ],
)
def test_a_key_in_the_configuration_is_not_shown(section: dict[str, Any]) -> None:
    text = refused(minimal(**section))
    assert HIDDEN not in text
    assert "unknown key" in text
    assert "belong into the environment (MP_API_KEY)" in text


@pytest.mark.parametrize(
    "address",
    [
        f"https://user:{HIDDEN}@db.org/x",
        f"https://{HIDDEN}@db.org",
        f"https://db.org/x?key={HIDDEN}",
        f"https://db.org/#{HIDDEN}",
        f"ftp://user:{HIDDEN}@db.org",
        f"user:{HIDDEN}@db.org",
    ],
)
def test_a_secret_in_an_address_is_not_shown(address: str) -> None:
    text = refused(minimal(**sources({**OPTIMADE, "base_url": address})))
    assert HIDDEN not in text
    assert "db.org" in text
    assert "sources[0]" in text


def test_parent_that_no_database_is() -> None:
    prototypes = {"kind": "prototypes", "parents": ["B2", "pinned:bd"], "elements": ["Al"]}
    text = refused(minimal(**sources(prototypes, OPTIMADE)))
    assert 'structures.sources[0].parents[1] = "pinned:bd"' in text
    assert "a database of the sources (db)" in text
    assert "did you mean 'db'?" in text
    complete_config(minimal(**sources({**prototypes, "parents": ["pinned:db"]}, OPTIMADE)))


def test_pinned_in_a_file_or_nowhere(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for folder in ("file", "file/below"):
        given = sources(OPTIMADE)
        given["structures"]["pinned"] = str(tmp_path / folder)
        assert f"{tmp_path / 'file'} is none" in refused(minimal(**given))
    given["structures"]["pinned"] = str(tmp_path / "new" / "folder")
    complete_config(minimal(**given))


def test_empty_folder_of_files(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing", encoding="utf-8")
    text = refused(minimal(**sources({"kind": "files", "path": str(tmp_path)})))
    assert "holds no file that could be a structure" in text


def test_one_kind_of_source_speaks_for_itself() -> None:
    """A mistyped key is told of the kind that was chosen, not of all kinds."""
    text = refused(minimal(**sources({**OPTIMADE, "pathh": 1})))
    assert "one entry" in text
    assert "known here: kind, name, base_url, filter" in text
    assert "names" not in text


def test_every_kind_of_source_is_completed() -> None:
    given = [MP, OPTIMADE, {"kind": "files", "path": "data/structures", "at_most": 3}]
    assert complete_config(sources(*given))["structures"]["sources"] == given
    turned = [dict(reversed(source.items())) for source in given]
    assert str(complete_config(sources(*turned))) == str(complete_config(sources(*given)))
    # The same set may serve two sections, with other filters.
    complete_config({**sources(MP), "candidates": {"sources": [{**MP, "at_most": 3}]}})


def test_kinds_of_sources_are_described() -> None:
    kinds = [schema()["$defs"][item["$ref"].rsplit("/", 1)[1]] for item in KINDS]
    assert len(kinds) == 4
    for kind in kinds:
        for key, node in kind["properties"].items():
            assert node["description"], key


def test_a_branch_that_does_not_run_may_hold_anything() -> None:
    nowhere = {"sources": [{"kind": "files", "path": "nowhere"}]}
    config = {"structures": nowhere, "branches": ["infrared"]}
    assert complete_config(config)["structures"]["sources"] == nowhere["sources"]
    assert "does not exist" in refused({**config, "branches": ["mossbauer", "infrared"]})
    complete_config(minimal(branches=["mossbauer"], sampling={"train": 2}))


def test_all_mistakes_at_once() -> None:
    text = refused(minimal(soap={"n_max": 0, "l_maks": 2}, run=7))
    assert "3 entries" in text
    assert len(text.splitlines()) == 4


def test_the_last_file_that_sets_the_value_is_named(tmp_path: Path) -> None:
    base, own = tmp_path / "config.yaml", tmp_path / "own.yaml"
    base.write_text("soap: {n_max: 6, l_max: -1}\n", encoding="utf-8")
    own.write_text("soap: {n_max: 0}\n", encoding="utf-8")
    files = (str(base), str(own))
    text = refused(minimal(soap={"n_max": 0, "l_max": -1, "sigma_ang": -2.0}), files)
    assert f"soap.n_max = 0 in {own}:" in text
    assert f"soap.l_max = -1 in {base}:" in text
    assert "soap.sigma_ang = -2.0 on the command line" in text


NAMES = [path for path, node in keys(schema()) if "properties" not in node]


@given(path=st.sampled_from(NAMES), place=st.integers(0, 40))
def test_a_letter_too_few_is_found(path: str, place: int) -> None:
    *sections, name = path.split(".")
    mistyped = name[: place % len(name)] + name[place % len(name) + 1 :]
    if ".".join([*sections, mistyped]) in NAMES:
        return
    config: dict[str, Any] = minimal()
    section = config
    for part in sections:
        section = section.setdefault(part, {})
    section[mistyped] = 1
    text = refused(config)
    assert f"{'.'.join([*sections, mistyped])} " in text
    if len(name) > 3:
        assert "did you mean" in text


def test_sublattices_of_a_decoration_keep_their_names(monkeypatch):
    monkeypatch.chdir(ROOT)
    source = {"kind": "prototypes", "parents": ["E2_1"]}
    decorations = [{"Ti": "C", "Ca": "Al", "O": "Fe"}]
    sources = [source | {"decorations": decorations}]
    config = complete_config({"branches": ["mossbauer"], "structures": {"sources": sources}})
    (complete,) = config["structures"]["sources"]
    assert list(complete["decorations"][0].items()) == [("Ca", "Al"), ("O", "Fe"), ("Ti", "C")]
    sources = [source | {"decorations": [{"Ca": "aluminium", "O": "Fe", "Ti": "C"}]}]
    with pytest.raises(ConfigError, match=r"sources\[0\]\.decorations\[0\]\.Ca"):
        complete_config({"branches": ["mossbauer"], "structures": {"sources": sources}})


# --- files as they are written -------------------------------------------------------------------


def from_file(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return complete_config({**minimal(), **yaml.safe_load(text)}, [str(path)])


def refused_file(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        from_file(tmp_path, text)
    return str(caught.value)


def test_a_key_given_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    said = refused_file(tmp_path, "run: a\ngpaw:\n  xc: PBE\n  cutoff_ev: 400\n  xc: RPBE\n")
    assert said.endswith("my.yaml: the key 'gpaw.xc' is given twice, in lines 3 and 5; remove one")
    said = refused_file(tmp_path, "molecules:\n  - {name: water,\n     name: methane}\n")
    assert "the key 'molecules[0].name' is given twice, in lines 2 and 3" in said


@pytest.mark.parametrize(
    ("written", "read"),
    [("010", "8"), ("1:30", "90"), ("1_0", "10"), ("0b11", "3"), ("1_0.5", "10.5")],
)
def test_numbers_that_yaml_reads_otherwise_are_refused(
    tmp_path: Path, written: str, read: str
) -> None:
    said = refused_file(tmp_path, f"# a comment\ngpaw: {{cutoff_ev: {written}}}\n")
    assert (
        f"my.yaml, line 2: gpaw.cutoff_ev is written as {written}, which YAML reads as {read}; "
        "write the number in plain decimals"
    ) in said


@pytest.mark.parametrize("written", ["4.0e2", "4e2", "400.", "+400", "0x190", "400"])
def test_numbers_are_read_as_a_person_means_them(tmp_path: Path, written: str) -> None:
    config = from_file(tmp_path, f"gpaw: {{cutoff_ev: {written}}}\n")
    assert config["gpaw"]["cutoff_ev"] == 400


@pytest.mark.parametrize("written", ["2.0e+1", "20.0", "2e1", "20"])
def test_whole_numbers(tmp_path: Path, written: str) -> None:
    text = f"learning: {{n_estimators: {written}}}\ndynamics: {{trajectories: {written}}}\n"
    config = from_file(tmp_path, text)
    for value in (config["learning"]["n_estimators"], config["dynamics"]["trajectories"]):
        assert value == 20
        assert type(value) is int
    said = refused_file(tmp_path, "learning: {n_estimators: 20.5}\n")
    assert "learning.n_estimators = 20.5" in said
    assert "allowed: a whole number" in said


def test_every_whole_number_of_the_schema_is_converted() -> None:
    """Also those in lists and in kinds of sources."""
    config = complete_config(
        minimal(
            gpaw={"ladder": [{"mixer_nmaxold": 8.0}]},
            molecules=[{"name": "water", "charge": 0.0}],
            density_model={"committee": 4.0},
        )
        | sources({**MP, "max_atoms": 12.0, "n_elements": [2.0, 3.0]})
    )
    numbers = [
        config["gpaw"]["ladder"][0]["mixer_nmaxold"],
        config["molecules"][0]["charge"],
        config["density_model"]["committee"],
        config["structures"]["sources"][0]["max_atoms"],
        *config["structures"]["sources"][0]["n_elements"],
    ]
    assert [type(number) for number in numbers] == [int] * 6


def test_texts_that_yaml_reads_as_something_else(tmp_path: Path) -> None:
    """Nitric oxide is a molecule, a date a name of a run."""
    text = "run: 2026-11-28\nmolecules: [{name: NO}, {name: 'NO2'}, {name: 12}]\n"
    config = from_file(tmp_path, text)
    assert config["run"] == "2026-11-28"
    assert [entry["name"] for entry in config["molecules"]] == ["NO", "NO2", "12"]
    assert "allowed: text" in refused({**minimal(), "molecules": [{"name": False}]})


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("run: a\n# Mößbauer\n".encode("latin-1"))
    said = refused(minimal(), (str(path),))
    assert f"{path} is no text in UTF-8 (byte 0xf6 in line 2); save it as UTF-8" in said


def test_a_bomb_of_aliases_ends(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert "more than 100000 entries by its aliases" in refused(minimal(), (str(path),))


def test_an_entry_from_the_command_line_is_not_blamed_on_a_file(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("molecules: [{name: water, charge: 0}]\n", encoding="utf-8")
    said = refused(minimal(molecules=[{"smiles": "O"}]), (str(path),))
    assert "molecules[0].name on the command line (--config): missing key" in said


def test_nothing_in_a_message_acts_on_a_terminal() -> None:
    said = refused(minimal(run="a\x1b[31m", **{"x\x1b[2Jy": 1}))
    assert "\x1b" not in said
    assert r"x\x1b[2Jy" in said


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"run": "a\n"}, "text of the form ^[A-Za-z0-9][A-Za-z0-9._-]*$"),
        ({"molecules": [{"name": "acetic acid"}]}, "; write acetic-acid"),
        ({"run": "x" * 101}, "text no longer than 100"),
        ({"molecules": [{"name": "x" * 101}]}, "text no longer than 100"),
        ({"sampling": {"train": 10**12}}, "at most 4294967295"),
        (
            {"dynamics": {"temperature_k": 2000}},
            "at most the highest of sampling.temperatures_k, 500",
        ),
    ],
)
def test_names_and_counts_are_bounded(sections: dict[str, Any], says: str) -> None:
    assert says in refused({**minimal(), **sections})
