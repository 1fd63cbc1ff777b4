"""The table of trustworthy Fe sites."""

from dft2spectra.crystals.reference import serves
from dft2spectra.structures.design import external_ids

# Set of finished records that the models learn from as well, if it was made by the campaign's method.
REFERENCE = config["learning"]["reference"] if MOSSBAUER else None
if REFERENCE and not serves(REFERENCE, GPAW):
    if workflow.is_main_process:
        logger.info(
            f"The sites of {REFERENCE} were computed with other settings or methods: models learn "
            "from the sites of this campaign alone."
        )
    REFERENCE = None

# Crystals that nothing is trained on, for the evaluation at the end.
DESIGNS = [config["structures"]["design"], REFERENCE and f"{REFERENCE}/design.csv"]
EXTERNAL = sorted(
    {name for path in DESIGNS if MOSSBAUER for name in external_ids(path)}
)


rule clean_sites:
    """One row per distinct Fe site; what is left out, and by which rule, in a table of its own."""
    input:
        records=records,
        reference=lambda wildcards: reference_records(),
        calibration="<results>/calibration/calibration.json",
    output:
        report(
            "<results>/sites/sites.csv",
            caption="../report/sites.rst",
            category="4 Sites",
            labels={"table": "sites"},
        ),
        sites="<results>/sites/sites.parquet",
        training="<results>/sites/training.parquet",
        dropped=report(
            "<results>/sites/dropped.csv",
            caption="../report/dropped.rst",
            category="4 Sites",
            labels={"table": "dropped sites"},
        ),
    log:
        "<logs>/clean_sites.log",
    benchmark:
        "<benchmarks>/clean_sites.jsonl"
    localrule: True
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        rules=config["cleaning"],
        external=EXTERNAL,
        method=method_versions("learning.cleaning"),
    script:
        "../scripts/clean_sites.py"
