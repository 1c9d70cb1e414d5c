"""For all tests: one thread each, since the tests themselves run side by side, and no cache but their own."""

from __future__ import annotations

import os

# Before torch is imported, and for every process that a test starts.
os.environ["OMP_NUM_THREADS"] = "1"
for variable in ("ZOO_PLUGINS", "ZOO_DISABLE_PLUGINS", "ZOO_PLUGIN_FILES", "ZOO_PARENT_PID", "ZOO_TENSORBOARD"):
    os.environ.pop(variable, None)
