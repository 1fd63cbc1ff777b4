"""An edited value reruns exactly the rules that depend on it."""

import os
import re
from typing import Any

import pytest
import yaml
from campaign import CONFIGS, Campaign

SPECTRA = {"plot_mossbauer": 1, "mix_mossbauer": 1}
MODELS = {"evaluate_model": 2, "evaluate_systems": 2, "train_model": 2, "predict_candidates": 1}
FEATURES = {"featurize_soap": 1, "select_representatives": 1, **MODELS}
SITES = {"clean_sites": 1, "compare_measured": 1, **FEATURES, **SPECTRA}
ALL_DFT = {"compute_hyperfine": 6, "summarize_hyperfine": 1, "calibrate": 1, **SITES}
# The list of structures is written anew, and spectra look up their crystals in it.
LISTING = {"screen_structures": 1, **SPECTRA}
# The infrared branch, from its end to its beginning.
SPECTRUM = {"infrared_spectrum": 1}
TRAJECTORIES = {"run_trajectory": 2, **SPECTRUM}
DYNAMICS = {"equilibrate": 1, **TRAJECTORIES}
MODEL = {"fit_density_model": 1, "evaluate_density_model": 1, **DYNAMICS}
LABELS = {"label_densities": 4, **MODEL}
MOLECULE = {"relax_molecule": 1, "harmonic_reference": 1, "sample_geometries": 4, **LABELS}
NAMES = ["Fe", "FeAl", "FeCo", "FeNi", "FeTi", "Fe3Si"]


def sources(names: list[str]) -> list[dict[str, Any]]:
    """The bundled compounds with these names."""
    return [{"kind": "files", "path": "data/structures", "names": names}]


EDITS = {
    "nothing": ({}, {}),
    "gpaw.cutoff_ev": ({"gpaw": {"cutoff_ev": 420}}, ALL_DFT),
    "gpaw.ladder": ({"gpaw": {"ladder": [{}, {"mixer_weight": 60}]}}, ALL_DFT),
    "cleaning.outlier_mad": ({"cleaning": {"outlier_mad": 9}}, SITES),
    "soap.cutoff_ang": ({"soap": {"cutoff_ang": 4.5}}, FEATURES),
    "learning.representatives": (
        {"learning": {"representatives": 5}},
        {"select_representatives": 1, **MODELS},
    ),
    "learning.seed": ({"learning": {"seed": 1}}, MODELS),
    "candidates.rank_by": ({"candidates": {"rank_by": "moment"}}, {"predict_candidates": 1}),
    "candidates.max_atoms": (
        {"candidates": {"max_atoms": 20}},
        {"screen_candidates": 1, "predict_candidates": 1},
    ),
    "mossbauer.width_mm_s": ({"mossbauer": {"width_mm_s": 0.3}}, SPECTRA),
    "mossbauer.mixtures": (
        {
            "mossbauer": {
                "mixtures": [{"name": "alloy", "phases": [{"structure": "FeCo", "fraction": 1}]}]
            }
        },
        {"mix_mossbauer": 1},
    ),
    "infrared.resolution_cm1": ({"infrared": {"resolution_cm1": 700}}, SPECTRUM),
    "infrared.measured": ({"infrared": {"measured": None}}, SPECTRUM),
    "dynamics.trajectory_ps": ({"dynamics": {"trajectory_ps": 0.2}}, TRAJECTORIES),
    "dynamics.max_energy_change_mev_per_atom": (
        {"dynamics": {"max_energy_change_mev_per_atom": 5}},
        TRAJECTORIES,
    ),
    "dynamics.friction_per_ps": ({"dynamics": {"friction_per_ps": 20}}, DYNAMICS),
    "dynamics.trajectories": (
        {"dynamics": {"trajectories": 3}},
        DYNAMICS | {"run_trajectory": 3},
    ),
    "dynamics.chunk_steps": ({"dynamics": {"chunk_steps": 7}}, {}),
    "guards.action": ({"guards": {"action": "stop"}}, DYNAMICS),
    "density_model.points_per_geometry": ({"density_model": {"points_per_geometry": 800}}, MODEL),
    "sampling.train": (
        {"sampling": {"train": 9}},
        {"sample_geometries": 2, **MODEL, "label_densities": 2},
    ),
    "sampling.test": (
        {"sampling": {"test": 5}},
        {"sample_geometries": 1, "label_densities": 1, "evaluate_density_model": 1},
    ),
    "sampling.seed": ({"sampling": {"seed": 1}}, {"sample_geometries": 4, **LABELS}),
    "pyscf.xc": ({"pyscf": {"xc": "BLYP"}}, MOLECULE),
    "molecules": (
        {"molecules": [{"name": "water", "smiles": "O"}]},
        {"write_molecule": 1, **MOLECULE},
    ),
    "one more structure": (
        {"structures": {"sources": sources([*NAMES, "FeRh"])}},
        {
            **{"screen_structures": 1, "write_crystal": 1, "compute_hyperfine": 1},
            **{"write_measured": 1, "summarize_hyperfine": 1, **SITES},
        },
    ),
    "one structure less": (
        {"structures": {"sources": sources([n for n in NAMES if n != "FeCo"])}},
        {"screen_structures": 1, "summarize_hyperfine": 1, **SITES},
    ),
}


