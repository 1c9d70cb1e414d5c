"""Cells as jobs of Slurm, through the library submitit."""
