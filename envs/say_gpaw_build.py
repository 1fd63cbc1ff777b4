"""Says in one line what GPAW was built with and what a missing piece costs.

Only FFTW, BLAS and MPI change the time; without any of them GPAW gives the same energies.
"""

from gpaw import cgpaw

# Name, a symbol that the C code has only with it, and what its lack costs. Times: FeAl, FePt, Fe3Si
# and ZrFe2 at the settings of config.yaml.
PIECES = (
    ("FFTW", "FFTWPlan", "about 1.6 times the time of a crystal"),
    ("BLAS", "mmm", "about 1.1 times the time of a crystal"),
    ("libxc", "lxcXCFunctional", "no time; functionals are GPAW's own"),
    ("MPI", "Communicator", "one process per crystal"),
)


def sentence() -> str:
    """GPAW's pieces, those that are there first."""
    there = [name for name, symbol, _ in PIECES if hasattr(cgpaw, symbol)]
    lacking = [f"{name} ({cost})" for name, symbol, cost in PIECES if not hasattr(cgpaw, symbol)]
    words = f"GPAW was built with {', '.join(there) or 'plain C alone'}"
    return words + (f", without {', '.join(lacking)}." if lacking else ".")


if __name__ == "__main__":
    print(sentence())
