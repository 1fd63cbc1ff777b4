"""Measured 57Fe Mössbauer spectra: their phases, laid over the data."""

from dft2spectra.measured.campaign import measurement_files

MEASUREMENTS = {entry["name"]: entry for entry in config["measurements"]}


rule identify_phases:
    """Phases of a measured spectrum with their fractions, and the errors of both."""
    input:
        current("identify_phases"),
        lambda wildcards: measurement_files(
            MEASUREMENTS[wildcards.measurement],
            f"results/{config['run']}",
            bool(config["candidates"]["sources"]),
        ),
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
        stored=stored,
        measurement=lambda wildcards: MEASUREMENTS[wildcards.measurement],
        settings=MEASUREMENT,
        results=lambda wildcards: f"results/{config['run']}",
        predicted=bool(config["candidates"]["sources"]),
        method=method_versions("measured.measure", "spectra.mossbauer"),
    script:
        "../scripts/identify_phases.py"
