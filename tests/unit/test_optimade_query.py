"""Addresses and filters, checked before anything is sent."""

import pytest

from dft2spectra.structures.optimade import check
from dft2spectra.structures.optimade_query import check_filter, properties_of, versioned_base

GOOD = [
    'elements HAS "Fe" AND nelements=2',
    'elements HAS ALL "Fe","Al" AND nelements<=3 AND NOT elements HAS ANY "O","F"',
    "_oqmd_stability<=0.05 AND nsites<9",
    '_mp_stability.gga_gga_u.energy_above_hull<0.05 OR chemical_formula_reduced="FeAl"',
    "nelements=2 AND references.doi IS KNOWN",
    '"Fe" = chemical_formula_descriptive',
]


@pytest.mark.parametrize("text", GOOD)
def test_filters_of_the_specification_pass(text):
    check({"base_url": "https://example.org", "filter": text})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        # Counted by hand: the second AND begins at the 23rd character.
        (
            'elements HAS "Fe" AND AND nelements=2',
            r"mistake at character 23, 'AND nelements=2'; ",
        ),
        ("nelements = 2 & nsites<3", r"mistake at character 15, '& nsites<3'; .*AND.* OR"),
        ('elements HAS "Fe', r"mistake at character 14, '\"Fe'; .*a text in \"double quotes\""),
        ("elements HAS", r"ends too early; .*a text in \"double quotes\""),
        ("nelements=2)", r"mistake at character 12"),
        ("", r"for example elements HAS"),
        ("   ", r"for example elements HAS"),
        ('element HAS "Fe"', r"'element' is no property of OPTIMADE structures; nearest: elements"),
        ("band_gap>0", r"'band_gap' is no property .* begin with an underscore"),
        ('elements="Fe"\x00', r"mistake at character 14"),
    ],
)
def test_mistakes_are_named_with_their_place(text, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        check_filter(text)
    assert str(caught.value).startswith("filter: ")
    assert "\n" not in str(caught.value)


def test_properties_of_a_filter():
    text = '_mp_stability.r2scan.energy_above_hull<0.1 AND NOT (nsites>8 OR references.doi="x")'
    assert properties_of(text) == {"_mp_stability", "nsites"}


@pytest.mark.parametrize(
    ("address", "base"),
    [
        ("https://oqmd.org/optimade", "https://oqmd.org/optimade/v1"),
        ("https://oqmd.org/optimade/", "https://oqmd.org/optimade/v1"),
        ("https://oqmd.org/optimade/v1", "https://oqmd.org/optimade/v1"),
        ("https://oqmd.org/optimade/v1/", "https://oqmd.org/optimade/v1"),
        ("https://www.crystallography.net/cod/optimade/v1.1.0", None),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/v1"),
        ("https://alexandria.icams.rub.de/pbe", "https://alexandria.icams.rub.de/pbe/v1"),
    ],
)
def test_base_addresses_with_and_without_version(address, base):
    assert versioned_base(address) == (base or address)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("optimade.materialsproject.org", "with http or https"),
        ("ftp://example.org", "with http or https"),
        ("", "with http or https"),
        ("https://", "with http or https"),
        ("https://[::1", "with http or https"),
        ("https://example.org:port", "with http or https"),
        ("https://me:secret@example.org", "without user name and password"),
        ("https://example.org?filter=x", r"without \? and #"),
        ("https://example.org/v1/structures", "leave out /structures"),
        ("https://example.org/v0.10", "version 0 of OPTIMADE; only version 1"),
        ("https://example.org/v2", "version 2 of OPTIMADE"),
    ],
)
def test_impossible_addresses(address, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        versioned_base(address)
    assert "secret" not in str(caught.value)
