"""A mistake in the configuration stops `snakemake -n` with key, file, value and what is allowed."""

import pytest
from campaign import Campaign

MISTAKES = {
    "unknown key": (
        "soap: {cutof_ang: 3}",
        ["soap.cutof_ang = 3", "unknown key", "did you mean 'cutoff_ang'?"],
    ),
    "unknown section": ("gpw: {cutoff_ev: 400}", ["gpw = ", "did you mean 'gpaw'?"]),
    "wrong type": (
        "gpaw: {cutoff_ev: high}",
        ['gpaw.cutoff_ev = "high"', "allowed: a number (eV)"],
    ),
    "exponent without a point": (
        "gpaw: {convergence: {density: 1e-5}}",
        ['gpaw.convergence.density = "1e-5"', "1.0e-5"],
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


def test_value_on_the_command_line(planning: Campaign) -> None:
    done = planning.run("--dry-run", "--config", "run=../elsewhere")
    assert done.returncode != 0
    assert 'run = "../elsewhere" on the command line (--config): allowed: text' in done.stdout
