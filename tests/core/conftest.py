"""Distributions of plugins laid down in a folder, for tests of loading."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest
from smallplugin import NETWORK


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the path where distributions can be laid down; nothing else counts as installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    everything = importlib.metadata.entry_points
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda **wanted: [p for p in everything(**wanted) if str(folder) in str(getattr(p.dist, "_path", ""))],
    )
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(folder) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.fixture
def lay(site):
    """Lay down a distribution of one module, and its entry points."""

    def down(distribution, *, points, code=NETWORK, module=None, version="1.0"):
        module = module or distribution.replace("-", "_") + "_plugin"
        name = next(iter(points))
        (site / f"{module}.py").write_text(code.replace("{name}", name))
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = "".join(f"{key} = {value or module}\n" for key, value in points.items())
        (info / "entry_points.txt").write_text(f"[zoo.plugins]\n{lines}")
        return info

    return down
