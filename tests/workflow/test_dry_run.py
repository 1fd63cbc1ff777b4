"""A dry-run on a fresh clone shows the whole job table, for every config and every profile."""

from pathlib import Path

import pytest
import yaml
from campaign import CONFIGS, ROOT, Campaign
from snakemake.utils import update_config

from dft2spectra.config import complete_config
from dft2spectra.structures.retrieval import remote_sources
from dft2spectra.structures.sources import collect

PROFILES = sorted(path.name for path in (ROOT / "profiles").iterdir())
CRYSTALS = {
    **{"screen_structures": 1, "write_crystal": 12, "compute_hyperfine": 12},
    **{"summarize_hyperfine": 1, "write_measured": 12, "calibrate": 1, "clean_sites": 1},
    **{"compare_measured": 1},
    **{"featurize_soap": 1, "select_representatives": 1, "evaluate_model": 4, "train_model": 4},
    **{"evaluate_systems": 4, "evaluate_tensor": 1},
    **{"screen_candidates": 1, "predict_candidates": 1, "plot_mossbauer": 1, "mix_mossbauer": 1},
}
MEASURED = {"identify_phases": 1}
MOLECULE = {
    **{"write_molecule": 1, "relax_molecule": 1, "harmonic_reference": 1},
    **{"sample_geometries": 7, "label_densities": 7, "fit_density_model": 1},
    **{"evaluate_density_model": 1, "equilibrate": 1, "run_trajectory": 4, "infrared_spectrum": 1},
}
BOTH = CRYSTALS | MOLECULE
DEMO = BOTH | MEASURED
SMALL = {"sample_geometries": 3, "label_densities": 3, "run_trajectory": 2}
TINY = BOTH | SMALL | {"write_crystal": 5, "compute_hyperfine": 5, "write_measured": 5}
STUB = BOTH | SMALL | {"write_crystal": 6, "compute_hyperfine": 6, "write_measured": 6}
STUB |= {"evaluate_model": 2, "train_model": 2, "sample_geometries": 4, "label_densities": 4}
STUB |= {"evaluate_systems": 2}
del STUB["evaluate_tensor"]  # it learns no gradient
EXPECTED = {"config.yaml": DEMO, "tiny.yaml": TINY, "stub.yaml": STUB}


def with_profile(name: str) -> list[str]:
    """Arguments for a profile; the default one Snakemake takes by itself, below any other."""
    return [] if name == "default" else ["--profile", str(ROOT / "profiles" / name)]


def test_every_config_is_looked_at() -> None:
    assert set(EXPECTED) == {"config.yaml", *(path.name for path in CONFIGS.glob("*.yaml"))}
    assert {"default", "slurm"} <= set(PROFILES)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("config", EXPECTED)
def test_job_table(planning: Campaign, config: str, profile: str) -> None:
    path = ROOT / config if config == "config.yaml" else CONFIGS / config
    arguments = ["--configfile", str(path), *with_profile(profile)]
    assert planning.planned(*arguments) == EXPECTED[config]
    assert not (planning.folder / "results").exists()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("config", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_campaign_in_config(
    planning: Campaign, config: Path, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planning.folder)
    merged = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    update_config(merged, yaml.safe_load(config.read_text(encoding="utf-8")))
    settings = complete_config(merged)
    jobs = planning.planned("--configfile", str(config), *with_profile(profile))
    sources = settings["structures"]["sources"] + settings["calibration"]["sources"]
    if remote := remote_sources(sources):
        # What is computed is known when the databases have answered; nothing is asked here.
        assert jobs["retrieve_structures"] == len(remote)
        assert jobs["screen_structures"] == jobs["summarize_hyperfine"] == 1
        assert not (planning.folder / "data" / "retrieved").exists()
    elif "mossbauer" in settings["branches"]:
        design = settings["structures"]["design"]
        accepted, _ = collect(sources, settings["structures"], design)
        assert len(accepted) >= 40
        # A designed campaign computes what its design names, and nothing else.
        assert design is None or all(one["order"] is not None for one in accepted)
        assert jobs["compute_hyperfine"] == jobs["write_crystal"] == len(accepted)
    if "infrared" in settings["branches"]:
        molecules, sampling = len(settings["molecules"]), settings["sampling"]
        frames = sum(sampling[split] for split in ("train", "validation", "test"))
        assert jobs["fit_density_model"] == jobs["infrared_spectrum"] == molecules
        assert jobs["run_trajectory"] == molecules * settings["dynamics"]["trajectories"]
        assert jobs["label_densities"] >= molecules * frames / sampling["geometries_per_job"]


@pytest.mark.parametrize(
    ("branch", "expected", "wrong"),
    [
        ("mossbauer", CRYSTALS | MEASURED, "molecules: [{name: watr}]\npyscf: {xc: B3LYP}\n"),
        ("infrared", MOLECULE, "structures: {sources: [{kind: files, path: nowhere}]}\n"),
    ],
)
def test_one_branch_alone(
    planning: Campaign, branch: str, expected: dict[str, int], wrong: str
) -> None:
    """Nothing of the other branch is asked for, whatever its sections hold."""
    config = planning.folder / "one.yaml"
    config.write_text(f"branches: [{branch}]\n{wrong}", encoding="utf-8")
    assert planning.planned("--configfile", str(config)) == expected


@pytest.mark.parametrize(
    ("target", "last"),
    [
        ("all_structures", {"screen_structures": 1, "write_crystal": 12}),
        ("all_hyperfine", {"summarize_hyperfine": 1}),
        ("all_sites", {"clean_sites": 1, "write_measured": 10}),
        ("all_validation", {"compare_measured": 1, "write_measured": 12}),
        ("all_models", {"predict_candidates": 1, "train_model": 4}),
        ("all_mossbauer", {"plot_mossbauer": 1, "mix_mossbauer": 1}),
        ("all_density_models", {"fit_density_model": 1, "evaluate_density_model": 1}),
        ("all_infrared", {"run_trajectory": 4, "infrared_spectrum": 1}),
    ],
)
def test_named_stops(planning: Campaign, target: str, last: dict[str, int]) -> None:
    jobs = planning.planned(target, "--configfile", str(ROOT / "config.yaml"))
    assert last.items() <= jobs.items()
    if target == "all_structures":
        assert jobs == last
    assert set(jobs).isdisjoint(MOLECULE) or set(jobs).isdisjoint(CRYSTALS)


def test_no_structure_left(planning: Campaign) -> None:
    config = planning.folder / "none.yaml"
    config.write_text("structures: {max_volume_ang3_per_atom: 2}\n", encoding="utf-8")
    done = planning.run("--dry-run", "--configfile", str(config))
    assert done.returncode != 0
    assert "No structure of structures.sources passes the screening" in done.stdout
    assert "huge_cell" in done.stdout
