"""Design of the reference set: which crystals, in which order, and which for the last test.

    python benchmarks/reference_design.py --configuration config/reference.yaml \\
        --design data/reference/design.csv

From the candidates of reference_candidates.py the one of most worth per price comes next until the
budget is spent; the worth of a crystal falls as its type, elements and system fill up. Everything
random is drawn with SEED: the same library gives the same list. Volumes decide about ids, so the
list is made again after a change of the volume predictor, before anything is computed.
"""

import argparse
import csv
import heapq
import re
import textwrap
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import yaml
from reference_candidates import CALIBRATION, GPAW, MAX_ATOMS, Candidate, candidates, is_calibration

from dft2spectra.structures.sources import collect

SEED = 20
BUDGET_CORE_MIN = 718.0

# Systems to be covered densely, and how many sites of each are wanted; of other elements fewer.
DENSE = dict.fromkeys(["Al", "Si", "Ti", "V", "Co", "Ni", "Ga", "Ge", "Pd", "Pt", "Sn"], 32)
DENSE |= {"Be": 20, "Zn": 22, "N": 24, "B": 22, "C": 22, "Cr": 12, "Mn": 10}
OTHER_TARGET = 9
# Sites of a type, and of one strain of it, at which another is worth half as much.
TYPE_SCALE, VARIANT_SCALE = 30.0, 30.0
WEIGHT_EFG, WEIGHT_CUBIC, WEIGHT_MEASURED = 1.0, 0.27, 1.5
# Times the wanted sites of an element at which a further crystal is worth half.
FULL = 1.8
COST_OFFSET_MIN, COST_POWER = 0.25, 1.6

# Crystals of types too dear to be chosen by worth per price.
RESERVED = {"C14": 3, "C16": 4, "D0_19": 4, "ThCr2Si2": 3, "B20": 3, "C38": 3}

# Kept for the last test: types unlike any other of the list, elements outside the dense systems.
TEST_TYPES = ["C15", "A15", "B10", "B11", "C32", "C38", "D5_13", "B8_2", "L1_3", "FeSi2-alpha"]
TEST_METALS = ["Ru", "Rh", "Ir", "Au", "Nb", "Ta", "Hf", "Mo"]
TEST_SP = ["In", "Sb", "As", "P"]
TEST_TYPE_EFG, TEST_ELEMENT_CRYSTALS = (8, 30), (8, 30)
TEST_RANDOM = 0.10

COLUMNS = (
    *("order", "structure_id", "role", "why", "type", "system", "formula", "decoration"),
    *("strain", "volume_scale", "fe_sites", "efg_sites", "predicted_core_min"),
)
NO_BREAK = "\N{NO-BREAK SPACE}"


# --- choice --------------------------------------------------------------------------------------


class Taken:
    """Crystals taken so far."""

    def __init__(self):
        self.crystals: list[Candidate] = []
        self.types, self.variants = Counter(), Counter()
        self.elements, self.systems = Counter(), Counter()
        self.core_min = 0.0

    def add(self, one: Candidate) -> None:
        self.crystals.append(one)
        for kind, number in (("efg", one.efg), ("cubic", one.sites - one.efg)):
            self.types[one.type, kind] += number
            self.variants[one.variant, kind] += number
        for element in one.elements:
            self.elements[element] += one.sites
        self.systems[one.system] += one.sites
        self.core_min += one.core_min


def worth(one: Candidate, taken: Taken) -> float:
    """Worth of a crystal beside those taken: it falls as its type, elements and system fill up."""
    total = 0.0
    for kind, number, weight in (
        ("efg", one.efg, WEIGHT_EFG),
        ("cubic", one.sites - one.efg, WEIGHT_CUBIC),
    ):
        if number:
            of_type = (1.0 + taken.types[one.type, kind] / TYPE_SCALE) ** -1.5
            of_variant = (1.0 + taken.variants[one.variant, kind] / VARIANT_SCALE) ** -1.5
            total += number * weight * (1.2 * of_type + 0.4 * of_variant + need(one, taken))
    fullest = max((taken.elements[e] / wanted(e) for e in one.elements), default=0.0)
    total /= 1.0 + (fullest / FULL) ** 4
    return total * (WEIGHT_MEASURED if one.bundled else 1.0)


