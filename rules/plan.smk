"""What a campaign will do, before anything expensive runs."""

from datetime import datetime, timezone

# Folder with the crystals of the plan: those of the campaign as far as they are known.
SCREENED = f"<results>/{'plan/structures' if campaign.unrelaxed else 'structures'}"


rule screen_predicted:
    """As screen_structures, with predicted volumes where relax_volumes has not run yet."""
    input:
        lambda wildcards: source_files(campaign.predicted_sources, campaign.limits),
    output:
        "<results>/plan/structures/rejected.csv",
        directory("<results>/plan/structures/accepted"),
        "<results>/plan/structures/fingerprint.json",
        table="<results>/plan/structures/index.csv",
    log:
        "<logs>/screen_predicted.log",
    benchmark:
        "<benchmarks>/screen_predicted.jsonl"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        sources=campaign.predicted_sources,
        limits=campaign.limits,
        # Ids follow the volumes: a design holds for the relaxed ones.
        design=None,
        method=method_versions("structures.sources"),
    script:
        "../scripts/screen_predicted.py"


rule plan:
    """Structures, rejections, jobs, core hours and the longest job, on the terminal.

    Only the screening runs before. The time is a parameter, so that the plan is made anew whenever
    it is asked for.
    """
    input:
        f"{SCREENED}/rejected.csv" if campaign.mossbauer else [],
        index=f"{SCREENED}/index.csv" if campaign.mossbauer else [],
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
        settings=campaign.gpaw,
        jobs=campaign.job_sizes,
        molecules=lambda wildcards: (
            campaign.molecules.costs() if campaign.infrared else {}
        ),
        sizes=lambda wildcards: (
            campaign.enumeration_sizes(campaign.predicted_sources)
            if campaign.mossbauer
            else []
        ),
        unrelaxed=campaign.unrelaxed,
        store=RECORD_STORE,
        method=method_versions("crystals.plan"),
    script:
        "../scripts/plan.py"
