"""Computed against measured: every site of the campaign that has a measured value."""


rule compare_measured:
    """Table, statistics and parity figure of all computed sites with measured values."""
    input:
        current("compare_measured"),
        sites="<results>/sites/sites.parquet",
        dropped="<results>/sites/dropped.csv",
        calibration="<results>/calibration/calibration.json",
        measured=lambda wildcards: expand(
            "<results>/calibration/measured/{structure}.json",
            structure=[name for name, found in asked().items() if found["measured"]],
        ),
    output:
        "<results>/validation/parity.svg",
        table=report(
            "<results>/validation/validation.csv",
            caption="../report/validation.rst",
            category="4 Sites",
            subcategory="against measured values",
            labels={"result": "table"},
        ),
        statistics=report(
            "<results>/validation/statistics.csv",
            caption="../report/validation.rst",
            category="4 Sites",
            subcategory="against measured values",
            labels={"result": "errors by quantity"},
        ),
        figure=report(
            "<results>/validation/parity.png",
            caption="../report/validation.rst",
            category="4 Sites",
            subcategory="against measured values",
            labels={"result": "parity"},
        ),
    log:
        "<logs>/compare_measured.log",
    benchmark:
        "<benchmarks>/compare_measured.jsonl"
    localrule: True
    conda:
        "../envs/crystals.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        stored=stored,
        method=method_versions("crystals.validation"),
    script:
        "../scripts/compare_measured.py"
