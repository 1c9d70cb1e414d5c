"""Check the wheels and source archives in a folder before a release: print faults, and exit with 1 if there are any."""

import sys
import tarfile
import zipfile
from collections.abc import Sequence
from email import message_from_string
from pathlib import Path


def main(folder: Path) -> int:
    """Print the faults of all archives in a folder; return the exit code."""
    wheels, sources = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    faults = [f"{path.name}: {fault}" for path in wheels for fault in wheel_faults(path)]
    faults += [f"{path.name}: {fault}" for path in sources for fault in source_faults(path)]
    if not wheels or {path.name.split("-")[0] for path in wheels} != {path.name.split("-")[0] for path in sources}:
        faults.append("there is not one wheel and one source archive of each package")
    if len(versions := {path.name.split("-")[1] for path in wheels}) > 1:
        faults.append(f"several versions: {', '.join(sorted(versions))}")
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


def wheel_faults(path: Path) -> list[str]:
    """Return the faults of a wheel."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        about = message_from_string(archive.read(metadata).decode())
    faults = _superfluous([name for name in names if "/templates/" not in name], "tests", "test_")
    if not any(".dist-info/licenses/LICENSE" in name for name in names):
        faults.append("no LICENSE")
    if not str(about.get_payload()).strip() or about["Description-Content-Type"] != "text/markdown":
        faults.append("no README as description")
    faults += [f"no {field}" for field in ("License-Expression", "Requires-Python", "Summary") if not about[field]]
    return faults


def source_faults(path: Path) -> list[str]:
    """Return the faults of a source archive, which may hold tests."""
    with tarfile.open(path) as archive:
        names = archive.getnames()
    inside = {name.partition("/")[2] for name in names}
    faults = [f"no {name}" for name in ("LICENSE", "README.md", "PKG-INFO", "pyproject.toml") if name not in inside]
    return faults + _superfluous(names)


def _superfluous(names: Sequence[str], *unwanted: str) -> list[str]:
    """Return the files that no archive should hold, and those in which a part begins with one of `unwanted`."""
    beginnings = ("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", *unwanted)
    return [f"holds {name}" for name in names if any(part.startswith(beginnings) for part in name.split("/"))]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
