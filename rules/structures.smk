"""Crystals: what is computed, what is not and why."""


rule screen_structures:
    """Canonical form, id and limits of every crystal in the sources; rejections with a reason."""
    input:
        source_files(SOURCES),
    output:
        report(
            "<results>/structures/rejected.csv",
            caption="../report/rejected.rst",
            category="1 Structures",
            labels={"table": "rejected"},
        ),
        directory("<results>/structures/accepted"),
        "<results>/structures/fingerprint.json",
        table=report(
            "<results>/structures/index.csv",
            caption="../report/index.rst",
            category="1 Structures",
            labels={"table": "accepted"},
        ),
    log:
        "<logs>/screen_structures.log",
    benchmark:
        "<benchmarks>/screen_structures.jsonl"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        sources=SOURCES,
        limits=LIMITS,
        method=method_versions("structures.sources"),
    script:
        "../scripts/screen_structures.py"


rule write_crystal:
    """One crystal as its DFT job reads it.

    The content is a parameter, not taken from the folder that screen_structures writes: so a job
    reruns when its own crystal changes, not when another one joins or a measured value is added.
    """
    output:
        "<results>/structures/crystals/{structure}.json",
    log:
        "<logs>/write_crystal/{structure}.log",
    benchmark:
        "<benchmarks>/write_crystal/{structure}.jsonl"
    localrule: True
    conda:
        "../envs/crystals.yaml"
    resources:
        mem_mb=growing(500),
        runtime=growing(5),
    params:
        content=as_json("measured", "provenance"),
    shell:
        "printf '%s\\n' {params.content:q} > {output:q} 2> {log:q}"
