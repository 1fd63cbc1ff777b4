#!/bin/sh
# Put the library itself into the conda environment; Snakemake runs this from the workflow's root.
set -e
python -m pip install --no-deps .
