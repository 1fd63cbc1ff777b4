"""Files of Mössbauer spectrometers and fitting programs, read by what they hold.

Two families. *Channels*: counts alone, in the order of the multichannel analyser (``.adt``,
``.asc``, ``.ws5``, ``.mca``, ``.tka``, ``.mcs`` and others); folding and velocities come later.
*Velocities*: columns of velocity and counts or transmission (``.dat``, ``.txt``, ``.csv``,
``.exp``), evenly spaced or not, and the ``.plt`` of NORMOS.

What a format means was taken from files that programs write: WissEl's ``<data>`` block, ORTEC's
header of 256 bytes and 32-bit counts, the two times at the head of ``.tka``, the eight columns of
ten characters of NORMOS.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dft2spectra.measured.spectrum import Spectrum, SpectrumError, make_spectrum

NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eEdD][-+]?\d+)?")
COMMENT = ("#", ";", "%", "!", "//", "<", "'", '"')
# More channels than any multichannel analyser of this trade has.
MOST_CHANNELS = 16384
MOST_BYTES = 20_000_000
# Larger velocities are none of 57Fe.
LARGEST_VELOCITY_MM_S = 100.0


def read_spectrum(path: str | Path) -> Spectrum:
    """Spectrum of a file of any of the formats above.

    Raises
    ------
    SpectrumError
        The file is missing, of no known form, or holds no transmission spectrum: with the reason.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise SpectrumError(f"{path.name}: {size} bytes are no Mössbauer spectrum")
        data = path.read_bytes()
    except OSError as error:
        raise SpectrumError(f"{path}: cannot be read, {error.strerror}") from error
    if not data.strip():
        raise SpectrumError(f"{path.name}: the file is empty")
    try:
        text = _text(data)
        if text is None:
            return _binary(data, path.suffix.lower())
        reader = SPECIAL.get(path.suffix.lower(), _columns)
        if re.search(r"<data\b|<wissoft", text, re.IGNORECASE):
            reader = _wissel
        elif "<<DATA>>" in text or re.search(r"^@A", text, re.MULTILINE):
            reader = _mca
        return reader(text)
    except SpectrumError as error:
        raise SpectrumError(f"{path.name}: {error}") from error


