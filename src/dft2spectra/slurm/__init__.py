"""What SLURM's programs say, and what follows from it: nothing here knows of Snakemake.

commands (ask a program), states (of jobs, and why they wait), answers (of ``sbatch``), limits (of
partitions), nodes (that fail), waiting (for another try), profile (``make slurm-profile``).
"""