def wanted(element: str) -> int:
    return DENSE.get(element, OTHER_TARGET)


def need(one: Candidate, taken: Taken) -> float:
    """How much the elements of a crystal, and its system if it is a dense one, lack sites."""
    if not one.elements:
        return 0.2
    lacking = [max(0.05, 1.0 - taken.elements[e] / wanted(e)) for e in one.elements]
    found = 0.8 * sum(lacking) / len(lacking)
    if len(one.elements) == 1 and one.elements[0] in DENSE:
        found += 0.8 * max(0.0, 1.0 - taken.systems[one.system] / DENSE[one.elements[0]])
    return found


def choose(found: list[Candidate], random: np.random.Generator) -> list[Candidate]:
    """Candidates by falling worth per price until the budget is spent.

    The calibration comes first, then what is reserved.
    """
    taken = Taken()
    for name in CALIBRATION:
        taken.add(next(one for one in found if one.bundled and one.parent == name))
    left = [one for one in found if not is_calibration(one)]
    for kind, number in RESERVED.items():
        for _ in range(number):
            dear = [one for one in left if one.type == kind]
            best = max(dear, key=lambda one: worth(one, taken) / one.core_min)
            left.remove(best)
            taken.add(best)
    noise = 1.0 + 0.02 * random.random(len(left))

    def ratio(index: int) -> float:
        one = left[index]
        if taken.core_min + one.core_min > BUDGET_CORE_MIN:
            return 0.0
        return worth(one, taken) * noise[index] / (one.core_min + COST_OFFSET_MIN) ** COST_POWER

    # Worth only falls: a crystal that is still the best after a new look is the best.
    heap = [(-ratio(index), index) for index in range(len(left))]
    heapq.heapify(heap)
    while heap:
        _, index = heapq.heappop(heap)
        now = -ratio(index)
        if now == 0.0:
            continue
        if heap and now > heap[0][0]:
            heapq.heappush(heap, (now, index))
            continue
        taken.add(left[index])
    return taken.crystals


def assign_roles(crystals: list[Candidate], random: np.random.Generator) -> None:
    """Mark the test set: two types, two elements, and a tenth of the compositions left, whole."""
    efg, has = Counter(), Counter()
    for one in crystals:
        efg[one.type] += one.efg
        has.update(one.elements)
    low, high = TEST_TYPE_EFG
    types = random.choice([t for t in TEST_TYPES if low <= efg[t] <= high], 2, replace=False)
    low, high = TEST_ELEMENT_CRYSTALS
    elements = {
        str(random.choice([e for e in names if low <= has[e] <= high]))
        for names in (TEST_METALS, TEST_SP)
    }
    calibration = {(one.type, one.structure["formula"]) for one in crystals if is_calibration(one)}
    for one in crystals:
        if (one.type, one.structure["formula"]) in calibration:
            continue
        if one.type in types:
            one.role, one.why = "external", "type"
        elif elements & set(one.elements):
            one.role, one.why = "external", "element"
    groups = {(one.type, one.structure["formula"]) for one in crystals if one.role == "train"}
    groups = sorted(groups - calibration)
    drawn = random.permutation(len(groups))[: round(TEST_RANDOM * len(groups))]
    drawn = {groups[i] for i in drawn}
    for one in crystals:
        if (one.type, one.structure["formula"]) in drawn:
            one.role, one.why = "external", "random"


