"""Crystals without DFT, ranked by what the models expect of them."""


rule screen_candidates:
    """Canonical form and limits of every candidate; rejections with a reason."""
    input:
        current("screen_candidates"),
        lambda wildcards: source_files(config["candidates"]["sources"], campaign.limits),
    output:
        "<results>/candidates/rejected.csv",
        directory("<results>/candidates/accepted"),
        table="<results>/candidates/index.csv",
    log:
        "<logs>/screen_candidates.log",
    benchmark:
        "<benchmarks>/screen_candidates.jsonl"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        sources=config["candidates"]["sources"],
        limits=campaign.candidate_limits,
        method=method_versions("structures.sources"),
    script:
        "../scripts/screen_candidates.py"


rule predict_candidates:
    """Predicted quantities of the candidates with their uncertainty, best first."""
    input:
        current("predict_candidates"),
        candidates="<results>/candidates/accepted",
        models=expand(
            "<results>/models/{target}/{file}",
            target=config["learning"]["targets"],
            file=["model.ubj", "kernel.npz", "card.json", "training.npz"],
        ),
        tensor=(
            "<results>/models/efg_tensor/tensor.npz"
            if "vzz" in config["learning"]["targets"]
            else []
        ),
    output:
        "<results>/candidates/ranked.svg",
        table=report(
            "<results>/candidates/ranked.csv",
            caption="../report/ranked.rst",
            category="6 Candidates",
            labels={"result": "table"},
        ),
        figure=report(
            "<results>/candidates/ranked.png",
            caption="../report/ranked.rst",
            category="6 Candidates",
            labels={"result": "figure"},
        ),
    log:
        "<logs>/predict_candidates.log",
    benchmark:
        "<benchmarks>/predict_candidates.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        stored=stored,
        soap=config["soap"],
        rank_by=config["candidates"]["rank_by"],
        coverage=config["learning"]["coverage"],
        method=method_versions(
            "learning.screening",
            "learning.soap",
            "learning.boosting",
            "learning.tensor_evaluation",
        ),
    script:
        "../scripts/predict_candidates.py"
