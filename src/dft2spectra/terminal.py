"""Text of strangers on the way to a terminal, a log or a table: nothing in it acts."""

import re

# C0 and C1 controls, the marks that turn the direction of writing, line separators, lone
# surrogates: what moves a cursor, colours a screen or hides a part of a line.
ACTS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def harmless(text: str, most: int | None = None) -> str:
    r"""The text in one line, with every character that acts written as its code (``\x1b``).

    Parameters
    ----------
    text
        From a file, a provider or a configuration.
    most
        Characters that are kept; a longer text ends in ``...``.
    """
    if most is not None and len(text) > most:
        text = text[: max(0, most - 3)] + "..."
    return ACTS.sub(lambda match: ascii(match[0])[1:-1], text)