def in_order(crystals: list[Candidate], random: np.random.Generator) -> list[Candidate]:
    """Order of computing: every beginning of the list is like the whole list, in small.

    After the calibration the next is always the crystal that brings the shares of types, elements,
    systems, roles, sites with gradient and cost closest to those of the whole list.
    """

    def marks(one: Candidate) -> dict[str, float]:
        found = {f"type {one.type}": 1.0, f"variant {one.variant}": 0.5, f"role {one.role}": 1.0}
        found |= {f"why {one.why}": 0.5, f"system {one.system}": 0.3}
        found |= {f"element {element}": 1.0 for element in one.elements}
        found |= {"sites": 0.7 * one.sites, "efg": 1.0 * one.efg, "cost": 0.5 * one.core_min}
        iron = one.structure["symbols"].count("Fe") / len(one.structure["symbols"])
        return found | {f"iron {'rich' if iron >= 0.5 else 'poor'}": 1.0}

    names = sorted({name for one in crystals for name in marks(one)})
    table = np.array([[marks(one).get(name, 0.0) for name in names] for one in crystals])
    total = table.sum(axis=0)
    first = len(CALIBRATION)
    order, done = list(range(first)), table[:first].sum(axis=0)
    left = random.permutation(np.arange(first, len(crystals))).tolist()
    while left:
        share = (len(order) + 1) / len(crystals)
        after = done + table[left]
        discrepancy = (((after - share * total) ** 2) / total).sum(axis=1)
        best = left.pop(int(discrepancy.argmin()))
        order.append(best)
        done = done + table[best]
    return [crystals[i] for i in order]


# --- output --------------------------------------------------------------------------------------


def sources(crystals: list[Candidate]) -> list[dict]:
    """Sources of a configuration that give these crystals and no others."""
    names = sorted(one.parent for one in crystals if one.bundled)
    found: list[dict] = [{"kind": "files", "path": "data/structures", "names": names}]
    copies = defaultdict(set)  # of a decoration or bundled compound: its strains, None is itself
    for one in crystals:
        if not one.bundled:
            decoration = None if one.decoration is None else tuple(sorted(one.decoration.items()))
            copies[one.parent, one.scale, decoration].add(one.strain)
    alike = defaultdict(list)  # decorations of a parent with the same copies
    for (parent, scale, decoration), strains in copies.items():
        alike[parent, scale, tuple(sorted(strains, key=str)), decoration is None].append(decoration)
    for (parent, scale, strains, as_it_is), decorations in sorted(alike.items(), key=str):
        source: dict = {"kind": "prototypes", "parents": [parent]}
        if not as_it_is:
            source["decorations"] = [dict(decoration) for decoration in sorted(decorations)]
        if scale != 1.0:
            source["volume_scale"] = scale
        modes = defaultdict(list)
        for mode, strain in filter(None, strains):
            modes[mode].append(strain)
        if modes:
            source["strains"] = {mode: sorted(values) for mode, values in sorted(modes.items())}
            if None not in strains:
                source["unstrained"] = False
        found.append(source)
    return found


