"""Molecules: their minimum, harmonic spectrum, and geometries labelled with DFT."""

PYSCF = config["pyscf"]


rule write_molecule:
    """One molecule as its relaxation reads it; the content is a parameter, as that of a crystal."""
    input:
        written("molecules/{molecule}/molecule.json", molecule_text),
    output:
        "<results>/molecules/{molecule}/molecule.json",
    log:
        "<logs>/write_molecule/{molecule}.log",
    benchmark:
        "<benchmarks>/write_molecule/{molecule}.jsonl"
    localrule: True
    conda:
        "../envs/molecules.yaml"
    resources:
        mem_mb=growing(500),
        runtime=growing(5),
    params:
        content=molecule_text,
    shell:
        "(printf '%s\\n' {params.content:q} > {output:q}.part"
        " && mv {output:q}.part {output:q}) 2> {log:q}"


rule relax_molecule:
    """The minimum of the energy nearest to the geometry that was given."""
    input:
        current("relax_molecule"),
        molecule="<results>/molecules/{molecule}/molecule.json",
    output:
        minimum="<results>/molecules/{molecule}/equilibrium.json",
    log:
        "<logs>/relax_molecule/{molecule}.log",
    benchmark:
        "<benchmarks>/relax_molecule/{molecule}.jsonl"
    conda:
        "../envs/molecules.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        settings=PYSCF,
        method=method_versions("molecules.pyscf_input", "molecules.equilibrium"),
    script:
        "../scripts/relax_molecule.py"


rule harmonic_reference:
    """Frequencies, normal modes and infrared intensities at the minimum, from full DFT."""
    input:
        current("harmonic_reference"),
        minimum="<results>/molecules/{molecule}/equilibrium.json",
    output:
        reference="<results>/infrared/{molecule}/harmonic.json",
        table=report(
            "<results>/infrared/{molecule}/harmonic.csv",
            caption="../report/harmonic.rst",
            category="9 Infrared spectra",
            labels={"molecule": "{molecule}", "result": "harmonic modes"},
        ),
    log:
        "<logs>/harmonic_reference/{molecule}.log",
    benchmark:
        "<benchmarks>/harmonic_reference/{molecule}.jsonl"
    conda:
        "../envs/molecules.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=growing(240),
    params:
        stored=stored,
        settings=PYSCF,
        method=method_versions("molecules.pyscf_input", "molecules.harmonic"),
    script:
        "../scripts/harmonic_reference.py"


rule sample_geometries:
    """Geometries of one batch, drawn along the normal modes."""
    input:
        current("sample_geometries"),
        harmonic="<results>/infrared/{molecule}/harmonic.json",
    output:
        batch="<results>/molecules/{molecule}/geometries/{batch}.json",
    log:
        "<logs>/sample_geometries/{molecule}/{batch}.log",
    benchmark:
        "<benchmarks>/sample_geometries/{molecule}/{batch}.jsonl"
    localrule: True
    conda:
        "../envs/molecules.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        frames=lambda wildcards: campaign.molecules.batches[wildcards.batch],
        sampling=only(["temperatures_k", "seed"], "sampling"),
        method=method_versions("molecules.sampling"),
    script:
        "../scripts/sample_geometries.py"


rule label_densities:
    """Real DFT (PySCF): density matrix, energy, forces, dipole and gap of one batch of geometries.

    A geometry that does not converge is a label with a reason. A killed job loses the geometry in
    hand.
    """
    input:
        current("label_densities"),
        molecule="<results>/molecules/{molecule}/molecule.json",
        geometries="<results>/molecules/{molecule}/geometries/{batch}.json",
    output:
        labels="<results>/molecules/{molecule}/labels/{batch}.npz",
    log:
        "<logs>/label_densities/{molecule}/{batch}.log",
    benchmark:
        "<benchmarks>/label_densities/{molecule}/{batch}.jsonl"
    conda:
        "../envs/molecules.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
    params:
        settings=PYSCF,
        method=method_versions("molecules.pyscf_input", "molecules.labels"),
    script:
        "../scripts/label_densities.py"
