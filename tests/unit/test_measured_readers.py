"""Files of spectrometers: every format gives back what was written; the rest is refused."""

import re
from pathlib import Path

import numpy as np
import pytest

from dft2spectra.measured.readers import read_spectrum
from dft2spectra.measured.spectrum import SpectrumError

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(1)
VELOCITY = np.linspace(-10.0, 10.0, 256)
DIP = 1.0 - 0.1 / (1.0 + (VELOCITY / 0.15) ** 2)
COUNTS = RNG.poisson(200000.0 * np.concatenate([DIP, DIP[::-1]]))
FOLDED = RNG.poisson(400000.0 * DIP)


def lines(values) -> str:
    return "\n".join(str(value) for value in values) + "\n"


def rows(*columns, sep="\t") -> str:
    return "\n".join(sep.join(str(x) for x in row) for row in zip(*columns, strict=True)) + "\n"


def plt_text() -> str:
    """As NORMOS writes it: two titles, then blocks in columns of ten characters."""
    text = "FE".ljust(80) + "\n" + "two".ljust(80) + "\n"
    for block, digits in ((VELOCITY, 4), (FOLDED / 4e5, 6), (DIP, 6), (DIP, 6)):
        for start in range(0, len(block), 8):
            text += "".join(f"{x:10.{digits}f}" for x in block[start : start + 8]) + "\n"
    return re.sub(r" 0\.", "  .", text.replace("-0.", " -."))


CHANNEL_FILES = {
    "plain.adt": lines(COUNTS),
    "plain.asc": "\r\n".join(f"{n:10d}" for n in COUNTS),
    "old.ws5": lines(COUNTS),
    "xml.ws5": '<?xml version="1.0"?>\n<wissoft version="1.1">\n<data channels="512" time="0">\n'
    + lines(COUNTS)
    + "</data>\n</wissoft>\n",
    "amptek.mca": "<<PMCA SPECTRUM>>\nTAG - x\n<<DATA>>\n" + lines(COUNTS) + "<<END>>\n",
    "spec.mca": "#F x\n@A "
    + " \\\n".join(" ".join(map(str, COUNTS[i : i + 16])) for i in range(0, 512, 16))
    + "\n",
    "times.tka": lines([3600.0, 3610.2, *COUNTS]),
    "numbered.dat": rows(np.arange(512), COUNTS),
    "rows.dat": "\n".join(" ".join(map(str, COUNTS[i : i + 8])) for i in range(0, 512, 8)),
    "first.dat": "\n".join(
        f"{i} " + " ".join(map(str, COUNTS[i : i + 8])) for i in range(0, 512, 8)
    ),
    "comment.txt": "# spectrum\n# of iron\n" + lines(COUNTS),
}


@pytest.mark.parametrize("name", CHANNEL_FILES)
def test_counts_in_channels(tmp_path, name):
    path = tmp_path / name
    path.write_text(CHANNEL_FILES[name], encoding="utf-8")
    spectrum = read_spectrum(path)
    assert spectrum.velocity_mm_s is None
    np.testing.assert_array_equal(spectrum.counts, COUNTS)
    np.testing.assert_allclose(spectrum.sigma, np.sqrt(COUNTS))
    assert spectrum.used.all()


def test_binary_counts(tmp_path):
    path = tmp_path / "ortec.MCS"
    path.write_bytes(b"\x01\x00header".ljust(256, b"\x00") + COUNTS.astype("<u4").tobytes())
    np.testing.assert_array_equal(read_spectrum(path).counts, COUNTS)


def test_times_in_place_of_the_first_channels(tmp_path):
    path = tmp_path / "short.tka"
    path.write_text(lines([3600.0, 3610.2, *COUNTS[2:]]), encoding="utf-8")
    spectrum = read_spectrum(path)
    assert np.flatnonzero(~spectrum.used).tolist() == [0, 1]
    np.testing.assert_array_equal(spectrum.counts[2:], COUNTS[2:])


COMMA = "\n".join(f"{v:.4f};{n}".replace(".", ",") for v, n in zip(VELOCITY, FOLDED, strict=True))
VELOCITY_FILES = {
    "tabs.dat": rows(VELOCITY, FOLDED),
    "spaces.exp": rows(VELOCITY, FOLDED, sep="   "),
    "header.csv": "velocity_mm_s,counts,error\n" + rows(VELOCITY, FOLDED, np.sqrt(FOLDED), sep=","),
    "order.csv": "channel,counts,velocity (mm/s)\n"
    + rows(np.arange(256), FOLDED, VELOCITY, sep=","),
    "decimal.txt": COMMA,
    "backwards.dat": rows(VELOCITY[::-1], FOLDED[::-1]),
}


