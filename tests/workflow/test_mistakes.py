"""A mistake in the configuration stops `snakemake -n` with key, file, value and what is allowed."""

import pytest
from campaign import Campaign

MISTAKES = {
    "unknown key": (
        "soap: {cutof_ang: 3}",
        ["soap.cutof_ang ", "unknown key", "did you mean 'cutoff_ang'?"],
    ),
    "unknown section": ("gpw: {cutoff_ev: 400}", ["gpw ", "did you mean 'gpaw'?"]),
    "wrong type": (
        "gpaw: {cutoff_ev: high}",
        ['gpaw.cutoff_ev = "high"', "allowed: a number (eV)"],
    ),
    "impossible value": (
        "gpaw: {smearing_ev: 0}",
        ["gpaw.smearing_ev = 0", "allowed: greater than 0 (eV)"],
    ),
    "unknown choice": (
        "learning: {targets: [momentt]}",
        [
            'learning.targets[0] = "momentt"',
            "moment, isomer_shift, vzz, bhf",
            "did you mean 'moment'",
        ],
    ),
    "path that is not there": (
        "structures: {sources: [{kind: files, path: data/structure}]}",
        ['structures.sources[0].path = "data/structure"', "does not exist"],
    ),
    "mixture of what is not computed": (
        "mossbauer: {mixtures: [{name: rust, phases: [{structure: Fe2O3, fraction: 1}]}]}",
        [
            'mossbauer.mixtures[0].phases[0].structure = "Fe2O3"',
            "one crystal of the campaign, Fe, Fe2VAl",
        ],
    ),
    "mixture of any of two": (
        "structures:\n"
        "  sources: [{kind: files, path: data/structures, names: [FeGe-B20, FeGe-B35]}]\n"
        "mossbauer: {mixtures: [{name: alloy, phases: [{structure: FeGe, fraction: 1}]}]}",
        ['phases[0].structure = "FeGe"', "one crystal of the campaign, FeGe-191-", ", FeGe-198-"],
    ),
    "molecule that nobody knows": (
        "molecules: [{name: watr}]",
        ['molecules[0].name = "watr"', "no molecule named 'watr'", "did you mean water?"],
    ),
    "radical": (
        "molecules: [{name: methyl, smiles: '[CH3]'}]",
        ['molecules[0].smiles = "[CH3]"', "1 unpaired", "closed shells only"],
    ),
    "molecule without its file": (
        "molecules: [{name: mine, file: mine.xyz}]",
        ['molecules[0].file = "mine.xyz"', "no file mine.xyz"],
    ),
    "two molecules of one name": (
        "molecules: [{name: water}, {name: Water}]",
        ['molecules[1].name = "Water"', "no other molecule"],
    ),
    "hybrid functional": (
        "pyscf: {xc: B3LYP}",
        ['pyscf.xc = "B3LYP"', "exact exchange", "such as PBE"],
    ),
    "basis that nobody knows": (
        "pyscf: {basis: def2-svpp}",
        ['pyscf.basis = "def2-svpp"', "unknown basis", "did you mean def2svp?"],
    ),
    "measured bands that are not there": (
        "infrared: {measured: nowhere}",
        ['infrared.measured = "nowhere"', "a folder that is there"],
    ),
    "trajectories shorter than the window": (
        "dynamics: {trajectory_ps: 2.5}\ninfrared: {resolution_cm1: 5}",
        ["dynamics.trajectory_ps = 2.5", "longer than the gaussian window of 9.29 ps"],
    ),
    "reference that is not there": (
        "calibration: {reference: Iron}",
        ['calibration.reference = "Iron"', "screening, Fe, Fe2VAl"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_message(planning: Campaign, name: str) -> None:
    text, expected = MISTAKES[name]
    (planning.folder / "mine.yaml").write_text(text, encoding="utf-8")
    done = planning.run("--dry-run", "--configfile", "mine.yaml")
    assert done.returncode != 0
    for words in [*expected, " in mine.yaml: "]:
        assert words in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpaw: {cutoff_ev: 0400}", "mine.yaml, line 1: gpaw.cutoff_ev is written as 0400, which"),
        ("gpaw: {cutoff_ev: 400,\n  cutoff_ev: 500}", "is given twice, in lines 1 and 2"),
    ],
)
def test_what_yaml_would_pass_over(planning: Campaign, text: str, expected: str) -> None:
    (planning.folder / "mine.yaml").write_text(text, encoding="utf-8")
    done = planning.run("--dry-run", "--configfile", "mine.yaml")
    assert done.returncode != 0
    assert expected in done.stdout
    assert "Traceback" not in done.stdout


def test_value_on_the_command_line(planning: Campaign) -> None:
    done = planning.run("--dry-run", "--config", "run=../elsewhere")
    assert done.returncode != 0
    assert 'run = "../elsewhere" on the command line (--config): allowed: text' in done.stdout
