"""Versions of the methods behind a result, read without importing the modules that hold them."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def _method_version(module: str) -> int:
    spec = find_spec("dft2spectra")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent.joinpath(*module.split(".")).with_suffix(".py")
    found = re.search(r"^METHOD_VERSION = (\d+)\b", path.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{path} has no line METHOD_VERSION = <number>")
    return int(found[1])


def method_versions(*modules: str) -> dict[str, int]:
    """``METHOD_VERSION`` of modules of the library, such as ``crystals.efg``.

    Raises
    ------
    ValueError
        A module has none.
    """
    return {module: _method_version(module) for module in modules}
