"""What a campaign will do, before anything expensive runs."""

from datetime import datetime, timezone


rule plan:
    """Structures, rejections, jobs, core hours and the longest job, on the terminal.

    Only the screening runs before. The time is a parameter, so that the plan is made anew whenever
    it is asked for.
    """
    input:
        "<results>/structures/index.csv" if MOSSBAUER else [],
        "<results>/structures/rejected.csv" if MOSSBAUER else [],
    output:
        plan="<results>/plan/plan.json",
    log:
        "<logs>/plan.log",
    benchmark:
        "<benchmarks>/plan.jsonl"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        made_at=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        settings=GPAW,
        jobs=JOBS,
        molecules=molecule_jobs(),
        with_crystals=MOSSBAUER,
        method=method_versions("crystals.plan"),
    script:
        "../scripts/plan.py"
