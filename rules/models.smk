"""One model per target quantity: how good it is on unseen structure types, and the model itself."""

LEARNING = {
    key: value
    for key, value in config["learning"].items()
    if key not in ("targets", "representatives", "reference")
}


rule evaluate_model:
    """Every model in every split: predictions of crystals left out, scores, learning curves."""
    input:
        current("evaluate_model"),
        features="<results>/features/soap.npz",
        sites="<results>/sites/training.parquet",
        representatives="<results>/features/representatives.csv",
    output:
        "<results>/models/{target}/predictions.csv",
        "<results>/models/{target}/parity.svg",
        "<results>/models/{target}/splits.svg",
        predictions="<results>/models/{target}/predictions.parquet",
        metrics="<results>/models/{target}/metrics.json",
        figure=report(
            "<results>/models/{target}/parity.png",
            caption="../report/parity.rst",
            category="5 Models",
            labels={"target": "{target}", "figure": "parity"},
        ),
        splits="<results>/models/{target}/splits.csv",
        curve="<results>/models/{target}/learning_curve.csv",
        splits_figure=report(
            "<results>/models/{target}/splits.png",
            caption="../report/splits.rst",
            category="5 Models",
            labels={"target": "{target}", "figure": "splits"},
        ),
    log:
        "<logs>/evaluate_model/{target}.log",
    benchmark:
        "<benchmarks>/evaluate_model/{target}.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        stored=stored,
        learning=LEARNING,
        method=method_versions("learning.boosting"),
    script:
        "../scripts/evaluate_model.py"


rule evaluate_systems:
    """Models of single chemical systems, each crystal left out in turn."""
    input:
        current("evaluate_systems"),
        features="<results>/features/soap.npz",
        sites="<results>/sites/training.parquet",
        representatives="<results>/features/representatives.csv",
    output:
        "<results>/models/{target}/systems.svg",
        table="<results>/models/{target}/systems.csv",
        figure=report(
            "<results>/models/{target}/systems.png",
            caption="../report/systems.rst",
            category="5 Models",
            labels={"target": "{target}", "figure": "systems"},
        ),
    log:
        "<logs>/evaluate_systems/{target}.log",
    benchmark:
        "<benchmarks>/evaluate_systems/{target}.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        stored=stored,
        learning=LEARNING,
        method=method_versions("learning.boosting", "learning.systems"),
    script:
        "../scripts/evaluate_systems.py"


rule evaluate_tensor:
    """Field gradients as tensors: predicted for crystals left out, scored in every split."""
    input:
        current("evaluate_tensor"),
        features="<results>/features/soap.npz",
        sites="<results>/sites/training.parquet",
        representatives="<results>/features/representatives.csv",
        # A record holds its crystal.
        records=lambda wildcards: records(wildcards) + reference_records(),
    output:
        "<results>/models/efg_tensor/predictions.csv",
        "<results>/models/efg_tensor/parity.svg",
        "<results>/models/efg_tensor/splits.csv",
        "<results>/models/efg_tensor/tensor.npz",
        predictions="<results>/models/efg_tensor/predictions.parquet",
        metrics="<results>/models/efg_tensor/metrics.json",
        figure=report(
            "<results>/models/efg_tensor/parity.png",
            caption="../report/tensor.rst",
            category="5 Models",
            labels={"target": "efg_tensor", "figure": "parity"},
        ),
    log:
        "<logs>/evaluate_tensor.log",
    benchmark:
        "<benchmarks>/evaluate_tensor.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        stored=stored,
        soap=config["soap"],
        learning=LEARNING,
        method=method_versions("learning.boosting", "learning.tensor_evaluation"),
    script:
        "../scripts/evaluate_tensor.py"


rule train_model:
    """The model on all sites, and the card that says what it can be trusted with."""
    input:
        current("train_model"),
        features="<results>/features/soap.npz",
        sites="<results>/sites/training.parquet",
        representatives="<results>/features/representatives.csv",
        metrics="<results>/models/{target}/metrics.json",
    output:
        "<results>/models/{target}/training.npz",
        "<results>/models/{target}/kernel.npz",
        "<results>/models/{target}/importance.svg",
        model="<results>/models/{target}/model.ubj",
        card="<results>/models/{target}/card.json",
        figure=report(
            "<results>/models/{target}/importance.png",
            caption="../report/importance.rst",
            category="5 Models",
            labels={"target": "{target}", "figure": "importance"},
        ),
    log:
        "<logs>/train_model/{target}.log",
    benchmark:
        "<benchmarks>/train_model/{target}.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        stored=stored,
        learning=LEARNING,
        method=method_versions("learning.boosting"),
    script:
        "../scripts/train_model.py"


rule evaluate_external:
    """Models of all training sites against the sites that were kept apart, once at the end.

    No campaign without external crystals has it, and none runs it unasked: all_external does.
    """
    input:
        current("evaluate_external"),
        "<results>/models/{target}/kernel.npz",
        features="<results>/features/soap.npz",
        sites="<results>/sites/training.parquet",
        representatives="<results>/features/representatives.csv",
        model="<results>/models/{target}/model.ubj",
        card="<results>/models/{target}/card.json",
    output:
        "<results>/models/{target}/external/parity.svg",
        table="<results>/models/{target}/external/predictions.csv",
        metrics="<results>/models/{target}/external/metrics.json",
        figure=report(
            "<results>/models/{target}/external/parity.png",
            caption="../report/external.rst",
            category="5 Models",
            labels={"target": "{target}", "figure": "external sites"},
        ),
    log:
        "<logs>/evaluate_external/{target}.log",
    benchmark:
        "<benchmarks>/evaluate_external/{target}.jsonl"
    wildcard_constraints:
        target="|".join(config["learning"]["targets"]) if campaign.external else "(?!)",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        stored=stored,
        learning=LEARNING,
        method=method_versions("learning.external", "learning.boosting"),
    script:
        "../scripts/evaluate_external.py"
