"""Progress of a trajectory: one line with bar, speed, time left and what the physics does."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tqdm.std import tqdm

LOG_INTERVAL_S = 5.0
TERMINAL_INTERVAL_S = 0.2
LINE_WIDTH = 110

# The end of a log that surely holds a whole line.
TAIL_BYTES = 4096
LINE = re.compile(
    r"\| (?P<step>\d+)/(?P<steps>\d+) \[[^<\]]*<[^,\]]*, +"
    r"(?:(?P<rate>[\d.]+) steps/s|(?P<pace>[\d.]+)s/ steps|\?)"
)


@dataclass(frozen=True)
class LastLine:
    """What the last line of progress in a log says."""

    step: int
    steps: int
    seconds_per_step: float | None
    """Of this process so far; ``None`` before its first step."""


def read_progress(log: str | Path) -> LastLine | None:
    """The last line of progress in a log file; ``None`` if there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return None
    found = list(LINE.finditer(text))
    if not found:
        return None
    rate, pace = (float(found[-1][name] or 0.0) for name in ("rate", "pace"))
    seconds = 1.0 / rate if rate else pace or None
    return LastLine(int(found[-1]["step"]), int(found[-1]["steps"]), seconds)


class Progress:
    """Writer of progress lines: redrawn in place on a terminal, plain lines in a log file.

    Parameters
    ----------
    stream
        Open text stream, or ``None`` to say nothing.
    title
        Start of every line.
    total, initial
        Steps of the whole run, and steps that were there before this process.
    """

    def __init__(self, stream: TextIO | None, title: str, total: int, initial: int = 0) -> None:
        self.stream = stream
        self.title = title
        self.total = total
        self.initial = initial
        self.terminal = stream is not None and stream.isatty()
        self.interval_s = TERMINAL_INTERVAL_S if self.terminal else LOG_INTERVAL_S
        self.started = self.written = time.monotonic()

    def update(self, step: int, note: str, last: bool = False) -> None:
        """Show that ``step`` is done, unless a line was written a moment ago."""
        now = time.monotonic()
        if self.stream is None or (now - self.written < self.interval_s and not last):
            return
        self.written = now
        line = tqdm.format_meter(
            step,
            self.total,
            now - self.started,
            initial=self.initial,
            unit=" steps",
            prefix=self.title,
            postfix=note,
            ncols=LINE_WIDTH,
            ascii=not self.terminal,
        )
        start, end = ("\r", "\n" if last else "") if self.terminal else ("", "\n")
        self.stream.write(start + line + end)
        self.stream.flush()

    def say(self, sentence: str) -> None:
        """Write a sentence on a line of its own."""
        if self.stream is not None:
            clear = "\r" + " " * LINE_WIDTH + "\r" if self.terminal else ""
            self.stream.write(f"{clear}{self.title}: {sentence}\n")
            self.stream.flush()
