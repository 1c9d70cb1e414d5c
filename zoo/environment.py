"""Description of the environment that produced a result: machine, Python, library versions."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from zoo.packages import library_versions, source_commit
from zoo.processor import processor_name, usable_cores
from zoo.schema import Count, Record


class Environment(Record):
    """Machine, Python and library versions.

    Args:
        python: Version of Python.
        platform: Operating system and its build.
        processor: Name of the processor.
        cores: Cores that this process may use.
        libraries: Versions of the libraries that the core and the installed plugins require.
        threads: Number of torch's threads; None if torch was not imported.
        cuda: CUDA version that torch was built with; None without CUDA or if torch was not imported.
        gpu: Name of the GPU; None without a GPU or if torch was not imported.
        commit: Git commit that the zoo was installed from, or ""; "+changes" if tracked files differ from it
            (`source_commit`).
    """

    python: str
    platform: str
    processor: str
    cores: Count | None
    libraries: Mapping[str, str]
    threads: Count | None = None
    cuda: str | None = None
    gpu: str | None = None
    commit: str = ""


def describe(*, accelerator: bool = True) -> Environment:
    """Return machine, Python and library versions.

    Args:
        accelerator: Whether to import torch and include the GPU and its settings.
    """
    threads = cuda = gpu = None
    if accelerator:
        import torch

        threads = torch.get_num_threads()
        cuda = torch.version.cuda
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        processor=processor_name(),
        cores=usable_cores(),
        libraries=library_versions(),
        threads=threads,
        cuda=cuda,
        gpu=gpu,
        commit=source_commit(),
    )


def peak_memory_bytes() -> int:
    """Return the peak memory of this process (on CUDA: the peak memory of its tensors)."""
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_initialized():
            return int(torch.cuda.max_memory_allocated())
    # Linux: ru_maxrss counts the memory of the process that started this one as well, if that is larger.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
