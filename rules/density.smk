"""The model of the electron density, and how good what follows from it is."""

# What the chosen kind of model reads: the keys of the other change nothing.
KIND = config["density_model"]["kind"]
KIND_SETTINGS = {
    key: value
    for key, value in config["density_model"].items()
    if key == "committee"
    or (key in ("kind", "coefficients")) == (KIND == "coefficients")
}
KIND_METHOD = (
    "density.model" if KIND == "jacobi_legendre" else "density.coefficient_model"
)


rule fit_density_model:
    """Model of the density with its committee, and the card that says what it is."""
    input:
        current("fit_density_model"),
        labels=labels("train", "validation"),
    output:
        "<results>/molecules/{molecule}/card.json",
        model="<results>/molecules/{molecule}/model.npz",
    log:
        "<logs>/fit_density_model/{molecule}.log",
    benchmark:
        "<benchmarks>/fit_density_model/{molecule}.jsonl"
    conda:
        "../envs/molecules.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        settings=KIND_SETTINGS,
        pyscf=PYSCF,
        method=method_versions(KIND_METHOD, "density.one_shot", "density.training"),
    script:
        "../scripts/fit_density_model.py"


rule evaluate_density_model:
    """Errors of density, energy, forces and dipole on geometries that the fit never saw."""
    input:
        current("evaluate_density_model"),
        model="<results>/molecules/{molecule}/model.npz",
        labels=labels("test"),
    output:
        "<results>/molecules/{molecule}/forces.svg",
        "<results>/molecules/{molecule}/errors.svg",
        "<results>/molecules/{molecule}/uncertainty.svg",
        report(
            "<results>/molecules/{molecule}/evaluation.csv",
            caption="../report/density_errors.rst",
            category="8 Density models",
            labels={"molecule": "{molecule}", "result": "test geometries"},
        ),
        metrics="<results>/molecules/{molecule}/evaluation.json",
        table="<results>/molecules/{molecule}/evaluation.parquet",
        forces=report(
            "<results>/molecules/{molecule}/forces.png",
            caption="../report/forces.rst",
            category="8 Density models",
            labels={"molecule": "{molecule}", "result": "forces"},
        ),
        errors=report(
            "<results>/molecules/{molecule}/errors.png",
            caption="../report/density_errors.rst",
            category="8 Density models",
            labels={"molecule": "{molecule}", "result": "errors"},
        ),
        uncertainty=report(
            "<results>/molecules/{molecule}/uncertainty.png",
            caption="../report/uncertainty.rst",
            category="8 Density models",
            labels={"molecule": "{molecule}", "result": "uncertainty"},
        ),
    log:
        "<logs>/evaluate_density_model/{molecule}.log",
    benchmark:
        "<benchmarks>/evaluate_density_model/{molecule}.jsonl"
    conda:
        "../envs/molecules.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=growing(120),
    params:
        stored=stored,
        pyscf=PYSCF,
        method=method_versions(KIND_METHOD, "density.one_shot", "density.evaluation"),
    script:
        "../scripts/evaluate_density_model.py"
