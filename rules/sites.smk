"""The table of trustworthy Fe sites."""


rule clean_sites:
    """One row per distinct Fe site; what is left out, and by which rule, in a table of its own."""
    input:
        current("clean_sites"),
        records=records,
        reference=lambda wildcards: reference_records(),
        calibration="<results>/calibration/calibration.json",
    output:
        report(
            "<results>/sites/sites.csv",
            caption="../report/sites.rst",
            category="4 Sites",
            labels={"table": "sites"},
        ),
        sites="<results>/sites/sites.parquet",
        training="<results>/sites/training.parquet",
        dropped=report(
            "<results>/sites/dropped.csv",
            caption="../report/dropped.rst",
            category="4 Sites",
            labels={"table": "dropped sites"},
        ),
    log:
        "<logs>/clean_sites.log",
    benchmark:
        "<benchmarks>/clean_sites.jsonl"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        stored=stored,
        rules=config["cleaning"],
        external=campaign.external,
        method=method_versions("learning.cleaning"),
    script:
        "../scripts/clean_sites.py"
