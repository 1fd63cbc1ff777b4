"""Simulated 57Fe Mössbauer spectra."""

MEASUREMENT = {
    key: value for key, value in config["mossbauer"].items() if key != "mixtures"
}
MIXTURES = {mixture["name"]: mixture for mixture in config["mossbauer"]["mixtures"]}


rule plot_mossbauer:
    """Spectrum of every structure with trustworthy sites, and the lines that it is made of."""
    input:
        current("plot_mossbauer"),
        sites="<results>/sites/sites.parquet",
        structures="<results>/structures/index.csv",
    output:
        folder=report(
            directory("<results>/mossbauer/structures"),
            patterns=["{structure}.png"],
            caption="../report/spectrum.rst",
            category="7 Mössbauer spectra",
            subcategory="structures",
            labels={"structure": "{structure}"},
        ),
        lines="<results>/mossbauer/lines.csv",
        components="<results>/mossbauer/components.csv",
    log:
        "<logs>/plot_mossbauer.log",
    benchmark:
        "<benchmarks>/plot_mossbauer.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(1500),
        runtime=growing(60),
    params:
        stored=stored,
        settings=MEASUREMENT,
        method=method_versions("spectra.mossbauer"),
    script:
        "../scripts/plot_mossbauer.py"


rule mix_mossbauer:
    """Spectrum of a mixture of phases with the area of each."""
    input:
        current("mix_mossbauer"),
        sites="<results>/sites/sites.parquet",
        structures="<results>/structures/index.csv",
    output:
        "<results>/mossbauer/mixtures/{mixture}.svg",
        "<results>/mossbauer/mixtures/{mixture}.phases.csv",
        "<results>/mossbauer/mixtures/{mixture}.components.csv",
        spectrum="<results>/mossbauer/mixtures/{mixture}.csv",
        figure=report(
            "<results>/mossbauer/mixtures/{mixture}.png",
            caption="../report/mixture.rst",
            category="7 Mössbauer spectra",
            subcategory="mixtures",
            labels={"mixture": "{mixture}"},
        ),
        areas="<results>/mossbauer/mixtures/{mixture}.areas.csv",
    log:
        "<logs>/mix_mossbauer/{mixture}.log",
    benchmark:
        "<benchmarks>/mix_mossbauer/{mixture}.jsonl"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(1500),
        runtime=growing(20),
    params:
        stored=stored,
        mixture=lambda wildcards: MIXTURES[wildcards.mixture],
        settings=MEASUREMENT,
        method=method_versions("spectra.mossbauer"),
    script:
        "../scripts/mix_mossbauer.py"
