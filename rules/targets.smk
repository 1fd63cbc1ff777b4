"""Named stops: `snakemake all_<stage>` makes one stage and what it needs."""


rule all_retrieved:
    """The pinned sets of all databases."""
    input:
        [campaign.sets.path(name) for name in campaign.sets.all],
    localrule: True


rule all_structures:
    """The crystals of the campaign."""
    input:
        "<results>/structures/index.csv",
        "<results>/structures/rejected.csv",
        crystals,
    localrule: True


rule all_hyperfine:
    """The DFT records and their summary."""
    input:
        records,
        "<results>/hyperfine/summary.csv",
        "<results>/report/timings.png",
    localrule: True


rule all_sites:
    """The calibration and the table of Fe sites."""
    input:
        "<results>/calibration/calibration.json",
        "<results>/sites/sites.parquet",
    localrule: True


rule all_validation:
    """The computed sites against measured values."""
    input:
        "<results>/validation/validation.csv",
        "<results>/validation/parity.png",
    localrule: True


rule all_models:
    """The models with their scores, and the ranked candidates if there are any."""
    input:
        expand(
            "<results>/models/{target}/{file}",
            target=config["learning"]["targets"],
            file=["metrics.json", "model.ubj", "systems.csv"],
        ),
        (
            "<results>/models/efg_tensor/metrics.json"
            if "vzz" in config["learning"]["targets"]
            else []
        ),
        "<results>/candidates/ranked.csv" if config["candidates"]["sources"] else [],
    localrule: True


rule all_external:
    """The models judged, once at the end, by sites that no step before has seen."""
    input:
        expand(
            "<results>/models/{target}/external/metrics.json",
            target=config["learning"]["targets"] if campaign.external else [],
        ),
    localrule: True


rule all_mossbauer:
    """The spectra of structures and mixtures."""
    input:
        "<results>/mossbauer/structures",
        expand("<results>/mossbauer/mixtures/{mixture}.png", mixture=MIXTURES),
    localrule: True


rule all_measured:
    """The phases found in the measured spectra."""
    input:
        expand("<results>/measured/{measurement}/fit.json", measurement=MEASUREMENTS),
    localrule: True


rule all_density_models:
    """The density models with their errors."""
    input:
        expand(
            "<results>/molecules/{molecule}/{file}",
            molecule=campaign.molecules.names,
            file=["model.npz", "evaluation.json"],
        ),
    localrule: True


rule all_infrared:
    """The infrared spectra of the molecules."""
    input:
        expand(
            "<results>/infrared/{molecule}/spectrum.png",
            molecule=campaign.molecules.names,
        ),
    localrule: True
