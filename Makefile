# Two commands: `make run` and `make test`. Both build the environment in .venv first, once.
# `make PYTHON=/path/to/python3.12 run` takes another Python; a .venv that is a link to an
# environment of your own is used as it is.

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
RUN := $(shell sed -n 's/^run: *//p' config.yaml)
SLURM_PROFILE := $(or $(XDG_CONFIG_HOME),$(HOME)/.config)/snakemake/slurm
REPORT := results/$(RUN)/report.html

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet --no-deps
# The stamp carries what the environment was made from and where: any change builds it anew.
KEY := $(shell { cat envs/lock.txt envs/gpaw_siteconfig.py; $(PYTHON) -V; pwd; } 2>&1 | cksum | cut -d' ' -f1)
STAMP := $(shell [ -L .venv ] || echo .venv/complete-$(KEY))

# GPAW, PySCF and numpy-based code run one process per core; threads of their own would only get in the way.
export OMP_NUM_THREADS = 1

.PHONY: run report status test test-slurm slurm-profile lint env clean

run: env
	$(BIN)/snakemake --cores $(CORES)
	@$(MAKE) --no-print-directory report
	@echo
	@echo "Report to open in a browser:   $(REPORT)"
	@echo "Table of Fe sites:             results/$(RUN)/sites/sites.csv"
	@echo "Mössbauer spectra:             results/$(RUN)/mossbauer/structures/"
	@echo "Infrared spectra:              results/$(RUN)/infrared/"

# Made again only when a result is newer.
report: env
	@if [ ! -e $(REPORT) ] || [ -n "$$(find results/$(RUN) -type f -newer $(REPORT) -print -quit)" ]; then \
	  $(BIN)/snakemake --cores 1 --report $(REPORT); fi

# Also while the campaign runs; own ones: python -m dft2spectra.status --configfile my.yaml
status: env
	@$(BIN)/python -m dft2spectra.status

# A file of tests stays on one worker, so that the campaign it starts from is computed once; the order of
# files is that of tests/conftest.py.
test: env
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder -m "not slow and not slurm"

# A real SLURM of its own, in one process; where none can be had, the tests say why and are skipped.
test-slurm: env
	$(BIN)/python -m pytest -m slurm -rs tests/slurm

# The profile of `snakemake --profile slurm`, where Snakemake looks for it, fitted to the cluster. Yours
# from then on. Needs nothing but Python.
slurm-profile:
	@PYTHONPATH=src $(or $(wildcard $(BIN)/python),$(PYTHON)) -m dft2spectra.slurm.profile profiles/slurm/profile.yaml $(SLURM_PROFILE)

lint: env
	$(BIN)/python -m pytest tests/contract/test_static.py

env: $(STAMP)

# Built from nothing each time, so that an interrupted build leaves nothing behind. Everything comes
# from the lock with hashes: first what GPAW's build needs, then all, then this library.
.venv/complete-$(KEY):
	@$(PYTHON) envs/check_machine.py
	@echo "Building the environment in .venv from envs/lock.txt; this takes a few minutes, once."
	rm -rf .venv
	$(PYTHON) -m venv .venv
	awk '/^[a-z]/ {wanted = /^(setuptools|wheel|numpy|scipy|pyfftw|pybind11)==/} wanted' envs/lock.txt > .venv/build.txt
	$(PIP) --require-hashes -r .venv/build.txt
	@# A GPAW that pip built earlier would not know of an MPI or libxc installed since.
	@$(BIN)/python -m pip --disable-pip-version-check cache remove gpaw >/dev/null 2>&1 || true
	GPAW_CONFIG=$(CURDIR)/envs/gpaw_siteconfig.py $(PIP) --no-build-isolation --require-hashes -r envs/lock.txt
	$(PIP) --no-build-isolation -e .
	@$(BIN)/python envs/say_gpaw_build.py
	@touch $@

# Removes the environment and caches; results stay.
clean:
	rm -rf .venv build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
