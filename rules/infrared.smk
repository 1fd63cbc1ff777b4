"""Molecular dynamics on the predicted density, and the infrared spectrum."""

# What each run reads, so that a change of it runs it again; chunk_steps, how often a state is saved,
# changes no result and is in neither. The jobs are given the whole section: a parameter that is
# derived, by asking for the output, makes nothing run again.
THERMOSTAT = only(
    [
        *["temperature_k", "timestep_fs", "friction_per_ps", "equilibration_ps"],
        *["spacing_ps", "trajectories", "rotation", "stride", "seed"],
    ],
    "dynamics",
)
CONSTANT_ENERGY = only(
    [
        *["temperature_k", "timestep_fs", "trajectory_ps", "stride"],
        "max_energy_change_mev_per_atom",
    ],
    "dynamics",
)
TRANSFORM = {
    key: value for key, value in config["infrared"].items() if key != "measured"
}
CALCULATOR = [
    *["density.model", "density.coefficient_model", "density.one_shot"],
    *["density.guards", "density.calculator"],
]


rule equilibrate:
    """Start states of the trajectories: snapshots of one run with a thermostat."""
    input:
        current("equilibrate"),
        model="<results>/molecules/{molecule}/model.npz",
        molecule="<results>/molecules/{molecule}/equilibrium.json",
        harmonic="<results>/infrared/{molecule}/harmonic.json",
    output:
        run="<results>/molecules/{molecule}/thermostat.npz",
        states="<results>/molecules/{molecule}/states.npz",
    log:
        "<logs>/equilibrate/{molecule}.log",
    benchmark:
        "<benchmarks>/equilibrate/{molecule}.jsonl"
    conda:
        "../envs/molecules.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(1440),
    params:
        thermostat=THERMOSTAT,
        section=lambda wildcards, output: config["dynamics"],
        pyscf=PYSCF,
        guards=config["guards"],
        method=method_versions(
            "dynamics.integration", "dynamics.equilibration", *CALCULATOR
        ),
    script:
        "../scripts/equilibrate.py"


rule run_trajectory:
    """One trajectory at constant energy; a killed job goes on where it was."""
    input:
        current("run_trajectory"),
        model="<results>/molecules/{molecule}/model.npz",
        molecule="<results>/molecules/{molecule}/equilibrium.json",
        states="<results>/molecules/{molecule}/states.npz",
        harmonic="<results>/infrared/{molecule}/harmonic.json",
    output:
        trajectory="<results>/molecules/{molecule}/trajectories/{number}.npz",
    log:
        "<logs>/run_trajectory/{molecule}/{number}.log",
    benchmark:
        "<benchmarks>/run_trajectory/{molecule}/{number}.jsonl"
    conda:
        "../envs/molecules.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(1440),
    params:
        constant_energy=CONSTANT_ENERGY,
        section=lambda wildcards, output: config["dynamics"],
        pyscf=PYSCF,
        guards=config["guards"],
        method=method_versions("dynamics.integration", *CALCULATOR),
    script:
        "../scripts/run_trajectory.py"


rule infrared_spectrum:
    """Spectrum and bands from all trajectories, beside harmonic modes and measured bands."""
    input:
        current("infrared_spectrum"),
        trajectories=expand(
            "<results>/molecules/{{molecule}}/trajectories/{number}.npz",
            number=range(1, config["dynamics"]["trajectories"] + 1),
        ),
        harmonic="<results>/infrared/{molecule}/harmonic.json",
        measured=lambda wildcards: campaign.molecules.measured_bands(wildcards.molecule),
    output:
        "<results>/infrared/{molecule}/spectrum.svg",
        "<results>/infrared/{molecule}/spectrum.trajectories.csv",
        spectrum="<results>/infrared/{molecule}/spectrum.csv",
        peaks=report(
            "<results>/infrared/{molecule}/peaks.csv",
            caption="../report/bands.rst",
            category="9 Infrared spectra",
            labels={"molecule": "{molecule}", "result": "bands"},
        ),
        figure=report(
            "<results>/infrared/{molecule}/spectrum.png",
            caption="../report/infrared.rst",
            category="9 Infrared spectra",
            labels={"molecule": "{molecule}", "result": "spectrum"},
        ),
        evaluation="<results>/infrared/{molecule}/evaluation.json",
    log:
        "<logs>/infrared_spectrum/{molecule}.log",
    benchmark:
        "<benchmarks>/infrared_spectrum/{molecule}.jsonl"
    localrule: True
    conda:
        "../envs/molecules.yaml"
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        stored=stored,
        temperature_k=config["dynamics"]["temperature_k"],
        settings=TRANSFORM,
        method=method_versions("spectra.infrared"),
    script:
        "../scripts/infrared_spectrum.py"
