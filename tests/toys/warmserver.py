"""Modules that the server of `warm` loads before it forks: libraries of the commands, and code of its children."""

import os

import sklearn.metrics  # noqa: F401
import torch._dynamo  # noqa: F401
import warm  # noqa: F401

import zoo.cli.run_cell
import zoo.run.cell
import zoo.run.exporting  # noqa: F401

os.fsync = lambda file: None  # as in conftest.py
