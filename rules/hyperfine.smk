"""DFT: hyperfine parameters of every structure, and their calibration to measured shifts."""


rule compute_hyperfine:
    """Real DFT (GPAW): moment, contact density, EFG and hyperfine field of every distinct site.

    Ends with a record whatever the physics does; its status says converged, not_converged or
    failed. MPI: set the resources `mpi` (the launcher, such as mpiexec or srun) and `tasks`; they are
    no parameters, so that moving to another machine computes nothing again.
    """
    input:
        "<results>/structures/crystals/{structure}.json",
    output:
        "<results>/hyperfine/{structure}.json",
    log:
        "<logs>/compute_hyperfine/{structure}.log",
    benchmark:
        "<benchmarks>/compute_hyperfine/{structure}.jsonl"
    conda:
        "../envs/crystals.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=growing(120),
        mpi="",
        tasks=1,
    params:
        settings=json.dumps(config["gpaw"]),
        method=method_versions(
            "crystals.gpaw_runner", "crystals.contact", "crystals.efg"
        ),
    shell:
        'launcher="{resources.mpi}"; '
        "${{launcher:+env OMP_NUM_THREADS=1 GPAW_MPI_BACKEND=cgpaw $launcher -n {resources.tasks}}}"
        " python -m dft2spectra.crystals --structure {input:q}"
        " --settings {params.settings:q} --output {output:q} --log {log:q} >> {log:q} 2>&1"


rule summarize_hyperfine:
    """One row per structure: status, reason, chosen start, iterations and time."""
    input:
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
        method=method_versions("crystals.table"),
    script:
        "../scripts/summarize_hyperfine.py"


rule write_measured:
    """One compound with its measured values, as the calibration reads it."""
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
        content=as_json("provenance"),
    shell:
        "printf '%s\\n' {params.content:q} > {output:q} 2> {log:q}"


rule calibrate:
    """Isomer shift per contact density, fitted to the measured compounds of the campaign."""
    input:
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
        settings={"reference": config["calibration"]["reference"]},
        method=method_versions("crystals.calibration"),
    script:
        "../scripts/calibrate.py"
