"""Crystals: what is computed, what is not and why."""

from dft2spectra.campaign.jobs import MOST_PRIORITY
from dft2spectra.structures.inputs import input_files

PINNED = Path(config["structures"]["pinned"])


checkpoint retrieve_structures:
    """What a database gives, pinned: asked once, then only after a change of the filter.

    `update` keeps the set that is there until the new one is whole. What follows is planned when
    the set is there. --forcerun retrieve_structures asks anew.
    """

    # The set itself decides, not the parameters that Snakemake records: they are the new ones also
    # after a retrieval that failed, and a clone has none. So the source is a derived parameter.
    input:
        lambda wildcards: renew(campaign.sets.outdated(wildcards.source)),
    output:
        pinned=update(f"{PINNED}/{{source}}.json"),
    log:
        "<logs>/retrieve_structures/{source}.log",
    benchmark:
        "<benchmarks>/retrieve_structures/{source}.jsonl"
    wildcard_constraints:
        source="|".join(
            re.escape(name)
            for name in campaign.sets.all
            if name not in campaign.sets.relaxed and not DELETING
        )
        or "(?!)",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
    params:
        name=lambda wildcards: wildcards.source,
        source=lambda wildcards, output: campaign.sets.all[wildcards.source],
        method=method_versions("structures.retrieval"),
    script:
        "../scripts/retrieve_structures.py"


checkpoint relax_volumes:
    """Volumes of decorated prototypes by cheap DFT, pinned like what a database gives.

    Crystals that are done are kept in the folder of the results when the job is cut off.
    """
    input:
        lambda wildcards: renew(campaign.sets.outdated(wildcards.source)),
        lambda wildcards: input_files(
            campaign.sets.all[wildcards.source] | {"relax_volume": False},
            campaign.limits,
        ),
    output:
        pinned=update(f"{PINNED}/{{source}}.json"),
    log:
        "<logs>/relax_volumes/{source}.log",
    benchmark:
        "<benchmarks>/relax_volumes/{source}.jsonl"
    wildcard_constraints:
        source=(
            "(?!)"
            if DELETING
            else "|".join(map(re.escape, campaign.sets.relaxed)) or "(?!)"
        ),
    conda:
        "../envs/crystals.yaml"
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=growing(1440),
    params:
        lambda wildcards: wildcards.source,
        source=lambda wildcards, output: campaign.sets.all[wildcards.source],
        limits=campaign.limits,
        scratch=lambda wildcards: f"results/{config['run']}/relax_volumes/{wildcards.source}",
        method=method_versions("crystals.equation_of_state"),
    script:
        "../scripts/relax_volumes.py"


rule screen_structures:
    """Canonical form, id and limits of every crystal in the sources; rejections with a reason."""
    input:
        current("screen_structures"),
        # A pinned set that is gone is no input where everything is deleted.
        lambda wildcards: [
            path
            for path in source_files(campaign.sources, campaign.limits)
            if not DELETING or os.path.exists(path)
        ],
        config["structures"]["design"] or [],
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
    # Before the jobs that do not need it: dft2spectra.status counts by it.
    priority: 1
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        stored=stored,
        sources=campaign.sources,
        limits=campaign.limits,
        design=config["structures"]["design"],
        method=method_versions("structures.sources"),
    script:
        "../scripts/screen_structures.py"


rule write_crystal:
    """One crystal as its DFT job reads it.

    The content is a parameter, not taken from the folder that screen_structures writes: so a job
    reruns when its own crystal changes, not when another one joins, it gets another place in the
    design or a measured value is added.
    """
    input:
        written("structures/crystals/{structure}.json", crystal_text),
    output:
        "<results>/structures/crystals/{structure}.json",
    log:
        "<logs>/write_crystal/{structure}.log",
    benchmark:
        "<benchmarks>/write_crystal/{structure}.jsonl"
    # Before any DFT, so that it starts with the crystal that the design puts first.
    priority: 2 * MOST_PRIORITY
    localrule: True
    conda:
        "../envs/crystals.yaml"
    resources:
        mem_mb=growing(500),
        runtime=growing(5),
    params:
        content=crystal_text,
    shell:
        "(printf '%s\\n' {params.content:q} > {output:q}.part"
        " && mv {output:q}.part {output:q}) 2> {log:q}"
