"""Figures of anything that a compound may be called."""

import numpy as np

from dft2spectra.figures import new_figure, save_figure


def test_names_with_dollar_signs_are_shown_as_they_are(tmp_path):
    figure, axes = new_figure(3.0, 2.0)
    axes.semilogy(np.arange(1, 4), [1.0, 1e3, 1e6], label="a $\\frac{$ b$")
    axes.set_title("Fe $_{ $ }")
    axes.annotate("$x^{$ y$", (1.0, 1.0))
    axes.legend()
    save_figure(figure, tmp_path / "figure.png")
    text = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert (tmp_path / "figure.png").stat().st_size > 1000
    assert "Fe $_{ $ }" in text  # a comment beside the outlines of the letters
    assert "\\mathdefault{10^{2}}" in text  # powers of ten stay powers