def edited(campaign: Campaign, changes: dict[str, Any]) -> str:
    """Path of the campaign's config with some values changed."""
    config = yaml.safe_load((CONFIGS / campaign.config).read_text(encoding="utf-8"))
    for section, values in changes.items():
        is_section = isinstance(values, dict)
        config[section] = {**config.get(section, {}), **values} if is_section else values
    path = campaign.folder / "edited.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", EDITS)
def test_edit_of_config(finished: Campaign, name: str) -> None:
    changes, expected = EDITS[name]
    assert finished.planned("--configfile", edited(finished, changes)) == expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("crystals/efg.py", ALL_DFT),
        ("crystals/calibration.py", {"calibrate": 1, **SITES}),
        ("learning/cleaning.py", SITES),
        ("learning/soap.py", FEATURES),
        ("learning/boosting.py", MODELS),
        ("spectra/mossbauer.py", SPECTRA),
        ("molecules/equilibrium.py", MOLECULE),
        ("molecules/labels.py", LABELS),
        ("density/training.py", MODEL),
        ("density/calculator.py", DYNAMICS),
        ("spectra/infrared.py", SPECTRUM),
    ],
)
def test_method_version(finished: Campaign, module: str, expected: dict[str, int]) -> None:
    assert finished.library
    path = finished.library / "dft2spectra" / module
    text = path.read_text(encoding="utf-8")
    raised = re.sub(
        r"^METHOD_VERSION = (\d+)\b",
        lambda found: f"METHOD_VERSION = {int(found[1]) + 1}",
        text,
        flags=re.MULTILINE,
    )
    try:
        path.write_text(f"{text}\n# another comment changes nothing\n", encoding="utf-8")
        assert finished.planned() == {}
        path.write_text(raised, encoding="utf-8")
        assert finished.planned() == expected
    finally:
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("pattern", "replacement", "expected"),
    [
        (r"^", "# a comment\n", LISTING),
        (
            r"isomer_shift_mm_s: 0\.\d+",
            "isomer_shift_mm_s: 0.33",
            {"write_measured": 1, "calibrate": 1, **LISTING, **SITES},
        ),
        (
            r"moment: 0\.8",
            "moment: 1.1",
            {
                **{"write_crystal": 1, "write_measured": 1, "compute_hyperfine": 1},
                **{"summarize_hyperfine": 1, "calibrate": 1, **LISTING, **SITES},
            },
        ),
    ],
    ids=["comment", "measured value", "starting moment"],
)
def test_edit_of_a_structure_file(
    finished: Campaign, pattern: str, replacement: str, expected: dict[str, int]
) -> None:
    path = finished.folder / "data" / "structures" / "FeAl.yaml"
    text, when = path.read_text(encoding="utf-8"), path.stat()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    try:
        path.write_text(changed, encoding="utf-8")
        assert finished.planned() == expected
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))


def test_edit_runs_what_it_announces(copied: Campaign) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.folder.glob("results/**/*.*")}
    copied.finish("--configfile", edited(copied, {"mossbauer": {"width_mm_s": 0.3}}))
    after = {path: path.stat().st_mtime_ns for path in copied.folder.glob("results/**/*.*")}
    assert before.keys() == after.keys()
    touched = [path.relative_to(copied.folder) for path in after if before[path] != after[path]]
    assert {path.parts[2] for path in touched} == {"mossbauer", "logs", "benchmarks", "provenance"}
    noted = {path.parts[3] for path in touched if path.parts[2] == "provenance"}
    assert noted == {"mossbauer"}


def test_machine_settings_rerun_nothing(finished: Campaign) -> None:
    launcher = ["compute_hyperfine:mpi=mpiexec", "compute_hyperfine:tasks=4"]
    assert finished.planned("--set-resources", *launcher, "--set-threads", "train_model=2") == {}


def test_places_in_a_design_compute_no_crystal_again(finished: Campaign) -> None:
    """An order rewrites the list, a role the site table and what is learned from it."""
    accepted = (finished.folder / "results" / "stub" / "structures" / "accepted").glob(
        "FeCo-*.json"
    )
    name = next(accepted).stem
    design = finished.folder / "design.csv"
    config = edited(finished, {"structures": {"design": "design.csv"}})
    design.write_text(f"order,structure_id,role\n1,{name},train\n", encoding="utf-8")
    assert finished.planned("--configfile", config) == LISTING
    design.write_text(f"order,structure_id,role\n1,{name},external\n", encoding="utf-8")
    assert finished.planned("--configfile", config) == {**LISTING, **SITES}
    last = finished.planned("all_external", "--configfile", config)
    assert last["evaluate_external"] == 2
    assert "compute_hyperfine" not in last
    assert finished.planned("all_external") == {}

    design.write_text("order,structure_id,role\n1,FeCo-221-00000000,train\n", encoding="utf-8")
    done = finished.run("--dry-run", "--configfile", config)
    assert done.returncode != 0
    assert "structures.design: design.csv: 1 of 1 crystals are none of this campaign" in done.stdout