@pytest.mark.parametrize("name", VELOCITY_FILES)
def test_counts_with_velocities(tmp_path, name):
    path = tmp_path / name
    path.write_text(VELOCITY_FILES[name], encoding="utf-8")
    spectrum = read_spectrum(path)
    order = np.argsort(spectrum.velocity_mm_s)
    np.testing.assert_allclose(spectrum.velocity_mm_s[order], VELOCITY, atol=1e-4)
    np.testing.assert_array_equal(spectrum.counts[order], FOLDED)
    np.testing.assert_allclose(spectrum.sigma[order], np.sqrt(FOLDED), rtol=1e-12)


def test_normalised_transmission_takes_its_errors_from_the_scatter(tmp_path):
    path = tmp_path / "fit.PLT"
    path.write_text(plt_text(), encoding="ascii")
    spectrum = read_spectrum(path)
    np.testing.assert_allclose(spectrum.velocity_mm_s, VELOCITY, atol=1e-4)
    np.testing.assert_allclose(spectrum.counts, FOLDED / 4e5, atol=1e-5)
    assert spectrum.sigma[0] == pytest.approx(4e5**-0.5, rel=0.25)
    assert "scatter" in spectrum.notes[0]


def test_sine_grid_with_utf16_and_a_dead_channel(tmp_path):
    velocity = -10.0 * np.cos(np.pi * (np.arange(256) + 0.5) / 256)
    counts = FOLDED.copy()
    counts[100] = 0
    (tmp_path / "sine.dat").write_text(rows(velocity, counts), encoding="utf-16")
    spectrum = read_spectrum(tmp_path / "sine.dat")
    np.testing.assert_allclose(spectrum.velocity_mm_s, velocity)
    assert np.flatnonzero(~spectrum.used).tolist() == [100]


def test_incomplete_first_channel_is_left_out():
    spectrum = read_spectrum(ROOT / "data" / "spectra" / "magnetite.adt")
    assert np.flatnonzero(~spectrum.used).tolist() == [0]
    assert "0" in spectrum.notes[0]
    assert spectrum.depth == pytest.approx(0.05, abs=0.01)


REFUSED = {
    "empty.adt": ("", "empty"),
    "words.txt": ("no numbers at all\n", "no numbers"),
    "few.adt": (lines(COUNTS[:20]), "20 points"),
    "zeros.adt": (lines([0] * 512), "more than half"),
    "negative.adt": (lines(-COUNTS), "negative"),
    "nan.csv": ("velocity,counts\n" + rows(VELOCITY, FOLDED, sep=",") + "nan,nan\n", "no row"),
    "broken.adt": (lines(COUNTS[:100]) + "oops\n" + lines(COUNTS[100:]), "line 101"),
    "cut.ws5": (CHANNEL_FILES["xml.ws5"].replace("512", "1024"), "1024 channels announced"),
    "commas.csv": (COMMA.replace(";", ","), "semicolons"),
    "emission.dat": (rows(VELOCITY, RNG.poisson(1e5 * (2.0 - DIP))), "lines point up"),
    "absorption.csv": ("velocity_mm_s,absorption\n" + rows(VELOCITY, DIP, sep=","), "absorption"),
    "swapped.dat": (rows(FOLDED, VELOCITY), "second column"),
    "oneside.dat": (rows(VELOCITY + 20.0, FOLDED), "no velocities"),
    "fast.dat": (rows(50.0 * VELOCITY, FOLDED), "no velocities of 57Fe"),
    "ragged.dat": ("1 2\n1 2 3\n1\n" * 30, "no table"),
    "fraction.adt": (lines(COUNTS + 0.5), "no counts"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path, name):
    text, reason = REFUSED[name]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpectrumError, match=reason) as caught:
        read_spectrum(path)
    assert name in str(caught.value)


def test_binary_and_missing_files_are_refused(tmp_path):
    (tmp_path / "picture.dat").write_bytes(b"\x89PNG\x00\x00" * 100)
    with pytest.raises(SpectrumError, match="binary"):
        read_spectrum(tmp_path / "picture.dat")
    with pytest.raises(SpectrumError, match="cannot be read"):
        read_spectrum(tmp_path / "absent.adt")
