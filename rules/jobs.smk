"""How much goes into one DFT job: bundles of structures, predicted costs, resources."""

HYPERFINE = Path("results", config["run"], "hyperfine")

GPAW, JOBS = split_gpaw(config)
GPAW_METHOD = method_versions(*METHOD)

# Where finished records may be taken from, as words of a command. No parameter: records are the same.
STORE = f"--store {quote(str(RECORD_STORE))}" if RECORD_STORE else ""

# The least that a DFT job asks for, and the room for an estimate that is too low.
LEAST_MINUTES, LEAST_MB = 120, 3000
MORE_TIME, MORE_MEMORY = 4, 2

# A campaign that began with bundles keeps them.
BUNDLED = JOBS["structures_per_job"] > 1 or any(HYPERFINE.glob("bundles/*.members"))


@cache
def machine_factor():
    """Speed of this machine against that of the estimate, as `snakemake plan` found it."""
    path = Path("results", config["run"], "plan", "plan.json")
    plan = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return plan.get("machine_factor", 1.0)


@cache
def cost(structure, times):
    """Predicted cost of a structure."""
    # Brings ASE, which other jobs do not need.
    from dft2spectra.crystals.cost import estimate

    return estimate(crystal(structure), GPAW, machine_factor())


@cache
def largest_cost(structure, times):
    """Upper limit of the cost of a structure, and the predicted one where the limit matters.

    Finding the symmetry of thousands of small crystals takes time.
    """
    from dft2spectra.crystals.cost import estimate

    limit = estimate(crystal(structure), GPAW, machine_factor(), symmetry=False)
    small = MORE_TIME * limit.core_seconds / 60 <= LEAST_MINUTES
    if small and MORE_MEMORY * limit.memory_mb <= LEAST_MB:
        return limit
    return cost(structure, times)


@cache
def bundles_of(times):
    """Structures of every bundle by its name."""
    return assign_bundles(
        screened(times),
        read_bundles(HYPERFINE / "bundles"),
        lambda structure: cost(structure, times).core_seconds / 60,
        **JOBS,
    )


@cache
def bundle_by_structure(times):
    """Name of the bundle of every structure."""
    return {
        structure: name
        for name, members in bundles_of(times).items()
        for structure in members
    }


def bundles():
    """Structures of every bundle of the campaign by its name."""
    campaign()
    return bundles_of(set_times())


def members(wildcards):
    """Structures of a bundle; a job reads what is written down."""
    path = HYPERFINE / "bundles" / f"{wildcards.bundle}.members"
    if not workflow.is_main_process and path.exists():
        return path.read_text("utf-8").split()
    return bundles()[wildcards.bundle]


@cache
def say_outdated():
    """Say once that there are records that are not taken."""
    logger.info(
        f"Records in {HYPERFINE} that are damaged, or of another version of their crystal, of other "
        "settings or an older method, are computed again."
    )


def is_outdated(record, structure):
    """Whether a record is not what a calculation of the structure would give now."""
    from dft2spectra.crystals.run_record import current_record

    return current_record(record, crystal(structure), GPAW) is None


def outdated(wildcards):
    """Input function without files: a record that is no longer good is made anew.

    The record itself decides, not what Snakemake remembers of its job: that is gone with the folder
    `.snakemake`, and no file that was damaged, or copied from elsewhere, is in it.
    """
    path = HYPERFINE / f"{wildcards.structure}.json"
    if workflow.is_main_process and path.exists():
        if is_outdated(path, wildcards.structure):
            say_outdated()
            workflow.dag.forcefiles.add(str(path))
    return []


def outdated_members(wildcards):
    """As `outdated`, for a bundle that has been computed: also if a record of it is gone."""
    path = HYPERFINE / "bundles" / f"{wildcards.bundle}.json"
    if workflow.is_main_process and path.exists():
        folder = HYPERFINE / "bundles" / "records"
        for structure in members(wildcards):
            if is_outdated(folder / f"{structure}.json", structure):
                say_outdated()
                workflow.dag.forcefiles.add(str(path))
                break
    return []


def costs(wildcards):
    """Predicted costs of the structures of a job."""
    times = set_times()
    if BUNDLED:
        return [cost(name, times) for name in members(wildcards)]
    return [largest_cost(wildcards.structure, times)]


def dft_minutes(wildcards, attempt):
    """Resource function: time for a DFT job, with room for an estimate that is far too low."""
    predicted = sum(cost.core_seconds for cost in costs(wildcards)) / 60
    return attempt * max(LEAST_MINUTES, math.ceil(MORE_TIME * predicted))


def dft_memory(wildcards, attempt):
    """Resource function: memory for a DFT job, whose structures are computed one by one."""
    predicted = max(cost.memory_mb for cost in costs(wildcards))
    return attempt * max(LEAST_MB, math.ceil(MORE_MEMORY * predicted))


def priority_of(structure):
    """Priority of the DFT of a crystal: those that the design puts first are computed first."""
    order = crystal(structure).get("order")
    return 0 if order is None else max(1, MOST_PRIORITY - order)


def crystal_priority(wildcards):
    """Priority of a DFT job of one crystal."""
    return priority_of(wildcards.structure)


def bundle_priority(wildcards):
    """Priority of a bundle: that of its crystal that comes first."""
    return max(map(priority_of, members(wildcards)))


def molecule_jobs():
    """Jobs of the infrared branch by rule, whether they are done or not."""
    if not INFRARED:
        return {}
    molecules = len(config["molecules"])
    return {
        "harmonic_reference": molecules,
        "label_densities": molecules * len(BATCHES),
        "fit_density_model": molecules,
        "run_trajectory": molecules * config["dynamics"]["trajectories"],
    }
