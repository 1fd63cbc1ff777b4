"""DFT: hyperfine parameters of every structure, and their calibration to measured shifts."""

from dft2spectra.crystals.identity import METHOD

# What a record depends on; how structures share jobs, and where finished records may be taken from,
# is no parameter: records are the same.
SETTINGS = json.dumps(campaign.gpaw)
GPAW_METHOD = method_versions(*METHOD)
RECORD_STORE = config["record_store"]
STORE = f"--store {quote(RECORD_STORE)}" if RECORD_STORE else ""
# Name of a job: that of its crystal, or of the bundle that shares it.
JOB = "{bundle}" if campaign.bundled else "{structure}"


if campaign.bundled:

    rule write_bundle:
        """The structures of one DFT job, by id: what is written down stays together."""
        input:
            written("hyperfine/bundles/{bundle}.members", members_text),
        output:
            "<results>/hyperfine/bundles/{bundle}.members",
        log:
            "<logs>/write_bundle/{bundle}.log",
        benchmark:
            "<benchmarks>/write_bundle/{bundle}.jsonl"
        localrule: True
        conda:
            "../envs/crystals.yaml"
        resources:
            mem_mb=growing(500),
            runtime=growing(5),
        params:
            members=lambda wildcards: campaign.jobs.members(wildcards.bundle),
        shell:
            "(printf '%s\\n' {params.members:q} > {output:q}.part"
            " && mv {output:q}.part {output:q}) 2> {log:q}"

    rule write_record:
        """The record of one structure, out of the job that computed it."""
        input:
            lambda wildcards: renew(campaign.jobs.outdated_record(wildcards.structure)),
            bundle=lambda wildcards: expand(
                "<results>/hyperfine/bundles/{bundle}.json",
                bundle=campaign.jobs.bundle_of[wildcards.structure],
            ),
        output:
            "<results>/hyperfine/{structure}.json",
        log:
            "<logs>/write_record/{structure}.log",
        benchmark:
            "<benchmarks>/write_record/{structure}.jsonl"
        localrule: True
        conda:
            "../envs/crystals.yaml"
        resources:
            mem_mb=growing(500),
            runtime=growing(5),
        shell:
            "(cp $(dirname {input.bundle:q})/records/$(basename {output:q}) {output:q}.part"
            " && mv {output:q}.part {output:q}) 2> {log:q}"


rule compute_hyperfine:
    """Real DFT (GPAW): moment, contact density, EFG and hyperfine field of every distinct site.

    Of one structure or, in a bundle, of several, one after the other, each in its own process. Ends
    with a record of each whatever the physics does; its status says converged, not_converged or
    failed. If the machine fails one of a bundle, the others go on, and the next attempt computes
    what is missing. A second job for the same record, as after a kill of Snakemake, waits for the
    first. MPI: set the resources `mpi` (the launcher, such as mpiexec or srun) and `tasks`; they are
    no parameters, so that moving to another machine computes nothing again.
    """
    input:
        lambda wildcards: renew(campaign.jobs.outdated_job(job_of(wildcards))),
        "<results>/hyperfine/bundles/{bundle}.members" if campaign.bundled else [],
        structures=lambda wildcards: crystal_files(
            campaign.jobs.running_members(job_of(wildcards))
        ),
    output:
        f"<results>/hyperfine/{'bundles/' if campaign.bundled else ''}{JOB}.json",
    log:
        f"<logs>/compute_hyperfine/{JOB}.log",
    benchmark:
        f"<benchmarks>/compute_hyperfine/{JOB}.jsonl"
    priority: lambda wildcards: campaign.jobs.priority(job_of(wildcards))
    conda:
        "../envs/crystals.yaml"
    resources:
        mem_mb=dft_memory,
        runtime=dft_minutes,
        mpi="",
        tasks=1,
        store=STORE,
    params:
        settings=SETTINGS,
        method=GPAW_METHOD,
    shell:
        'launcher="{resources.mpi}"; '
        "python -P -m dft2spectra.crystals.run_job --structures {input.structures:q}"
        " --settings {params.settings:q} --output {output:q} --logs $(dirname {log:q})"
        " {resources.store}"
        ' --launcher "${{launcher:+$launcher -n {resources.tasks}}}" >> {log:q} 2>&1'


rule summarize_hyperfine:
    """One row per structure: status, reason, chosen start, iterations and time."""
    input:
        current("summarize_hyperfine"),
        records=records,
    output:
        "<results>/report/timings.svg",
        table=report(
            "<results>/hyperfine/summary.csv",
            caption="../report/summary.rst",
            category="2 DFT",
            labels={"result": "status of every structure"},
        ),
        figure=report(
            "<results>/report/timings.png",
            caption="../report/timings.rst",
            category="2 DFT",
            labels={"result": "time used per structure"},
        ),
    log:
        "<logs>/summarize_hyperfine.log",
    benchmark:
        "<benchmarks>/summarize_hyperfine.jsonl"
    localrule: True
    conda:
        "../envs/crystals.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        stored=stored,
        method=method_versions("crystals.table"),
    script:
        "../scripts/summarize_hyperfine.py"


rule write_measured:
    """One compound with its measured values, as the calibration reads it."""
    input:
        written("calibration/measured/{structure}.json", measured_text),
    output:
        "<results>/calibration/measured/{structure}.json",
    log:
        "<logs>/write_measured/{structure}.log",
    benchmark:
        "<benchmarks>/write_measured/{structure}.jsonl"
    localrule: True
    conda:
        "../envs/crystals.yaml"
    resources:
        mem_mb=growing(500),
        runtime=growing(5),
    params:
        content=measured_text,
    shell:
        "(printf '%s\\n' {params.content:q} > {output:q}.part"
        " && mv {output:q}.part {output:q}) 2> {log:q}"


rule calibrate:
    """Isomer shift, field and Q, fitted to the measured compounds of the calibration."""
    input:
        current("calibrate"),
        records=lambda wildcards: expand(
            "<results>/hyperfine/{structure}.json", structure=calibration_ids()
        ),
        measured=lambda wildcards: expand(
            "<results>/calibration/measured/{structure}.json",
            structure=calibration_ids(),
        ),
    output:
        "<results>/calibration/calibration.svg",
        result="<results>/calibration/calibration.json",
        points=report(
            "<results>/calibration/calibration.csv",
            caption="../report/calibration.rst",
            category="3 Calibration",
            labels={"result": "points"},
        ),
        figure=report(
            "<results>/calibration/calibration.png",
            caption="../report/calibration.rst",
            category="3 Calibration",
            labels={"result": "fit"},
        ),
    log:
        "<logs>/calibrate.log",
    benchmark:
        "<benchmarks>/calibrate.jsonl"
    localrule: True
    conda:
        "../envs/crystals.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        stored=stored,
        settings={"reference": config["calibration"]["reference"]},
        method=method_versions("crystals.calibration"),
    script:
        "../scripts/calibrate.py"
