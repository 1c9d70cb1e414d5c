"""A pretended Slurm: commands on the PATH that print what a test has written, and keep how they were called."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "sacct", "sinfo", "scontrol")
SCRIPT = """#!{python}
import pathlib, sys
folder = pathlib.Path({folder!r})
name = pathlib.Path(sys.argv[0]).name
test = name == "sbatch" and "--test-only" in sys.argv
with (folder / "calls").open("a") as calls:
    calls.write(" ".join([name, *sys.argv[1:]]) + "\\n")
said = name + ".test" if test else name
def read(end):
    path = folder / (said + end)
    return path.read_text() if path.exists() else ""
if name == "sbatch" and not test and not read(".error"):
    number = len(list(folder.glob("script*"))) + 1
    (folder / f"script{{number}}").write_text(pathlib.Path(sys.argv[1]).read_text())
    print("Submitted batch job", 100 * number)
sys.stdout.write(read(".out"))
sys.stderr.write(read(".error"))
sys.exit(1 if read(".error") else 0)
"""
SINFO = """debug*|1-00:00:00|2|8|32000|(null)|cpu
gpu|12:00:00|4|32|256000|gpu:a100:4(S:0-1)|a100,nvlink
gpu|12:00:00|1|16|512000|gpu:v100:1|v100
"""


class FakeSlurm:
    """The commands.

    Args:
        folder: Empty folder.
        without: Commands that are not installed.
    """

    def __init__(self, folder: Path, *, without: tuple[str, ...] = ()) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        for name in set(COMMANDS) - set(without):
            path = self.bin / name
            path.write_text(SCRIPT.format(python=sys.executable, folder=str(folder)))
            path.chmod(0o755)
        self.says("sinfo", SINFO)

    @property
    def path(self) -> str:
        """Value of PATH on which these commands are, and no others of Slurm."""
        real = os.environ.get("PATH", "").split(os.pathsep)
        return os.pathsep.join([str(self.bin), *(one for one in real if shutil.which("sbatch", path=one) is None)])

    def says(self, name: str, text: str) -> None:
        """Set what a command prints; "sbatch.test" is sbatch --test-only."""
        (self.folder / f"{name}.out").write_text(text)

    def fails(self, name: str, text: str) -> None:
        """Let a command fail with an error."""
        (self.folder / f"{name}.error").write_text(text)

    def calls(self, name: str) -> list[str]:
        """Return how a command was called."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.split()[0] == name]

    def script(self, number: int = 1) -> str:
        """Return a script that sbatch was given."""
        return (self.folder / f"script{number}").read_text()
