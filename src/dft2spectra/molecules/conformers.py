"""Geometries from which the minimum of a molecule is looked for: conformers and isomers.

RDKit's ETKDG (Riniker and Landrum, J. Chem. Inf. Model. 55, 2562 (2015); version 3: Wang et al.,
ibid. 60, 2044 (2020)) embeds a SMILES many times, and the force field MMFF94 (Halgren, J. Comput.
Chem. 17, 490 (1996)) relaxes and ranks what comes out. Its order is not that of density-functional
theory, which therefore gets the lowest few to choose from, and the lowest of every isomer.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Times that a SMILES is embedded, and how often for every bond that can turn, up to a limit.
EMBEDDINGS, EMBEDDINGS_PER_ROTOR, MAX_EMBEDDINGS = 50, 50, 300
EMBEDDING_SEED = 1
# MMFF94 orders conformers of small molecules to 0.5–2 kcal/mol: what it finds higher than this is
# not the lowest. Isomers it compares badly (cis and trans of C2H2F2 in the wrong order).
WINDOW_KCAL_MOL = 5.0
# Two geometries of one isomer whose energies agree to this are one, or mirror images.
SAME_KCAL_MOL = 0.01
MAX_STARTS = 6


def start_geometries(molecule: Mapping[str, Any]) -> list[NDArray]:
    """Geometries (atoms, 3) in Å to relax and compare, the most promising first.

    That of the molecule alone where it came from a file or from a set of geometries: whoever gives
    a geometry means the minimum beside it.

    Parameters
    ----------
    molecule
        As :func:`dft2spectra.molecules.sources.read_molecule` returns it.
    """
    given = np.asarray(molecule["positions_ang"], dtype=float)
    if "smiles" not in molecule:
        return [given]
    # Imported here: molecules of files need no RDKit.
    from rdkit import rdBase
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolDescriptors

    from dft2spectra.molecules.isomers import isomer_of, with_hydrogens

    smiles = molecule["smiles"]
    drawn = with_hydrogens(smiles)
    # RDKit's type hints have the attributes wrong.
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed, parameters.numThreads = EMBEDDING_SEED, 1
    rotors = rdMolDescriptors.CalcNumRotatableBonds(drawn)
    count = min(EMBEDDINGS + EMBEDDINGS_PER_ROTOR * rotors, MAX_EMBEDDINGS)
    with rdBase.BlockLogs():
        numbers = list(rdDistGeom.EmbedMultipleConfs(drawn, count, parameters))
        if not rdForceFieldHelpers.MMFFHasAllMoleculeParams(drawn):
            # What the force field does not know is not ranked.
            return [given]
        ends = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(drawn, maxIters=2000, numThreads=1)
    ranked = sorted((energy, number) for number, (_, energy) in zip(numbers, ends, strict=True))
    best: list[NDArray] = []
    further: list[NDArray] = []
    seen: dict[str, float] = {}
    for energy, number in ranked:
        positions = drawn.GetConformer(number).GetPositions()
        isomer = isomer_of(smiles, positions)
        if isomer not in seen:
            best.append(positions)
        elif energy - seen[isomer] < SAME_KCAL_MOL or energy - ranked[0][0] > WINDOW_KCAL_MOL:
            continue
        else:
            further.append(positions)
        seen[isomer] = energy
    return [*best, *further][:MAX_STARTS] or [given]
