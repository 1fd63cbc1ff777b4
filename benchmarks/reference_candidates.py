"""Crystals that the reference set is chosen from: what is asked for, and what each would cost.

Partners have a PAW dataset and can stand in an alloy or compound of Fe; open-shell lanthanides,
alkalis, noble gases and Ag, Cd, Mg, Hg, Tl, Pb, Bi are left out, and so are oxides, halides and
other compounds that this functional describes badly.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

from dft2spectra.crystals import cost
from dft2spectra.structures.identity import group_same
from dft2spectra.structures.inputs import read_inputs
from dft2spectra.structures.raw import Rejected
from dft2spectra.structures.screening import effective_limits
from dft2spectra.structures.site_symmetry import free_gradient_components
from dft2spectra.structures.sources import PREFERENCE, _check

MAX_ATOMS = 12
LIMITS = {"max_atoms": MAX_ATOMS, "xc": "PBE"}
GPAW = {"cutoff_ev": 400, "kpoint_density_ang": 3.5, "xc": "PBE", "starts": ["ferromagnetic"]}
# Of the modelled time. The list was made at 0.6, before the model knew FFTW and Davidson.
PRICE = 1.0
# Iterations over those that the model assumes, by the element that needs most: medians of 58
# converged records of a trial campaign.
ITERATIONS = {"Mn": 1.95, "Cr": 1.55, "V": 1.28}
OTHER_ITERATIONS = 1.10
MOST_CORE_MIN = 9.0

LATE = "Co Ni Cu Ru Rh Pd Os Ir Pt Au"
MIDDLE = "V Cr Mn Nb Mo Ta W Re"
EARLY = "Sc Ti Y Zr Hf Lu"
SP = "Be Al Si Zn Ga Ge In Sn Sb"
METALS = f"{LATE} {MIDDLE} {EARLY} {SP}"
MAIN = "Al Si Ti V Cr Mn Co Ni Ga Ge Pd Pt Sn Zn Be"

# Volumes of metallic alloys of Fe with these are predicted so much too small (docs/structures.md).
VOLUME_SCALE = {"Co": 1.06, "Ni": 1.06}
CLOSE_PACKED = "B2 L1_0 L1_1 L1_2 L1_3 L6_0 D0_3 D0_22 D0_19 D0_a D1_a B32 B19 Ca7Ge"

CELL = {"tetragonal": [-0.06, 0.08]}
LONG = {"tetragonal": [-0.06, -0.03, 0.04, 0.08]}
# Every way to put Fe and one of these elements (or a pair) on the sublattices: type, parent,
# elements, strains of copies.
FAMILIES = [
    ("B2", "B2", METALS, LONG | {"orthorhombic": [0.06]}),
    ("L1_0", "L1_0", METALS, LONG | {"isotropic": [0.02]}),
    ("L1_2", "L1_2", METALS, {"isotropic": [0.02], "tetragonal": [-0.05, 0.06]}),
    ("D0_3", "D0_3", METALS, {"tetragonal": [-0.05, 0.06]}),
    ("B32", "B32", MAIN, {"tetragonal": [0.06]}),
    ("L6_0", "L6_0", METALS, {}),
    ("L1_3", "L1_3", METALS, {}),
    ("L1_1", "L1_1", "Co Ni Cu Rh Pd Pt Mn V Al Ti Ga Ge Si", {}),
    ("D0_22", "D0_22", METALS, {}),
    ("D0_19", "D0_19", MAIN + " In Sb Nb W", {}),
    ("D0_a", "D0_a", "Ti Nb Mo Sb Sn Pt Al", {}),
    ("D1_a", "D1_a", MAIN + " Mo W Nb", {}),
    ("D1_3", "D1_3", "Al Ga Zn Sn Si Ge Ti Zr", {}),
    ("D5_13", "D5_13", "Al Ga Ge Sn Si Pd Pt", {}),
    ("B11", "B11", "Al Si Ti Zr Hf Ge Sn Au Pd Pt Ga Sb Ni", {}),
    ("B10", "B10", "P S As Se Te Sb Ge Sn", {}),
    ("B19", "B19", "Ti Al Pd Pt Au Nb V Ga", {}),
    ("B17", "B17", "Pd Pt Ni Si Ge Al", {}),
    ("B20", "B20", "Al Ge Ga Sn Si", {}),
    ("B27", "B27", "B C Si Ge Zr", {}),
    ("B31", "B31", "P As Si Ge Sb", {}),
    ("B33", "B33", "B Al Ge Zr Si Ga", {}),
    ("B35", "B35", "Sn Ge In Ga Al Si Zn", {}),
    ("AB_oC8_65_j_g", "AB_oC8_65_j_g", "V Ti Ir Rh Pd Pt Nb Al Ga Co", {}),
    ("AB_tI8_141_a_b", "AB_tI8_141_a_b", "P As Si Ge N C B Al", {}),
    ("B8_1", "B8_1", "P As Sb Te Se S Sn Ge Si Pt", {}),
    ("B8_2", "B8_2", "Ge Sn Ga In Al Si Ti Sb", {}),
    ("B_h", "B_h", "Al Si Ti V Ga Ge Co Ni Pd Pt Nb Ru B C N P As", {"tetragonal": [0.06]}),
    ("B1", "B1", "B C N P As Sb", {"tetragonal": [-0.05, 0.06]}),
    ("B3", "B3", "N P As Sb C Si Ge Al", {"tetragonal": [0.06]}),
    ("C1", "C1", "Be B Al Si P Ti Ga Ge As Sn Ni Pd Pt Zr", {"tetragonal": [0.06]}),
    ("C11_b", "C11_b", MAIN + " Zr Hf Nb", {}),
    ("C14", "C14", "Ti Zr Hf Nb Ta Mo W Sc Be Si", {}),
    ("C15", "C15", "Sc Ti Y Zr Nb Hf Ta Lu Mo W Be Al Si Ge Co Ni V Cr Pd", {}),
    ("C15_b", "C15_b", "Be Al Si Ti Y Zr Hf Ni Cu Zn Pd Au Co Ga Ge Nb Sn Pt V", {}),
    ("C16", "C16", "B Ge Sn Al Zn Ti Zr Si Ga", {}),
    ("C18", "C18", "P As Sb S Se Te Si Ge", {}),
    ("C22", "A2B_hP9_189_fg_bc", "P As Si Ge B", {}),
    ("C32", "C32", "B Be Al Si Ga Ti Zr Ge Sn Zn", {}),
    ("C38", "C38", "P As Sb Ge Sn Te Al Sc", {}),
    ("C6", "C6", "Si Ge Al Sn Ti Be", {}),
    ("FeSi2-alpha", "data/structures/FeSi2-alpha.yaml", MAIN + " P As Te Sb Se", CELL),
    ("A15", "A15", "Be Al Si Ga Ge Sn Sb Ti V Cr Nb Mo Re Os Ir Pt Au Pd", {}),
    ("Fe4C", "AB4_cP5_215_a_e", "B C N Si Be Al Ge", {}),
    ("L'1_0", "data/structures/Fe4N.yaml", "N C B Be Si Al", {"tetragonal": [-0.05, 0.06]}),
    ("D2_1", "D2_1", "Be B C Al Si", {}),
    ("D2_d", "D2_d", "Y Zr Sc Hf Ti Be B", {}),
    ("ReO3", "D0_9", "N C B", {}),
]
HEUSLER = (
    "Al-V Al-Ti Al-Cr Al-Mn Al-Co Al-Ni Al-Nb Al-Ta Al-Hf Al-Ru Al-Cu Al-Sc Si-Co Si-Mn Si-Ti Si-V "
    "Si-Cr Si-Ru Si-Re Ga-V Ga-Co Ga-Ni Ga-Mn Ga-Ti Ge-Co Ge-Mn Ge-Ti Sn-Ti Sn-Co Sn-Hf In-Co "
    "Al-Pd Ga-Pd Al-Pt In-Zr Sb-Co Zn-Cu Al-Be Al-Os Al-Ir Si-W Al-Mo Zn-Ti Be-Si Ni-Ge Pd-Sn Pt-Ga"
)
HALF_HEUSLER = (
    "V-Sb Nb-Sb Ta-Sb Ti-Sb Zr-Sb Hf-Sb Ti-Sn Nb-Sn V-Ge Mn-Si Ti-Ge V-As Ta-Ge Mo-Ge W-Ge Ti-Te "
    "Zr-Te Sc-Te Y-Te Lu-Sb Ti-P Nb-P Hf-Sn Ti-Si Al-Si Ni-Sb Co-Sb Pt-Sn"
)
PAIRS = [
    ("L2_1", "L2_1", {"tetragonal": [0.06]}, HEUSLER),
    ("C1_b", "C1_b", {"tetragonal": [0.06]}, HALF_HEUSLER),
]
# One by one, where most decorations of a parent make no sense or cost too much.
# Antiperovskites: the metal between the octahedra, and iron around the light atom; or iron between.
AROUND_IRON = {
    "C": "Al Ga Ge Sn Zn In Mn Pt Si Pd Ni Ti",
    "N": "Al Ga Ge Sn Zn In Co Ni Cu Rh Pd Pt Ir Mn Cr Ti V",
    "B": "Al Rh Ni Sn Ge Pd",
}
AROUND_OTHERS = {"C": "Al Mn Ni Ti", "N": "Co Ni Pd Cr Mn Cu", "B": "Ni Rh Co"}
ANTIPEROVSKITES = [
    {"Ca": metal, "Ti": light, "O": "Fe"}
    for light, metals in AROUND_IRON.items()
    for metal in metals.split()
] + [
    {"Ca": "Fe", "Ti": light, "O": metal}
    for light, metals in AROUND_OTHERS.items()
    for metal in metals.split()
]
LISTED = [
    ("E2_1", "E2_1", {"tetragonal": [0.06]}, ANTIPEROVSKITES),
    (
        "ThCr2Si2",
        "data/structures/YFe2Ge2.yaml",
        {},
        [
            {"Y": one, "Fe": "Fe", "Ge": other}
            for one in ("Y", "La", "Lu", "Zr", "Sc")
            for other in ("Ge", "Si", "P", "As", "B")
        ],
    ),
    (
        "AlMn2B2",
        "data/structures/AlFe2B2.yaml",
        {},
        [{"Al": one, "B": "B", "Fe": "Fe"} for one in ("Ga", "Zn", "Si", "Ge", "Be", "Ti", "Ni")],
    ),
    ("Ca7Ge", "A7B_cF32_225_bd_a", {}, [{"Ca": "Fe", "Ge": one} for one in METALS.split()]),
    (
        "CrFe4Ni3",
        "AB4C3_cI16_229_a_c_b",
        {},
        [{"Cr": one, "Fe": "Fe", "Ni": "Fe"} for one in f"{MAIN} Nb Mo".split()],
    ),
]
# Copies of bundled compounds, which themselves are candidates anyway.
STRAINED = [
    ("L1_2", "Fe3Pt Fe3Ga-L12 Fe3Ge-L12 FeNi3 FePd3", {"tetragonal": [-0.05, 0.06]}),
    ("L1_0", "FeNi FePd FePt", {"orthorhombic": [0.05], "tetragonal": [-0.04, 0.04]}),
    ("L'1_0", "Fe4N", {"tetragonal": [-0.05, 0.06]}),
    ("E2_1", "Fe3NiN Fe3PtN", {"tetragonal": [0.06]}),
    ("B2", "FeAl FeCo FeTi FeRh", {"tetragonal": [-0.04, 0.05]}),
    ("A2", "Fe", {"tetragonal": [-0.04, 0.05], "orthorhombic": [0.05]}),
    ("D0_3", "Fe3Si Fe3Al", {"tetragonal": [0.05]}),
    ("L2_1", "Co2FeSi Co2FeAl Fe2VAl Fe2TiAl Fe2MnSi", {"tetragonal": [0.06]}),
    ("FeSi2-alpha", "FeSi2-alpha", {"tetragonal": [-0.06, 0.06]}),
    ("B10", "FeSe FeS-mackinawite", {"tetragonal": [0.06]}),
]
CALIBRATION = ["Fe", "FeAl", "FeCo", "FeTi", "Fe3Si", "Fe3Al", "Fe4N", "Fe2VAl"]
# Described badly by this functional, or ions far from any metal.
LEFT_OUT = "FeO FeF2 FeCl2 FeCO3 Fe2O3 Fe3O4 FeTiO3 FeS-troilite SrFeO2 Mg2FeH6 CuFeS2"
# Bundled compounds that name no prototype, beside relatives that do.
TYPES = dict.fromkeys(["BaFe2As2", "KFe2As2", "SrFe2As2", "YFe2Ge2"], "ThCr2Si2")
TYPES |= {"AlFe2B2": "AlMn2B2", "FeSi2-alpha": "FeSi2-alpha"}


@dataclass
class Candidate:
    """A crystal, how the configuration asks for it, and what the choice needs to know."""

    structure: dict
    type: str
    parent: str  # of the source, or the name of a bundled compound
    label: str  # of the parent in provenance
    decoration: dict[str, str] | None  # of the sublattices; none of a bundled compound
    strain: tuple[str, float] | None
    scale: float  # of the predicted volume
    bundled: bool  # the compound itself
    sites: int = 0
    efg: int = 0  # sites whose symmetry allows a field gradient
    core_min: float = 0.0
    elements: list[str] = field(default_factory=list)
    role: str = "train"
    why: str = ""

    @property
    def system(self) -> str:
        """Such as ``Fe-Al``."""
        return "-".join(["Fe", *self.elements])

    @property
    def variant(self) -> str:
        """The type, and how it is strained."""
        return f"{self.type} {self.strain[0]}" if self.strain else self.type


def candidates() -> list[Candidate]:
    """Every crystal once, that of a file rather than a predicted one."""
    found = []
    for kind, source in sources():
        for item in read_inputs([source], LIMITS):
            checked = item.result
            if not isinstance(checked, Rejected):
                checked = _check(checked, effective_limits(LIMITS))
            if isinstance(checked, Rejected):
                continue
            checked["_origin"] = item.origin
            checked["_rank"] = PREFERENCE.index(source["kind"])
            checked["_candidate"] = candidate(kind, source, checked, item.provenance)
            found.append(checked)
    unique = [group[0]["_candidate"] for _, group in group_same(found)]
    for one in unique:
        measure(one)
    unique.sort(key=lambda one: (one.type, one.parent, str(one.decoration), str(one.strain)))
    return [one for one in unique if one.core_min <= MOST_CORE_MIN or is_calibration(one)]


def is_calibration(one: Candidate) -> bool:
    return one.bundled and one.parent in CALIBRATION


def sources() -> list[tuple[str, dict]]:
    """Structure type and source of every family, pair, list and compound."""
    found = []
    for kind, parent, elements, strains in FAMILIES:
        for element in elements.split():
            more = {"elements": [element], "n_elements": [2, 2], "strains": strains}
            if kind in CLOSE_PACKED.split() and element in VOLUME_SCALE:
                more["volume_scale"] = VOLUME_SCALE[element]
            found.append((kind, prototype(parent, **more)))
    for kind, parent, strains, pairs in PAIRS:
        for pair in pairs.split():
            more = {"elements": sorted(pair.split("-")), "n_elements": [3, 3], "strains": strains}
            found.append((kind, prototype(parent, **more)))
    for kind, parent, strains, decorations in LISTED:
        found.append((kind, prototype(parent, decorations=decorations, strains=strains)))
    for kind, names, strains in STRAINED:
        for name in names.split():
            parent = f"data/structures/{name}.yaml"
            found.append((kind, prototype(parent, strains=strains, unstrained=False)))
    for path in sorted(Path("data/structures").glob("*.yaml")):
        if path.stem not in LEFT_OUT.split():
            source = {"kind": "files", "path": "data/structures", "names": [path.stem]}
            found.append((path.stem, source))
    return found


def prototype(parent: str, **more) -> dict:
    return {"kind": "prototypes", "parents": [parent], **more}


def candidate(kind: str, source: dict, structure: dict, provenance: dict) -> Candidate:
    if source["kind"] == "files":
        kind = TYPES.get(kind) or structure["prototype"] or kind
        name = source["names"][0]
        return Candidate(structure, kind, name, name, None, None, 1.0, True)
    strain = provenance.get("strain")
    return Candidate(
        structure,
        kind,
        source["parents"][0],
        provenance["parent"],
        provenance.get("sublattices"),
        (strain["mode"], strain["strain"]) if strain else None,
        provenance.get("volume_scale", 1.0),
        False,
    )


def measure(one: Candidate) -> None:
    """Fill in sites, gradients, elements and the expected time on one core."""
    structure = one.structure
    first = {}
    for atom, label in enumerate(structure["site_labels"]):
        if structure["symbols"][atom] == "Fe":
            first.setdefault(label, atom)
    free = free_gradient_components(structure)
    allowed = [free[atom] > 0 for atom in first.values()]
    one.sites, one.efg = len(allowed), sum(allowed)
    one.elements = sorted(set(structure["symbols"]) - {"Fe"})
    needed = [ITERATIONS.get(element, OTHER_ITERATIONS) for element in one.elements]
    settings = GPAW | {"semicore_efg": any(allowed)}
    seconds = cost.estimate(structure, settings).core_seconds
    one.core_min = max(needed, default=OTHER_ITERATIONS) * PRICE * seconds / 60
    if not math.isfinite(one.core_min):
        raise ValueError(f"{structure['formula']}: no finite cost")