def _text(data: bytes) -> str | None:
    """The file as text, or ``None`` if it is none."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if b"\x00" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        odd = sum(character < " " and character not in "\t\r\n\f\x1a" for character in text)
        return None if odd > 0.01 * len(text) else text


def _binary(data: bytes, suffix: str) -> Spectrum:
    """Counts of ORTEC's MCS: 256 bytes of header, then one little-endian 32-bit number each."""
    if suffix != ".mcs":
        raise SpectrumError("binary, and no .mcs file; export the spectrum as text")
    body = data[256:]
    counts = np.frombuffer(body[: len(body) // 4 * 4], dtype="<u4").astype(float)
    # What follows the counts, if anything, is text and makes numbers beyond any count.
    n_channels = 1 << (max(len(counts), 1).bit_length() - 1)
    if len(counts) > n_channels and np.all(counts < 2**30):
        n_channels = len(counts)
    counts = counts[:n_channels]
    if np.any(counts >= 2**31) or not 0 < len(counts) <= MOST_CHANNELS:
        raise SpectrumError("binary, and no counts follow the 256 bytes of an .mcs header")
    return make_spectrum(counts, None, "ORTEC .mcs, binary counts")


def _channels(counts: np.ndarray, form: str, missing: int = 0) -> Spectrum:
    if len(counts) > MOST_CHANNELS:
        raise SpectrumError(f"{form}: {len(counts)} numbers, more than any analyser has channels")
    if np.any(counts != np.round(counts)):
        raise SpectrumError(
            f"{form}: one column with numbers that are no counts; velocities are needed beside it"
        )
    return make_spectrum(counts, None, form, missing=missing)


def _wissel(text: str) -> Spectrum:
    """Counts of WissEl's .ws5: one per line in a ``<data channels=…>`` block."""
    found = re.search(r"<data\b([^>]*)>(.*?)(</data>|\Z)", text, re.IGNORECASE | re.DOTALL)
    if found is None:
        raise SpectrumError("WissEl .ws5 without a <data> block")
    counts = np.array([float(word) for word in NUMBER.findall(found[2])])
    announced = re.search(r'channels\s*=\s*"?(\d+)', found[1], re.IGNORECASE)
    if announced is not None and int(announced[1]) != len(counts):
        raise SpectrumError(
            f"WissEl .ws5: {announced[1]} channels announced, {len(counts)} found; the file is cut"
        )
    return _channels(counts, "WissEl .ws5")


def _mca(text: str) -> Spectrum:
    """Counts of an .mca: between ``<<DATA>>`` and ``<<END>>``, after ``@A``, or alone."""
    if "<<DATA>>" in text:
        body = text.split("<<DATA>>", 1)[1].split("<<", 1)[0]
    elif found := re.findall(r"^@A((?:.*\\\r?\n)*.*(?:\r?\n[\d\s.\\]+)?)", text, re.MULTILINE):
        body = found[-1]  # the last scan
    else:
        return _columns(text)
    return _channels(np.array([float(word) for word in NUMBER.findall(body)]), ".mca counts")


def _tka(text: str) -> Spectrum:
    """Counts of a .tka: live and real time stand where the first two channels would, or before."""
    values = np.array([float(word) for word in text.split() if NUMBER.fullmatch(word)])
    if len(values) != len(text.split()):
        raise SpectrumError(".tka with words among its numbers")
    extra = len(values) - 2
    if extra > 0 and extra & (extra - 1) == 0:
        return _channels(values[2:], ".tka counts")
    values[:2] = 0.0
    return _channels(values, ".tka counts", missing=2)


def _normos(text: str) -> Spectrum:
    """Velocities and measured transmission of a NORMOS .plt: titles, then blocks of equal length.

    Numbers stand in columns of ten characters; the first block is the velocities, which rise, the
    second what was measured, then the fit and its sub-spectra.
    """
    numbers: list[float] = []
    for line in text.splitlines():
        cells = [line[i : i + 10].strip() for i in range(0, len(line.rstrip()), 10)]
        if cells and all(NUMBER.fullmatch(cell) for cell in cells):
            numbers.extend(float(cell) for cell in cells)
        elif numbers:
            raise SpectrumError(f"NORMOS .plt: a line among the numbers is none: {line[:40]!r}")
    values = np.array(numbers)
    falls = np.flatnonzero(np.diff(values) <= 0.0)
    n_points = int(falls[0]) + 1 if len(falls) else len(values)
    if n_points < 8 or len(values) < 2 * n_points or len(values) % n_points:
        raise SpectrumError(
            f"NORMOS .plt: {len(values)} numbers are no blocks of {n_points} rising velocities"
        )
    velocity, measured = values[:n_points], values[n_points : 2 * n_points]
    _check_velocities(velocity, "NORMOS .plt")
    return make_spectrum(measured, velocity, "NORMOS .plt")


def _cells(line: str) -> list[str]:
    """Numbers of a line as written, decimal commas turned to points.

    Raises
    ------
    SpectrumError
        Commas separate and are decimal at once.
    """
    line = line.strip().strip("\x1a")
    if re.search(r"[;\t ]", line):
        cells = [cell.strip(",") for cell in re.split(r"[;\t ]+", line)]
        if all("," not in cell or cell.count(",") == 1 for cell in cells):
            return [cell.replace(",", ".") for cell in cells if cell]
    cells = [cell for cell in re.split(r"[,;\t ]+", line) if cell]
    whole = all(re.fullmatch(r"[-+]?\d+", cell) for cell in cells)
    if whole and line.count(",") >= 2:
        raise SpectrumError(
            f"commas both in the numbers and between them, {line[:30]!r}: write points, or put"
            " semicolons between the columns"
        )
    return cells


def _columns(text: str) -> Spectrum:
    """Columns of numbers, with or without velocities, after any header."""
    rows: list[list[float]] = []
    header: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip().strip("\x1a")
        if not stripped or (stripped.startswith(COMMENT) and not rows):
            header = (
                [word.strip("#;%! \"'").lower() for word in re.split(r"[,;\t]", stripped)]
                if (stripped)
                else header
            )
            continue
        cells = _cells(stripped)
        if all(NUMBER.fullmatch(cell) for cell in cells):
            rows.append([float(re.sub("[dD]", "e", cell)) for cell in cells])
        elif not rows:
            header = [word.strip(" \"'").lower() for word in re.split(r"[,;\t]+", stripped)]
            if len(header) == 1:
                header = stripped.lower().split()
        elif not stripped.startswith(COMMENT):
            raise SpectrumError(f"line {number} is no row of numbers: {stripped[:40]!r}")
    if not rows:
        raise SpectrumError("no numbers found: neither counts nor columns of velocity and counts")
    widths = {len(row) for row in rows}
    if widths == {1}:
        return _channels(np.array(rows)[:, 0], "one count per line")
    if len(widths) == 1:
        table = np.array(rows)
        return _table(table, header if len(header) == table.shape[1] else [])
    # Counts in rows of several, the last one shorter.
    if all(len(row) == len(rows[0]) for row in rows[:-1]) and len(rows[-1]) < len(rows[0]):
        return _channels(np.concatenate([np.array(row) for row in rows]), "rows of counts")
    raise SpectrumError(f"rows of {min(widths)} to {max(widths)} numbers are no table")


def _table(table: np.ndarray, header: list[str]) -> Spectrum:
    """Spectrum of a table; its header, if it has one, says what the columns are."""
    named = {
        kind: next((i for i, word in enumerate(header) if re.search(pattern, word)), None)
        for kind, pattern in (
            ("velocity", r"vel|mm/?_?s|speed|geschw"),
            ("counts", r"count|intens|transm|impul|cuent|signal|data|^y$"),
            ("error", r"err|sigma|unc|^dy$"),
            ("absorption", r"absorption"),
        )
    }
    if named["absorption"] is not None and named["counts"] is None:
        raise SpectrumError("a column of absorption; the fit is one of a transmission")
    if named["velocity"] is not None and named["counts"] is not None:
        error = None if named["error"] is None else table[:, named["error"]]
        return _velocities(table[:, named["velocity"]], table[:, named["counts"]], error)
    first, second = table[:, 0], table[:, 1]
    if np.all(np.diff(first) == 1.0) and first[0] in (0.0, 1.0):
        if table.shape[1] == 2:
            return _channels(second, "channels and counts")
        if np.abs(second).max() <= LARGEST_VELOCITY_MM_S and np.any(second < 0.0):
            return _velocities(second, table[:, 2], None)
        if np.all(table[:, 1:] == np.round(table[:, 1:])):  # number of the first channel of a row
            return _channels(table[:, 1:].ravel(), "rows of counts")
    step = table.shape[1] - 1
    if step > 1 and np.all(np.diff(first) == step) and np.all(table == np.round(table)):
        return _channels(table[:, 1:].ravel(), "rows of counts")
    whole = bool(np.all(table == np.round(table)) and np.all(table >= 0.0))
    if whole and np.ptp(np.median(table, axis=0)) < 0.5 * np.median(table):
        return _channels(table.ravel(), "rows of counts")
    if np.median(np.abs(first)) > np.median(np.abs(second)) and np.any(second < 0.0):
        raise SpectrumError("the velocity stands in the second column; put it first")
    return _velocities(first, second, None)


def _velocities(velocity: np.ndarray, counts: np.ndarray, error: np.ndarray | None) -> Spectrum:
    form = "columns of velocity and counts"
    _check_velocities(velocity, form)
    return make_spectrum(counts, velocity, form, error)


def _check_velocities(velocity: np.ndarray, form: str) -> None:
    largest = float(np.abs(velocity).max(initial=0.0))
    if not largest <= LARGEST_VELOCITY_MM_S:
        raise SpectrumError(f"{form}: ±{largest:g} mm/s are no velocities of 57Fe")
    if not (velocity.min() < 0.0 < velocity.max()) or np.ptp(velocity) < 1.0:
        raise SpectrumError(
            f"{form}: the first column runs from {velocity.min():g} to {velocity.max():g}, which "
            "are no velocities on both sides of zero in mm/s"
        )


SPECIAL: dict[str, Callable[[str], Spectrum]] = {
    ".ws5": _columns,  # some hold counts alone
    ".mca": _mca,
    ".tka": _tka,
    ".plt": _normos,
}
