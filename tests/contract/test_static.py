"""Style, types and the workflow's own linter."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKS = {
    "ruff check": ["ruff", "check"],
    "ruff format": ["ruff", "format", "--check"],
    "mypy": ["mypy"],
    "snakefmt": ["snakefmt", "--check", "Snakefile", "rules"],
    "snakemake lint": ["snakemake", "--lint"],
}


@pytest.mark.parametrize("name", CHECKS)
def test_static(name: str) -> None:
    program, *arguments = CHECKS[name]
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-5000:]
