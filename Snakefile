"""From crystals and molecules to their spectra: config.yaml says what, `snakemake -n` shows how."""

from snakemake.utils import min_version

min_version("9.27")


# Beside this file, from wherever it is run or imported.
HOME = str(workflow.current_basedir)


configfile: f"{HOME}/config.yaml"


include: "rules/common.smk"


pathvars:
    results=f"results/{config['run']}",
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


report: "report/workflow.rst"


noted_jobs = NotedJobs()


# Before the first job: nothing is computed that could not be written. And at the end, however that
# comes: Snakemake's own message does not say what to do.
onstart:
    if workflow.is_main_process:
        refuse_unwritable(f"results/{config['run']}")
        atexit.register(warn_if_unwritable, f"results/{config['run']}")
        logger.addHandler(noted_jobs)


onsuccess:
    if workflow.is_main_process:
        noted_jobs.drop_all()


include: "rules/structures.smk"
include: "rules/hyperfine.smk"
include: "rules/plan.smk"
include: "rules/sites.smk"
include: "rules/validation.smk"
include: "rules/features.smk"
include: "rules/models.smk"
include: "rules/candidates.smk"
include: "rules/mossbauer.smk"
include: "rules/measured.smk"
include: "rules/molecules.smk"
include: "rules/density.smk"
include: "rules/infrared.smk"
include: "rules/targets.smk"
include: "rules/slurm.smk"


if REPORTING:

    rule all:
        """What the report shows of the campaign by now."""
        default_target: True
        input:
            finished_report(),
        localrule: True

else:

    rule all:
        """Everything that the campaign in config.yaml asks for."""
        default_target: True
        input:
            rules.all_structures.input if campaign.mossbauer else [],
            rules.all_hyperfine.input if campaign.mossbauer else [],
            rules.all_sites.input if campaign.mossbauer else [],
            rules.all_validation.input if campaign.mossbauer else [],
            rules.all_models.input if campaign.mossbauer else [],
            rules.all_mossbauer.input if campaign.mossbauer else [],
            rules.all_measured.input if campaign.mossbauer else [],
            rules.all_density_models.input if campaign.infrared else [],
            rules.all_infrared.input if campaign.infrared else [],
        localrule: True