def write_configuration(path: Path, asked: list[dict], design: Path, counts: str) -> None:
    lines = [
        "# The reference set: decorated prototypes and bundled compounds, chosen by",
        "# benchmarks/reference_design.py.",
        "#   snakemake plan --configfile config/reference.yaml",
        f"# {counts}",
        "run: reference",
        "branches: [mossbauer]",
        "structures:",
        f"  design: {design.as_posix()}",
        f"  max_atoms: {MAX_ATOMS}",
        "  sources:",
    ]
    for source in asked:
        lead = "    - "
        for name, value in source.items():
            text = yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False)
            text = f"{name}: {text.removesuffix(chr(10)).removesuffix(chr(10) + '...')}"
            lines += wrapped(text, lead)
            lead = "      "
    # Settings are those of config.yaml, so that its crystals and these share records.
    lines += ["candidates:", "  sources: []", "mossbauer:", "  mixtures: []"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def wrapped(text: str, lead: str) -> list[str]:
    """Lines of YAML, broken between decorations and not within them."""
    whole = re.sub(r"\{[^{}]*\}", lambda found: found[0].replace(" ", NO_BREAK), text)
    lines = textwrap.wrap(
        whole,
        110,
        initial_indent=lead,
        subsequent_indent="        ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(NO_BREAK, " ") for line in lines]


def write_design(path: Path, ordered: list[Candidate], ids: dict[int, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, one in enumerate(ordered, start=1):
            places = one.decoration.items() if one.decoration else []
            decoration = " ".join(f"{place}={element}" for place, element in places)
            strain = f"{one.strain[0]} {one.strain[1]:+g}" if one.strain else ""
            row = [number, ids[id(one)], one.role, one.why, one.type, one.system]
            row += [one.structure["formula"], decoration or one.parent, strain, one.scale]
            writer.writerow([*row, one.sites, one.efg, f"{one.core_min:.2f}"])


def ids_in_campaign(ordered: list[Candidate], asked: list[dict]) -> dict[int, str]:
    """Id of each crystal in the campaign that the configuration makes, by the candidate.

    Raises
    ------
    SystemExit
        The campaign holds another number of crystals.
    """
    accepted, _ = collect(asked, {"max_atoms": MAX_ATOMS, "xc": GPAW["xc"]})
    by_place = {
        key(entry, structure["name"]): structure["structure_id"]
        for structure in accepted
        for entry in structure["provenance"]
    }
    found = {}
    for one in ordered:
        strain = {"mode": one.strain[0], "strain": one.strain[1]} if one.strain else None
        entry = {"source": "files" if one.bundled else "prototypes", "strain": strain}
        entry |= {"parent": one.label, "sublattices": one.decoration, "volume_scale": one.scale}
        found[id(one)] = by_place[key(entry, one.parent)]
    if len(set(found.values())) != len(ordered) or len(accepted) != len(ordered):
        raise SystemExit(f"{len(ordered)} chosen, {len(accepted)} in the campaign")
    return found


def key(entry: dict, name: str | None) -> tuple:
    """What tells the crystals of a campaign apart by their provenance."""
    if entry["source"] == "files":
        return ("files", name)
    places = tuple(sorted((entry.get("sublattices") or {}).items()))
    strain = tuple((entry.get("strain") or {}).get(part) for part in ("mode", "strain"))
    return (entry["parent"], places, strain, entry.get("volume_scale", 1.0))


def summary(crystals: list[Candidate]) -> str:
    """Crystals, sites, sites with gradient and core hours of each role, type and system."""
    lines = []
    for role in ("train", "external", "all"):
        some = [one for one in crystals if role in (one.role, "all")]
        lines.append(f"{role}: {numbers(some)}")
    for name in ("type", "system", "variant"):
        sites, efg = Counter(), Counter()
        for one in crystals:
            sites[getattr(one, name)] += one.sites
            efg[getattr(one, name)] += one.efg
        parts = (f"{what} {number}/{efg[what]}" for what, number in sites.most_common(120))
        lines.append(f"{name} (sites/with gradient): " + ", ".join(parts))
    dense = Counter()
    for one in crystals:
        if len(one.elements) == 1:
            dense[one.system] += one.sites
    lines.append(f"binary systems of 15 sites or more: {sum(n >= 15 for n in dense.values())}")
    why = Counter((one.why, one.type if one.why == "type" else "") for one in crystals)
    lines.append(f"external: {dict(why)}")
    for part in (0.1, 0.25, 0.5, 0.75):
        some = crystals[: round(part * len(crystals))]
        types, elements = {one.type for one in some}, {e for one in some for e in one.elements}
        lines.append(
            f"first {len(some)}: {len(types)} types, {len(elements)} elements, {numbers(some)}, "
            f"{sum(one.role == 'external' for one in some)} external"
        )
    return "\n".join(lines)


def numbers(some: list[Candidate]) -> str:
    return (
        f"{len(some)} crystals, {sum(one.sites for one in some)} Fe sites, "
        f"{sum(one.efg for one in some)} with a field gradient, "
        f"{sum(one.core_min for one in some) / 60:.1f} core hours"
    )


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--configuration", required=True, type=Path)
    options.add_argument("--design", required=True, type=Path)
    options = options.parse_args()
    random = np.random.default_rng(SEED)
    found = candidates()
    print(f"{len(found)} candidates")
    chosen = choose(found, random)
    assign_roles(chosen, random)
    ordered = in_order(chosen, random)
    asked = sources(chosen)
    print(summary(ordered))
    write_design(options.design, ordered, ids_in_campaign(ordered, asked))
    write_configuration(options.configuration, asked, options.design, numbers(ordered))


if __name__ == "__main__":
    main()
