"""Say in plain words what this machine lacks before the environment is built; only stdlib."""

import importlib.util
import shutil
import sys
import sysconfig
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)


def missing() -> list[str]:
    """One sentence for each thing that the build needs and that is not here."""
    found = []
    version = ".".join(map(str, sys.version_info[:3]))
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        span = " to ".join(".".join(map(str, v)) for v in (OLDEST, NEWEST))
        found.append(
            f"Python {span}; {sys.executable} is {version}: make PYTHON=/path/to/python3.11 ..."
        )
    if importlib.util.find_spec("ensurepip") is None:
        found.append("the module venv with pip (Debian and Ubuntu: python3-venv)")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        found.append("the C headers of Python (Debian and Ubuntu: python3-dev)")
    if not any(map(shutil.which, ("mpicc", "gcc", "cc", "clang"))):
        found.append("a C compiler (Debian and Ubuntu: gcc and libc6-dev)")
    return found


if __name__ == "__main__":
    needs = missing()
    if needs:
        sys.exit("The environment cannot be built; this machine needs\n  " + "\n  ".join(needs))
