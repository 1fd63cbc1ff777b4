"""Fingerprints of the surroundings of every Fe site."""


rule featurize_soap:
    """SOAP power spectra, one vector per row of the site table."""
    input:
        current("featurize_soap"),
        sites="<results>/sites/training.parquet",
        # A record holds its crystal.
        crystals=lambda wildcards: crystals(wildcards) + reference_records(),
    output:
        features="<results>/features/soap.npz",
    log:
        "<logs>/featurize_soap.log",
    benchmark:
        "<benchmarks>/featurize_soap.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        soap=config["soap"],
        method=method_versions("learning.soap"),
    script:
        "../scripts/featurize_soap.py"


rule select_representatives:
    """The most different sites first, seen by their fingerprints alone."""
    input:
        current("select_representatives"),
        features="<results>/features/soap.npz",
    output:
        table="<results>/features/representatives.csv",
    log:
        "<logs>/select_representatives.log",
    benchmark:
        "<benchmarks>/select_representatives.jsonl"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        number=config["learning"]["representatives"],
        method=method_versions("learning.selection"),
    script:
        "../scripts/select_representatives.py"
