"""``python -m dft2spectra.crystals.reference``: finished records become the reference set.

The reference set is a folder with ``design.csv`` (which crystals, in which order, which are kept
for the last test), ``records/`` (one record per crystal, named by its id) and ``card.json``, which
says what the records are and what is wrong with them. A campaign takes records that answer its
crystals and settings (``record_store``) and learns from all that were made by its method
(``learning.reference``).
"""

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dft2spectra.columns import Site, Status
from dft2spectra.crystals.identity import method
from dft2spectra.records import content_hash, read_json, write_json
from dft2spectra.structures.design import read_design

# Keys of a record that all of a set share.
SHARED = ("settings_hash", "method_versions", "gpaw", "method_hash")
LICENCE = "CC-BY-4.0"


def record_paths(folder: str | Path, left_out: Iterable[str] = ()) -> list[str]:
    """Files of the records of a set, sorted, without those of some crystals."""
    names = set(left_out)
    paths = sorted(Path(folder, "records").glob("*.json"))
    return [str(path) for path in paths if path.stem not in names]


def serves(folder: str | Path | None, settings: dict[str, Any]) -> bool:
    """Whether the records of a set were made by the method of a campaign.

    Parameters
    ----------
    folder
        Folder of the set; ``None`` serves nobody.
    settings
        The ``gpaw`` section of the configuration without the keys about jobs.
    """
    if folder is None or not Path(folder, "card.json").exists():
        return False
    card = read_json(Path(folder, "card.json"))
    return bool(card["method_hash"] == content_hash(method(settings)))


def checksum(paths: Iterable[str | Path]) -> str:
    """SHA-256 of the names and contents of files, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(map(Path, paths), key=lambda path: path.name):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def collect(results: str | Path, folder: str | Path) -> dict[str, Any]:
    """Copy finished records into a set and write its card; what is in the set already stays.

    Parameters
    ----------
    results
        Folder of the campaign.
    folder
        Folder of the set, with ``design.csv``.

    Returns
    -------
    dict
        The card.

    Raises
    ------
    ValueError
        Records of different methods, or of a crystal that the design does not name.
    """
    folder = Path(folder)
    places = read_design(str(folder / "design.csv"))
    # All is looked at before anything is written: a set of two methods serves nobody.
    there = {Path(path).stem: read_json(path) for path in record_paths(folder)}
    new = {path.stem: read_json(path) for path in Path(results, "hyperfine").glob("*.json")}
    if foreign := sorted(new.keys() - places.keys()):
        raise ValueError(f"{results}: the design does not name {', '.join(foreign[:5])}")
    _check_shared(folder, [*new.values(), *(there[name] for name in there.keys() - new.keys())])
    for name, record in sorted(new.items()):
        if name not in there or there[name].get("record_key") != record["record_key"]:
            write_json(folder / "records" / f"{name}.json", record)
    card = make_card(folder)
    write_json(folder / "card.json", card)
    return card


def _check_shared(folder: str | Path, records: list[dict[str, Any]]) -> None:
    for key in SHARED:
        found = {content_hash(record.get(key)) for record in records}
        if len(found) != 1:
            raise ValueError(f"{folder}: records of {len(found)} different {key}")


def make_card(folder: str | Path) -> dict[str, Any]:
    """What stands in ``card.json`` of a set.

    Raises
    ------
    ValueError
        Records of different methods.
    """
    paths = record_paths(folder)
    records = [read_json(path) for path in paths]
    places = read_design(str(Path(folder, "design.csv")))
    _check_shared(folder, records)
    sites = [site for record in records for site in record["sites"] if site["element"] == "Fe"]
    missing = [
        {"structure_id": record["structure_id"], "site": site["site"], **site["reasons"]}
        for record in records
        for site in record["sites"]
        if site["reasons"]
    ]
    lost = [record for record in records if record["status"] != Status.CONVERGED]
    first = records[0]
    return {
        "title": "Hyperfine parameters of Fe sites in decorated prototypes and known compounds",
        "licence": LICENCE,
        "what": (
            "Spin-polarised plane-wave PAW calculations (GPAW); per symmetry-distinct Fe site "
            "the moment, contact density, contact, dipolar, orbital and Lorentz field and the "
            "tensor of the electric field gradient. Lattices of known compounds are measured "
            "ones; those of decorations are predicted (docs/structures.md) and not relaxed. "
            "Collinear orders within the primitive cell."
        ),
        **{key: first[key] for key in SHARED},
        "settings": first["settings"],
        "versions": {key: v for key, v in first["versions"].items() if isinstance(v, str)},
        "n_design": len(places),
        "n_crystals": len(records),
        "status": dict(sorted(Counter(record["status"] for record in records).items())),
        "n_sites": len(sites),
        "n_sites_with_gradient": sum(bool(site[Site.EFG_FREE_COMPONENTS]) for site in sites),
        "n_external": sum(places[record["structure_id"]].role != "train" for record in records),
        "n_ambiguous": sum(bool(record.get("ambiguous_state")) for record in records),
        "core_hours": round(sum(r.get("processor_time_s", 0.0) for r in records) / 3600, 2),
        "not_converged": [{"structure_id": r["structure_id"], "reason": r["reason"]} for r in lost],
        "quantities_missing": missing,
        "sha256": checksum(paths),
    }


def main() -> None:
    """Collect the records of a campaign."""
    parser = argparse.ArgumentParser(
        prog="python -m dft2spectra.crystals.reference", description=__doc__
    )
    parser.add_argument("results", help="folder of the campaign, such as results/reference")
    parser.add_argument("--into", default="data/reference", help="folder of the set")
    arguments = parser.parse_args()
    card = collect(arguments.results, arguments.into)
    print(
        f"{card['n_crystals']} of {card['n_design']} crystals, {card['n_sites']} Fe sites, "
        f"{card['n_sites_with_gradient']} with a field gradient; {card['status']}"
    )


if __name__ == "__main__":
    main()
