"""Measured 57Fe Mössbauer spectra: their phases, laid over the data."""

MEASUREMENTS = {entry["name"]: entry for entry in config["measurements"]}


def measured_files(wildcards):
    """Input function: the spectrum, its calibration, and what the campaign knows of phases."""
    entry = MEASUREMENTS[wildcards.measurement]
    calibration = entry.get("velocity", {}).get("calibration")
    files = [entry["file"]] + ([calibration] if calibration else [])
    if entry.get("candidates", "campaign") == "campaign":
        files += expand(
            "<results>/{file}",
            file=[
                "sites/sites.parquet",
                "calibration/calibration.json",
                "structures/index.csv",
            ],
        )
        if config["candidates"]["sources"]:
            files += expand("<results>/candidates/ranked.csv")
    return files


rule identify_phases:
    """Phases of a measured spectrum with their fractions, and the errors of both."""
    input:
        measured_files,
    output:
        "<results>/measured/{measurement}/spectrum.svg",
        "<results>/measured/{measurement}/components.csv",
        "<results>/measured/{measurement}/calibration.json",
        "<results>/measured/{measurement}/fit.csv",
        report(
            "<results>/measured/{measurement}/spectrum.png",
            caption="../report/measured.rst",
            category="8 Measured spectra",
            subcategory="{measurement}",
            labels={"result": "fit"},
        ),
        report(
            "<results>/measured/{measurement}/phases.csv",
            caption="../report/measured.rst",
            category="8 Measured spectra",
            subcategory="{measurement}",
            labels={"result": "phases"},
        ),
        fit="<results>/measured/{measurement}/fit.json",
    log:
        "<logs>/identify_phases/{measurement}.log",
    benchmark:
        "<benchmarks>/identify_phases/{measurement}.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        measurement=lambda wildcards: MEASUREMENTS[wildcards.measurement],
        settings=MEASUREMENT,
        results=lambda wildcards: f"results/{config['run']}",
        method=method_versions("measured.measure", "spectra.mossbauer"),
    script:
        "../scripts/identify_phases.py"
