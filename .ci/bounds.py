"""Print the lower bounds in the pyproject files as "NAME==VERSION", one a line; the highest of several."""

import re
import sys
import tomllib
from pathlib import Path

OWN_PINS = ("autolens",)  # plugins that pin versions which exclude the bounds of the others

OWN_NAMES = "lens-zoo"  # the packages of this repository are installed from it


def main() -> None:
    """Print the bounds of the core, its extras and the plugins."""
    bounds: dict[str, str] = {}
    for path in [Path("pyproject.toml"), *sorted(Path("plugins").glob("*/pyproject.toml"))]:
        if path.parent.name in OWN_PINS:
            continue
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        extras = project.get("optional-dependencies", {}).values()
        for requirement in [*project["dependencies"], *(one for extra in extras for one in extra)]:
            found = re.match(r"([\w.-]+)(?:\[[^]]*\])?\s*>=\s*([\d.]+)", requirement)
            if found and not found[1].startswith(OWN_NAMES):
                name, version = found[1].lower().replace("_", "-"), found[2]
                bounds[name] = max(bounds.get(name, version), version, key=_numbers)
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in sorted(bounds.items()))


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


if __name__ == "__main__":
    main()
