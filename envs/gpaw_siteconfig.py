"""How GPAW's C code is built here: plain C, each optional library used when a test link succeeds.

GPAW's build runs this file with the variables of its configuration already defined and reads them
again afterwards. Without MPI, libxc or BLAS it builds all the same and gives the same energies.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path


def _links(compiler: str, symbol: str, header: str = "", library: str = "") -> bool:
    """Whether a C program that needs ``symbol`` compiles and links (with ``library``)."""
    declaration = f"#include <{header}>" if header else f"void {symbol}();"
    program = f"{declaration}\nint main(void) {{ void *p = (void *){symbol}; return p == 0; }}\n"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "test.c")
        source.write_text(program)
        command = [compiler, str(source), "-o", str(Path(folder, "test"))]
        command += [f"-l{library}"] if library else []
        return subprocess.run(command, capture_output=True).returncode == 0


# Debian's mpicc comes without the headers of MPI: only a program that compiles tells.
mpi = shutil.which("mpicc") is not None and _links("mpicc", "MPI_Init", "mpi.h")
compiler = "mpicc" if mpi else next((c for c in ("gcc", "cc", "clang") if shutil.which(c)), "cc")

nolibxc = not _links(compiler, "xc_func_init", "xc.h", "xc")
blas = next((n for n in ("openblas", "blas") if _links(compiler, "dgemm_", library=n)), None)
noblas = blas is None
libraries = ([] if nolibxc else ["xc"]) + ([blas] if blas else [])
