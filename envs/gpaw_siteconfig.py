"""How GPAW's C code is built here: plain C, each optional library used when a test link succeeds.

GPAW's build runs this file with the variables of its configuration already defined and reads them
again afterwards. Without MPI, libxc or BLAS it builds all the same and gives the same energies.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path


def _links(library: str, symbol: str, header: str = "") -> bool:
    """Whether a C program that needs ``symbol`` compiles and links with ``-l<library>``."""
    declaration = f"#include <{header}>" if header else f"void {symbol}();"
    program = f"{declaration}\nint main(void) {{ void *p = (void *){symbol}; return p == 0; }}\n"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "test.c")
        source.write_text(program)
        command = [compiler, str(source), "-o", str(Path(folder, "test")), f"-l{library}"]
        return subprocess.run(command, capture_output=True).returncode == 0


mpi = shutil.which("mpicc") is not None
compiler = "mpicc" if mpi else next((c for c in ("gcc", "cc", "clang") if shutil.which(c)), "cc")

nolibxc = not _links("xc", "xc_func_init", "xc.h")
blas = next((name for name in ("openblas", "blas") if _links(name, "dgemm_")), None)
noblas = blas is None
libraries = ([] if nolibxc else ["xc"]) + ([blas] if blas else [])
