"""How GPAW's C code is built here: plain C, each optional library used when a test link succeeds.

GPAW's build runs this file with the variables of its configuration already defined and reads them
again afterwards. Without MPI, libxc, FFTW or BLAS it builds all the same, with the same energies.

FFTW and BLAS come from the system where it has them with their headers. Else they come from
packages that are installed anyway: the wheel of pyFFTW carries FFTW, that of SciPy carries OpenBLAS
under names with a prefix. Both lie beside GPAW in site-packages and are found from there at run
time, so an environment that is moved still works.
"""

import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

# What GPAW's C code calls, c/fftw.c and c/blas.c.
FFTW_HEADER = """
typedef double fftw_complex[2];
typedef struct fftw_plan_s *fftw_plan;
fftw_plan fftw_plan_dft(int, const int *, fftw_complex *, fftw_complex *, int, unsigned);
fftw_plan fftw_plan_dft_r2c(int, const int *, double *, fftw_complex *, unsigned);
fftw_plan fftw_plan_dft_c2r(int, const int *, fftw_complex *, double *, unsigned);
void fftw_execute(const fftw_plan);
void fftw_destroy_plan(fftw_plan);
"""
BLAS_FUNCTIONS = ("dgemm_", "zgemm_", "dsyrk_", "zherk_", "dsyr2k_", "zher2k_")
PREFIX = "scipy_"


def _links(
    compiler: str, symbol: str, header: str = "", library: str = "", file: Path | None = None
) -> bool:
    """Whether a C program that needs ``symbol`` compiles and links (with a library or a file)."""
    declaration = f"#include <{header}>" if header else f"void {symbol}();"
    program = f"{declaration}\nint main(void) {{ void *p = (void *){symbol}; return p == 0; }}\n"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "test.c")
        source.write_text(program)
        command = [compiler, str(source), "-o", str(Path(folder, "test"))]
        command += [f"-l{library}"] if library else []
        # What such a file needs in turn lies beside it.
        command += [str(file), f"-Wl,-rpath,{file.parent}"] if file else []
        return subprocess.run(command, capture_output=True).returncode == 0


def _from_wheel(folder: str, pattern: str, symbol: str) -> Path | None:
    """Library in a folder of site-packages that a program can be linked with."""
    found = sorted(Path(sysconfig.get_path("platlib"), folder).glob(pattern))
    return next((path for path in found if _links(compiler, symbol, file=path)), None)


def _take_from_wheel(path: Path) -> None:
    """Link GPAW with a library of site-packages, looked for beside GPAW at run time.

    Then where it is now, for a GPAW that is installed into a folder of its own.
    """
    beside, here = f"-Wl,-rpath,$ORIGIN/{path.parent.name}", f"-Wl,-rpath,{path.parent}"
    extra_link_args.extend([str(path), beside, here])  # noqa: F821


# Debian's mpicc comes without the headers of MPI: only a program that compiles tells.
mpi = shutil.which("mpicc") is not None and _links("mpicc", "MPI_Init", "mpi.h")
compiler = "mpicc" if mpi else next((c for c in ("gcc", "cc", "clang") if shutil.which(c)), "cc")

nolibxc = not _links(compiler, "xc_func_init", "xc.h", "xc")
libraries = [] if nolibxc else ["xc"]

blas = next((n for n in ("openblas", "blas") if _links(compiler, "dgemm_", library=n)), None)
noblas = False
if blas:
    libraries.append(blas)
elif wheel := _from_wheel("scipy.libs", "libscipy_openblas-*", f"{PREFIX}dgemm_"):
    _take_from_wheel(wheel)
    define_macros += [(name, PREFIX + name) for name in BLAS_FUNCTIONS]  # noqa: F821
else:
    noblas = True

fftw = True
if _links(compiler, "fftw_execute", "fftw3.h", "fftw3"):
    libraries.append("fftw3")
elif wheel := _from_wheel("pyfftw.libs", "libfftw3-*", "fftw_execute"):
    _take_from_wheel(wheel)
    headers = Path("build", "fftw3-header")
    headers.mkdir(parents=True, exist_ok=True)
    (headers / "fftw3.h").write_text(FFTW_HEADER)
    include_dirs += [str(headers.resolve())]  # noqa: F821
else:
    fftw = False
